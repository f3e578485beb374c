"""What the runners of a screening are at: its flows in the local queue and on the LaunchPad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.runners.local.lock import is_driven
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import store_name


def queue_path(screening: ScreeningFile) -> Path:
    """Return the file of the local runner's queue, beside the calculations."""
    return screening.resolve(screening.compute.work_dir) / "queue.sqlite"


def stored_flows(screening: ScreeningFile) -> list[FlowStatus]:
    """Return the flows in the local queue and on the LaunchPad; none where nothing has run."""
    return [*_local_flows(screening), *_submitted_flows(screening)]


def open_results(screening: ScreeningFile) -> tuple[Results, list[FlowStatus]]:
    """Open the results of a screening, and its own flows wherever they run.

    Raises
    ------
    InputError
        The store can't be opened, or nothing has run yet.
    """
    flows = stored_flows(screening)
    running = {status.key for status in flows if status.state == "running"}
    results = Results.open(screening, running)
    return results, results.funnel.own(flows)


def _local_flows(screening: ScreeningFile) -> list[FlowStatus]:
    path = queue_path(screening)
    if not path.exists():
        return []
    queue = JobQueue(path)
    try:
        flows = queue.flows()
    finally:
        queue.close()
    if is_driven(path):
        return flows
    # A run that was killed left them behind: they wait for the next one.
    return [replace(f, state="waiting") if f.state == "running" else f for f in flows]


def _submitted_flows(screening: ScreeningFile) -> list[FlowStatus]:
    if screening.compute.launchpad is None:
        return []
    # For start-up time, and for those who have no FireWorks.
    from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad

    launchpad = open_launchpad(screening.resolve(screening.compute.launchpad))
    return WorkflowQueue(launchpad, store_name(screening)).flows()
