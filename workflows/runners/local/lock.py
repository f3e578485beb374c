"""One driver per queue."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ionsieve.errors import InputError

_PATIENCE_S = 3.0
_PAUSE_S = 0.05


@contextmanager
def sole_driver(queue_path: Path) -> Iterator[int]:
    """Hold the queue's lock; gives its file descriptor.

    The workers inherit it by being forked, and the system frees it when the last of them is gone:
    whoever gets it knows that no process of an earlier run is left, however that run ended.

    Raises
    ------
    InputError
        If another run holds it.
    """
    path = queue_path.with_name(queue_path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}; check the folder's permissions") from error
    try:
        _acquire(descriptor, queue_path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, queue_path: Path) -> None:
    # The workers of a run that was just killed need a moment to go.
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 200, 0).decode() or "another process"
                raise InputError(
                    f"{queue_path} is being worked on by {holder}; wait for it, or end it first"
                ) from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            raise InputError(
                f"the file system of {queue_path} cannot lock files ({error}); "
                "put the queue on a local disk"
            ) from error
        else:
            return


def is_driven(queue_path: Path) -> bool:
    """Return whether a run works on the queue now."""
    path = queue_path.with_name(queue_path.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
