"""Reading access to the raw job outputs of one screening, newest first where several exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from jobflow.core.store import JobStore

from ionsieve.workflows.documents.collections import Source

#: Stage of a composition -> class of the document that ends it.
STAGE_DOCUMENTS = {
    "rank": "RankingDocument",
    "relax": "MaterialDocument",
    "hull": "HullDocument",
    "short_md": "TransportDocument",
    "long_md": "TransportDocument",
    "conductor": "ConductorDocument",
}

#: Stage -> the stage it must share its flow with, if that one has a result.
_SAME_FLOW = {"relax": "rank", "short_md": "hull", "long_md": "short_md", "conductor": "long_md"}


@dataclass(frozen=True)
class RawEntry:
    """Identity of one stored job output, without the output."""

    uuid: str
    index: int
    completed_at: str
    stage: str
    flow_key: str
    label: str

    @property
    def age_key(self) -> tuple[str, int, str]:
        """Sorts outputs from old to new."""
        return (self.completed_at, self.index, self.uuid)

    def source(self, output: Mapping[str, Any]) -> Source:
        """Return the record of this output that built documents keep."""
        provenance = output.get("provenance") or {}
        return Source(
            uuid=self.uuid,
            index=self.index,
            completed_at=self.completed_at,
            input_uuids=provenance.get("input_uuids", []),
            settings_hash=provenance.get("settings_hash", ""),
            versions=provenance.get("versions", {}),
        )


class RawOutputs:
    """The raw outputs of one screening.

    Parameters
    ----------
    job_store
        Connected store of job outputs; its additional stores are never touched.
    screening
        Name of the screening.
    """

    def __init__(self, job_store: JobStore, screening: str) -> None:
        self._store = job_store
        self._screening = screening
        self.entries = cache(self._read_entries)

    def _read_entries(self, document: str) -> list[RawEntry]:
        """Return all outputs of one document class, from old to new."""
        found = self._store.query(
            {"metadata.document": document, "metadata.screening": self._screening},
            properties=["uuid", "index", "completed_at", "metadata"],
        )
        entries = []
        for raw in found:
            metadata = raw["metadata"]
            label = metadata.get("composition_id") or metadata.get("phase_id") or ""
            entries.append(
                RawEntry(
                    uuid=raw["uuid"],
                    index=raw["index"],
                    completed_at=str(raw.get("completed_at") or ""),
                    stage=metadata.get("stage", ""),
                    flow_key=metadata.get("flow_key", ""),
                    label=label,
                )
            )
        return sorted(entries, key=lambda entry: entry.age_key)

    def outputs(
        self, entries: Iterable[RawEntry], fields: Iterable[str] | None
    ) -> dict[RawEntry, dict[str, Any]]:
        """Return the outputs of some entries, reduced to top-level ``fields`` (None: all)."""
        wanted = {(entry.uuid, entry.index): entry for entry in entries}
        if not wanted:
            return {}
        paths = ["output"] if fields is None else [f"output.{field}" for field in fields]
        found = self._store.query(
            {"uuid": {"$in": sorted({uuid for uuid, _ in wanted})}},
            properties=["uuid", "index", *paths],
        )
        return {
            wanted[identity]: raw.get("output") or {}
            for raw in found
            if (identity := (raw["uuid"], raw["index"])) in wanted
        }

    @cached_property
    def plan(self) -> tuple[RawEntry, dict[str, Any]] | None:
        """The newest plan with its output; None if there is none yet."""
        plans = self.entries("PlanDocument")
        if not plans:
            return None
        return plans[-1], self.outputs(plans[-1:], None)[plans[-1]]

    @cached_property
    def compositions(self) -> dict[str, tuple[RawEntry, dict[str, Any]]]:
        """Composition id -> where it is defined, and its fields.

        From the newest plan; without a plan, from the rankings.
        """
        if self.plan is not None:
            entry, output = self.plan
            return {c["composition_id"]: (entry, c) for c in output["compositions"]}
        found = self.outputs(self.entries("RankingDocument"), ["composition"])
        ordered = sorted(found.items(), key=lambda item: item[0].age_key)
        return {entry.label: (entry, output["composition"]) for entry, output in ordered}

    @cached_property
    def newest_phases(self) -> dict[str, RawEntry]:
        """Phase id -> newest output."""
        return {entry.label: entry for entry in self.entries("PhaseDocument")}

    @cached_property
    def stages(self) -> dict[str, dict[str, RawEntry]]:
        """Composition id -> stage -> the output that counts."""
        newest: dict[str, dict[str, RawEntry]] = {}
        for stage, document in STAGE_DOCUMENTS.items():
            for entry in self.entries(document):
                if entry.stage == stage:
                    newest.setdefault(entry.label, {})[stage] = entry
        return {label: _consistent(entries) for label, entries in newest.items()}


def _consistent(entries: dict[str, RawEntry]) -> dict[str, RawEntry]:
    """Drop results that belong to an earlier flow than the stage they rest on.

    With other settings a composition is computed again; until the new flow gets there, its later
    stages have no result, rather than one that doesn't fit.
    """
    kept: dict[str, RawEntry] = {}
    for stage, entry in entries.items():
        basis = _SAME_FLOW.get(stage)
        if basis in entries and (basis not in kept or kept[basis].flow_key != entry.flow_key):
            continue
        kept[stage] = entry
    return kept
