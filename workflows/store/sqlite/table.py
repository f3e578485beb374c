"""The rows of one collection in an SQLite file: found, written and indexed."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from maggma.core.store import Sort

from ionsieve.errors import IonSieveError
from ionsieve.workflows.store.sqlite.connections import (
    Connections,
    UniqueError,
    check_path,
    prepare_collection,
    readable_errors,
)
from ionsieve.workflows.store.sqlite.documents import (
    decode,
    decode_id,
    encode,
    encode_id,
    normalize_criteria,
)
from ionsieve.workflows.store.sqlite.query import expression, matches, prefilter, sort_key

Criteria = Mapping[str, Any]

_ROWS_PER_READ = 50


class Table:
    """A collection of documents in a file, which is opened and made if absent.

    Parameters
    ----------
    path
        The file.
    name
        The collection: a plain name, it becomes part of SQL.

    Raises
    ------
    InputError
        If the file can't be opened for writing or is no SQLite database.
    """

    def __init__(self, path: Path, name: str) -> None:
        check_path(path)
        self._path = str(path)
        self._name = name
        self._table = f'"{name}"'
        self._indexed: set[tuple[str, ...]] = set()
        self._connections = Connections(self._path)
        with readable_errors(self._path):
            prepare_collection(self._connections.current(), self._path, self._table)

    def close(self) -> None:
        """Close all connections of this process."""
        self._connections.close()

    def find(
        self, criteria: Criteria, sort: Mapping[str, Sort | int] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the rows and documents that match a Mongo filter, sorted or as first written."""
        criteria = normalize_criteria(criteria)
        rows = self._sorted_rows(criteria, sort) if sort else self._candidates(criteria)
        return self._load(rows, criteria)

    def count(self) -> int:
        """Count all documents."""
        return int(self._read(f"SELECT count(*) FROM {self._table}")[0][0])

    def write(self, documents: Sequence[dict[str, Any]], fields: list[str]) -> None:
        """Write documents at once; each replaces the first with the same values of the fields."""
        prepared = [_prepare(document, fields) for document in documents]
        if tuple(fields) not in self._indexed:
            self.ensure_index(fields)
            self._indexed.add(tuple(fields))
        with self._writing() as connection:
            for upsert in prepared:
                self._upsert(connection, upsert)

    def remove(self, criteria: Criteria) -> None:
        """Remove the documents that match a Mongo filter."""
        with self._writing() as connection:
            rows = [(row,) for row, _ in self.find(criteria)]
            connection.executemany(f"DELETE FROM {self._table} WHERE row = ?", rows)

    def ensure_index(self, paths: list[str], unique: bool = False) -> bool:
        """Make an index over dotted paths; tell whether it exists now."""
        columns = [expression(path) for path in paths]
        if None in columns:
            return paths == ["_id"]
        kind = "unique" if unique else "index"
        title = f"{self._name}:{kind}:{','.join(paths)}"
        statement = (
            f'CREATE {"UNIQUE " if unique else ""}INDEX IF NOT EXISTS "{title}" '
            f"ON {self._table} ({', '.join(str(column) for column in columns)})"
        )
        try:
            with readable_errors(self._path):
                self._connections.current().execute(statement)
        except UniqueError:
            return False
        return True

    def _upsert(self, connection: sqlite3.Connection, upsert: "_Upsert") -> None:
        existing = next(self.find(upsert.criteria), None)
        if existing is None:
            identifier = ObjectId() if upsert.identifier is None else upsert.identifier
            statement = f"INSERT INTO {self._table} (id, doc) VALUES (?, ?)"
            connection.execute(statement, (encode_id(identifier), upsert.text))
            return
        row, document = existing
        if upsert.identifier not in (None, document["_id"]):
            raise IonSieveError(
                f"_id of the document with {dict(upsert.criteria)} is {document['_id']} and can't "
                f"become {upsert.identifier}; leave _id out when updating"
            )
        connection.execute(f"UPDATE {self._table} SET doc = ? WHERE row = ?", (upsert.text, row))

    def _candidates(self, criteria: Criteria) -> list[int]:
        """Rows that may match, in the order of writing."""
        matches(criteria, {})  # a malformed filter is refused even if nothing is read
        clause = prefilter(criteria)
        found = self._read(f"SELECT row FROM {self._table} WHERE {clause.sql}", clause.parameters)
        return sorted(row for (row,) in found)

    def _sorted_rows(self, criteria: Criteria, sort: Mapping[str, Sort | int]) -> list[int]:
        """Rows that match, sorted; only sort keys are held in memory, not documents."""
        keyed = [
            (row, [sort_key(path, document) for path in sort])
            for row, document in self._load(self._candidates(criteria), criteria)
        ]
        for position, direction in reversed(list(enumerate(sort.values()))):
            keyed.sort(
                key=lambda item: item[1][position], reverse=Sort(direction) is Sort.Descending
            )
        return [row for row, _ in keyed]

    def _load(
        self, rows: Sequence[int], criteria: Criteria
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read rows in the order given, as far as they still exist and match."""
        statement = (
            f"SELECT row, id, doc FROM {self._table} WHERE row IN (SELECT value FROM json_each(?))"
        )
        for start in range(0, len(rows), _ROWS_PER_READ):
            wanted = rows[start : start + _ROWS_PER_READ]
            texts = {row: rest for row, *rest in self._read(statement, [json.dumps(wanted)])}
            for row in wanted:
                if row not in texts:
                    continue
                identifier, text = texts[row]
                document = {"_id": decode_id(identifier), **decode(text)}
                if matches(criteria, document):
                    yield row, document

    def _read(self, statement: str, parameters: Sequence[str] = ()) -> list[Any]:
        with readable_errors(self._path):
            return self._connections.current().execute(statement, parameters).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._connections.current()
        with readable_errors(self._path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


@dataclass(frozen=True)
class _Upsert:
    """A document ready to be written."""

    criteria: Criteria
    identifier: Any
    text: str


def _prepare(document: dict[str, Any], fields: list[str]) -> _Upsert:
    missing = [field for field in fields if field not in document]
    if missing:
        raise KeyError(f"document lacks the key field {', '.join(missing)}")
    body = {name: value for name, value in document.items() if name != "_id"}
    if bad := next((name for name in body if name.startswith("$")), None):
        raise IonSieveError(f"field {bad!r}: names of fields can't begin with '$'; rename it")
    criteria = {field: document[field] for field in fields}
    return _Upsert(criteria, document.get("_id"), encode(body))
