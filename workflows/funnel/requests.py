"""What each job asks a cluster for, in the words of FireWorks.

FireWorks takes these from a job's ``config.manager_config``, which other launchers ignore.
"""

from __future__ import annotations

from typing import Any

from ionsieve.workflows.settings.schema import JobSize, Screening

#: Later stages first, so that results appear early; phases before relaxations, which they block.
_PRIORITY = {
    "plan": 40,
    "conductor": 39,
    "arrhenius": 38,
    "long_md": 36,
    "short_md": 34,
    "phonons": 32,
    "hull": 30,
    "phase": 20,
    "relax": 10,
    "rank": 10,
}
_SIZE_OF_CALCULATIONS: dict[str, JobSize] = {
    "arrhenius": "long_md",
    "long_md": "long_md",
    "short_md": "short_md",
}


def job_size(stage: str, is_calculation: bool) -> JobSize:
    """Return the class of jobs that a job of the funnel belongs to.

    Parameters
    ----------
    stage
        The funnel's stage, as in the job's metadata.
    is_calculation
        Whether the job runs VASP, not only Python.
    """
    if stage == "rank":
        return "ranking"
    return _SIZE_OF_CALCULATIONS.get(stage, "relaxation") if is_calculation else "small"


def stage_priority(stage: str) -> int:
    """Return which jobs come first: those with the higher number."""
    return _PRIORITY[stage]


def manager_config(screening: Screening, stage: str, is_calculation: bool) -> dict[str, Any]:
    """Return FireWorks' settings of one job: its class, priority and batch resources."""
    size = job_size(stage, is_calculation)
    resources = getattr(screening.compute.resources, size)
    queue: dict[str, Any] = {
        "nodes": resources.nodes,
        "ntasks": resources.ranks,
        "ntasks_per_node": resources.ranks // resources.nodes,
        "walltime": resources.walltime,
        "account": resources.account,
        "queue": resources.queue,
    }
    return {
        "_category": size,
        "_priority": stage_priority(stage),
        "_queueadapter": {key: value for key, value in queue.items() if value is not None},
    }
