"""The launcher that keeps VASP from outliving its worker, by really killing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ionsieve.workflows.backends

TETHER = Path(ionsieve.workflows.backends.__file__).with_name("tether.py")
TETHERED = [sys.executable, "-S", "-E", str(TETHER)]


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    """The launcher writes how the command ended into the folder it is started in."""
    monkeypatch.chdir(tmp_path)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def sleeper(folder, ignore_sigterm=False):
    """A program that writes its pid and sleeps."""
    program = folder / "sleeper.py"
    program.write_text(
        "import os, signal, time\n"
        + ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if ignore_sigterm else "")
        + "open('pid.tmp', 'w').write(str(os.getpid()))\nos.rename('pid.tmp', 'pid')\n"
        "time.sleep(600)\n"
    )
    return [sys.executable, str(program)]


def child_pid(folder):
    assert wait_for((folder / "pid").exists)
    return int((folder / "pid").read_text())


@pytest.mark.parametrize("ignore_sigterm", [False, True])
def test_killed_worker_takes_the_program_with_it(tmp_path, ignore_sigterm):
    worker = tmp_path / "worker.py"
    command = TETHERED + sleeper(tmp_path, ignore_sigterm)
    worker.write_text(
        "import subprocess, time\n"
        f"p = subprocess.Popen({command!r}, start_new_session=True)\n"
        "open('tether_pid', 'w').write(str(p.pid))\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, str(worker)], cwd=tmp_path)
    pid = child_pid(tmp_path)
    tether_pid = int((tmp_path / "tether_pid").read_text())
    assert is_alive(pid)
    process.kill()
    process.wait()
    assert wait_for(lambda: not is_alive(pid) and not is_alive(tether_pid))


def test_killed_launcher_takes_the_program_with_it(tmp_path):
    process = subprocess.Popen(TETHERED + sleeper(tmp_path), cwd=tmp_path, start_new_session=True)
    pid = child_pid(tmp_path)
    process.kill()
    process.wait()
    if sys.platform.startswith("linux"):
        assert wait_for(lambda: not is_alive(pid))
    else:
        os.kill(pid, signal.SIGKILL)


def test_termination_of_the_process_group_works(tmp_path):
    process = subprocess.Popen(TETHERED + sleeper(tmp_path), cwd=tmp_path, start_new_session=True)
    pid = child_pid(tmp_path)
    os.killpg(os.getpgid(process.pid), signal.SIGTERM)
    assert process.wait(timeout=20) == -signal.SIGTERM
    assert not is_alive(pid)


def test_signals_are_passed_on(tmp_path):
    process = subprocess.Popen(TETHERED + sleeper(tmp_path), cwd=tmp_path, start_new_session=True)
    pid = child_pid(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == -signal.SIGTERM
    assert not is_alive(pid)


@pytest.mark.parametrize("code", [0, 3])
def test_exit_code_and_output_come_through(code):
    program = f"print('hello'); raise SystemExit({code})"
    done = subprocess.run(
        [*TETHERED, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "hello\n")


def test_crash_comes_through():
    program = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()"
    done = subprocess.run([*TETHERED, sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGABRT


def test_missing_command_is_named():
    done = subprocess.run([*TETHERED, "no-such-vasp"], capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "no-such-vasp" in done.stderr
    assert subprocess.run(TETHERED, capture_output=True, check=False).returncode == 1
