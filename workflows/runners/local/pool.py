"""Worker processes: started together, replaced when they die, ended together."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ionsieve.errors import IonSieveError
from ionsieve.workflows.runners.local.worker import WorkerTask, work

logger = logging.getLogger(__name__)

_GRACE_S = 5.0


class WorkerPool:
    """N workers on one queue.

    Parameters
    ----------
    n_workers : int
        How many.
    queue_path, work_dir : Path
        Absolute.
    job_store : dict
        The job store as a dictionary.
    lock_fd : int
        The queue's lock, which workers inherit.
    before_fork : callable
        Called before processes are made: must close every database connection of this process.
    """

    def __init__(
        self,
        n_workers: int,
        queue_path: Path,
        work_dir: Path,
        job_store: dict[str, Any],
        lock_fd: int,
        before_fork: Callable[[], None],
    ) -> None:
        self.work_dir = work_dir
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        # Forked workers have everything imported already; elsewhere than on Linux forking is not
        # safe.
        is_forked = sys.platform == "linux"
        self._context: Any = multiprocessing.get_context("fork" if is_forked else "spawn")
        self._task = WorkerTask(
            queue_path,
            work_dir,
            job_store,
            driver=os.getpid(),
            wake_fd=self._wake_writer if is_forked else -1,
            lock_fd=lock_fd if is_forked else -1,
        )
        self._before_fork = before_fork
        self._workers: dict[int, BaseProcess] = {}
        self._n_workers = n_workers

    def fill(self) -> None:
        """Start as many workers as are missing."""
        if len(self._workers) == self._n_workers:
            return
        self._before_fork()
        for _ in range(self._n_workers - len(self._workers)):
            process = self._context.Process(target=work, args=(self._task,), daemon=False)
            process.start()
            assert process.pid is not None
            self._workers[process.pid] = process

    def wake(self) -> None:
        """End the current or next `wait` at once (safe in a signal handler)."""
        with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
            os.write(self._wake_writer, b".")

    def wait(self, timeout_s: float) -> dict[int, int]:
        """Wait until a flow ends, a worker dies or the time is up.

        Returns
        -------
        dict
            Exit code of each worker that died, by process id.
        """
        sentinels = [process.sentinel for process in self._workers.values()]
        wait([self._wake_reader, *sentinels], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 1 << 16)
        dead = {
            pid: process.exitcode or 0
            for pid, process in self._workers.items()
            if process.exitcode is not None
        }
        for pid in dead:
            _signal_group(pid, signal.SIGKILL)  # what it may have left behind
            self._workers.pop(pid).close()
        return dead

    def stop(self) -> None:
        """End all workers and what they run."""
        for pid in self._workers:
            _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for pid, process in self._workers.items():
            process.join(max(0.0, deadline - time.monotonic()))
            _signal_group(pid, signal.SIGKILL)
            if process.exitcode is None:
                process.kill()
            process.join()
            process.close()
        self._workers.clear()

    def close(self) -> None:
        """Stop, and free the pipe."""
        self.stop()
        os.close(self._wake_reader)
        os.close(self._wake_writer)


def describe_exit(exit_code: int) -> str:
    """Return in words how a process ended."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exit code {exit_code}"


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        # No group yet: the worker was only just started.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    except PermissionError as error:
        raise IonSieveError(f"cannot end worker process {pid}: {error}") from error
