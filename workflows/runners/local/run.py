"""Run a screening on this machine: check everything, then work the queue until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.report.page import write_report
from ionsieve.workflows.runners.local import JobQueue, run_queue
from ionsieve.workflows.runners.refresh import queue_path
from ionsieve.workflows.runners.session import prepare
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store

Progress = Callable[[list[FlowStatus]], None]


@dataclass(frozen=True)
class RunResult:
    """What one call of :func:`run_screening` left behind."""

    plan: PlanDocument
    statuses: list[FlowStatus]
    report: Path


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
    plan = prepare(screening)
    job_store = open_job_store(screening)
    funnel = Funnel(screening, plan, job_store)
    funnel.check()
    work_dir = screening.resolve(screening.compute.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    queue = JobQueue(queue_path(screening))
    if retry_failed:
        queue.reset_failed()
    if on_start is not None:
        on_start(plan)
    run_queue(
        queue,
        job_store,
        n_workers=workers or screening.compute.workers,
        work_dir=work_dir,
        next_flows=funnel.next_flows,
        on_progress=on_progress,
    )
    statuses = funnel.own(queue.flows())
    report = write_report(screening, screening.resolve(f"{screening.name}-report.html"))
    return RunResult(plan, statuses, report)
