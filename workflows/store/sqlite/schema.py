"""Tables of a store's file, and files of other versions.

A collection ``jobs`` has two tables: ``jobs`` holds the documents' text, ``jobs:parts`` their long
parts. Format 1 (0.1.0-dev) had the first alone, and is brought up to date in place: its documents
stay as they are until they are written again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ionsieve.errors import InputError

#: Format of the files this program writes, in SQLite's ``user_version``.
VERSION = 2

_COUNTERS = '":counters"'


Read = Callable[[str, tuple[Any, ...]], list[Any]]


def parts_table(name: str) -> str:
    """Return the table of a collection's long parts."""
    return f"{name}:parts"


def check_version(read: Read, path: str) -> int:
    """Return the format of a file; 0 if it is new.

    Raises
    ------
    InputError
        If a newer program or another one wrote it.
    """
    ((version,),) = read("PRAGMA user_version", ())
    if version > VERSION:
        raise InputError(
            f"store {path} has format {version}, this program reads up to {VERSION}; "
            "update the program"
        )
    if version == 0 and not is_empty(read):
        raise InputError(f"store {path} is a SQLite database of another program; give another file")
    return int(version)


def is_empty(read: Read) -> bool:
    """Return whether a file holds nothing at all."""
    return not read("SELECT 1 FROM sqlite_master LIMIT 1", ())


def has_table(read: Read, name: str) -> bool:
    """Return whether a file holds a table."""
    return bool(read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))


def prepare(connection: sqlite3.Connection, path: str, name: str) -> None:
    """Make the tables of a collection if absent, and bring the file up to date.

    Raises
    ------
    InputError
        If a newer program or another one wrote the file.
    """

    def read(statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        return connection.execute(statement, parameters).fetchall()

    if check_version(read, path) == VERSION and has_table(read, name):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        if check_version(read, path) < VERSION:
            _bring_up_to_date(connection)
        connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{name}" '
            "(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL)"
        )
        _make_parts(connection, name)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def next_numbers(connection: sqlite3.Connection, name: str, count: int) -> range:
    """Return numbers that a collection has never given before, in a transaction that is open."""
    statement = (
        f"INSERT INTO {_COUNTERS} (name, last) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET last = last + excluded.last"
    )
    connection.execute(statement, (name, count))
    (last,) = connection.execute(f"SELECT last FROM {_COUNTERS} WHERE name = ?", (name,)).fetchone()
    return range(last - count + 1, last + 1)


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in tables:
        _make_parts(connection, name)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_COUNTERS} (name TEXT PRIMARY KEY, last INTEGER NOT NULL)"
    )
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _make_parts(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        f'CREATE TABLE IF NOT EXISTS "{parts_table(name)}" '
        "(row INTEGER PRIMARY KEY, data BLOB NOT NULL)"
    )
