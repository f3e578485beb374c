"""Run a command that must not outlive its parent; standard library only.

Custodian starts VASP in a session of its own, so a killed worker would leave VASP running. Started
as ``python -S -E tether.py COMMAND...`` in between, this script runs the command as its child in
the same process group, passes signals and the exit code through, and ends the command as soon as
its own parent is gone. How the command ended stays in ``exit_status.json``.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

#: Linux tells us of the parent's death by this signal; elsewhere, and to be sure, we look often.
_ORPHAN_SIGNAL = signal.SIGUSR2
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
#: What the parent is to know when the command has ended. Written before it starts, too, and then in
#: place: a full disk has room for it, and a file without an end tells that we were killed as well.
STATUS_NAME = "exit_status.json"
_STATUS_BYTES = 128
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def _ask_for_death_signal(number: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _start(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    _ask_for_death_signal(signal.SIGKILL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"tether: cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _signal_all(child: int, number: int) -> None:
    """Signal the child, and its helpers too when the process group is ours alone."""
    try:
        if os.getpgrp() == os.getpid():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.killpg(0, number)
        else:
            os.kill(child, number)
    except ProcessLookupError:
        pass


def _reap(child: int) -> int | None:
    done, status = os.waitpid(child, os.WNOHANG)
    return status if done else None


def _write_status(**how: object) -> None:
    """Write how the command ended: ``exit_code`` or ``signal``, and whether we were ``told`` to."""
    try:
        file = os.open(STATUS_NAME, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(file, json.dumps(how).ljust(_STATUS_BYTES - 1).encode() + b"\n")
        os.close(file)
    except OSError as error:
        print(f"tether: cannot write {STATUS_NAME}: {error.strerror}", file=sys.stderr, flush=True)


def _leave_as(status: int) -> None:
    """Exit as the child did, by the same signal or code."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.WEXITSTATUS(status))


def main(command: list[str]) -> None:
    """Run the command to its end, or to the end of this process's parent."""
    parent = os.getppid()
    wake, woken_by = os.pipe()
    os.set_blocking(woken_by, False)
    os.set_inheritable(wake, False)
    signal.set_wakeup_fd(woken_by)
    _write_status()
    child = _start(command)
    told: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        told.append(number)
        os.kill(child, number)

    for number in (signal.SIGCHLD, _ORPHAN_SIGNAL):
        signal.signal(number, lambda *_: None)
    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    _ask_for_death_signal(_ORPHAN_SIGNAL)
    orphaned_at = None
    while (status := _reap(child)) is None:
        now = time.monotonic()
        if orphaned_at is None and os.getppid() != parent:
            orphaned_at = now
            _signal_all(child, signal.SIGTERM)
        elif orphaned_at is not None and now - orphaned_at > _GRACE_SECONDS:
            _signal_all(child, signal.SIGKILL)
        if select.select([wake], [], [], _LOOK_SECONDS)[0]:
            os.read(wake, 512)
    if os.WIFSIGNALED(status):
        _write_status(signal=os.WTERMSIG(status), told=os.WTERMSIG(status) in told)
    else:
        _write_status(exit_code=os.WEXITSTATUS(status))
    _leave_as(status)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python tether.py COMMAND [ARGUMENT]...")
    main(sys.argv[1:])
