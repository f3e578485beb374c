"""The driver: starts workers, feeds the queue, watches over both."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobflow.core.store import JobStore

from ionsieve.errors import DiskFullError, InputError, IonSieveError, disk_is_full
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.runners.local.lock import sole_driver
from ionsieve.workflows.runners.local.pool import WorkerPool, describe_exit
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.runners.local.records import Failure, RunningJob
from ionsieve.workflows.runners.local.worker import DISK_FULL_EXIT, connect_store

logger = logging.getLogger(__name__)

NextFlows = Callable[[list[FlowStatus]], list[NewFlow]]
OnProgress = Callable[[list[FlowStatus]], None]

_PROGRESS_S = 0.5
_MAX_IDLE_DEATHS = 3  # of workers that had no job: the fault is not a job's
_ASKING_SHARE = 0.1  # of the time that `next_flows` may take while workers are busy


class RunInterruptedError(IonSieveError):
    """A run was ended by a signal; running again resumes it."""


def run_queue(
    queue: JobQueue,
    job_store: JobStore,
    n_workers: int,
    work_dir: str | Path,
    next_flows: NextFlows,
    on_progress: OnProgress | None = None,
) -> None:
    """Execute flows with worker processes until nothing is left to do.

    May be killed at any moment, with SIGKILL too: the workers die with it, and the next call
    continues. Completed jobs are never repeated. A job that fails fails its flow only.

    Import what the jobs need before the call (workers are forked and then have it), and start no
    threads before it.

    Parameters
    ----------
    queue : JobQueue
        Flows in it that have not ended are executed too.
    job_store : JobStore
        Where outputs go. Each worker connects to it anew through ``as_dict``, so it must be one
        that processes can share.
    n_workers : int
        Jobs at the same time.
    work_dir : path-like
        Each job runs in its own new folder ``stage/label/number_name`` below it, with what it
        prints in ``job.log`` and, if it fails, the traceback in ``traceback.txt``.
    next_flows : callable
        Given the status of all flows, returns flows to do; those whose key is known are ignored.
        Called at the start and after flows ended, until it brings nothing new. When flows end fast
        one call answers several.
    on_progress : callable, optional
        Given the status of all flows, about twice a second and at the end.

    Raises
    ------
    InputError
        If another driver works on the queue, ``n_workers`` is below 1 or ``work_dir`` cannot be
        written.
    RunInterruptedError
        On SIGINT or SIGTERM: workers were stopped, the queue can be resumed.
    DiskFullError
        If a worker found no room on a disk: workers were stopped, the queue can be resumed.
    IonSieveError
        If workers die without having a job.
    """
    if n_workers < 1:
        raise InputError(f"{n_workers} workers cannot work; give at least 1")
    work_dir = _usable_folder(Path(work_dir).resolve())
    store_dict = job_store.as_dict()
    with sole_driver(queue.path) as lock_fd:
        # Whatever was running belongs to a run that is gone.
        _settle(queue, store_dict, queue.running_jobs())
        board = _Board(queue)
        board.refresh()
        board.ask(next_flows)
        if board.n_open == 0:
            _report(on_progress, board)
            return
        pool = WorkerPool(
            n_workers, queue.path.resolve(), work_dir, store_dict, lock_fd, queue.close
        )
        try:
            with _signals(pool) as received:
                _drive(queue, board, pool, store_dict, next_flows, on_progress, received)
        finally:
            pool.close()
            try:
                _settle(queue, store_dict, queue.running_jobs())
            except Exception as error:
                # No room for it either; the next run does it first.
                if not disk_is_full(error):
                    raise


def _drive(
    queue: JobQueue,
    board: _Board,
    pool: WorkerPool,
    store_dict: dict[str, Any],
    next_flows: NextFlows,
    on_progress: OnProgress | None,
    received: list[int],
) -> None:
    """Run until no flow is open and none is added."""
    reported = 0.0
    n_idle_deaths = 0
    while True:
        pool.fill()
        for pid, exit_code in pool.wait(_PROGRESS_S).items():
            if exit_code == DISK_FULL_EXIT:
                raise DiskFullError(
                    f"the disk of {queue.path}, of the store or of {pool.work_dir} is full; make "
                    "room and run again to resume: what was stored is kept"
                )
            lost = [job for job in queue.running_jobs() if job.worker == pid]
            n_idle_deaths += not lost
            logger.warning("A worker died (%s).", describe_exit(exit_code))
            if n_idle_deaths > _MAX_IDLE_DEATHS:
                raise IonSieveError(
                    f"workers die without a job ({describe_exit(exit_code)}); see the messages "
                    "above, mend the cause and run again to resume"
                )
            _settle(queue, store_dict, lost, cause=describe_exit(exit_code))
        if received:
            raise RunInterruptedError(
                f"interrupted by {signal.Signals(received[0]).name}; run again to resume"
            )
        board.refresh()
        if board.due:
            board.ask(next_flows)
        if board.n_open == 0 and not board.due:
            break
        if time.monotonic() - reported > _PROGRESS_S:
            _report(on_progress, board)
            reported = time.monotonic()
    _report(on_progress, board)


def _report(on_progress: OnProgress | None, board: _Board) -> None:
    if on_progress is not None:
        on_progress(board.flows)


@dataclass
class _Board:
    """The driver's picture of the queue, kept up by reading changes only."""

    queue: JobQueue
    _flows: dict[str, FlowStatus] = field(default_factory=dict)
    _change: int = 0
    _n_unanswered: int = 0
    _asked: float = 0.0
    _asking_s: float = 0.0
    n_open: int = 0

    @property
    def flows(self) -> list[FlowStatus]:
        """All flows in the order they were added."""
        return list(self._flows.values())

    def refresh(self) -> None:
        """Read what changed."""
        changed, self._change = self.queue.changes_since(self._change)
        for flow in changed:
            previous = self._flows.get(flow.key)
            was_open = previous is not None and not previous.ended
            self.n_open += (not flow.ended) - was_open
            self._n_unanswered += flow.ended and was_open
            self._flows[flow.key] = flow

    @property
    def due(self) -> bool:
        """Whether flows ended that `next_flows` was not told of.

        Answers are put together while there is other work, so that a caller who looks at all
        flows does not cost time that grows with their square.
        """
        if self._n_unanswered == 0:
            return False
        since = time.monotonic() - self._asked
        return since * _ASKING_SHARE >= self._asking_s or not self.queue.has_ready_jobs()

    def ask(self, next_flows: NextFlows) -> None:
        """Ask for more to do and add it."""
        begin = time.monotonic()
        self._n_unanswered = 0
        self.queue.add_flows(next_flows(self.flows))
        self.refresh()
        self._asked = time.monotonic()
        self._asking_s = self._asked - begin


def _settle(
    queue: JobQueue,
    store_dict: dict[str, Any],
    jobs: list[RunningJob],
    cause: str | None = None,
) -> None:
    """Decide about jobs whose worker is gone.

    Complete them if their output had been stored, else make them ready again; a job whose worker
    died by itself (``cause``) too often fails.
    """
    if not jobs:
        return
    store = connect_store(store_dict)
    try:
        for job in jobs:
            if _is_stored(store, job):
                queue.complete(job.job_id)
            elif cause is None:
                queue.give_back(job.job_id)
            elif not queue.give_back_once(job.job_id):
                reason = f"its worker process died twice: {cause}"
                queue.fail(job.job_id, Failure(reason, retriable=True))
    finally:
        store.close()


def _is_stored(store: JobStore, job: RunningJob) -> bool:
    """Return whether the output of a job is in the store; remove it if it is incomplete."""
    criteria = {"uuid": job.uuid, "index": job.job_index}
    try:
        return store.query_one(criteria, load=True) is not None
    except KeyError:
        # jobflow writes the document before its blobs; some are missing.
        parts: Any = store  # maggma's base class hides the types of these attributes
        parts.docs_store.remove_docs(criteria)
        for blobs in parts.additional_stores.values():
            blobs.remove_docs({"job_uuid": job.uuid, "job_index": job.job_index})
        return False


def _usable_folder(folder: Path) -> Path:
    """Return the folder, made if missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the work folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write in the work folder {folder}; check its permissions")
    return folder


@contextmanager
def _signals(pool: WorkerPool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; the second one kills as ever."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {int(n): signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(number, previous[number])
        pool.wake()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
