"""What the funnel asks a runner for, and what the runner says of it."""

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
    failed_folder : str
        Its folder, where the runner knows it.
    retriable : bool
        Whether that job may succeed another time as it is: something outside ended it.
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
    failed_folder: str = ""
    retriable: bool = False
    run_dirs: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing of the flow will run any more."""
        return self.state in ("completed", "failed")
