"""How many compositions each stage got, kept and lost; the numbers of status and report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ionsieve.workflows.results.query import query
from ionsieve.workflows.settings.schema import ScreeningFile

#: Stages a composition goes through, in order, and what people read.
STAGES = {
    "rank": "Arrangements ranked",
    "relax": "Relaxed",
    "hull": "Convex hull",
    "short_md": "Short MD",
    "long_md": "Long MD",
    "conductor": "Concluded",
}
_GATE_FAILED = ("hull_failed", "short_failed", "long_failed")


@dataclass(frozen=True)
class StageCount:
    """Compositions at one stage; ``entered`` is the sum of all others.

    Parameters
    ----------
    passed
        Went through and on.
    stopped
        Ended at the stage's gate, by its verdict.
    failed
        A calculation of the stage failed.
    running, waiting
        Not finished.
    """

    stage: str
    title: str
    entered: int
    passed: int
    stopped: int
    failed: int
    running: int
    waiting: int


def funnel_counts(screening: ScreeningFile, running: Collection[str] = ()) -> list[StageCount]:
    """Return the counts of every stage, from the ``compositions`` collection.

    Parameters
    ----------
    running
        Ids of the compositions that are being computed now.
    """
    columns = ["composition_id", "state", "stage_reached"]
    compositions = query(screening, collection="compositions", columns=columns)
    return count_stages(compositions, running)


def count_stages(
    compositions: Iterable[Mapping[str, Any]], running: Collection[str] = ()
) -> list[StageCount]:
    """Return the counts of every stage from documents of compositions."""
    outcomes: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for composition in compositions:
        for stage, outcome in _path(composition, composition["composition_id"] in running):
            outcomes[stage].append(outcome)
    kinds = ("passed", "stopped", "failed", "running", "waiting")
    return [
        StageCount(
            stage=stage,
            title=STAGES[stage],
            entered=len(found),
            **{kind: found.count(kind) for kind in kinds},
        )
        for stage, found in outcomes.items()
    ]


def _path(composition: Mapping[str, Any], is_running: bool) -> list[tuple[str, str]]:
    """Return (stage, outcome) of the stages one composition has entered."""
    stages = list(STAGES)
    reached, state = composition["stage_reached"], composition["state"]
    n_finished = stages.index(reached) + 1 if reached in stages else 0
    path = [(stage, "passed") for stage in stages[:n_finished]]
    if state in _GATE_FAILED:
        path[-1] = (path[-1][0], "stopped")
    elif n_finished < len(stages):
        outcome = "failed" if state == "failed" else "running" if is_running else "waiting"
        path.append((stages[n_finished], outcome))
    return path
