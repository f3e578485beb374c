"""Stores in MongoDB that order documents without clocks, keep bytes as bytes, and check modules."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from maggma.core import Store
from maggma.stores import GridFSStore, MongoStore, MongoURIStore
from monty.json import jsanitize
from pydash import get, has
from pymongo import ReturnDocument

from ionsieve.workflows.store.decoding import check_modules

#: Collection of the last number that each collection gave.
_COUNTERS = "ionsieve_counters"

#: In the metadata of a file of GridFS: its content is no JSON.
_IS_BYTES = "is_bytes"


class _Checked(Store):
    """Gives out no document that asks for a module which is not allowed."""

    def query(self, *arguments: Any, **options: Any) -> Iterator[dict[str, Any]]:
        """Give the documents that match, as the store does."""
        for document in super().query(*arguments, **options):  # type: ignore[safe-super]
            yield check_modules(document, getattr(self, "collection_name", type(self).__name__))


class CheckedMongoStore(_Checked, MongoStore):
    """A collection that gives out no document that asks for a module which is not allowed."""


class OrderedMongoStore(CheckedMongoStore):
    """A collection whose documents get a number, growing with each write, and the time in UTC.

    ``sequence`` comes from a counter in the same database, so that it doesn't depend on the clocks
    of the machines that write. Of two that write at once the one that finishes last may have the
    smaller number.
    """

    def update(self, docs: Any, key: Any = None) -> None:
        """Write documents: each replaces the one with the same key, or is added."""
        documents = docs if isinstance(docs, list) else [docs]
        if not documents:
            return
        counter = self._collection.database[_COUNTERS].find_one_and_update(
            {"_id": self.collection_name},
            {"$inc": {"last": len(documents)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        first = counter["last"] - len(documents) + 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        super().update(
            [
                {**_plain(document), "sequence": number, "stored_at": now}
                for number, document in enumerate(documents, start=first)
            ],
            key=key,
        )


class BytesGridFSStore(_Checked, GridFSStore):
    """Large objects; those whose ``data`` are bytes are kept as these bytes.

    GridFSStore writes everything as JSON, and bytes would become the text ``b'...'``.
    """

    def update(self, docs: Any, key: Any = None, additional_metadata: Any = None) -> None:
        """Write documents: each replaces the one with the same key, or is added."""
        keys = [key] if isinstance(key, str) else list(key or [self.key])
        more = (
            [additional_metadata] if isinstance(additional_metadata, str) else additional_metadata
        )
        fields = {*keys, self.last_updated_field, *self.searchable_fields, *(more or [])}
        for document in docs if isinstance(docs, list) else [docs]:
            metadata = {name: get(document, name) for name in fields if has(document, name)}
            content = document.get("data")
            if isinstance(content, bytes):
                metadata[_IS_BYTES] = True
            else:
                content = json.dumps(jsanitize(document, recursive_msonable=True)).encode()
                if self.compression:
                    content, metadata["compression"] = zlib.compress(content), "zlib"
            identifier = self._collection.put(content, metadata=metadata)
            # By its id: two of one millisecond have the same time.
            same = {f"metadata.{name}": document[name] for name in keys}
            for other in self._files_collection.find({**same, "_id": {"$ne": identifier}}, ["_id"]):
                self._collection.delete(other["_id"])

    def query(
        self,
        criteria: Any = None,
        properties: Any = None,
        sort: Any = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Give the documents that match; of those with bytes the fields that can be searched."""
        criteria = self.transform_criteria(criteria) if criteria else criteria
        for file in self._files_store.query(criteria, None, sort, skip, limit):
            metadata = file.get("metadata") or {}
            if not metadata.get(_IS_BYTES):
                yield from super().query({"_id": file["_id"]}, properties)
                continue
            fields = {name: value for name, value in metadata.items() if name != _IS_BYTES}
            if not properties or "data" in properties:
                fields["data"] = self._collection.get(file["_id"]).read()
            yield fields


def _plain(document: Any) -> dict[str, Any]:
    plain: dict[str, Any] = jsanitize(document, allow_bson=True, recursive_msonable=True)
    return plain


def as_checked(store: Store, *, ordered: bool) -> Store:
    """Return a store of a jobflow.yaml as one that checks what it gives out.

    Parameters
    ----------
    store
        Of any kind; not yet connected.
    ordered
        Number what it is given, if it is a MongoStore.
    """
    kind = type(store)
    if kind in (MongoStore, MongoURIStore, OrderedMongoStore):
        store.__class__ = OrderedMongoStore if ordered else CheckedMongoStore
    elif kind is GridFSStore:
        store.__class__ = BytesGridFSStore
    elif not isinstance(store, _Checked):
        store.__class__ = type(kind.__name__, (_Checked, kind), {})
    return store
