"""Connections to an SQLite file that several threads and processes write to."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ionsieve.errors import InputError, IonSieveError

_BUSY_TIMEOUT_S = 60.0
_SCHEMA_VERSION = 1

# Connections inherited by fork: kept alive, because closing one here would disturb the parent.
_inherited: list[object] = []


class UniqueError(IonSieveError):
    """A unique index forbids the write."""


class Connections:
    """One SQLite connection for each thread of each process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._by_thread: dict[int, sqlite3.Connection] = {}

    def current(self) -> sqlite3.Connection:
        """Give the connection of this thread, opened if need be."""
        if self._process != os.getpid():
            _inherited.append(self._by_thread)
            self._start()
        thread = threading.get_ident()
        connection = self._by_thread.get(thread)
        if connection is None:
            connection = _open(self._path)
            with self._lock:
                self._close_those_of_dead_threads()
                self._by_thread[thread] = connection
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


def _open(path: str) -> sqlite3.Connection:
    with readable_errors(path):
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def check_path(path: Path) -> None:
    """Raise InputError if a file at this path could not be opened for writing."""
    if not os.path.isdir(path.parent):  # Path's own tests raise where they may not look
        raise InputError(
            f"store {path}: directory {path.parent} does not exist or can't be entered; "
            "make it first or change its permissions"
        )
    if os.path.isdir(path):
        raise InputError(f"store {path} is a directory; give the path of a file")
    for place in (path.parent, path):
        if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
            raise InputError(f"store {path}: no permission to read and write {place}; change it")


def prepare_collection(connection: sqlite3.Connection, path: str, table: str) -> None:
    """Make the table of a collection if it is absent, in a file several processes may write."""
    _switch_to_write_ahead_log(connection, path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise InputError(
            f"store {path} has format {version}, this program reads up to {_SCHEMA_VERSION}; "
            "update the program"
        )
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table.strip('"'),)
    )
    if known.fetchone() is None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL)"
        )
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _switch_to_write_ahead_log(connection: sqlite3.Connection, path: str) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
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
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY:
            remedy = f"another process writes for more than {_BUSY_TIMEOUT_S:.0f} s; stop it"
            raise IonSieveError(f"store {path} is locked: {remedy}") from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise InputError(f"store {path} can't be opened: {error}; give another file") from error
        raise IonSieveError(f"store {path}: {error}") from error
