"""A maggma `Store` in one SQLite file: no server, safe with several processes, quick when large."""

import contextlib
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from maggma.core.store import DateTimeFormat, Sort, Store, StoreError
from maggma.core.validator import Validator
from monty.json import jsanitize
from pydash import get, has, set_

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.sqlite_connections import (
    Connections,
    UniqueError,
    check_path,
    prepare_collection,
    readable_errors,
)
from ionsieve.workflows.sqlite_documents import (
    decode,
    decode_id,
    encode,
    encode_id,
    hashable,
    normalize_criteria,
    project,
    values_at,
)
from ionsieve.workflows.sqlite_query import Clause, expression, matches, prefilter, sort_key

Criteria = Mapping[str, Any]
Properties = dict[str, Any] | list[str]

_COLLECTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ROWS_PER_READ = 50


class SQLiteStore(Store):
    """A maggma store whose documents live in a table of an SQLite file.

    It answers Mongo queries as `maggma.stores.MongoStore` does, needs no server, and may be used
    from many threads and processes of one machine at once: writers wait for each other, readers
    never wait. What `update` has returned from survives a crash of the process and of the machine.

    The file must be on a local disk. On a network file system (NFS, Lustre, GPFS) SQLite's locks
    and shared memory do not hold between machines, and the file can be corrupted: there use
    MongoDB.

    Parameters
    ----------
    path
        The file; it is made if absent, its directory must exist. Several collections can share it.
    collection_name
        The collection, a table of its own in the file: letters, digits, ``_``, ``.``, ``-``.
    key
        The field, or fields, whose values tell documents apart in `update`.
    last_updated_field
        The field that holds when a document was last changed.
    last_updated_type
        Whether that field holds times or ISO-formatted text.
    validator
        Checks documents before they are written; invalid ones are logged and left out, or refused
        if the validator is strict.

    Examples
    --------
    >>> store = SQLiteStore("results.sqlite", "conductors", key="formula")
    >>> store.connect()
    >>> store.update({"formula": "Na3PS4", "sigma_300k_s_cm": 2e-4, "mother": {"cation": "P"}})
    >>> store.query_one({"mother.cation": "P", "sigma_300k_s_cm": {"$gt": 1e-4}})["formula"]
    'Na3PS4'

    Index what large collections are queried by, once; it stays in the file:

    >>> store.ensure_index("sigma_300k_s_cm")
    True

    As jobflow's store, with large outputs in a collection of their own:

    >>> from jobflow import JobStore
    >>> outputs = SQLiteStore("results.sqlite", "outputs")
    >>> blobs = SQLiteStore("results.sqlite", "outputs_blobs")
    >>> job_store = JobStore(outputs, additional_stores={"data": blobs})
    """

    def __init__(
        self,
        path: str | Path,
        collection_name: str = "documents",
        key: str | list[str] = "task_id",
        last_updated_field: str = "last_updated",
        last_updated_type: DateTimeFormat = DateTimeFormat.DateTime,
        validator: Validator | None = None,
    ) -> None:
        if not _COLLECTION_NAME.fullmatch(collection_name):
            raise InputError(
                f"collection name {collection_name!r}: begin with a letter and use letters, "
                "digits, '_', '.' and '-' only"
            )
        self.path = str(Path(path).expanduser().absolute())
        self.collection_name = collection_name
        self._table = f'"{collection_name}"'
        self._connections: Connections | None = None
        self._indexed: set[tuple[str, ...]] = set()
        super().__init__(
            key=key,  # type: ignore[arg-type]
            last_updated_field=last_updated_field,
            last_updated_type=last_updated_type,
            validator=validator,
        )

    @property
    def name(self) -> str:
        """The place of the documents: ``sqlite://FILE/COLLECTION``."""
        return f"sqlite://{self.path}/{self.collection_name}"

    @property
    def _collection(self) -> Any:
        raise StoreError("SQLiteStore has no pymongo collection; use the methods of the store")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SQLiteStore) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str, str]:
        return self.path, self.collection_name, self.last_updated_field

    def connect(self, force_reset: bool = False) -> None:
        """Open the file, and make it and the collection if absent.

        Parameters
        ----------
        force_reset
            Open anew even if open.

        Raises
        ------
        InputError
            If the file can't be opened for writing or is no SQLite database.
        """
        if self._connections is not None:
            if not force_reset:
                return
            self.close()
        check_path(Path(self.path))
        connections = Connections(self.path)
        with readable_errors(self.path):
            prepare_collection(connections.current(), self.path, self._table)
        self._connections = connections

    def close(self) -> None:
        """Close all connections of this process to the file."""
        if self._connections is not None:
            self._connections.close()
        self._connections = None
        self._indexed = set()

    def count(self, criteria: Criteria | None = None, hint: Mapping[str, Any] | None = None) -> int:
        """Count the documents that match.

        Parameters
        ----------
        criteria
            A Mongo filter; none for all documents.
        hint
            Taken for MongoStore's sake, not needed: SQLite finds the index itself.
        """
        if not criteria:
            return int(self._read(f"SELECT count(*) FROM {self._table}")[0][0])
        return sum(1 for _ in self._find(criteria))

    def query(
        self,
        criteria: Criteria | None = None,
        properties: Properties | None = None,
        sort: Mapping[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
        hint: Mapping[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Give the documents that match, in the order they were first written.

        The store may be changed while the result is being read: documents changed meanwhile are
        given as they are now, if they still match.

        Parameters
        ----------
        criteria
            A Mongo filter; none for all documents.
        properties
            Dotted paths to return, or a mapping of them to 1 (return) or 0 (leave out).
        sort
            Dotted paths, each mapped to 1 (ascending) or -1 (descending).
        skip, limit
            How many documents to leave out first, and to return at most; 0 for all.
        hint
            Taken for MongoStore's sake, not needed: SQLite finds the index itself.

        Yields
        ------
        dict
            The documents.
        """
        criteria = normalize_criteria(criteria or {})
        rows = self._sorted_rows(criteria, sort) if sort else self._candidates(criteria)
        end = skip + abs(limit) if limit else None
        for position, (_, document) in enumerate(self._load(rows, criteria)):
            if position >= skip:
                yield project(document, properties)
            if end is not None and position + 1 >= end:
                return

    def distinct(
        self, field: str, criteria: Criteria | None = None, all_exist: bool = False
    ) -> list[Any]:
        """List the different values of a field; the items of arrays count one by one.

        Parameters
        ----------
        field
            Dotted path of the field.
        criteria
            A Mongo filter; none for all documents.
        all_exist
            Taken for maggma's sake, without effect as in MongoStore.
        """
        found: dict[Any, Any] = {}
        for document in self.query(criteria, properties=[field, "_id"]):
            for value in values_at(document, field.split(".")):
                for item in value if isinstance(value, list) else [value]:
                    found.setdefault(hashable(item), item)
        return list(found.values())

    def groupby(
        self,
        keys: list[str] | str,
        criteria: Criteria | None = None,
        properties: Properties | None = None,
        sort: Mapping[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Group the documents that match by the values of some fields.

        Documents without one of the fields are left out. Groups come in the order of their first
        document.

        Parameters
        ----------
        keys
            Dotted path or paths to group by.
        criteria, properties, sort, skip, limit
            Which documents, and what of them, as for `query`.

        Yields
        ------
        tuple of dict and list of dict
            The values of the fields, and the documents that share them.
        """
        keys = [keys] if isinstance(keys, str) else keys
        wanted = [*properties, *keys] if properties else None
        groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for document in self.query(criteria, wanted, sort, skip, limit):
            if all(has(document, key) for key in keys):
                groups[tuple(hashable(get(document, key)) for key in keys)].append(document)
        for documents in groups.values():
            shared: dict[str, Any] = {}
            for key in keys:
                set_(shared, key, get(documents[0], key))
            yield shared, documents

    def update(
        self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None
    ) -> None:
        """Write documents: each replaces the one with the same key, or is added.

        All of them are written or none, and when this returns they are on the disk.

        Parameters
        ----------
        docs
            The document or documents.
        key
            Field or fields that tell documents apart; the store's own by default.

        Raises
        ------
        IonSieveError
            If a document can't be stored, or a unique index forbids it.
        KeyError
            If a document lacks a key field.
        """
        fields = _as_list(key or self.key)
        valid = [
            document
            for document in (
                jsanitize(each, allow_bson=True, recursive_msonable=True)
                for each in (docs if isinstance(docs, list) else [docs])
            )
            if self._is_valid(document)
        ]
        prepared = [_prepare(document, fields) for document in valid]
        if not prepared:
            return
        self._ensure_lookup_index(fields)
        with self._writing() as connection:
            for upsert in prepared:
                self._upsert(connection, upsert)

    def remove_docs(self, criteria: Criteria) -> None:
        """Remove the documents that match.

        Parameters
        ----------
        criteria
            A Mongo filter; an empty one removes everything.
        """
        with self._writing() as connection:
            rows = [(row,) for row, _ in self._find(criteria)]
            connection.executemany(f"DELETE FROM {self._table} WHERE row = ?", rows)

    def ensure_index(self, key: str | list[str], unique: bool = False) -> bool:
        """Make an index, so that queries by a field need not read all documents.

        Parameters
        ----------
        key
            Dotted path of a field that holds scalars, or several paths for an index over all.
        unique
            Refuse documents whose values are already there.

        Returns
        -------
        bool
            Whether the index exists now: not if the path has array positions or odd characters,
            nor if a unique index is asked for and documents share a value already.
        """
        columns = [expression(path) for path in _as_list(key)]
        if None in columns:
            return key == "_id"
        kind = "unique" if unique else "index"
        title = f"{self.collection_name}:{kind}:{','.join(_as_list(key))}"
        statement = (
            f'CREATE {"UNIQUE " if unique else ""}INDEX IF NOT EXISTS "{title}" '
            f"ON {self._table} ({', '.join(str(column) for column in columns)})"
        )
        try:
            with readable_errors(self.path):
                self._connection().execute(statement)
        except UniqueError:
            return False
        return True

    def newer_in(
        self, target: Store, criteria: Criteria | None = None, exhaustive: bool = False
    ) -> list[str]:
        """List the keys of documents that are newer in another store than in this one.

        Parameters
        ----------
        target
            The other store.
        criteria
            A Mongo filter on the other store.
        exhaustive
            Compare document by document, not only with the newest one here.

        Raises
        ------
        IonSieveError
            If the key of this store or the other is more than one field.
        """
        for store in (self, target):
            if not isinstance(store.key, str):
                raise IonSieveError(
                    f"newer_in needs a key of one field, {store.name} has {store.key}"
                )
        return super().newer_in(target, dict(criteria or {}), exhaustive)

    def query_containing(self, text: str) -> Iterator[dict[str, Any]]:
        """Give the documents whose JSON text contains a text, by one quick scan."""
        found = self._read(f"SELECT row FROM {self._table} WHERE instr(doc, ?) > 0", [text])
        for _, document in self._load([row for (row,) in found], {}):
            yield document

    def _is_valid(self, document: dict[str, Any]) -> bool:
        if self.validator is None or self.validator.is_valid(document):
            return True
        faults = self.validator.validation_errors(document)
        if getattr(self.validator, "strict", False):
            raise ValueError(faults)
        self.logger.error(faults)
        return False

    def _ensure_lookup_index(self, fields: list[str]) -> None:
        if tuple(fields) not in self._indexed:
            self.ensure_index(fields)
            self._indexed.add(tuple(fields))

    def _upsert(self, connection: sqlite3.Connection, upsert: "_Upsert") -> None:
        existing = next(self._find(upsert.criteria), None)
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

    def _find(self, criteria: Criteria) -> Iterator[tuple[int, dict[str, Any]]]:
        criteria = normalize_criteria(criteria)
        return self._load(self._candidates(criteria), criteria)

    def _candidates(self, criteria: Criteria) -> list[int]:
        """Rows that may match, in the order of writing."""
        matches(criteria, {})  # a malformed filter is refused even if nothing is read
        clause: Clause = prefilter(criteria)
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

    def _connection(self) -> sqlite3.Connection:
        if self._connections is None:
            raise StoreError(f"{self.name} is not connected: call connect() first")
        return self._connections.current()

    def _read(self, statement: str, parameters: Sequence[str] = ()) -> list[Any]:
        with readable_errors(self.path):
            return self._connection().execute(statement, parameters).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        with readable_errors(self.path):
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


def _as_list(key: str | list[str]) -> list[str]:
    return [key] if isinstance(key, str) else list(key)
