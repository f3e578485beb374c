"""Flows that are needed, and what each of their jobs asks a cluster for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job

from ionsieve.workflows.documents.raw import Document
from ionsieve.workflows.settings.schema import JobSize, Screening


@dataclass(frozen=True)
class Request:
    """A flow that is needed: its key, who it is for, and how to make it.

    Attributes
    ----------
    key
        Identity of the work.
    stage, label
        The stage's name; composition or phase.
    priority
        Those with a higher number go first.
    make
        Makes the flow; called only for those that will be run.
    """

    key: str
    stage: str
    label: str
    priority: int
    make: Callable[[], Flow] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Tags:
    """How the jobs of one flow are named, labelled and sized.

    Attributes
    ----------
    screening
        Whose resources hold.
    stage, priority
        The stage's.
    key
        Of the flow, and of the document it makes unless `record` is given another.
    size
        Of its calculations.
    labels
        Further metadata of what it stores.
    """

    screening: Screening
    stage: str
    priority: int
    key: str
    size: JobSize
    labels: Mapping[str, str]

    def calculations(self, jobs: Iterable[Job | Flow]) -> list[Job | Flow]:
        """Tag jobs that run the engine, and the jobs that these may start."""
        tagged = list(jobs)
        for one in tagged:
            for job in [one] if isinstance(one, Job) else [found for found, _ in one.iterflow()]:
                self._tag(job, self.size, None)
        return tagged

    def record(
        self, job: Job, document: type[Document], key: str = "", size: JobSize = "small"
    ) -> Job:
        """Tag a job that stores a document."""
        self._tag(job, size, document, key)
        return job

    def _tag(self, job: Job, size: JobSize, document: type[Document] | None, key: str = "") -> None:
        is_calculation = document is None
        job.name = f"{self.stage}: {job.name}"
        config = manager_config(self.screening, self.priority, size)
        job.update_config({"manager_config": config}, dynamic=is_calculation)
        job.update_metadata(
            {
                "screening": self.screening.name,
                "stage": self.stage,
                "key": key or self.key,
                "flow_key": self.key,
                "document": document.__name__ if document else "",
                **self.labels,
            },
            dynamic=is_calculation,
        )


def manager_config(screening: Screening, priority: int, size: JobSize) -> dict[str, Any]:
    """Return FireWorks' settings of one job: its class, priority and batch resources.

    FireWorks takes them from the job's ``config.manager_config``, which other launchers ignore.
    """
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
        "_priority": priority,
        "_queueadapter": {key: value for key, value in queue.items() if value is not None},
    }
