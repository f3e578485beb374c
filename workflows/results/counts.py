"""How many compositions each stage got, kept and lost; the numbers of status and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ionsieve.workflows.funnel.progress import Passage
from ionsieve.workflows.funnel.stage import Stage


@dataclass(frozen=True)
class StageCount:
    """Compositions at one stage; ``entered`` is the sum of all others.

    Parameters
    ----------
    passed
        Went through and on.
    unknown
        The gate can't tell: competing phases are missing.
    undecided
        The gate could not tell from a run of the greatest length.
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
    unknown: int
    undecided: int
    stopped: int
    failed: int
    running: int
    waiting: int


def count_stages(
    compositions: Iterable[Mapping[str, Any]], stages: Sequence[Stage]
) -> list[StageCount]:
    """Return the counts of every stage from documents of compositions."""
    rows = [composition["passages"] for composition in compositions]
    counted = []
    for stage in stages:
        found = [row[stage.name] for row in rows if stage.name in row]
        kinds = {kind: found.count(kind) for kind in get_args(Passage)}
        counted.append(StageCount(stage.name, stage.title, len(found), **kinds))
    return counted
