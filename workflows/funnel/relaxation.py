"""Relax each kept arrangement of a composition; the lowest is its material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobflow import Flow, job
from pydantic import BaseModel
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import MaterialDocument, PlanDocument
from ionsieve.workflows.funnel.candidate import Subject, neutral
from ionsieve.workflows.funnel.ranking import kept_keys
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.soundness import calculation_fault
from ionsieve.workflows.funnel.stage import (
    Case,
    CoreHours,
    Outcome,
    Stage,
    StageEstimate,
    reason_of,
)
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening

#: Ionic steps of one relaxation, both runs together; a static counts as two steps.
RELAX_STEPS, STATIC_STEPS = 60, 2


@job(output_schema=MaterialDocument)
def record_material(
    settings: Screening,
    subject: Subject,
    key: str,
    engine: dict[str, Any],
    ewald_rank: int,
    ewald_energy_ev: float,
    starting_volume: float,
    ranking_uuid: str,
    structure: Structure,
    energy_ev_atom: float,
    static_uuid: str,
    folder: str,
    asked: str,
) -> MaterialDocument:
    """Return one relaxed arrangement and its energy.

    Parameters
    ----------
    starting_volume
        Before relaxation, in cubic Angstrom.
    folder
        Of the static calculation.
    asked
        Formula of the arrangement, with its numbers of ions.

    Raises
    ------
    IonSieveError
        The outcome is nonsense.
    """
    if fault := calculation_fault(structure, energy_ev_atom, asked):
        raise IonSieveError(f"{folder}: {fault}")
    return MaterialDocument(
        composition_id=subject.composition_id,
        mother_id=subject.mother_id,
        composition=subject.formula,
        structure=structure.as_dict(),
        energy_ev_atom=energy_ev_atom,
        n_ions=len(structure),
        density_g_cm3=float(structure.density),
        volume_change=structure.volume / starting_volume - 1.0,
        ewald_rank=ewald_rank,
        ewald_energy_ev=ewald_energy_ev,
        energy_identity=get_backend(settings).energy_identity(engine),
        provenance=subject.provenance([ranking_uuid, static_uuid], key),
    )


@dataclass(frozen=True)
class Relaxed:
    """One kept arrangement: its rank, its key, and what became of it."""

    rank: int
    key: str
    entry: Entry | None
    failure: Entry | None


class RelaxColumns(BaseModel):
    """What people see of the relaxed material."""

    energy_ev_atom: float | None = column(None, "energy", "eV/atom", ".5f")
    volume_change: float | None = column(None, "volume change on relaxing", "", "+.1%")


class RelaxStage(Stage):
    """Arrangements relaxed, each on its own; ends when all have, with the lowest."""

    name = "relax"
    title = "Relaxed"
    stem = "relaxed"
    section = "relax"
    document = MaterialDocument
    scalars = ("energy_ev_atom", "volume_change", "ewald_rank")
    columns = RelaxColumns
    size = "relaxation"
    priority = 12

    def members(self, case: Case) -> list[Relaxed]:
        """Return the arrangements that the settings ask for, in the order of their ranks."""
        _, arrangements = kept_keys(case)
        found = []
        for rank, arrangement in enumerate(arrangements, start=1):
            key = settings_hash(self.name, arrangement, case.phases.energy_key)
            entry = case.records.newest(MaterialDocument, key)
            found.append(Relaxed(rank, key, entry, case.records.failure(key)))
        return found

    def look(self, case: Case) -> Outcome:
        """Return the lowest relaxed arrangement once all have ended."""
        members = self.members(case)
        keys = tuple(member.key for member in members)
        lacking = [member for member in members if member.entry is None]
        requests = tuple(
            self.request(case, member.key, lambda m=member: self._flow(case, m))  # type: ignore[misc]
            for member in lacking
        )
        done = {member.rank: member.entry for member in members if member.entry is not None}
        if not all(member.failure for member in lacking):
            return Outcome(self.name, "open", requests=requests, keys=keys)
        if not done:
            reasons = dict.fromkeys(reason_of(m.failure) for m in lacking if m.failure)
            reason = f"all {len(members)} relaxations failed: {'; '.join(reasons)}"
            return Outcome(self.name, "failed", requests=requests, keys=keys, reason=reason)
        best = min(done.values(), key=lambda entry: entry["energy_ev_atom"])
        sources = {f"relaxed {rank}": entry for rank, entry in done.items()}
        return Outcome(self.name, "done", best, {self.name: best, **sources}, None, requests, keys)

    def _flow(self, case: Case, member: Relaxed) -> Flow:
        """Return relaxation, static calculation and record of one arrangement."""
        ranking, _ = kept_keys(case)
        stored = case.records.outputs([ranking], ["arrangements"])[ranking]
        arrangement = stored["arrangements"][member.rank - 1]
        structure = neutral(Structure.from_dict(arrangement["structure"]))
        backend = get_backend(case.screening, self.size)
        relaxed = backend.relax(structure, f"relax arrangement {member.rank}")
        static = backend.static(
            relaxed.structure, f"static arrangement {member.rank}", after=relaxed
        )
        record = record_material(
            case.screening,
            case.candidate.subject,
            member.key,
            static.engine,
            member.rank,
            arrangement["energy_ev"],
            structure.volume,
            ranking.uuid,
            static.structure,
            static.energy_ev_atom,
            static.uuid,
            static.folder,
            structure.formula,
        )
        tags = self.tags(case, member.key)
        jobs = tags.calculations([*relaxed.jobs, *static.jobs])
        name = f"relax {case.candidate.composition.composition_id} {member.rank}"
        return Flow([*jobs, tags.record(record, MaterialDocument)], name=name)

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return energy and volume change."""
        names = ("energy_ev_atom", "volume_change")
        return {name: outcome.result[name] for name in names}

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the work of relaxing all that is kept of all compositions."""
        kept = [min(screening.ewald.keep, int(c.n_arrangements)) for c in plan.compositions]
        runs = 3 if screening.relax.double_relax else 2
        hours = sum(
            n * cost(c.n_ions, RELAX_STEPS + STATIC_STEPS)
            for n, c in zip(kept, plan.compositions, strict=True)
        )
        return StageEstimate(self.name, len(kept), runs * sum(kept), hours)


def relaxed_structure(case: Case) -> Structure:
    """Return the structure of a composition's material."""
    entry = case.result(RelaxStage.name)
    stored = case.records.outputs([entry], ["structure"])[entry]["structure"]
    return stored if isinstance(stored, Structure) else Structure.from_dict(stored)
