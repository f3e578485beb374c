"""The queue's SQLite file: tables, connections, transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ionsieve.errors import InputError, IonSieveError

# Columns that may be long come last: SQLite then never reads them for a status.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS flows (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    stage TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',   -- waiting running completed failed
    stopping INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    failed_job TEXT NOT NULL DEFAULT '',
    retriable INTEGER NOT NULL DEFAULT 0,    -- the failed job may succeed another time
    started_at REAL,
    ended_at REAL,
    change INTEGER NOT NULL DEFAULT 0        -- grows with every change of any flow
);
CREATE INDEX IF NOT EXISTS flows_by_change ON flows (change);
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    flow_id INTEGER NOT NULL REFERENCES flows (id),
    uuid TEXT NOT NULL,
    job_index INTEGER NOT NULL,
    name TEXT NOT NULL,
    tolerant INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',   -- waiting ready running completed failed stopped
    n_waits INTEGER NOT NULL DEFAULT 0,      -- parents that have not ended
    parent_failed INTEGER NOT NULL DEFAULT 0,
    parent_stopped INTEGER NOT NULL DEFAULT 0,
    worker INTEGER,
    n_deaths INTEGER NOT NULL DEFAULT 0,     -- times something outside ended it
    started_at REAL,
    ended_at REAL,
    run_dir TEXT,
    error TEXT NOT NULL DEFAULT '',
    traceback TEXT NOT NULL DEFAULT '',
    outcome TEXT,                            -- what it leaves behind, kept before its output is
    content TEXT,                            -- the job's JSON, until it completes
    UNIQUE (uuid, job_index)
);
CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (priority DESC, flow_id, id) WHERE state = 'ready';
CREATE INDEX IF NOT EXISTS jobs_running ON jobs (worker) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS jobs_by_flow ON jobs (flow_id, state);
CREATE TABLE IF NOT EXISTS edges (
    parent INTEGER NOT NULL REFERENCES jobs (id),
    child INTEGER NOT NULL REFERENCES jobs (id),
    is_input INTEGER NOT NULL,               -- 0: only waits, whatever becomes of the parent
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edges_by_child ON edges (child);
"""


#: SQLite's codes of a file that is damaged, or no database.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_damaged_aside(path: Path) -> Path | None:
    """Rename a queue's file that can't be read, so that a new one can be made.

    Returns
    -------
    Path or None
        Its new name; None if it is sound, or not there.
    """
    if not path.exists():
        return None
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        sound = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) not in _DAMAGED:
            return None
        sound = False
    finally:
        connection.close()
    if sound:
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


class Database:
    """One SQLite file, one connection per process.

    Parameters
    ----------
    path : Path
        The file; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def connection(self) -> sqlite3.Connection:
        """Return this process's connection.

        Raises
        ------
        InputError
            If the file cannot be opened or is something else.
        """
        if self._connection is None or self._owner != os.getpid():
            try:
                self._connection = self._open()
            except (sqlite3.Error, OSError) as error:
                raise InputError(
                    f"cannot open the job queue {self.path}: {error}; "
                    "check the path and its permissions"
                ) from error
            self._owner = os.getpid()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        columns = {row["name"] for row in connection.execute("PRAGMA table_info(flows)")}
        if "retriable" not in columns:  # made by an earlier version
            connection.execute("ALTER TABLE flows ADD COLUMN retriable INTEGER NOT NULL DEFAULT 0")
        return connection

    def close(self) -> None:
        """Close the connection; the next use opens another (must precede a fork)."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Hold a write transaction: all or nothing, one process at a time.

        Parameters
        ----------
        durable : bool
            Whether it must survive a power cut, for which it waits for the disk. All survive the
            death of processes, and a power cut takes only the last ones, in order.
        """
        self.connection().execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold a read transaction: all queries see the same moment."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self.connection()
        connection.execute(begin)
        try:
            yield connection
        except sqlite3.OperationalError as error:
            connection.rollback()
            raise IonSieveError(
                f"job queue {self.path}: {error}; mend that and run again to resume"
            ) from error
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
