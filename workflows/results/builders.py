"""maggma builders: raw job outputs -> the collections people query.

Each builder compares, per target document, a hash of its sources (which jobs, when completed) with
the hash kept in the target, and rebuilds only what changed. The newest job of each composition and
stage counts. Documents of compositions that the newest plan no longer has are removed; the raw
outputs stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from jobflow.core.store import JobStore

from ionsieve.workflows.documents.collections import (
    BuiltArrangement,
    BuiltComposition,
    BuiltConductor,
    BuiltMaterial,
    BuiltMother,
    BuiltPhase,
)
from ionsieve.workflows.results.builder import Item, ScreeningBuilder
from ionsieve.workflows.results.fields import composition_fields, conductor_fields, standing
from ionsieve.workflows.results.raw_outputs import RawEntry, RawOutputs
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_collection

_GATE_FIELDS = ("passed", "reasons", "gate_reasons", "provenance")
_TRANSPORT_FIELDS = (
    *("passed", "gate_reasons", "verdict", "temperature_k", "length_ps", "end_reason"),
    "haven_ratio",
    *("diffusivity_cm2_s", "diffusivity_ci95_cm2_s", "sigma_ne_s_cm", "sigma_ne_ci95_s_cm"),
    "provenance",
)
#: Stage -> fields of its raw output that scalars are made from: no structures, no analyses.
_SCALARS: dict[str, tuple[str, ...]] = {
    "rank": ("certified", "provenance"),
    "relax": ("energy_ev_atom", "volume_change", "provenance"),
    "hull": (
        *("passed", "reasons", "e_hull_ev_atom", "is_lower_bound", "formation_energy_ev_atom"),
        *("n_phases", "missing_phases", "decomposition", "provenance"),
    ),
    "short_md": _TRANSPORT_FIELDS,
    "long_md": _TRANSPORT_FIELDS,
    "conductor": (
        *("sigma_300k_s_cm", "sigma_300k_ci95_s_cm", "sigma_300k_is_extrapolated"),
        *("activation_energy_ev", "activation_energy_ci95_ev", "provenance"),
    ),
}


class MothersBuilder(ScreeningBuilder):
    """Mothers, accepted and rejected, of the newest plan."""

    collection = "mothers"
    model = BuiltMother
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {
        "phase": ("energy_ev_atom", "provenance")
    }

    def items(self) -> Iterator[Item]:
        """Yield one item per structure read."""
        if self.raw.plan is None:
            return
        plan_entry, plan = self.raw.plan
        children = [entry["mother_id"] for entry in plan["compositions"]]
        for mother in plan["mothers"]:
            name = mother["mother_id"]
            sources = {"plan": plan_entry}
            if name in self.raw.newest_phases:
                sources["phase"] = self.raw.newest_phases[name]
            facts = {"accepted": True, "n_compositions": children.count(name), **mother}
            yield Item(name, sources, _without_markers(facts))
        for number, rejected in enumerate(plan["rejected"], start=1):
            yield Item(f"rejected/{number}", {"plan": plan_entry}, _without_markers(rejected))

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the mother with its energy, once computed."""
        energy = item.outputs.get("phase", {}).get("energy_ev_atom")
        return [{**item.facts, "energy_ev_atom": energy}]


class CompositionsBuilder(ScreeningBuilder):
    """All planned compositions and where they stand."""

    collection = "compositions"
    model = BuiltComposition
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {
        **dict.fromkeys(("hull", "short_md", "long_md"), _GATE_FIELDS),
        **dict.fromkeys(("rank", "relax", "conductor"), ("provenance",)),
    }

    def items(self) -> Iterator[Item]:
        """Yield one item per planned composition."""
        failures = self._recorded_failures("failure", "composition_id")
        for name, (entry, composition) in self.raw.compositions.items():
            sources = {"plan": entry, **self.raw.stages.get(name, {})}
            facts = {"composition": composition, "failure": failures.get(name, "")}
            yield Item(name, sources, facts)

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the composition with its state."""
        composition, failure = item.facts["composition"], item.facts["failure"]
        now = standing(item.outputs, failure)
        return [
            {
                **composition_fields(composition),
                "n_arrangements": composition["n_arrangements"],
                "state": now.state,
                "stage_reached": now.stage_reached,
                "reason": "; ".join(now.reasons),
                "failure": failure,
                "passed": now.passed,
            }
        ]


class ArrangementsBuilder(ScreeningBuilder):
    """The ranked arrangements of all compositions, with their relaxed energies."""

    collection = "arrangements"
    model = BuiltArrangement
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {
        "rank": None,
        "relax": ("ewald_rank", "candidates", "provenance"),
    }

    def items(self) -> Iterator[Item]:
        """Yield one item per ranked composition."""
        for name in self.raw.compositions:
            sources = _only(self.raw.stages.get(name, {}), "rank", "relax")
            if "rank" in sources:
                yield Item(name, sources)

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the arrangements of one composition, lowest first."""
        ranking, material = item.outputs["rank"], item.outputs.get("relax", {})
        relaxed = {entry["rank"]: entry for entry in material.get("candidates", [])}
        same = ("composition_id", "mother_id", "method", "certified", "n_arrangements", "n_covered")
        arrangements = sorted(ranking["arrangements"], key=lambda entry: entry["rank"])
        for arrangement in arrangements:
            rank = arrangement["rank"]
            outcome = relaxed.get(rank, {})
            yield {
                **{name: ranking[name] for name in same},
                "formula": ranking["composition"]["formula"],
                "rank": rank,
                "ewald_energy_ev": arrangement["energy_ev"],
                "above_lowest_ev": arrangement["energy_ev"] - arrangements[0]["energy_ev"],
                "degeneracy": arrangement["degeneracy"],
                "structure": arrangement["structure"],
                "energy_ev_atom": outcome.get("energy_ev_atom"),
                "reason": outcome.get("reason", ""),
                "selected": rank == material.get("ewald_rank"),
            }


class MaterialsBuilder(ScreeningBuilder):
    """The relaxed material of each composition, with its hull energy."""

    collection = "materials"
    model = BuiltMaterial
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {
        "relax": None,
        "hull": ("e_hull_ev_atom", "provenance"),
    }

    def items(self) -> Iterator[Item]:
        """Yield one item per relaxed composition."""
        for name, (_, composition) in self.raw.compositions.items():
            sources = _only(self.raw.stages.get(name, {}), "relax", "hull")
            if "relax" in sources:
                yield Item(name, sources, {"composition": composition})

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the material."""
        material = item.outputs["relax"]
        same = ("energy_ev_atom", "density_g_cm3", "volume_change", "ewald_rank", "structure")
        return [
            {
                **composition_fields(item.facts["composition"]),
                **{name: material[name] for name in same},
                "e_hull_ev_atom": item.outputs.get("hull", {}).get("e_hull_ev_atom"),
                "n_relaxed": len(material["candidates"]),
                "n_failed": sum(bool(entry["reason"]) for entry in material["candidates"]),
            }
        ]


class ConductorsBuilder(ScreeningBuilder):
    """One flat document per composition that has reached the hull gate."""

    collection = "conductors"
    model = BuiltConductor
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = _SCALARS

    def items(self) -> Iterator[Item]:
        """Yield one item per composition with a hull energy."""
        for name, (entry, composition) in self.raw.compositions.items():
            sources = self.raw.stages.get(name, {})
            if "hull" in sources:
                yield Item(name, {"plan": entry, **sources}, {"composition": composition})

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return all scalars known of one composition."""
        now = standing(item.outputs)
        return [
            {
                **composition_fields(item.facts["composition"]),
                **conductor_fields(item.outputs),
                "stage_reached": now.stage_reached,
                "passed": now.passed,
                "reasons": now.reasons,
                "uuids": [entry.uuid for entry in item.sources.values()],
            }
        ]


class PhasesBuilder(ScreeningBuilder):
    """The competing phases, computed or failed."""

    collection = "phases"
    model = BuiltPhase
    fields: ClassVar[Mapping[str, tuple[str, ...] | None]] = {
        "phase": ("formula", "energy_ev_atom", "source", "provenance")
    }

    def items(self) -> Iterator[Item]:
        """Yield one item per phase computed or failed."""
        phases = self.raw.newest_phases
        for name, entry in phases.items():
            yield Item(name, {"phase": entry})
        for name, reason in self._recorded_failures("reason", "phase_id").items():
            known = name in phases or name in self.raw.compositions or name == self.screening
            if not known:
                yield Item(name, {}, {"reason": reason})

    def documents(self, item: Item) -> Iterable[dict[str, Any]]:
        """Return the phase."""
        if "phase" not in item.outputs:
            return [{"phase_id": item.key, "state": "failed", "reason": item.facts["reason"]}]
        phase = item.outputs["phase"]
        return [
            {
                "phase_id": item.key,
                "formula": phase["formula"],
                "energy_ev_atom": phase["energy_ev_atom"],
                "origin": phase["source"],
            }
        ]


#: All builders; together they make every collection.
BUILDERS: tuple[type[ScreeningBuilder], ...] = (
    MothersBuilder,
    CompositionsBuilder,
    ArrangementsBuilder,
    MaterialsBuilder,
    ConductorsBuilder,
    PhasesBuilder,
)


def build_collections(
    screening: ScreeningFile, job_store: JobStore, failures: Mapping[str, str] | None = None
) -> None:
    """Bring all collections of a screening up to date.

    Parameters
    ----------
    job_store
        Connected store of raw outputs.
    failures
        Composition or phase id -> why its calculations failed, as the launcher has it now.
        None keeps the failures recorded before.
    """
    raw = RawOutputs(job_store, screening.name)
    for kind in BUILDERS:
        builder = kind(
            job_store, open_collection(screening, kind.collection), screening.name, failures
        )
        builder.raw = raw  # read the index of outputs once for all
        builder.build()


def _only(entries: Mapping[str, RawEntry], *stages: str) -> dict[str, RawEntry]:
    return {stage: entries[stage] for stage in stages if stage in entries}


def _without_markers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the class markers that the job store adds to every document."""
    return {name: value for name, value in fields.items() if not name.startswith("@")}
