"""What the command line does when something goes wrong: one line, the right exit code."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from ionsieve.errors import InputError, IonSieveError, one_line
from ionsieve.workflows.cli import COMMANDS, cli, main
from ionsieve.workflows.settings import template

DISK_FULL = OSError(errno.ENOSPC, "No space left on device", "/scratch/results.sqlite")
DENIED = PermissionError(errno.EACCES, "Permission denied", "/scratch/x")
DEBUG = "'ionsieve --debug ...' or IONSIEVE_DEBUG=1 shows the traceback"


@pytest.fixture
def fail(monkeypatch, capsys):
    """Return a function that runs a command in which an error happens."""

    def run(error, *options):
        def fails(folder):
            raise error

        monkeypatch.setattr(template, "write_example", fails)
        monkeypatch.setattr(sys, "argv", ["ionsieve", *options, "init", "x"])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("bad"), 2, "error: bad"),
        (IonSieveError("failed"), 1, "error: failed"),
        (InputError("a\nb\x1b[31mc"), 2, r"error: a b\x1b[31mc"),
        (DISK_FULL, 1, "error: the disk is full while writing /scratch/results.sqlite; make room"),
        (DENIED, 1, f"error: /scratch/x: Permission denied; {DEBUG}"),
        (ValueError("two\nlines"), 1, f"error: ValueError: two lines; {DEBUG}"),
        (KeyError("key"), 1, f"error: KeyError: 'key'; {DEBUG}"),
        (RecursionError("deep"), 1, f"error: RecursionError: deep; {DEBUG}"),
        (MemoryError(), 1, f"error: MemoryError: ; {DEBUG}"),
        (
            ModuleNotFoundError("No module named 'jobflow'", name="jobflow.core"),
            2,
            'error: this needs jobflow, which is not installed; type: pip install "ionsieve[workfl',
        ),
        (ModuleNotFoundError("No module named 'xyz'", name="xyz"), 1, "error: ModuleNotFoundError"),
    ],
)
def test_any_error_is_one_line(fail, error, code, line):
    exit_code, shown = fail(error)
    assert exit_code == code
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("error", [InputError("bad"), ValueError("bad")])
def test_debug_shows_the_traceback(fail, error, monkeypatch):
    _, shown = fail(error, "--debug")
    assert shown.err.startswith("Traceback (most recent call last)")
    assert shown.err.splitlines()[-1].startswith("error: ")
    monkeypatch.setenv("IONSIEVE_DEBUG", "1")
    assert "Traceback" in fail(error)[1].err
    monkeypatch.setenv("IONSIEVE_DEBUG", "0")
    assert "Traceback" not in fail(error)[1].err


def test_ctrl_c_is_quiet(fail):
    exit_code, shown = fail(KeyboardInterrupt())
    assert exit_code == 130
    assert shown.err.strip() == ""


def test_the_signal_of_ctrl_c_is_quiet():
    code = (
        # A shell that started the tests in the background has the signal ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time\n"
        "from ionsieve.workflows.settings import template\n"
        "from ionsieve.workflows.cli import main\n"
        "def waits(folder):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "template.write_example = waits\n"
        "sys.argv = ['ionsieve', 'init', 'x']\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert shown.strip() == ""


def test_a_reader_that_has_seen_enough():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ionsieve", "hpc-init", "slurm", "--list", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


USAGE = [
    (["bogus"], "No such command 'bogus'. (see: ionsieve --help)"),
    (["run"], "Missing argument 'SCREENING'. (see: ionsieve run --help)"),
    (["run", "x", "--workers", "0"], "'--workers': 0 is not in the range"),
    (["run", "x", "--bogus"], "No such option"),
    (["--bogus"], "No such option"),
    *[
        ([command, *needed, option, value], f"Invalid value for '{option}'")
        for command, needed, options in (
            ("diffusion", ["x", "--species", "Na"], ("--temperature", "--timestep-fs")),
            ("diffusion", ["x", "--species", "Na"], ("--md-timestep-fs", "--equilibration-ps")),
            ("rank", ["x"], ("--seconds", "--symprec", "--min-distance", "--seed", "--top")),
            ("submit", ["x"], ("--interval",)),
        )
        for option in options
        for value in ("nan", "inf", "-1", "1e30", "much")
    ],
    *[
        (["diffusion", "x", "--species", "Na", "--charge", value], "Invalid value for '--charge'")
        for value in ("nan", "-inf", "1e30")
    ],
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_wrong_usage_is_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["ionsieve", *arguments])
    with pytest.raises(SystemExit) as exited:
        main()
    shown = capsys.readouterr()
    assert exited.value.code == 2
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_every_number_on_the_command_line_has_limits():
    """A plain float option would take nan."""
    context = cli.make_context("ionsieve", ["status"])
    for name in COMMANDS:
        for parameter in cli.get_command(context, name).params:
            assert parameter.type.name != "float", f"{name} {parameter.name}"
            assert parameter.type.name != "float range", f"{name} {parameter.name}"


def test_exit_codes_are_in_the_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ionsieve", "--help"])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 0
    assert "0 done, 1 something failed, 2 bad input" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "seen"),
    [([], ["warning"]), (["-q"], []), (["-v"], ["info", "warning"])],
)
def test_how_much_is_said(monkeypatch, capsys, options, seen):
    import logging

    def says(folder):
        logger = logging.getLogger("ionsieve.some.module")
        for _ in range(2):
            logger.debug("a detail")
            logger.info("a step")
            logger.warning("a %s", "doubt")
        raise InputError("bad")

    monkeypatch.setattr(template, "write_example", says)
    monkeypatch.setattr(sys, "argv", ["ionsieve", *options, "init", "x"])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().err.splitlines()
    texts = {"info": "info: a step", "warning": "warning: a doubt"}
    assert lines == [*(texts[level] for level in seen), "error: bad"]
    logging.getLogger("ionsieve").setLevel(logging.NOTSET)


def test_one_line_keeps_ordinary_text():
    assert one_line("  αβ  (½)\n\tend ") == "αβ (½) end"
    assert one_line("a\x00\u202eb") == r"a\x00\u202eb"
