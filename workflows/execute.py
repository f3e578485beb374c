"""Run a screening on this machine: check everything, then work the queue until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ionsieve.errors import InputError
from ionsieve.workflows.backends import get_backend
from ionsieve.workflows.config import Screening
from ionsieve.workflows.documents import PlanDocument
from ionsieve.workflows.launcher import FlowStatus, JobQueue, run_queue
from ionsieve.workflows.plan import make_plan
from ionsieve.workflows.refresh import queue_path
from ionsieve.workflows.report import write_report
from ionsieve.workflows.screening import Funnel
from ionsieve.workflows.store import open_job_store

Progress = Callable[[list[FlowStatus]], None]


@dataclass(frozen=True)
class RunResult:
    """What one call of :func:`run_screening` left behind."""

    plan: PlanDocument
    statuses: list[FlowStatus]
    report: Path


def prepare(screening: Screening) -> PlanDocument:
    """Check everything that can be wrong before anything runs, and return the plan.

    Raises
    ------
    InputError
        The first thing found wrong, with its remedy.
    """
    get_backend(screening).check()
    plan = make_plan(screening)
    if not plan.compositions:
        raise InputError(
            f"screening '{screening.name}': no composition to screen from "
            f"{len(plan.mothers)} mothers; see 'ionsieve plan' for the reasons"
        )
    return plan


def run_screening(
    screening: Screening,
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
