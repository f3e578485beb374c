"""The common part of the builders: what is stale, loading, writing, removing."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from jobflow.core.store import JobStore
from maggma.core import Builder, Store
from maggma.utils import grouper

from ionsieve.workflows.documents.collections import BuiltDocument
from ionsieve.workflows.results.raw_outputs import RawEntry, RawOutputs
from ionsieve.workflows.settings.identity import settings_hash

#: To be raised when the same raw outputs give other built documents.
_SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Item:
    """What one target document is made from.

    Parameters
    ----------
    key
        Identity within the screening.
    sources
        Name -> raw output used; their outputs are loaded only for items that changed.
    facts
        What is known without loading: composition, failure.
    """

    key: str
    sources: Mapping[str, RawEntry]
    facts: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def source_hash(self) -> str:
        """Changes when the document has to be built again."""
        jobs = [
            (name, entry.uuid, entry.index, entry.completed_at)
            for name, entry in sorted(self.sources.items())
            if name != "plan"  # another plan with the same composition changes nothing
        ]
        return settings_hash(_SCHEMA_VERSION, self.key, jobs, dict(self.facts))


class ScreeningBuilder(Builder):
    """Base of the builders: incremental, idempotent, one target collection each.

    Parameters
    ----------
    job_store
        Raw job outputs.
    target
        Collection to fill; documents of other screenings in it are left alone.
    screening
        Name of the screening.
    failures
        Label (composition or phase id) -> why its calculations failed. None keeps what the
        target has recorded.
    """

    collection: ClassVar[str]
    model: ClassVar[type[BuiltDocument]]
    #: Source -> top-level fields to load; None loads all. Sources not named are not loaded.
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {}

    def __init__(
        self,
        job_store: JobStore,
        target: Store,
        screening: str,
        failures: Mapping[str, str] | None = None,
        chunk_size: int = 200,
    ) -> None:
        super().__init__(sources=[job_store], targets=[target], chunk_size=chunk_size)
        self.job_store = job_store
        self.target = target
        self.screening = screening
        self.failures = failures
        self._orphans: set[str] = set()

    @cached_property
    def raw(self) -> RawOutputs:
        """The raw outputs, read once per builder."""
        return RawOutputs(self.job_store, self.screening)

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield every document the collection should have, with its sources not loaded."""

    @abstractmethod
    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the fields of an item's documents; the first one has the item's own key."""

    def get_items(self) -> Iterator[Item]:
        """Yield the items whose sources changed, with their outputs loaded."""
        known = {
            document["document_id"]: document["source_hash"]
            for document in self.target.query(
                {"screening": self.screening}, properties=["document_id", "source_hash"]
            )
        }
        items = list(self.items())
        current = {item.source_hash for item in items}
        self._orphans = {name for name, digest in known.items() if digest not in current}
        stale = [i for i in items if known.get(self._document_id(i.key)) != i.source_hash]
        self.total = len(stale)
        for chunk in grouper(stale, self.chunk_size):
            yield from self._load(list(chunk))

    def process_item(self, item: Item) -> list[dict[str, Any]]:
        """Return the documents of one item."""
        provenance = {
            name: entry.source(item.outputs.get(name, {})) for name, entry in item.sources.items()
        }
        common = {
            "screening": self.screening,
            "last_updated": max((s.completed_at for s in item.sources.values()), default=""),
            "source_hash": item.source_hash,
            "provenance": provenance,
        }
        built = []
        for number, own in enumerate(self.documents(item), start=1):
            key = item.key if number == 1 else f"{item.key}/{number}"
            document = self.model(document_id=self._document_id(key), **common, **own)
            built.append(document.model_dump(mode="json"))
        return built

    def update_targets(self, items: list[list[dict[str, Any]]]) -> None:
        """Write documents; the first of each item last, as it marks the item as done."""
        documents = [document for built in items for document in reversed(built)]
        self._orphans -= {document["document_id"] for document in documents}
        if documents:
            self.target.update(documents, key="document_id")

    def remove_orphans(self) -> None:
        """Remove documents whose sources are gone."""
        if self._orphans:
            self.target.remove_docs({"document_id": {"$in": sorted(self._orphans)}})
            self._orphans = set()

    def finalize(self) -> None:
        """Remove orphans and close the stores."""
        self.remove_orphans()
        super().finalize()

    def build(self) -> None:
        """Bring the target up to date; leaves the stores open."""
        for chunk in grouper(self.get_items(), self.chunk_size):
            self.update_targets([self.process_item(item) for item in chunk])
        self.remove_orphans()

    def _document_id(self, key: str) -> str:
        return f"{self.screening}/{key}"

    def _load(self, items: list[Item]) -> Iterator[Item]:
        loaded = {
            name: self.raw.outputs([i.sources[name] for i in items if name in i.sources], fields)
            for name, fields in self.fields.items()
        }
        for item in items:
            outputs = {
                name: found[item.sources[name]]
                for name, found in loaded.items()
                if name in item.sources
            }
            yield dataclasses.replace(item, outputs=outputs)

    def _recorded_failures(self, reason_field: str, key_field: str) -> Mapping[str, str]:
        """Return the failures given, else those in the target."""
        if self.failures is not None:
            return self.failures
        found = self.target.query(
            {"screening": self.screening, reason_field: {"$nin": [None, ""]}},
            properties=[key_field, reason_field],
        )
        return {document[key_field]: document[reason_field] for document in found}
