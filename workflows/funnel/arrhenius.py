"""Runs at further temperatures for a conductor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import PlanDocument, TransportDocument
from ionsieve.workflows.funnel.dynamics import (
    TRANSPORT_SCALARS,
    Course,
    dynamics_estimate,
    follow_run,
    make_run,
    next_flow,
)
from ionsieve.workflows.funnel.gates import LongGate
from ionsieve.workflows.funnel.requests import Request
from ionsieve.workflows.funnel.schedule import Schedule
from ionsieve.workflows.funnel.segments import Run
from ionsieve.workflows.funnel.stage import Case, CoreHours, Outcome, Stage, StageEstimate
from ionsieve.workflows.settings.schema import Screening


@dataclass(frozen=True)
class _Temperature:
    """One further temperature: its run, how that went, and what it lacks."""

    run: Run
    course: Course
    request: Request | None


class ArrheniusColumns(BaseModel):
    """What people see of the further runs."""

    n_temperatures: int | None = column(None, "further temperatures", about="with a finished run")


class ArrheniusStage(Stage):
    """Runs of the long diagnosis' settings at further temperatures; a new one adds only itself."""

    name = "arrhenius"
    title = "Further temperatures"
    stem = "arrhenius"
    section = "arrhenius"
    document = TransportDocument
    scalars = TRANSPORT_SCALARS
    columns = ArrheniusColumns
    size = "long_md"
    priority = 38

    def enabled(self, screening: Screening) -> bool:
        """Return whether further temperatures are wanted."""
        return bool(screening.arrhenius.temperatures_k)

    def look(self, case: Case) -> Outcome:
        """Return the finished runs once all have ended or failed."""
        runs = [self._run(case, kelvin) for kelvin in case.screening.arrhenius.temperatures_k]
        looks = [look for run in runs for look in run.course.looks]
        requests = tuple(run.request for run in runs if run.request is not None)
        keys = (*(look.entry.key for look in looks), *(request.key for request in requests))
        finished = [run.course.looks[-1].entry for run in runs if run.course.ended]
        sources = {f"{self.name} {e['temperature_k']:g} K": e for e in finished}
        if not all(case.records.failure(request.key) for request in requests):
            return Outcome(self.name, "open", None, sources, None, requests, keys)
        # A temperature that failed leaves a gap, it does not end the composition.
        entry = finished[-1] if finished else case.result("long_md")
        return Outcome(self.name, "done", entry, sources, None, requests, keys)

    def _run(self, case: Case, temperature_k: float) -> _Temperature:
        settings = case.screening.long_md
        run = make_run(case, self.name, settings, temperature_k)
        # The fit wants its points of the set length, and only the error of D counts.
        schedule = Schedule.of(settings, stop_early=False)
        course = follow_run(case, run, schedule, LongGate(0.0, settings.max_relative_error))
        if course.ended is not None:
            return _Temperature(run, course, None)
        key = run.look_key(course.n_segments * schedule.n_frames)
        request = self.request(
            case, key, lambda: next_flow(case, self, run, schedule, course.n_segments)
        )
        return _Temperature(run, course, request)

    def runs(self, case: Case) -> list[tuple[Run, Course]]:
        """Return the runs at all further temperatures."""
        found = [self._run(case, kelvin) for kelvin in case.screening.arrhenius.temperatures_k]
        return [(one.run, one.course) for one in found]

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return how many runs finished."""
        return {"n_temperatures": len(outcome.sources)}

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the work of all further runs."""
        n_runs = len(screening.arrhenius.temperatures_k)
        return dynamics_estimate(self.name, plan, screening.long_md, n_runs, cost)
