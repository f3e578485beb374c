"""The errors IonSieve raises on purpose.

Each message is one line that names the value, the limit and the remedy; the command line prints it
without a traceback.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from typing import ClassVar


class IonSieveError(Exception):
    """Something went wrong that the user can act on (exit code 1)."""

    exit_code = 1


class InputError(IonSieveError):
    """The input is bad and nothing was started (exit code 2)."""

    exit_code = 2


class OutsideFailure(IonSieveError):
    """Something outside ended the work: a signal, a full disk, a node. It may succeed next time.

    Runners do such work once more, in a new folder; then it has failed. What would fail in the same
    way again is another error and is never repeated by itself. The message is ``cause; remedy``.
    """

    max_attempts: ClassVar[int] = 2

    def twice(self) -> OutsideFailure:
        """Return the error of the second time."""
        cause, semicolon, remedy = str(self).partition(";")
        return OutsideFailure(f"{cause} twice{semicolon}{remedy}")


class DiskFullError(IonSieveError):
    """A disk is full: nothing has failed, and what was stopped can be resumed."""


_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT)
#: SQLite can't extend a file; the second is its shared memory beside the database.
_FULL_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error, or what it came from, is that no room is left on a disk."""
    return full_disk(error) is not None


def full_disk(error: BaseException) -> DiskFullError | None:
    """Return what to tell of an error that comes from a full disk; None if it doesn't."""
    causes = list(_causes(error))
    if told := next((one for one in causes if isinstance(one, DiskFullError)), None):
        return told
    for one in causes:
        if isinstance(one, OSError) and one.errno in _FULL_ERRNO:
            where = f" while writing {one.filename}" if one.filename else ""
        elif getattr(one, "sqlite_errorcode", None) in _FULL_SQLITE:
            where = ": SQLite has no room for a store or the job queue"
        else:
            continue
        return DiskFullError(f"the disk is full{where}; make room and type it again")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it was raised from or while handling."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def one_line(text: str) -> str:
    r"""Return a text as one line that is safe to print on a terminal.

    Line breaks become spaces; other control characters, which could move the cursor or hide what
    follows, are written out (``\x1b``).
    """
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
