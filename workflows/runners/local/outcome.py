"""Jobs and what they leave behind, as JSON that can wait in the queue."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from monty.json import MontyEncoder

from ionsieve.workflows.store.decoding import decode_json

if TYPE_CHECKING:
    from jobflow.core.flow import Flow
    from jobflow.core.job import Job, Response

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRecord:
    """One job, ready to be stored.

    Attributes
    ----------
    uuid, name : str
        Of the job.
    job_index : int
        How many times it was replaced, plus one.
    tolerant : bool
        Whether it runs although a parent failed (``on_missing_references`` is not ``ERROR``).
    content : str
        The job in jobflow's own JSON.
    parents : tuple of int
        Positions, in the same list of jobs, of those that must end first.
    """

    uuid: str
    job_index: int
    name: str
    tolerant: bool
    content: str
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What a completed job changes in its flow.

    Attributes
    ----------
    before_children : tuple of tuples of JobRecord
        Flows that the job's children wait for (replacement and detour).
    beside_children : tuple of JobRecord
        The flow that is added without making anything wait.
    stop_children, stop_flow : bool
        Whether the jobs that depend on this one, or all that are left, are not to run.
    """

    before_children: tuple[tuple[JobRecord, ...], ...] = ()
    beside_children: tuple[JobRecord, ...] = ()
    stop_children: bool = False
    stop_flow: bool = False

    @classmethod
    def from_response(cls, response: Response) -> Outcome:
        """Return what jobflow's local manager would do after a response."""
        if response.stored_data is not None:
            logger.warning("Response.stored_data is not kept by this launcher.")
        if response.stop_jobflow:
            return cls(stop_flow=True)
        # `Job.run` has made flows of all three.
        before = (response.replace, response.detour)
        added = cast("Flow | None", response.addition)
        return cls(
            before_children=tuple(job_records(cast("Flow", flow)) for flow in before if flow),
            beside_children=job_records(added) if added else (),
            stop_children=response.stop_children,
        )

    @property
    def plain(self) -> bool:
        """Whether the job only ended."""
        return self == Outcome()

    def to_json(self) -> str:
        """Return text for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return what `to_json` was given."""
        data = json.loads(text)

        def records(rows: list[dict]) -> tuple[JobRecord, ...]:
            return tuple(JobRecord(**{**row, "parents": tuple(row["parents"])}) for row in rows)

        return cls(
            before_children=tuple(records(rows) for rows in data["before_children"]),
            beside_children=records(data["beside_children"]),
            stop_children=data["stop_children"],
            stop_flow=data["stop_flow"],
        )


def job_records(flow: Flow) -> tuple[JobRecord, ...]:
    """Return the jobs of a flow that is not empty, parents first.

    Raises
    ------
    ValueError
        If the jobs depend on each other in a circle.
    """
    from jobflow.core.reference import OnMissing

    records: list[JobRecord] = []
    position: dict[str, int] = {}
    with warnings.catch_warnings():
        # Jobs that need not wait for each other are what we want.
        warnings.filterwarnings("ignore", message="Some jobs are not connected")
        ordered = list(flow.iterflow())
    for job, parents in ordered:
        position[job.uuid] = len(records)
        records.append(
            JobRecord(
                uuid=job.uuid,
                job_index=job.index,
                name=job.name,
                tolerant=job.config.on_missing_references != OnMissing.ERROR,
                content=json.dumps(job.as_dict(), cls=MontyEncoder),
                parents=tuple(sorted(position[uuid] for uuid in set(parents))),
            )
        )
    return tuple(records)


def job_from_content(content: str) -> Job:
    """Return the job whose JSON a `JobRecord` carries."""
    job: Job = decode_json(content, "job")
    return job
