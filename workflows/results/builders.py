"""From what is stored to the collections people query: plain functions of a followed funnel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ionsieve.workflows.documents.collections import BuiltMother, Source
from ionsieve.workflows.documents.raw import CompositionDocument, PhaseDocument
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.progress import Standing, standing
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.relaxation import RelaxStage
from ionsieve.workflows.funnel.stage import Case, Outcome, reason_of
from ionsieve.workflows.results.collections import collection_model
from ionsieve.workflows.settings.identity import settings_hash

#: To be raised when the same raw outputs give other built documents.
_SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Item:
    """One document of a collection, before it is made.

    Attributes
    ----------
    key
        Identity within the screening.
    sources
        Name -> raw output it rests on.
    fields
        Of the document, less those of ``loads``.
    loads
        Source -> fields of its output that ``finish`` needs.
    finish
        Loaded outputs by source -> further fields.
    """

    key: str
    sources: Mapping[str, Entry]
    fields: Mapping[str, Any]
    loads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    finish: Callable[[Mapping[str, Mapping[str, Any]]], Mapping[str, Any]] | None = None

    def digest(self) -> str:
        """Return a hash that changes when the document has to be made again."""
        jobs = sorted((name, e.uuid, e.index, e.sequence) for name, e in self.sources.items())
        return settings_hash(_SCHEMA_VERSION, self.key, jobs, dict(self.fields))


def items_of(collection: str, funnel: Funnel, running: Collection[str] = ()) -> Iterator[Item]:
    """Yield what a collection of a followed funnel consists of.

    Parameters
    ----------
    running
        Keys of the flows that are being executed.
    """
    makers: dict[str, Callable[[Funnel, Collection[str]], Iterator[Item]]] = {
        "mothers": _mothers,
        "compositions": _compositions,
        "arrangements": _arrangements,
        "materials": _materials,
        "conductors": _conductors,
        "phases": _phases,
    }
    yield from makers[collection](funnel, running)


def documents_of(
    collection: str, funnel: Funnel, items: Iterable[Item], full: bool = True
) -> list[dict[str, Any]]:
    """Return the documents of some items.

    Parameters
    ----------
    full
        Also what has to be loaded: structures, and where each number comes from.
    """
    items = list(items)
    outputs = _loaded(funnel, items) if full else {}
    model = collection_model(collection)
    made = []
    for item in items:
        extra: Mapping[str, Any] = {}
        if full and item.finish is not None:
            extra = item.finish({name: outputs[entry] for name, entry in item.sources.items()})
        document = model(
            document_id=f"{funnel.screening.name}/{item.key}",
            screening=funnel.screening.name,
            last_updated=max((e.completed_at for e in item.sources.values()), default=""),
            source_hash=item.digest(),
            provenance={
                name: _source(entry, outputs.get(entry, {})) for name, entry in item.sources.items()
            },
            **item.fields,
            **extra,
        )
        made.append(document.model_dump(mode="json"))
    return made


def _loaded(funnel: Funnel, items: Iterable[Item]) -> dict[Entry, dict[str, Any]]:
    """Return the outputs that items need, with the provenance of all."""
    wanted: dict[tuple[str, ...], set[Entry]] = {}
    for item in items:
        for name, entry in item.sources.items():
            fields = tuple(sorted({"provenance", *item.loads.get(name, ())}))
            wanted.setdefault(fields, set()).add(entry)
    found: dict[Entry, dict[str, Any]] = {}
    for fields, entries in wanted.items():
        for entry, output in funnel.records.outputs(entries, fields).items():
            found[entry] = {**found.get(entry, {}), **output}
    return {entry: found.get(entry, {}) for entries in wanted.values() for entry in entries}


def _source(entry: Entry, output: Mapping[str, Any]) -> Source:
    provenance = output.get("provenance") or {}
    return Source(
        uuid=entry.uuid,
        index=entry.index,
        completed_at=entry.completed_at,
        input_uuids=provenance.get("input_uuids", []),
        settings_hash=provenance.get("settings_hash", ""),
        backend=provenance.get("backend", ""),
        versions=provenance.get("versions", {}),
    )


def composition_fields(composition: CompositionDocument) -> dict[str, Any]:
    """Return what a composition is, flat."""
    per_host: dict[str, Fraction] = {}
    for entry in composition.substitutions:
        per_host[entry.host] = per_host.get(entry.host, Fraction(0)) + Fraction(entry.level)
    same = (
        *("composition_id", "mother_id", "formula", "host_formula", "n_ions"),
        *("n_mobile_removed", "n_mobile_added", "log10_n_arrangements"),
    )
    return {
        **{name: getattr(composition, name) for name in same},
        "hosts": list(per_host),
        "dopants": [entry.dopant for entry in composition.substitutions],
        "levels": [entry.level for entry in composition.substitutions],
        "doping_level": float(max(per_host.values(), default=Fraction(0))),
    }


def _sources(case: Case) -> dict[str, Entry]:
    """Return stage -> the document it ended with, or has come to."""
    found: dict[str, Entry] = {}
    for outcome in case.outcomes.values():
        found.update(outcome.sources)
    return {name: entry for name, entry in found.items() if not name.startswith("relaxed ")}


def _mothers(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    plan = funnel.plan
    children = [composition.mother_id for composition in plan.compositions]
    phases = {entry.phase_id: entry.key for entry in funnel.phases.document.phases}
    for mother in plan.mothers:
        key = phases.get(mother.mother_id, "")
        phase = funnel.records.newest(PhaseDocument, key)
        known = mother.model_dump(mode="json", include=set(BuiltMother.model_fields))
        fields = {
            **known,
            "accepted": True,
            "n_compositions": children.count(mother.mother_id),
            "energy_ev_atom": phase["energy_ev_atom"] if phase else None,
        }
        yield Item(mother.mother_id, {"phase": phase} if phase else {}, fields)
    for number, rejected in enumerate(plan.rejected, start=1):
        known = rejected.model_dump(mode="json", include=set(BuiltMother.model_fields))
        yield Item(f"rejected/{number}", {}, known)


def _standing_fields(now: Standing) -> dict[str, Any]:
    return {
        "state": now.state,
        "stage_reached": now.stage_reached,
        "passages": now.passages,
        "passed": now.passed,
    }


def _compositions(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    for name, case in funnel.cases.items():
        now = standing(case, funnel.stages, running)
        composition = case.candidate.composition
        fields = {
            **composition_fields(composition),
            **_standing_fields(now),
            "n_arrangements": composition.n_arrangements,
            "reason": "; ".join(now.reasons),
            "failure": now.failure,
        }
        yield Item(name, _sources(case), fields)


def _arrangements(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    for name, case in funnel.cases.items():
        ranked = case.outcomes.get("rank")
        if ranked is None or ranked.entry is None:
            continue
        material = case.outcomes.get("relax")
        chosen = material.entry["ewald_rank"] if material and material.entry else None
        relaxed = {member.rank: member for member in RelaxStage().members(case)}
        energies = ranked.entry["ewald_energies_ev"]
        for rank, energy in enumerate(energies, start=1):
            member = relaxed.get(rank)
            entry = member.entry if member else None
            failure = member.failure if member and entry is None else None
            fields = {
                "composition_id": name,
                "mother_id": case.candidate.mother.mother_id,
                "formula": case.candidate.composition.formula,
                "rank": rank,
                "ewald_energy_ev": energy,
                "above_lowest_ev": energy - energies[0],
                "certified": ranked.entry["certified"],
                "energy_ev_atom": entry["energy_ev_atom"] if entry else None,
                "reason": failure["reason"] if failure else "",
                "selected": rank == chosen,
            }
            sources = {"rank": ranked.entry, **({"relax": entry} if entry else {})}
            loads = ("arrangements", "method", "n_arrangements", "n_covered")
            yield Item(f"{name}/{rank}", sources, fields, {"rank": loads}, _arrangement_of(rank))


def _arrangement_of(rank: int) -> Callable[[Mapping[str, Mapping[str, Any]]], Mapping[str, Any]]:
    def finish(outputs: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        ranking = outputs["rank"]
        arrangement = ranking["arrangements"][rank - 1]
        same = ("method", "n_arrangements", "n_covered")
        return {
            **{name: ranking[name] for name in same},
            "degeneracy": arrangement["degeneracy"],
            "structure": arrangement["structure"],
        }

    return finish


def _materials(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    for name, case in funnel.cases.items():
        outcome = case.outcomes.get("relax")
        if outcome is None or outcome.entry is None:
            continue
        hull = case.outcomes.get("hull")
        entry = hull.entry if hull else None
        fields = {
            **composition_fields(case.candidate.composition),
            "ewald_rank": outcome.entry["ewald_rank"],
            "energy_ev_atom": outcome.entry["energy_ev_atom"],
            "volume_change": outcome.entry["volume_change"],
            "e_hull_ev_atom": entry["e_hull_ev_atom"] if entry else None,
            "e_hull_is_lower_bound": entry["is_lower_bound"] if entry else False,
            "n_relaxed": len(outcome.keys),
            "n_failed": len(outcome.requests),
        }
        sources = {"relax": outcome.entry, **({"hull": entry} if entry else {})}
        yield Item(name, sources, fields, {"relax": ("structure", "density_g_cm3")}, _material_of)


def _material_of(outputs: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return {name: outputs["relax"][name] for name in ("structure", "density_g_cm3")}


def _conductors(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    gate = next((stage.name for stage in funnel.stages if stage.is_gate), "")
    for name, case in funnel.cases.items():
        reached: Outcome | None = case.outcomes.get(gate)
        if reached is None or reached.state != "done":
            continue
        now = standing(case, funnel.stages, running)
        fields: dict[str, Any] = {
            **composition_fields(case.candidate.composition),
            **_standing_fields(now),
            "reasons": list(now.reasons),
            "uuids": [entry.uuid for entry in _sources(case).values()],
        }
        del fields["passages"]
        for stage in funnel.stages:
            outcome = case.outcomes.get(stage.name)
            if outcome is not None and outcome.state == "done":
                fields.update(stage.row(case, outcome))
        yield Item(name, _sources(case), fields)


def _phases(funnel: Funnel, running: Collection[str]) -> Iterator[Item]:
    for phase in funnel.phases.document.phases:
        entry = funnel.records.newest(PhaseDocument, phase.key)
        if entry is not None:
            fields = {
                "phase_id": phase.phase_id,
                "formula": entry["formula"],
                "energy_ev_atom": entry["energy_ev_atom"],
                "origin": entry["source"],
            }
            yield Item(phase.phase_id, {"phase": entry}, fields)
        elif failure := funnel.records.failure(phase.key):
            fields = {
                "phase_id": phase.phase_id,
                "formula": phase.formula,
                "state": "failed",
                "reason": reason_of(failure),
            }
            yield Item(phase.phase_id, {}, fields)
