"""Connections that only read an SQLite file, and leave no trace beside it.

An ordinary connection to a file with a write-ahead log makes two files beside it, which a reader
can't remove, and fails where it may not make them. So:

- Nobody has the file open (it has no log): it is opened as immutable. If a writer comes meanwhile,
  which shows by its log or by a changed file, what was read is read again the next way.
- Somebody has it open, or was killed: the connection shares the log and the memory that are there.
- There is a log that can't be shared (the folder is read-only): a copy of both is read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.errors import NothingStoredError
from ionsieve.workflows.store.sqlite.connections import (
    BUSY_TIMEOUT_S,
    add_functions,
    check_content,
    check_place,
    readable_errors,
)

_ATTEMPTS = 5

# Connections and copies inherited by fork, kept alive: they are the parent's to close.
_inherited: list[object] = []


class _State(NamedTuple):
    """What shows that a file changed: size, time and number of it and of the log beside it."""

    file: tuple[int, int, int] | None
    log: tuple[int, int, int] | None
    log_path: str


class Reader:
    """One connection that only reads, shared by the threads of one process.

    Raises
    ------
    NothingStoredError
        If the file is missing or empty.
    InputError
        If it can't be read.
    """

    def __init__(self, path: str) -> None:
        check_place(Path(path))
        check_content(Path(path))
        self.path = path
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._opened = self._state()

    def read(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return all rows of a statement, from one state of the file."""
        with self._lock, readable_errors(self.path):
            for _ in range(_ATTEMPTS):
                connection = self._current()
                if connection is None:
                    continue
                try:
                    rows = connection.execute(statement, parameters).fetchall()
                except sqlite3.DatabaseError:
                    if not self._is_outdated():
                        raise
                    continue
                if not self._is_outdated():
                    return rows
        raise IonSieveError(f"store {self.path} changes too fast to be read; try again")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None
            if self._copy is not None:
                self._copy.cleanup()
            self._copy = None

    def _current(self) -> sqlite3.Connection | None:
        """Return a connection to the file as it is now; None if it changed meanwhile."""
        if self._process != os.getpid():
            # The parent's connection is not ours to close, nor its copy to remove.
            _inherited.append((self._connection, self._copy))
            self._connection = self._copy = None
            self._process = os.getpid()
        if self._connection is not None and self._is_outdated():
            self.close()
        if self._connection is None:
            self._opened = self._state()
            self._connection = self._open()
        return self._connection

    def _is_outdated(self) -> bool:
        """Return whether what is read may no longer be what is stored."""
        shares_log = self._opened.log is not None and self._copy is None
        return not shares_log and self._state() != self._opened

    def _open(self) -> sqlite3.Connection | None:
        if self._opened.log is None:
            return _connect(self.path, "immutable=1")
        if os.path.exists(f"{self.path}-shm"):
            with contextlib.suppress(sqlite3.OperationalError):
                return _connect(self.path, "mode=ro")
        return self._open_copy()

    def _open_copy(self) -> sqlite3.Connection | None:
        """Open a copy of the file and its log; return None if either changed meanwhile."""
        self._copy = tempfile.TemporaryDirectory(prefix="ionsieve-")
        copy = os.path.join(self._copy.name, "store.sqlite")
        log = self._opened.log_path
        try:
            shutil.copyfile(self.path, copy)
            shutil.copyfile(log, copy + log.removeprefix(self.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IonSieveError(
                f"store {self.path}: no room for a copy in {tempfile.gettempdir()} "
                f"({error.strerror}); set TMPDIR to a folder on a larger disk"
            ) from error
        return _connect(copy, "mode=rw") if self._state() == self._opened else None

    def _state(self) -> _State:
        file = _status(self.path)
        log, log_path = next(
            (
                (status, path)
                for suffix in ("-wal", "-journal")
                if (status := _status(path := self.path + suffix))
            ),
            (None, ""),
        )
        if file is None or (file[0] == 0 and log is None):
            raise NothingStoredError.of(self.path)
        return _State(file, log, log_path)


def _status(path: str) -> tuple[int, int, int] | None:
    """Return size, time (ns) and number of a file; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise InputError(f"store {path}: no permission to read it; change it") from error
    return status.st_size, status.st_mtime_ns, status.st_ino


def _connect(path: str, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    add_functions(connection)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
