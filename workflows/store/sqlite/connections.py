"""Connections to an SQLite file that several threads and processes write to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.sqlite.query import search

#: How long a process waits for another one that writes.
BUSY_TIMEOUT_S = 60.0

#: How every SQLite file starts.
_MAGIC = b"SQLite format 3\0"

_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

# Connections inherited by fork: kept alive, because closing one here would disturb the parent.
_inherited: list[object] = []


class UniqueError(IonSieveError):
    """A unique index forbids the write."""


class Connections:
    """One SQLite connection for each thread of each process, opened for reading and writing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._by_thread: dict[int, sqlite3.Connection] = {}

    def read(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return all rows of a statement."""
        with readable_errors(self.path):
            return self.current().execute(statement, parameters).fetchall()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all of what follows, or nothing."""
        connection = self.current()
        with readable_errors(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def current(self) -> sqlite3.Connection:
        """Give the connection of this thread, opened if need be."""
        if self._process != os.getpid():
            _inherited.append(self._by_thread)
            self._start()
        thread = threading.get_ident()
        connection = self._by_thread.get(thread)
        if connection is None:
            connection = self.open()
            with self._lock:
                self._close_those_of_dead_threads()
                self._by_thread[thread] = connection
        return connection

    def open(self) -> sqlite3.Connection:
        """Open a connection."""
        with readable_errors(self.path):
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous = FULL")
            add_functions(connection)
            return connection

    def close(self) -> None:
        """Close the connections of this process; those of its parent are left alone."""
        if self._process != os.getpid():
            _inherited.append(self._by_thread)
            self._start()
        with self._lock:
            for connection in self._by_thread.values():
                connection.close()
            self._by_thread.clear()

    def _close_those_of_dead_threads(self) -> None:
        alive = {thread.ident for thread in threading.enumerate()}
        for thread in self._by_thread.keys() - alive:
            self._by_thread.pop(thread).close()


def add_functions(connection: sqlite3.Connection) -> None:
    """Let SQL call what queries need of Python."""
    connection.create_function("ionsieve_search", 2, search, deterministic=True)


def check_path(path: Path) -> None:
    """Raise InputError if a file at this path could not be opened for writing."""
    check_place(path)
    for place in (path.parent, path):
        if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
            raise InputError(f"store {path}: no permission to read and write {place}; change it")
    check_content(path)


def check_place(path: Path) -> None:
    """Raise InputError if there can be no file at this path."""
    if not os.path.isdir(path.parent):  # Path's own tests raise where they may not look
        raise InputError(
            f"store {path}: directory {path.parent} does not exist or can't be entered; "
            "make it first or change its permissions"
        )
    if os.path.isdir(path):
        raise InputError(f"store {path} is a directory; give the path of a file")


def check_content(path: Path) -> None:
    """Raise InputError if a file is there and is none of SQLite's, which would overwrite it."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            f"store {path}: no permission to read it ({error.strerror}); change it"
        ) from error
    if start not in (b"", _MAGIC):
        raise InputError(f"store {path} can't be opened: file is not a database; give another file")


def switch_to_write_ahead_log(connection: sqlite3.Connection, path: str) -> None:
    """Let readers go on while one process writes."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when two processes switch a new file at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise InputError(
            f"store {path}: the file system has no shared memory for SQLite's write-ahead log; "
            "put the store on a local disk"
        )


@contextlib.contextmanager
def readable_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into one-line ones that name the file and the remedy."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise UniqueError(f"store {path}: value already there: {error}") from error
    except sqlite3.Error as error:
        raise _readable(path, error) from error


def _readable(path: str, error: sqlite3.Error) -> IonSieveError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_BUSY:
        remedy = f"another process writes for more than {BUSY_TIMEOUT_S:.0f} s; stop it"
        return IonSieveError(f"store {path} is locked: {remedy}")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return InputError(f"store {path} can't be opened: {error}; give another file")
    if primary in _FULL:
        return IonSieveError(
            f"store {path}: the disk is full or fails ({error}; {_free(path)}); make room and run "
            "the same command again: what was stored is safe"
        )
    if primary == sqlite3.SQLITE_CORRUPT:
        return IonSieveError(
            f"store {path} is damaged ({error}); save what can be read with "
            f"`sqlite3 {path} .recover`, or restore a backup"
        )
    return IonSieveError(f"store {path}: {error}")


def _free(path: str) -> str:
    """Return how much room is left beside a file."""
    try:
        place = os.statvfs(os.path.dirname(path) or ".")
    except OSError as error:
        return str(error.strerror)
    return f"{place.f_bavail * place.f_frsize / 1e6:.1f} MB left there"
