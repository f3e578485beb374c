"""The short and the long diagnosis: a run is looked at as it comes, and ended or extended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jobflow import Flow
from pydantic import BaseModel, create_model

from ionsieve.workflows.backends.protocol import Checkpoint
from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import (
    EndReason,
    PlanDocument,
    SegmentDocument,
    TransportDocument,
    Verdict,
)
from ionsieve.workflows.funnel.gates import (
    Gate,
    GateDecision,
    LongGate,
    Measured,
    ShortGate,
    is_settled,
)
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.relaxation import relaxed_structure
from ionsieve.workflows.funnel.schedule import Schedule, end_reason
from ionsieve.workflows.funnel.segments import Run, run_flow, stored_chain
from ionsieve.workflows.funnel.stage import (
    Case,
    CoreHours,
    Judgement,
    Outcome,
    Stage,
    StageEstimate,
)
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.roles import fields_with
from ionsieve.workflows.settings.schema import MolecularDynamics, Screening

#: Fields of an analysis that gates and columns are made from.
TRANSPORT_SCALARS = (
    *("verdict", "reasons", "temperature_k", "length_ps", "run_length_ps", "relative_error"),
    *("diffusivity_cm2_s", "diffusivity_ci95_cm2_s", "haven_ratio"),
    *("sigma_ne_s_cm", "sigma_ne_ci95_s_cm"),
)
SEGMENT_SCALARS = ("index", "previous_uuid", "n_frames", "dir_name")


@dataclass(frozen=True)
class Look:
    """What a gate sees of a run that has come so far."""

    entry: Entry
    decision: GateDecision
    settled: bool


@dataclass(frozen=True)
class Course:
    """How a run went, look by look, by the present settings.

    Attributes
    ----------
    looks
        Stored analyses, in order; the last one decided if ``ended``.
    ended
        Why it ended; None: more is needed.
    n_segments
        Segments of the present settings that the next look needs.
    """

    looks: tuple[Look, ...]
    ended: EndReason | None
    n_segments: int


def follow_run(case: Case, run: Run, schedule: Schedule, gate: Gate) -> Course:
    """Ask the gate at each look of the schedule, as far as analyses are stored."""
    looks: list[Look] = []
    n_done = 0
    while True:
        n_done = schedule.next_look(n_done)
        key = run.look_key(n_done * schedule.n_frames)
        entry = case.records.newest(TransportDocument, key)
        if entry is None:
            return Course(tuple(looks), None, n_done)
        measured = Measured.of(entry.output)
        decision = gate.decide(measured)
        settled = is_settled(measured, decision, gate)
        looks.append(Look(entry, decision, settled))
        reason = end_reason(schedule, n_done, decision, settled)
        if reason is not None:
            return Course(tuple(looks), reason, n_done)


def make_run(
    case: Case, stage: str, settings: MolecularDynamics, temperature_k: float | None = None
) -> Run:
    """Return the run of a composition's material that a section of the settings asks for."""
    wanted = {**fields_with(settings, "computes")}
    if temperature_k is not None:
        wanted["temperature_k"] = temperature_k
    material = case.result("relax")
    phonons = case.outcomes.get("phonons")
    return Run(
        subject=case.candidate.subject,
        key=settings_hash("run", material.key, wanted, case.phases.energy_key),
        stage=stage,
        species=case.candidate.composition.mobile_ion,
        ions=case.candidate.ions,
        temperature_k=wanted["temperature_k"],
        timestep_fs=settings.timestep_fs,
        frame_interval=settings.frame_interval,
        seed=settings.seed,
        equilibration_ps=settings.equilibration_ps,
        fastest_phonon_thz=phonons.result["max_frequency_thz"] if phonons else None,
    )


def next_flow(case: Case, stage: Stage, run: Run, schedule: Schedule, n_segments: int) -> Flow:
    """Return what a run lacks up to a look, with the look."""
    chain = stored_chain(case.records.all(SegmentDocument, run.key))
    n_frames = n_segments * schedule.n_frames
    start: Any = None
    if chain:
        stored = case.records.outputs(chain[-1:], ["checkpoint"])[chain[-1]]
        start = Checkpoint(**stored["checkpoint"])
    else:
        start = relaxed_structure(case)
    tags = stage.tags(case, run.look_key(n_frames))
    return run_flow(run, case.screening, tags, chain, start, n_frames, schedule.n_frames)


def transport_columns(suffix: str, title: str, haven: str) -> type[BaseModel]:
    """Return the columns of one diagnosis; a bound or a broken run is not a measurement."""
    measured = {f"verdict_{suffix}": ["diffusing"]}

    def quantity(name: str, title: str, unit: str, form: str) -> dict[str, Any]:
        ends = {"_lo": ", 95 % low", "_hi": ", 95 % high"}
        about: dict[str, Any] = {"measured_if": measured, "interval": True}
        fields: dict[str, Any] = {name: (float | None, column(None, title, unit, form, **about))}
        for end, words in ends.items():
            fields[name + end] = (float | None, column(None, title + words, unit, form))
        return fields

    fields: dict[str, Any] = {
        f"passed_{suffix}": (bool | None, column(None, f"passed {suffix}")),
        f"gate_{suffix}": (str | None, column(None, f"{suffix} gate")),
        f"verdict_{suffix}": (Verdict | None, column(None, title)),
        f"temperature_{suffix}_k": (float | None, column(None, f"T {suffix}", "K", "g")),
        f"length_{suffix}_ps": (float | None, column(None, f"length {suffix}", "ps", ".4g")),
        f"end_reason_{suffix}": (EndReason | None, column(None, f"{title} ended")),
        f"n_looks_{suffix}": (int | None, column(None, f"looks {suffix}")),
        **quantity(f"diffusivity_{suffix}_cm2_s", f"D {suffix}", "cm²/s", ".2e"),
        **quantity(f"sigma_{suffix}_s_cm", f"σ {suffix}", "S/cm", ".1e"),
        haven: (
            float | None,
            column(None, f"Haven ratio, {suffix}", "", ".2f", measured_if=measured),
        ),
    }
    return create_model(f"{suffix.title()}Columns", **fields)


def finite(value: float | None) -> float | None:
    """Return None for what JSON and database comparisons can't express: NaN and infinities."""
    return None if value is None or not math.isfinite(value) else value


def with_interval(name: str, value: Any, interval: Any) -> dict[str, Any]:
    """Return a value and the ends of its interval as three fields."""
    low, high = interval or (None, None)
    return {name: finite(value), f"{name}_lo": finite(low), f"{name}_hi": finite(high)}


class DynamicsStage(Stage):
    """A run of molecular dynamics with a gate; subclasses say which."""

    is_gate = True
    document = TransportDocument
    scalars = TRANSPORT_SCALARS
    suffix: ClassVar[str]
    haven: ClassVar[str]

    def settings(self, screening: Screening) -> MolecularDynamics:
        """Return the section it follows."""
        raise NotImplementedError

    def gate(self, screening: Screening) -> Gate:
        """Return what decides on the run."""
        raise NotImplementedError

    def course(self, case: Case) -> tuple[Run, Schedule, Course]:
        """Return the run, its schedule, and how it went."""
        settings = self.settings(case.screening)
        run = make_run(case, self.name, settings)
        schedule = Schedule.of(settings, settings.stop_early)
        return run, schedule, follow_run(case, run, schedule, self.gate(case.screening))

    def runs(self, case: Case) -> list[tuple[Run, Course]]:
        """Return the one run, and how it went."""
        run, _, course = self.course(case)
        return [(run, course)]

    def look(self, case: Case) -> Outcome:
        """Return the look that ended the run, or ask for the next one."""
        run, schedule, course = self.course(case)
        keys = tuple(look.entry.key for look in course.looks)
        if course.ended is None:
            key = run.look_key(course.n_segments * schedule.n_frames)
            request = self.request(
                case, key, lambda: next_flow(case, self, run, schedule, course.n_segments)
            )
            sources = {self.name: course.looks[-1].entry} if course.looks else {}
            return self.asking(case, [request], keys=(*keys, key), sources=sources)
        last = course.looks[-1]
        sources = {self.name: last.entry}
        judgement = _judgement(last.decision, course.ended)
        return Outcome(self.name, "done", last.entry, sources, judgement, keys=keys)

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return the numbers of the run, and the gate's answer."""
        _, _, course = self.course(case)
        entry, judgement, suffix = outcome.result, outcome.judgement, self.suffix
        assert judgement is not None
        return {
            f"passed_{suffix}": judgement.verdict == "passed",
            f"gate_{suffix}": judgement.verdict,
            f"end_reason_{suffix}": course.ended,
            f"n_looks_{suffix}": len(course.looks),
            f"verdict_{suffix}": entry["verdict"],
            f"temperature_{suffix}_k": entry["temperature_k"],
            f"length_{suffix}_ps": entry["length_ps"],
            self.haven: finite(entry["haven_ratio"]),
            **with_interval(
                f"diffusivity_{suffix}_cm2_s",
                entry["diffusivity_cm2_s"],
                entry["diffusivity_ci95_cm2_s"],
            ),
            **with_interval(
                f"sigma_{suffix}_s_cm", entry["sigma_ne_s_cm"], entry["sigma_ne_ci95_s_cm"]
            ),
        }

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the work of runs of the greatest length."""
        return dynamics_estimate(self.name, plan, self.settings(screening), 1, cost)


class ShortStage(DynamicsStage):
    """The short diagnosis: whether this material could conduct well enough at 300 K."""

    name = "short_md"
    title = "Short MD"
    stem = "short"
    section = "short_md"
    size = "short_md"
    priority = 34
    suffix = "short"
    haven = "haven_ratio_short"
    columns = transport_columns("short", "short MD", "haven_ratio_short")

    def settings(self, screening: Screening) -> MolecularDynamics:
        """Return the section ``short_md``."""
        return screening.short_md

    def gate(self, screening: Screening) -> Gate:
        """Return the gate that asks what is still possible."""
        return ShortGate(sigma_min_s_cm=screening.short_md.min_sigma_s_cm)


class LongStage(DynamicsStage):
    """The long diagnosis: whether it conducts well enough, and that is known well enough."""

    name = "long_md"
    title = "Long MD"
    stem = "long"
    section = "long_md"
    size = "long_md"
    priority = 36
    suffix = "long"
    haven = "haven_ratio"
    columns = transport_columns("long", "long MD", "haven_ratio")

    def settings(self, screening: Screening) -> MolecularDynamics:
        """Return the section ``long_md``."""
        return screening.long_md

    def gate(self, screening: Screening) -> Gate:
        """Return the gate that asks for value and error."""
        settings = screening.long_md
        return LongGate(settings.min_sigma_s_cm, settings.max_relative_error)


def _judgement(decision: GateDecision, ended: EndReason) -> Judgement:
    """Return a gate's answer; one that asks for more than is allowed is undecided."""
    if decision.action == "extend":
        limit = "" if ended == "decided" else "; undecided at the greatest length"
        reasons = tuple(f"{reason}{limit}" for reason in decision.reasons)
        return Judgement("undecided", decision.passed, reasons)
    verdict: Literal["passed", "failed"] = "passed" if decision.passed else "failed"
    return Judgement(verdict, decision.passed, decision.reasons)


def dynamics_estimate(
    stage: str, plan: PlanDocument, settings: MolecularDynamics, n_runs: int, cost: CoreHours
) -> StageEstimate:
    """Return the work of runs of the greatest length of all compositions."""
    sizes = [composition.n_ions for composition in plan.compositions]
    n_segments = settings.n_segments_longest
    steps = math.ceil(settings.length_ps * 1e3 / settings.timestep_fs / settings.n_segments)
    return StageEstimate(
        stage,
        len(sizes),
        n_runs * n_segments * len(sizes),
        n_runs * n_segments * sum(cost(ions, steps) for ions in sizes),
    )
