"""Find outputs whose large data was never written."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobflow import JobStore
from maggma.core import Store

from ionsieve.workflows.sqlite_store import SQLiteStore

_BLOBS_PER_QUERY = 1000


@dataclass(frozen=True)
class DanglingReference:
    """A reference in a job's output to data that is not in the additional store."""

    job_uuid: str
    job_index: int
    store: str
    blob_uuid: str


def find_dangling_references(job_store: JobStore) -> list[DanglingReference]:
    """Find references to blobs that do not exist.

    jobflow writes a job's document before the blobs it refers to, so a process killed in between
    leaves such a reference; the job has to be run again. With `SQLiteStore` only the documents
    that refer to blobs are read, which is quick enough for every start-up.

    Parameters
    ----------
    job_store
        A connected job store.

    Returns
    -------
    list of DanglingReference
        In the order the documents were written; empty if all is well.
    """
    documents: Store = job_store.docs_store
    additional: dict[str, Store] = job_store.additional_stores  # type: ignore[has-type]
    suspects = (
        documents.query_containing('"blob_uuid"')
        if isinstance(documents, SQLiteStore)
        else documents.query()
    )
    references = [reference for document in suspects for reference in _references(document)]
    wanted = defaultdict(list)
    for reference in references:
        wanted[reference.store].append(reference.blob_uuid)
    existing = {
        (name, blob_uuid)
        for name, blob_uuids in wanted.items()
        if name in additional
        for blob_uuid in _existing(additional[name], blob_uuids)
    }
    return [each for each in references if (each.store, each.blob_uuid) not in existing]


def _references(document: dict[str, Any]) -> Iterator[DanglingReference]:
    for store, blob_uuid in _blob_references(document.get("output")):
        yield DanglingReference(document["uuid"], document["index"], store, blob_uuid)


def _blob_references(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "blob_uuid" in value and "store" in value:
            yield value["store"], value["blob_uuid"]
        else:
            for item in value.values():
                yield from _blob_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _blob_references(item)


def _existing(store: Store, blob_uuids: list[str]) -> Iterator[str]:
    for start in range(0, len(blob_uuids), _BLOBS_PER_QUERY):
        criteria = {"blob_uuid": {"$in": blob_uuids[start : start + _BLOBS_PER_QUERY]}}
        yield from store.distinct("blob_uuid", criteria)
