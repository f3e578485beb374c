"""What the local queue keeps of jobs: those that run, those handed out, and why one failed."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime

from ionsieve.errors import IonSieveError, OutsideFailure

_REASON_LENGTH = 300


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
    """Why a job failed.

    Attributes
    ----------
    reason : str
        One line.
    traceback : str
        If there was an exception.
    retriable : bool
        Whether the same may succeed another time: the cause came from outside.
    """

    reason: str
    traceback: str = ""
    retriable: bool = False

    @classmethod
    def from_exception(cls, error: BaseException) -> Failure:
        """Return an exception in one line, with its traceback.

        Our own errors speak to the user; of others the type is told, too.
        """
        reason = " ".join(str(error).split())
        if not reason or not isinstance(error, IonSieveError):
            name = type(error).__name__
            reason = f"{name}: {reason}" if reason else name
        if len(reason) > _REASON_LENGTH:
            reason = reason[: _REASON_LENGTH - 1] + "…"
        lines = "".join(traceback.format_exception(error))
        return cls(reason, lines, isinstance(error, OutsideFailure))
