"""Run a screening on this machine: check everything, then work the queue until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.results.publish import publish_collections
from ionsieve.workflows.runners.local import JobQueue, run_queue
from ionsieve.workflows.runners.local.database import set_damaged_aside
from ionsieve.workflows.runners.local.lock import is_driven
from ionsieve.workflows.runners.session import open_session
from ionsieve.workflows.runners.work import queue_path
from ionsieve.workflows.settings.schema import ScreeningFile

Progress = Callable[[list[FlowStatus]], None]


@dataclass(frozen=True)
class RunResult:
    """What one call of :func:`run_screening` left behind.

    Attributes
    ----------
    plan
        What was screened.
    statuses
        The flows that the present settings ask for.
    blocked
        Composition -> what it waits for: competing phases that failed.
    lost
        Flows that had been completed and whose results the store no longer had: computed again.
    damaged_queue
        Where the queue's file was put because it could not be read; None: it could.
    """

    plan: PlanDocument
    statuses: list[FlowStatus]
    blocked: dict[str, str]
    lost: list[FlowStatus]
    damaged_queue: Path | None = None


def run_screening(
    screening: ScreeningFile,
    workers: int | None = None,
    on_start: Callable[[PlanDocument], None] | None = None,
    on_progress: Progress | None = None,
    retry_failed: bool = False,
) -> RunResult:
    """Run the whole funnel; run again to resume.

    Parameters
    ----------
    workers
        Jobs at the same time; default from the settings.
    on_start, on_progress
        Called with the plan, and with the flows a few times per second.
    retry_failed
        Give failed flows another try.
    """
    session = open_session(screening)
    funnel = session.funnel
    work_dir = screening.resolve(screening.compute.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    damaged = None
    if not is_driven(queue_path(screening)):
        # What it knew is in the store: only unfinished calculations begin again.
        damaged = set_damaged_aside(queue_path(screening))
    queue = JobQueue(queue_path(screening))
    lost = funnel.lost(queue.flows())
    queue.forget([status.key for status in lost])
    if retry_failed:
        queue.reset_failed()
        funnel.forget_failures()
    if on_start is not None:
        on_start(session.plan)
    try:
        run_queue(
            queue,
            session.job_store,
            n_workers=workers or screening.compute.workers,
            work_dir=work_dir,
            next_flows=funnel.next_flows,
            on_progress=on_progress,
        )
    finally:
        publish_collections(Results(screening, session.job_store))
    return RunResult(session.plan, funnel.own(queue.flows()), funnel.blocked(), lost, damaged)


def report_path(screening: ScreeningFile) -> Path:
    """Return where the report of a screening goes."""
    return screening.resolve(f"{screening.name}-report.html")
