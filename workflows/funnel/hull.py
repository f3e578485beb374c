"""The thermodynamic gate: distance to the convex hull of the competing phases."""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB, Flow, JobConfig, JobStore, job
from pydantic import BaseModel, Field

from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import (
    Document,
    HullDocument,
    MaterialDocument,
    PhaseDocument,
)
from ionsieve.workflows.funnel.candidate import Subject
from ionsieve.workflows.funnel.phases import stored_phases
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.relaxation import RELAX_STEPS, STATIC_STEPS
from ionsieve.workflows.funnel.stage import (
    Case,
    CoreHours,
    Judgement,
    Outcome,
    Stage,
    StageEstimate,
)
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening
from ionsieve.workflows.thermodynamics.competing_phases import NOT_COVERED
from ionsieve.workflows.thermodynamics.convex_hull import hull_distance

#: Ions in a typical competing phase with its k-points, as a Gamma-only cell of the same cost.
_PHASE_IONS = 60


def stored_output(store: JobStore, uuid: str) -> dict[str, Any]:
    """Return the newest output of a job, without the markers that jobflow adds."""
    document = store.query_one({"uuid": uuid}, ["output"], sort={"index": -1})
    assert document is not None
    return {k: v for k, v in document["output"].items() if not k.startswith("@")}


def _read(store: JobStore, model: type[Document], uuid: str) -> Any:
    return model(**stored_output(store, uuid))


@job(output_schema=HullDocument, config=JobConfig(expose_store=True))
def hull_energy(
    subject: Subject,
    key: str,
    material_uuid: str,
    phase_uuids: list[str],
    known_missing: list[str],
    failed_phases: list[str],
) -> HullDocument:
    """Compute the distance of a material to the hull of the phases that have an energy.

    Parameters
    ----------
    material_uuid, phase_uuids
        Jobs that made the material and its competing phases.
    known_missing, failed_phases
        Known phases without an energy: not in the library, or their calculation failed.
    """
    store = CURRENT_JOB.store
    return hull_distance(
        _read(store, MaterialDocument, material_uuid),
        [_read(store, PhaseDocument, uuid) for uuid in phase_uuids],
        known_missing=known_missing,
        failed_phases=failed_phases,
        provenance=subject.provenance([material_uuid, *phase_uuids], key),
    )


class HullColumns(BaseModel):
    """What people see of the hull energy."""

    e_hull_ev_atom: float | None = column(
        None, "E hull", "eV/atom", ".4f", bound="e_hull_is_lower_bound"
    )
    e_hull_is_lower_bound: bool = column(False, "lower bound", about="competing phases missing")
    hull_verdict: str | None = column(None, "hull", about="by the limit below")
    hull_limit_ev_atom: float | None = column(None, "hull limit", "eV/atom", "g")
    formation_energy_ev_atom: float | None = column(None, "formation energy", "eV/atom", ".4f")
    n_phases: int = column(0, "phases", about="competing phases on which the hull rests")
    missing_phases: list[str] = column([], "missing phases")
    decomposition: dict[str, float] = Field(default_factory=dict)


class HullStage(Stage):
    """Materials judged by their distance to the hull; waits for the phases of their system."""

    name = "hull"
    title = "Convex hull"
    stem = "hull"
    is_gate = True
    section = "hull"
    document = HullDocument
    scalars = (
        *("e_hull_ev_atom", "is_lower_bound", "formation_energy_ev_atom"),
        *("n_phases", "missing_phases", "decomposition"),
    )
    columns = HullColumns
    priority = 30

    def look(self, case: Case) -> Outcome:
        """Return the hull energy with all phases there are now, once none is outstanding."""
        formula = case.candidate.composition.formula
        entries = case.phases.within(formula)
        stored = stored_phases(entries, case.records)
        lacking = [entry for entry in entries if entry.key not in stored]
        failures = {entry.phase_id: case.records.failure(entry.key) for entry in lacking}
        outstanding = [name for name, failure in failures.items() if failure is None]
        if outstanding:
            reason = f"competing phases not computed yet: {', '.join(sorted(outstanding))}"
            return Outcome(self.name, "waiting", reason=reason)
        done = sorted(entry.key for entry in entries if entry.key in stored)
        if elements := case.phases.lacking(formula, done):
            reason = (
                f"no energy of the element {', '.join(elements)} (failed: "
                f"{', '.join(sorted(failures))})"
            )
            if any(failure["retriable"] for failure in failures.values() if failure):
                reason += "; --retry-failed tries again"
            return Outcome(self.name, "waiting", reason=reason)
        material = case.result("relax")
        key = settings_hash(
            self.name, material.key, done, sorted(failures), case.phases.missing(formula)
        )
        entry = case.records.newest(HullDocument, key)
        if entry is not None:
            sources = {self.name: entry}
            return Outcome(self.name, "done", entry, sources, self.judge(case, entry), keys=(key,))

        def make() -> Flow:
            gate = hull_energy(
                case.candidate.subject,
                key,
                material.uuid,
                [stored[k].uuid for k in done],
                case.phases.missing(formula),
                sorted(failures),
            )
            name = f"hull energy of {case.candidate.composition.composition_id}"
            return Flow([self.tags(case, key).record(gate, HullDocument)], name=name)

        return self.asking(case, [self.request(case, key, make)])

    def judge(self, case: Case, entry: Entry) -> Judgement:
        """Compare with the limit; a lower bound below it can't be told, and goes on."""
        settings = case.screening.hull
        limit, value = settings.max_e_hull_ev_atom, entry["e_hull_ev_atom"]
        is_bound = entry["is_lower_bound"]
        text = f"{'>= ' if is_bound else ''}{value:.3f} eV/atom above the hull"
        if value < 0:
            new = "of those computed" if is_bound else "competing phases: new stable phase"
            text = f"{-value:.3f} eV/atom below all {new}"
        if value > limit:
            return Judgement("failed", False, (f"{text}, the limit is {limit:g}",))
        if is_bound:
            goes_on = settings.go_on_if_unknown
            return Judgement("unknown", goes_on, (text, *_lacking(entry["missing_phases"])))
        return Judgement("passed", True, (text,) if value < 0 else ())

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return the hull energy with what it rests on, and the answer with its limit."""
        entry, judgement = outcome.result, outcome.judgement
        assert judgement is not None
        same = ("e_hull_ev_atom", "formation_energy_ev_atom", "n_phases", "missing_phases")
        return {
            **{name: entry[name] for name in same},
            "decomposition": entry["decomposition"],
            "e_hull_is_lower_bound": entry["is_lower_bound"],
            "hull_verdict": judgement.verdict,
            "hull_limit_ev_atom": case.screening.hull.max_e_hull_ev_atom,
        }


def _lacking(missing: list[str]) -> list[str]:
    """Return why a hull is a lower bound: systems that aren't covered, phases without energy."""
    uncovered = [name for name in missing if name.startswith(NOT_COVERED)]
    n_phases = len(missing) - len(uncovered)
    known = [f"lower bound: {n_phases} known phases have no energy"] if n_phases else []
    return [*known, *uncovered]


def phases_estimate(n_phases: int, screening: Screening, cost: CoreHours) -> StageEstimate:
    """Return the work of the competing phases."""
    runs = 3 if screening.relax.double_relax else 2
    hours = n_phases * cost(_PHASE_IONS, RELAX_STEPS + STATIC_STEPS)
    return StageEstimate("hull", n_phases, runs * n_phases, hours)
