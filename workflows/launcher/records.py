"""What goes into the queue and what it says about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jobflow.core.flow import Flow

FlowState = Literal["waiting", "running", "completed", "failed"]


@dataclass(frozen=True)
class NewFlow:
    """A flow to be executed once.

    Attributes
    ----------
    key : str
        Identity of the work, for example a hash of structure and settings. A key the queue already
        knows is never added again.
    flow : jobflow.Flow
        The jobs. References to outputs outside the flow are resolved from the job store.
    priority : int
        Jobs of flows with a higher number are started first.
    label, stage : str
        Names for people; with the job's name they make the path of its folder.
    """

    key: str
    flow: Flow
    priority: int = 0
    label: str = ""
    stage: str = ""


@dataclass(frozen=True)
class FlowStatus:
    """Where one flow stands.

    Attributes
    ----------
    key, label, stage : str
        As given in `NewFlow`.
    state : str
        ``waiting`` (nothing started), ``running``, ``completed`` or ``failed``.
    n_jobs, n_done : int
        Jobs known so far (they may add more) and jobs that completed.
    error : str
        One line: why the first job that failed did; empty if none did. A completed flow may carry
        one, if its other jobs tolerate the failure.
    failed_job : str
        Name of that job.
    run_dirs : tuple of str
        Folders of the jobs that started, in the order of the jobs.
    started_at, ended_at : datetime or None
        UTC.
    """

    key: str
    label: str
    stage: str
    state: FlowState
    n_jobs: int
    n_done: int
    error: str = ""
    failed_job: str = ""
    run_dirs: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing of the flow will run any more."""
        return self.state in ("completed", "failed")


@dataclass(frozen=True)
class RunningJob:
    """A job that is being executed now.

    Attributes
    ----------
    job_id : int
        The queue's number of the job.
    key, label, stage : str
        Of its flow.
    name, uuid : str
        Of the job.
    job_index : int
        How many times the job was replaced, plus one.
    run_dir : str
        Its folder.
    worker : int
        Process id of the worker.
    started_at : datetime
        UTC.
    """

    job_id: int
    key: str
    label: str
    stage: str
    name: str
    uuid: str
    job_index: int
    run_dir: str
    worker: int
    started_at: datetime


@dataclass(frozen=True)
class ClaimedJob:
    """A job handed to a worker: its number in the queue, its JSON and its new, empty folder."""

    job_id: int
    content: str
    run_dir: str


@dataclass(frozen=True)
class Failure:
    """Why a job failed: one line, and the traceback if there was an exception."""

    reason: str
    traceback: str = ""

    @classmethod
    def from_exception(cls, error: BaseException) -> Failure:
        """Return type and message of an exception in one line, with its traceback."""
        import traceback

        message = " ".join(str(error).split())
        name = type(error).__name__
        reason = f"{name}: {message}" if message else name
        if len(reason) > _REASON_LENGTH:
            reason = reason[: _REASON_LENGTH - 1] + "…"
        return cls(reason, "".join(traceback.format_exception(error)))


_REASON_LENGTH = 300
