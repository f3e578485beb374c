"""What the user reads when a calculation fails."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from custodian.custodian import MaxCorrectionsPerJobError, ReturnCodeError, ValidationError

import ionsieve.workflows.backends
from ionsieve.errors import IonSieveError, OutsideFailure
from ionsieve.workflows.backends.vasp.failures import explained

TETHER = Path(ionsieve.workflows.backends.__file__).with_name("tether.py")


def launched(program):
    """Run a Python program as VASP is run, in the current folder."""
    with open("vasp.out", "w") as out, open("std_err.txt", "w") as err:
        command = [sys.executable, "-S", "-E", str(TETHER), sys.executable, "-c", program]
        # In a session of its own, as custodian starts it.
        subprocess.run(command, stdout=out, stderr=err, check=False, start_new_session=True)


def explanation(error):
    """Return what a job raises instead of an error."""
    with pytest.raises((RuntimeError, KeyError, OSError, IonSieveError)) as found, explained():
        raise error
    return found.value


def invalid():
    return ValidationError("Validation failed: VasprunXMLValidator", raises=True, validator=None)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_signals_from_outside(number):
    launched(f"import os; os.kill(os.getpid(), {int(number)})")
    error = explanation(invalid())
    assert type(error) is OutsideFailure
    assert str(error).startswith(f"VASP was killed by {number.name}; ")
    assert str(error.twice()).startswith(f"VASP was killed by {number.name} twice; ")


@pytest.mark.parametrize(
    ("program", "is_outside", "reason"),
    [
        ("import os; os._exit(137)", True, "VASP was killed by SIGKILL"),
        ("import os; os._exit(139)", False, "VASP crashed with SIGSEGV"),
        ("import os; os._exit(127)", True, "VASP could not be started"),
        ("print('BYE'); raise SystemExit(5)", False, "exit code 5, the last it printed is 'BYE'"),
        ("raise SystemExit(0)", False, "VASP ended by itself"),
        (
            f"raise OSError({errno.ENOSPC}, 'No space left on device')",
            True,
            "met a full disk; make room",
        ),
        ("raise SystemExit('Disk quota exceeded')", True, "met a full disk; make room"),
        (
            "import os, sys; print('slurmstepd: Detected 1 oom_kill event', file=sys.stderr);"
            "sys.stderr.flush(); os.kill(os.getpid(), 9)",
            True,
            "killed by SIGKILL; memory ran out",
        ),
    ],
)
def test_ends_of_the_command(program, is_outside, reason):
    launched(program)
    error = explanation(ReturnCodeError("Job return code is 1. Terminating...", raises=True))
    assert isinstance(error, OutsideFailure) == is_outside
    assert isinstance(error, IonSieveError)
    assert reason in str(error)


def test_launcher_killed_with_the_command():
    program = "import os, time; os.kill(os.getppid(), 9); time.sleep(60)"
    launched(program)
    assert type(explanation(invalid())) is OutsideFailure


def test_custodians_own_stop_is_not_from_outside(folder):
    """Custodian ends a frozen VASP with SIGTERM for the group; the log says so."""
    launched("import os, signal, time; os.killpg(0, signal.SIGTERM); time.sleep(60)")
    noted = json.loads((folder / "exit_status.json").read_text())
    assert noted == {"signal": signal.SIGTERM, "told": True}
    frozen = {
        "errors": ["Frozen job"],
        "actions": [{"dict": "INCAR", "action": {"_set": {"A": 1}}}],
    }
    (folder / "custodian.json").write_text(json.dumps([{"corrections": [frozen] * 5}]))
    error = explanation(
        MaxCorrectionsPerJobError("Max errors", raises=True, max_errors_per_job=5, job=None)
    )
    assert type(error) is IonSieveError
    assert str(error).startswith(
        "VASP wrote nothing for too long after 5 repairs by custodian (A = 1); "
    )


def test_repairs_are_told_by_their_last_tags(folder):
    def repair(errors, **tags):
        copied = {"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}}
        return {"errors": errors, "actions": [copied, {"dict": "INCAR", "action": {"_set": tags}}]}

    log = [
        repair(["brmix"], ISTART=1),
        repair(["brmix"], SYMPREC=1e-8),
        repair(["zbrent"], EDIFF=1),
    ]
    (folder / "custodian.json").write_text(json.dumps([{"corrections": log}]))
    error = explanation(
        MaxCorrectionsPerJobError("Max errors", raises=True, max_errors_per_job=3, job=None)
    )
    assert str(error).startswith(
        "VASP's error 'zbrent' after 3 repairs by custodian (...; SYMPREC = 1e-08; EDIFF = 1); "
    )


def test_full_disk_that_custodian_meets():
    error = explanation(OSError(errno.ENOSPC, "No space left on device", "custodian.json"))
    assert type(error) is OutsideFailure


def test_other_errors_stay_as_they_are():
    error = KeyError("no such thing")
    assert explanation(error) is error
    ours = IonSieveError("raise the wall time")
    assert explanation(ours) is ours


def test_status_fits_on_a_full_disk(folder):
    """It is written before the command starts, and then in place."""
    program = (
        "import os; print(os.stat('exit_status.json').st_size, flush=True); raise SystemExit(2)"
    )
    launched(program)
    size = (folder / "exit_status.json").stat().st_size
    assert (folder / "vasp.out").read_text() == f"{size}\n"
    assert json.loads((folder / "exit_status.json").read_text()) == {"exit_code": 2}
