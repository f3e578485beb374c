"""Bring the collections up to date with the store and the launcher's queue, at any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ionsieve.workflows.results.builders import build_collections
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store, store_name

if TYPE_CHECKING:
    from ionsieve.workflows.documents.flows import FlowStatus


@dataclass(frozen=True)
class Work:
    """What the launcher is at.

    Parameters
    ----------
    failures
        Label (composition or phase id) -> why its newest flow failed. None: no queue here.
    running
        Labels whose flows run now.
    """

    failures: dict[str, str] | None = None
    running: frozenset[str] = field(default_factory=frozenset)


def queue_path(screening: ScreeningFile) -> Path:
    """Return the file of the launcher's queue, beside the calculations."""
    return screening.resolve(screening.compute.work_dir) / "queue.sqlite"


def work_of(statuses: Iterable[FlowStatus]) -> Work:
    """Return what the launcher is at, from its flows; the newest flow of each label counts."""
    now = datetime.now(UTC)
    newest: dict[str, FlowStatus] = {}
    for status in sorted(statuses, key=lambda s: s.started_at or now):
        newest[status.label] = status
    return Work(
        failures={
            label: f"{status.failed_job}: {status.error}" if status.failed_job else status.error
            for label, status in newest.items()
            if status.state == "failed"
        },
        running=frozenset(label for label, s in newest.items() if s.state == "running"),
    )


def stored_flows(screening: ScreeningFile) -> list[FlowStatus]:
    """Return the flows in the launcher's queue and in the LaunchPad; none where nothing has run."""
    return [*_local_flows(screening), *_submitted_flows(screening)]


def _local_flows(screening: ScreeningFile) -> list[FlowStatus]:
    from ionsieve.workflows.runners.local import JobQueue

    path = queue_path(screening)
    if not path.exists():
        return []
    queue = JobQueue(path)
    try:
        return queue.flows()
    finally:
        queue.close()


def _submitted_flows(screening: ScreeningFile) -> list[FlowStatus]:
    if screening.compute.launchpad is None:
        return []
    from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad

    launchpad = open_launchpad(screening.resolve(screening.compute.launchpad))
    return WorkflowQueue(launchpad, store_name(screening)).flows()


def refresh_collections(screening: ScreeningFile) -> Work:
    """Build the collections of a screening and return what its launcher is at.

    Raises
    ------
    InputError
        The store can't be opened.
    """
    flows = stored_flows(screening)
    work = work_of(flows) if flows else Work()
    with open_job_store(screening) as job_store:
        build_collections(screening, job_store, work.failures)
    return work
