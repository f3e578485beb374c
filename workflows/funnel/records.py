"""Reading access to what is stored, by key: the newest document, its scalars, its failure.

A document is found by the key of what it is the result of, never by the screening that asked for it
or by its age: two screenings that ask for the same share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobflow import JobStore

from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.documents.raw import Document, FailureDocument

Model = type[Document]


@dataclass(frozen=True)
class Entry:
    """One stored document: who made it, what it is the result of, and its scalars.

    Attributes
    ----------
    uuid, index
        Of the job that made it.
    document
        Name of its class.
    key
        Of what it is the result of.
    sequence
        Grows with each write to the store; orders documents without a clock.
    completed_at
        For people.
    output
        The fields that are read with it.
    """

    uuid: str
    index: int
    document: str
    key: str
    sequence: int
    completed_at: str
    output: Mapping[str, Any] = field(repr=False, hash=False, compare=False)

    def __getitem__(self, name: str) -> Any:
        """Return a field of the document."""
        return self.output[name]

    @property
    def age_key(self) -> tuple[int, str, int, str]:
        """Sorts documents from old to new."""
        return (self.sequence, self.completed_at, self.index, self.uuid)


class Records:
    """What is stored, read once and kept up with `refresh`.

    Parameters
    ----------
    job_store
        Connected store of job outputs; its additional stores are never touched.
    fields
        Name of a class of documents -> fields of it that are read along.
    """

    def __init__(self, job_store: JobStore, fields: Mapping[str, Sequence[str]]) -> None:
        self._store = job_store
        self._fields = {
            **fields,
            FailureDocument.__name__: ("reason", "job", "folder", "retriable"),
        }
        self._found: dict[tuple[str, str], list[Entry]] = {}
        self._last: dict[str, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what was stored since the last time; failures anew, as others may forget them."""
        for known in [known for known in self._found if known[0] == FailureDocument.__name__]:
            del self._found[known]
        for document, names in self._fields.items():
            criteria: dict[str, Any] = {"metadata.document": document}
            since = self._last.get(document, 0)
            if since and document != FailureDocument.__name__:
                criteria["sequence"] = {"$gt": since}
            found = self._store.query(
                criteria,
                properties=[
                    *("uuid", "index", "sequence", "completed_at", "metadata.key"),
                    *(f"output.{name}" for name in names),
                ],
            )
            for entry in sorted((_entry(document, raw) for raw in found), key=_age):
                entries = self._found.setdefault((document, entry.key), [])
                entries[:] = [e for e in entries if (e.uuid, e.index) != (entry.uuid, entry.index)]
                entries.append(entry)
                self._last[document] = max(entry.sequence, self._last.get(document, 0))

    def newest(self, model: Model, key: str) -> Entry | None:
        """Return the newest document of a key; None if there is none."""
        entries = self.all(model, key)
        return entries[-1] if entries else None

    def all(self, model: Model, key: str) -> list[Entry]:
        """Return all documents of a key, from old to new."""
        return self._found.get((model.__name__, key), [])

    def holds(self, key: str) -> bool:
        """Return whether any document of a key is stored, other than why it failed."""
        failure = FailureDocument.__name__
        return any(self._found.get((name, key)) for name in self._fields if name != failure)

    def failure(self, key: str) -> Entry | None:
        """Return why the flow of a key failed; None if it didn't."""
        return self.newest(FailureDocument, key)

    def outputs(
        self, entries: Iterable[Entry], fields: Iterable[str] | None = None
    ) -> dict[Entry, dict[str, Any]]:
        """Return the outputs of some entries, reduced to top-level ``fields`` (None: all)."""
        wanted = {(entry.uuid, entry.index): entry for entry in entries}
        if not wanted:
            return {}
        paths = ["output"] if fields is None else [f"output.{name}" for name in fields]
        found = self._store.query(
            {"uuid": {"$in": sorted({uuid for uuid, _ in wanted})}},
            properties=["uuid", "index", *paths],
        )
        return {
            wanted[identity]: raw.get("output") or {}
            for raw in found
            if (identity := (raw["uuid"], raw["index"])) in wanted
        }

    def note_failures(self, statuses: Iterable[FlowStatus]) -> None:
        """Store why flows failed, and forget it of those that were given another try."""
        for status in statuses:
            known = self.failure(status.key)
            if status.state == "failed":
                if known is None or known["reason"] != status.error:
                    self._store.update(_failure_of(status))
            elif known is not None:
                self.forget_failures([status.key])
        self.refresh()

    def forget_failures(self, keys: Iterable[str]) -> None:
        """Remove what is stored of failures, so that they are tried again."""
        keys = list(keys)
        self._store.remove_docs({"uuid": {"$in": [_failure_uuid(key) for key in keys]}})
        for key in keys:
            self._found.pop((FailureDocument.__name__, key), None)


def _age(entry: Entry) -> tuple[int, str, int, str]:
    return entry.age_key


def _entry(document: str, raw: Mapping[str, Any]) -> Entry:
    return Entry(
        uuid=raw["uuid"],
        index=raw["index"],
        document=document,
        key=(raw.get("metadata") or {}).get("key", ""),
        sequence=int(raw.get("sequence") or 0),
        completed_at=str(raw.get("completed_at") or ""),
        output=raw.get("output") or {},
    )


def _failure_uuid(key: str) -> str:
    return f"failure-{key}"


def _failure_of(status: FlowStatus) -> dict[str, Any]:
    failure = FailureDocument(
        stage=status.stage,
        label=status.label,
        job=status.failed_job,
        reason=status.error,
        folder=status.failed_folder,
        retriable=status.retriable,
    )
    return stored_document(failure, _failure_uuid(status.key), status.key, status.stage)


def stored_document(
    document: Document, uuid: str, key: str, stage: str, **metadata: str
) -> dict[str, Any]:
    """Return a document as jobflow stores the output of a job, for one that no job made."""
    return {
        "uuid": uuid,
        "index": 1,
        "name": stage,
        "hosts": [],
        "completed_at": datetime.now(UTC).isoformat(),
        "metadata": {
            "key": key,
            "stage": stage,
            "document": type(document).__name__,
            **metadata,
        },
        "output": {
            "@module": type(document).__module__,
            "@class": type(document).__name__,
            **document.model_dump(mode="json"),
        },
    }
