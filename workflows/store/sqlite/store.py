"""A maggma `Store` in one SQLite file: no server, safe with several processes, quick when large."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maggma.core.store import DateTimeFormat, Sort, Store, StoreError
from maggma.core.validator import Validator
from monty.json import jsanitize
from pydash import get, has, set_

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.sqlite.documents import hashable, projection, values_at, wanted_paths
from ionsieve.workflows.store.sqlite.table import Criteria, Table

Properties = dict[str, Any] | list[str]

_COLLECTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


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
    stamped
        Give each document written, new or not, a ``sequence``: a number larger than all the
        collection gave before, whatever the clocks say; and in ``stored_at`` the time in UTC.
    read_only
        Write nothing, neither to the file nor beside it: works on files and folders without
        permission to write. The file must exist, a collection that doesn't is empty.

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
        stamped: bool = False,
        read_only: bool = False,
    ) -> None:
        if not _COLLECTION_NAME.fullmatch(collection_name):
            raise InputError(
                f"collection name {collection_name!r}: begin with a letter and use letters, "
                "digits, '_', '.' and '-' only"
            )
        self.path = str(Path(path).expanduser().absolute())
        self.collection_name = collection_name
        self.stamped = stamped
        self.read_only = read_only
        self._rows: Table | None = None
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
        """Open the file, and make it and the collection if absent and not read only.

        Parameters
        ----------
        force_reset
            Open anew even if open.

        Raises
        ------
        NothingStoredError
            If it is read only, and there is nothing.
        InputError
            If the file can't be opened or is no SQLite database.
        """
        if self._rows is not None:
            if not force_reset:
                return
            self.close()
        self._rows = Table(
            Path(self.path), self.collection_name, read_only=self.read_only, stamped=self.stamped
        )

    def close(self) -> None:
        """Close all connections of this process to the file."""
        if self._rows is not None:
            self._rows.close()
        self._rows = None

    def count(self, criteria: Criteria | None = None, hint: Mapping[str, Any] | None = None) -> int:
        """Count the documents that match.

        Parameters
        ----------
        criteria
            A Mongo filter; none for all documents.
        hint
            Taken for MongoStore's sake, not needed: SQLite finds the index itself.
        """
        table = self._opened()
        return sum(1 for _ in table.find(criteria, paths=())) if criteria else table.count()

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
        found = self._opened().find(criteria or {}, sort, wanted_paths(properties))
        project = projection(properties)
        end = skip + abs(limit) if limit else None
        for position, (_, document) in enumerate(found):
            if position >= skip:
                yield project(document)
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
        if valid:
            self._opened().write(valid, fields)

    def remove_docs(self, criteria: Criteria) -> None:
        """Remove the documents that match.

        Parameters
        ----------
        criteria
            A Mongo filter; an empty one removes everything.
        """
        self._opened().remove(criteria)

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
        return self._opened().ensure_index(_as_list(key), unique)

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

    def _is_valid(self, document: dict[str, Any]) -> bool:
        if self.validator is None or self.validator.is_valid(document):
            return True
        faults = self.validator.validation_errors(document)
        if getattr(self.validator, "strict", False):
            raise ValueError(faults)
        self.logger.error(faults)
        return False

    def _opened(self) -> Table:
        if self._rows is None:
            raise StoreError(f"{self.name} is not connected: call connect() first")
        return self._rows


def _as_list(key: str | list[str]) -> list[str]:
    return [key] if isinstance(key, str) else list(key)
