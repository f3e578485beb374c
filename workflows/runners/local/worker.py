"""A worker: takes ready jobs one after the other until its driver ends it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow.core.state import CURRENT_JOB
from jobflow.core.store import JobStore

from ionsieve.errors import OutsideFailure, disk_is_full
from ionsieve.workflows.runners.local.outcome import Outcome, job_from_content
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.runners.local.records import ClaimedJob, Failure
from ionsieve.workflows.store.decoding import decode

if TYPE_CHECKING:
    from jobflow.core.job import Job

logger = logging.getLogger(__name__)

LOG_NAME = "job.log"
TRACEBACK_NAME = "traceback.txt"
#: Tells the driver that the worker found no room on a disk; EX_IOERR of sysexits.h.
DISK_FULL_EXIT = 74
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.1
_PARENT_CHECK_S = 0.5
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class WorkerTask:
    """All a worker process needs; picklable.

    Attributes
    ----------
    queue_path, work_dir : Path
        The queue's file and where jobs get their folders.
    job_store : dict
        The job store as a dictionary: each worker connects by itself.
    driver : int
        Process id of the driver; the worker dies with it.
    wake_fd : int
        Pipe on which a byte tells the driver that a flow ended; -1 if it was not inherited.
    lock_fd : int
        The driver's lock of the queue; -1 if it was not inherited.
    """

    queue_path: Path
    work_dir: Path
    job_store: dict[str, Any]
    driver: int
    wake_fd: int
    lock_fd: int


def work(task: WorkerTask) -> None:
    """Execute jobs for ever; the driver ends the process.

    With a full disk nothing can be recorded, and every job would fail: the process then ends by
    itself and leaves its job to the next run.
    """
    try:
        _work(task)
    except Exception as error:
        if not disk_is_full(error):
            raise
        sys.exit(DISK_FULL_EXIT)


def _work(task: WorkerTask) -> None:
    _obey_driver(task.driver)
    # Processes that jobs fork must not keep the queue locked if they outlive everything.
    if task.lock_fd >= 0:
        os.register_at_fork(after_in_child=lambda: os.close(task.lock_fd))
    _own_output()
    _use_one_thread()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # forked workers would all draw the same numbers
    # Opened before the first job changes the folder, in case a path is relative.
    store = connect_store(task.job_store)
    queue = JobQueue(task.queue_path)
    held = HeldOutputStore(store)
    pause_s = _FIRST_PAUSE_S
    while True:
        claimed = queue.claim(os.getpid(), task.work_dir)
        if claimed is None:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            continue
        pause_s = _FIRST_PAUSE_S
        if execute(queue, claimed, held):
            with contextlib.suppress(OSError):
                os.write(task.wake_fd, b".")


def execute(queue: JobQueue, claimed: ClaimedJob, store: HeldOutputStore) -> bool:
    """Run one job and record what became of it; return whether its flow thereby ended.

    What the job leaves behind is kept in the queue before its output goes to the store, so that
    an output in the store always means that the job need not run again.
    """
    run_dir = Path(claimed.run_dir)
    with _inside(run_dir):
        try:
            job = job_from_content(claimed.content)
            store.hold(job)
            outcome = Outcome.from_response(job.run(store=store, job_dir=run_dir))
            if not outcome.plain:
                queue.keep_outcome(claimed.job_id, outcome)
            store.release()
        except (Exception, SystemExit) as error:
            CURRENT_JOB.reset()
            # What a calculation met is an OutsideFailure; this is about our own files.
            if disk_is_full(error) and not isinstance(error, OutsideFailure):
                raise
            failure = Failure.from_exception(error)
            Path(run_dir, TRACEBACK_NAME).write_text(failure.traceback)
            if isinstance(error, OutsideFailure):
                if queue.give_back_once(claimed.job_id):
                    return False
                failure = Failure.from_exception(error.twice())
            return queue.fail(claimed.job_id, failure)
    return queue.complete(claimed.job_id)


def connect_store(job_store: dict[str, Any]) -> JobStore:
    """Return a job store rebuilt from its dictionary, connected."""
    store: JobStore = decode(job_store, "job store")
    store.connect()
    return store


class HeldOutputStore(JobStore):
    """A job store that holds back the output of one job until it is released.

    `jobflow.Job.run` stores the output before it returns the response; the queue must know the
    response first.

    Parameters
    ----------
    store : JobStore
        Where everything goes in the end.
    """

    def __init__(self, store: JobStore) -> None:
        parts: Any = store  # maggma's base class hides the types of these attributes
        super().__init__(
            parts.docs_store, parts.additional_stores, save=parts.save, load=parts.load
        )
        self._store = store
        self._job: Job | None = None
        self._held: list[tuple[Any, Any, Any]] = []

    def hold(self, job: Job) -> None:
        """Hold back the output of this job; forget what was held of an earlier one."""
        self._job = job
        self._held = []

    def release(self) -> None:
        """Store what was held."""
        for docs, key, save in self._held:
            self._store.update(docs, key=key, save=save)
        self._held = []

    def update(self, docs: Any, key: Any = None, save: Any = None) -> None:
        """Store documents, or hold the job's own output."""
        identity = (getattr(docs, "uuid", None), getattr(docs, "index", None))
        if self._job is not None and identity == (self._job.uuid, self._job.index):
            self._held.append((docs, key, save))
        else:
            self._store.update(docs, key=key, save=save)


@contextlib.contextmanager
def _inside(run_dir: Path) -> Iterator[None]:
    """Work in a folder, with everything the process prints going to a log there."""
    previous = os.getcwd()
    os.chdir(run_dir)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    log = os.open(LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        is_empty = os.fstat(log).st_size == 0
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (log, *kept):
            os.close(descriptor)
        if is_empty:
            Path(run_dir, LOG_NAME).unlink(missing_ok=True)
        os.chdir(previous)


def _obey_driver(driver: int) -> None:
    """Die with the driver, and on nothing but its word."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches the whole terminal; the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A group of its own, so that the driver can end a worker with what it started.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(driver,), daemon=True).start()
    if os.getppid() != driver:
        os.kill(os.getpid(), signal.SIGKILL)


def _watch_parent(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_PARENT_CHECK_S)
    os.killpg(0, signal.SIGKILL)


def _own_output() -> None:
    """Let prints and logs go to the plain streams 1 and 2.

    A live display of the driver may have replaced them, and a thread of it may have held their
    locks at the fork.
    """
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).handlers.clear()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )


def _use_one_thread() -> None:
    """Leave the cores to the other workers; a user's own setting in the environment wins."""
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    if "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
