"""Dynamic work sharing between MPI ranks; a team of one needs no MPI.

Rank 0 hands out numbered work units, works itself between messages, and merges what comes back; the
others always hold one unit in reserve, so that they do not wait for it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ionsieve.errors import IonSieveError
from ionsieve.ewald.kernels.arrangements import Pool, new_pool

#: Variables in which launchers state the number of ranks they started.
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "MPI_LOCALNRANKS")
_REPORT, _ORDER = 1, 2

#: Launchers drop what a rank wrote just before it aborted; they get this long to pass it on.
_FORWARDING_SECONDS = 0.5


@dataclass
class Report:
    """What one work unit did: arrangements covered and evaluated, and what else it gives."""

    n_covered: int = 0
    n_evaluated: int = 0
    result: Any = None


def launched_size() -> int:
    """Return the number of ranks the MPI launcher of this process started, 1 without one."""
    return max((int(os.environ.get(name) or 1) for name in _SIZE_VARIABLES), default=1)


def world() -> Any:
    """Return MPI's world communicator, or None when not started by an MPI launcher.

    Raises
    ------
    IonSieveError
        mpi4py or an MPI library is missing, or belongs to another MPI than the launcher.
    """
    size = launched_size()
    if size == 1:
        return None
    remedy = "install ionsieve[mpi] and start with the mpiexec of the same environment"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise IonSieveError(
            f"started as {size} MPI ranks, but no MPI works ({error}): {remedy}"
        ) from error
    if size != MPI.COMM_WORLD.Get_size():
        raise IonSieveError(
            f"the launcher started {size} ranks, the MPI library sees {MPI.COMM_WORLD.Get_size()}: "
            f"they are different MPIs; {remedy}"
        )
    return MPI.COMM_WORLD


class Team:
    """The ranks that share one search.

    Parameters
    ----------
    comm : mpi4py communicator or None
        None is a team of one.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm: Any = comm if comm is not None and comm.Get_size() > 1 else None
        self.rank: int = self.comm.Get_rank() if self.comm else 0
        self.size: int = self.comm.Get_size() if self.comm else 1

    @property
    def is_root(self) -> bool:
        """Whether this rank hands out the work."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Return rank 0's value on every rank."""
        return self.comm.bcast(value, root=0) if self.comm else value

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """End all ranks when one fails; alone it would leave the others waiting for ever."""
        try:
            yield
        except BaseException:
            if self.comm is None:
                raise
            ending = f"error: MPI rank {self.rank} failed; ending the run"
            print(traceback.format_exc() + ending, file=sys.stderr, flush=True)
            time.sleep(_FORWARDING_SECONDS)
            self.comm.Abort(1)

    def run(
        self,
        units: Iterator[int],
        work: Callable[[int], Report],
        done: Callable[[int, Report], bool],
        pool: Pool,
        merge: Callable[[Pool], None],
    ) -> None:
        """Work on units until there are no more or ``done`` says stop.

        Parameters
        ----------
        units : iterator of int
            Used on rank 0 only.
        work : callable
            Does one unit with this rank's pool.
        done : callable
            Called on rank 0 after every unit; returns whether to stop.
        pool : Pool
            This rank's; on the others it starts with rank 0's threshold.
        merge : callable
            Takes another rank's pool into rank 0's.
        """
        if not self.is_root:
            self._follow(work, pool)
            return
        queue = _Queue(units)
        if self.comm:
            for _ in range(2):
                for rank in range(1, self.size):
                    self._order(rank, queue.next(), pool)
        waiting = 2 * (self.size - 1)
        while True:
            while waiting and (queue.empty or self.comm.iprobe(tag=_REPORT)):
                waiting -= self._receive(queue, done, pool, merge)
            unit = queue.next()
            if unit is None:
                if waiting == 0:
                    return
                continue
            if done(unit, work(unit)):
                queue.stop()

    def map(self, work: Callable[[int], Any], n_units: int) -> list[Any]:
        """Return the results of units 0 ... n_units - 1, in this order, on every rank."""
        results: dict[int, Any] = {}

        def done(unit: int, report: Report) -> bool:
            results[unit] = report.result
            return False

        self.run(
            iter(range(n_units)),
            lambda unit: Report(result=work(unit)),
            done,
            new_pool(1, 1),
            lambda other: None,
        )
        shared: list[Any] = self.share([results[unit] for unit in range(len(results))])
        return shared

    def _order(self, rank: int, unit: int | None, pool: Pool) -> None:
        self.comm.send((unit, _worst(pool)), dest=rank, tag=_ORDER)

    def _receive(
        self,
        queue: _Queue,
        done: Callable[[int, Report], bool],
        pool: Pool,
        merge: Callable[[Pool], None],
    ) -> int:
        """Take one report and answer it; return 1 if it was that rank's last one in flight."""
        rank, unit, report, found = self.comm.recv(tag=_REPORT)
        if unit is not None:
            merge(found)
            if done(unit, report):
                queue.stop()
            following = queue.next()
            self._order(rank, following, pool)
            return 0
        return 1

    def _follow(self, work: Callable[[int], Report], pool: Pool) -> None:
        """Do what rank 0 says; two orders are in flight at a time, each is answered once."""
        open_orders = 2
        while open_orders:
            unit, limit = self.comm.recv(source=0, tag=_ORDER)
            pool.limit[0] = min(pool.limit[0], limit)
            if unit is None:
                open_orders -= 1
                self.comm.send((self.rank, None, None, None), dest=0, tag=_REPORT)
                continue
            report = work(unit)
            self.comm.send((self.rank, unit, report, pool), dest=0, tag=_REPORT)


def _worst(pool: Pool) -> int:
    """Return the energy, in quanta, of the last entry of a full pool."""
    if pool.size[0] < len(pool.order) - 1:
        return int(pool.limit[0])
    return int(min(pool.limit[0], pool.quanta[pool.order[-2]]))


class _Queue:
    """Units still to be handed out."""

    def __init__(self, units: Iterator[int]) -> None:
        self._units = units
        self._ahead: deque[int] = deque()
        self._pull()

    def _pull(self) -> None:
        unit = next(self._units, None)
        if unit is not None:
            self._ahead.append(unit)

    @property
    def empty(self) -> bool:
        return not self._ahead

    def next(self) -> int | None:
        if not self._ahead:
            return None
        unit = self._ahead.popleft()
        self._pull()
        return unit

    def stop(self) -> None:
        self._ahead.clear()
        self._units = iter(())
