"""The rows of one collection in an SQLite file: found, written and indexed."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bson import ObjectId
from maggma.core.store import Sort

from ionsieve.errors import IonSieveError
from ionsieve.workflows.store.decoding import check_modules
from ionsieve.workflows.store.errors import NothingStoredError
from ionsieve.workflows.store.sqlite.connections import (
    Connections,
    UniqueError,
    check_path,
    readable_errors,
    switch_to_write_ahead_log,
)
from ionsieve.workflows.store.sqlite.documents import (
    Tree,
    decode,
    decode_id,
    encode,
    encode_id,
    normalize_criteria,
    tree_of,
)
from ionsieve.workflows.store.sqlite.query import (
    expression,
    matches,
    paths_of,
    plain_keys,
    prefilter,
    sort_columns,
    sort_key,
)
from ionsieve.workflows.store.sqlite.reading import Reader
from ionsieve.workflows.store.sqlite.schema import (
    check_version,
    has_table,
    is_empty,
    next_numbers,
    parts_table,
    prepare,
)

Criteria = Mapping[str, Any]
Paths = Collection[str] | None

#: Rows read at once: few at first, for often one document is all that is asked for.
_FIRST_BATCHES, _BATCH = (1, 20), 500

#: Long parts up to this size are read for many rows at once.
_SMALL_PARTS_BYTES = 1 << 16


class _Row(NamedTuple):
    """What is stored of a document; ``parts`` are None if they are absent, large or not read."""

    identifier: str
    text: str
    parts: bytes | None


class _ChangedError(Exception):
    """A document was changed between two reads of it."""


class Table:
    """A collection of documents in a file, which is opened and made if absent.

    Parameters
    ----------
    path
        The file.
    name
        The collection: a plain name, it becomes part of SQL.
    read_only
        Write nothing, neither to the file nor beside it. A collection that is absent is empty.
    stamped
        Give each document written a ``sequence`` that grows, and the time in ``stored_at``.

    Raises
    ------
    NothingStoredError
        If the file is to be read only, and there is nothing.
    InputError
        If the file can't be opened, or another program wrote it.
    """

    def __init__(
        self, path: Path, name: str, *, read_only: bool = False, stamped: bool = False
    ) -> None:
        self._path = str(path)
        self._name = name
        self._table, self._parts = f'"{name}"', f'"{parts_table(name)}"'
        self._stamped = stamped
        self._indexed: set[tuple[str, ...]] = set()
        self._source: Connections | Reader
        if read_only:
            self._source = Reader(self._path)
            check_version(self._source.read, self._path)
            if is_empty(self._source.read):
                raise NothingStoredError.of(self._path)
            return
        check_path(path)
        self._source = Connections(self._path)
        with readable_errors(self._path):
            check_version(self._source.read, self._path)
            switch_to_write_ahead_log(self._source.current(), self._path)
            prepare(self._source.current(), self._path, name)

    def close(self) -> None:
        """Close all connections of this process."""
        self._source.close()

    def find(
        self,
        criteria: Criteria,
        sort: Mapping[str, Sort | int] | None = None,
        paths: Paths = None,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the rows and documents that match a Mongo filter, sorted or as first written.

        Of the documents only ``_id`` and the fields at ``paths`` need be there, if given.
        """
        criteria = normalize_criteria(criteria)
        rows = self._sorted_rows(criteria, sort) if sort else self._candidates(criteria)
        return self._load(rows, criteria, paths)

    def count(self) -> int:
        """Count all documents."""
        if not self._exists():
            return 0
        return int(self._source.read(f"SELECT count(*) FROM {self._table}")[0][0])

    def write(self, documents: Sequence[dict[str, Any]], fields: list[str]) -> None:
        """Write documents at once; each replaces the first with the same values of the fields."""
        for document in documents:
            _check(document, fields)
        if tuple(fields) not in self._indexed:
            self.ensure_index(fields)
            self._indexed.add(tuple(fields))
        with self._writer.writing() as connection:
            for document in self._stamp(connection, documents):
                self._upsert(connection, document, {field: document[field] for field in fields})

    def remove(self, criteria: Criteria) -> None:
        """Remove the documents that match a Mongo filter."""
        with self._writer.writing() as connection:
            rows = [(row,) for row, _ in self.find(criteria, paths=())]
            for table in (self._table, self._parts):
                connection.executemany(f"DELETE FROM {table} WHERE row = ?", rows)

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
                self._writer.current().execute(statement)
        except UniqueError:
            return False
        return True

    @property
    def _writer(self) -> Connections:
        if isinstance(self._source, Reader):
            raise IonSieveError(f"store {self._path} is open for reading only")
        return self._source

    def _exists(self) -> bool:
        """Tell whether the collection is there; without writing one can't make it."""
        return isinstance(self._source, Connections) or has_table(self._source.read, self._name)

    def _stamp(
        self, connection: sqlite3.Connection, documents: Sequence[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        if not self._stamped:
            yield from documents
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        numbers = next_numbers(connection, self._name, len(documents))
        for number, document in zip(numbers, documents, strict=True):
            yield {**document, "sequence": number, "stored_at": now}

    def _upsert(
        self, connection: sqlite3.Connection, document: dict[str, Any], criteria: Criteria
    ) -> None:
        identifier = document.get("_id")
        encoded = encode({name: value for name, value in document.items() if name != "_id"})
        row, existing = next(self.find(criteria, paths=()), (None, {}))
        if row is None:
            identifier = ObjectId() if identifier is None else identifier
            statement = f"INSERT INTO {self._table} (id, doc) VALUES (?, ?)"
            row = connection.execute(statement, (encode_id(identifier), encoded.text)).lastrowid
        elif identifier not in (None, existing["_id"]):
            raise IonSieveError(
                f"_id of the document with {dict(criteria)} is {existing['_id']} and can't "
                f"become {identifier}; leave _id out when updating"
            )
        else:
            statement = f"UPDATE {self._table} SET doc = ? WHERE row = ?"
            connection.execute(statement, (encoded.text, row))
            connection.execute(f"DELETE FROM {self._parts} WHERE row = ?", (row,))
        if encoded.parts is not None:
            statement = f"INSERT INTO {self._parts} (row, data) VALUES (?, ?)"
            connection.execute(statement, (row, encoded.parts))

    def _candidates(self, criteria: Criteria) -> list[int]:
        """Rows that may match, in the order of writing."""
        matches(criteria, {})  # a malformed filter is refused even if nothing is read
        if not self._exists():
            return []
        clause = prefilter(criteria)
        found = self._source.read(
            f"SELECT row FROM {self._table} WHERE {clause.sql}", clause.parameters
        )
        return sorted(row for (row,) in found)

    def _sorted_rows(self, criteria: Criteria, sort: Mapping[str, Sort | int]) -> list[int]:
        """Rows that match, sorted; only sort keys are held in memory, not documents."""
        rows = self._candidates(criteria)
        if criteria:
            rows = [row for row, _ in self._load(rows, criteria, ())]
        keyed = self._plain_keys(rows, sort) or [
            (row, [sort_key(path, document) for path in sort])
            for row, document in self._load(rows, {}, sort.keys())
        ]
        for position, direction in reversed(list(enumerate(sort.values()))):
            keyed.sort(
                key=lambda item: item[1][position], reverse=Sort(direction) is Sort.Descending
            )
        return [row for row, _ in keyed]

    def _plain_keys(self, rows: list[int], paths: Iterable[str]) -> list[tuple[int, list[Any]]]:
        """Give rows with sort keys that SQLite has read; nothing if it can't read them all."""
        columns = sort_columns(paths)
        if columns is None or not rows:
            return []
        found = self._source.read(
            f"SELECT row, {columns} FROM {self._table} "
            "WHERE row IN (SELECT value FROM json_each(?)) ORDER BY row",
            (json.dumps(rows),),
        )
        keys = plain_keys([text for _, text in found]) if found else None
        return list(zip((row for row, _ in found), keys, strict=True)) if keys else []

    def _load(
        self, rows: Sequence[int], criteria: Criteria, paths: Paths
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read rows in the order given, as far as they still exist and match."""
        needed, wanted = tree_of(paths_of(criteria)), tree_of(paths)
        start = 0
        for size in itertools.chain(_FIRST_BATCHES, itertools.repeat(_BATCH)):
            batch = rows[start : start + size]
            if not batch:
                return
            start += size
            stored = self._stored(batch, with_parts=paths is None)
            for row in batch:
                document = self._document(row, stored.get(row), criteria, needed, wanted)
                if document is not None:
                    yield row, document

    def _document(
        self, row: int, stored: _Row | None, criteria: Criteria, needed: Tree, wanted: Tree
    ) -> dict[str, Any] | None:
        """Return the document of a row, or None if it doesn't match or is gone."""
        while stored is not None:
            try:
                if criteria and not matches(criteria, self._decoded(row, stored, needed)):
                    return None
                return self._decoded(row, stored, wanted)
            except _ChangedError:
                stored = self._stored([row], with_parts=True).get(row)
        return None

    def _decoded(self, row: int, stored: _Row, tree: Tree) -> dict[str, Any]:
        identifier, text, parts = stored
        may_name_modules = '"@module"' in text or "\\u" in text  # \u: any letter can be so written

        def load_parts() -> bytes | None:
            nonlocal may_name_modules, parts
            parts = self._parts_of(row, stored) if parts is None else parts
            if parts and not may_name_modules:
                may_name_modules = b'"@module"' in parts or b"\\u" in parts
            return parts

        try:
            document = {"_id": decode_id(identifier), **decode(text, load_parts, tree)}
        except (ValueError, KeyError, TypeError) as error:
            raise IonSieveError(
                f"store {self._path}: row {row} of {self._name} is damaged ({error}); remove it "
                "or restore a backup"
            ) from error
        return check_modules(document, f"store {self._path}") if may_name_modules else document

    def _stored(self, rows: Sequence[int], *, with_parts: bool) -> dict[int, _Row]:
        """Read the texts of some rows, and their parts if they are small."""
        wanted = "WHERE row IN (SELECT value FROM json_each(?))"
        statement = f"SELECT row, id, doc, NULL FROM {self._table} {wanted}"
        if with_parts and self._has_parts():
            statement = (
                f"SELECT row, id, doc, CASE WHEN length(data) <= {_SMALL_PARTS_BYTES} THEN data "
                f"END FROM {self._table} LEFT JOIN {self._parts} USING (row) {wanted}"
            )
        found = self._source.read(statement, (json.dumps(rows),))
        return {row: _Row(*rest) for row, *rest in found}

    def _parts_of(self, row: int, stored: _Row) -> bytes | None:
        """Return the parts of a document whose text was read before."""
        if not self._has_parts():
            return None
        found = self._source.read(
            f"SELECT doc, data FROM {self._table} LEFT JOIN {self._parts} USING (row) "
            "WHERE row = ?",
            (row,),
        )
        if not found or found[0][0] != stored.text:
            raise _ChangedError
        return found[0][1]

    def _has_parts(self) -> bool:
        """Tell whether long parts are kept apart: not in a file of 0.1.0-dev that is only read."""
        return isinstance(self._source, Connections) or has_table(
            self._source.read, parts_table(self._name)
        )


def _check(document: dict[str, Any], fields: list[str]) -> None:
    missing = [field for field in fields if field not in document]
    if missing:
        raise KeyError(f"document lacks the key field {', '.join(missing)}")
    if bad := next((name for name in document if name.startswith("$")), None):
        raise IonSieveError(f"field {bad!r}: names of fields can't begin with '$'; rename it")
