"""Building a trajectory from a stream of frames, in memory or, if it is too large, on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.frame_times import FrameTimes
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.storage import allocate
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.unwrapping import BLOCK_FRAMES, Unwrapper

_LEAST_VOLUME_ANGSTROM3 = 1e-3


def check_cell(cell: NDArray[np.float64], where: str) -> None:
    """Refuse a cell that can't be one.

    Raises
    ------
    InputError
        If it has no volume or holds what is no number.
    """
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < _LEAST_VOLUME_ANGSTROM3:
        raise InputError(f"the cell of {where} has no volume: {np.round(cell, 3).tolist()}")


@dataclass
class FrameStream:
    """Take frames one by one, unwrap them, and give the trajectory at the end.

    Parameters
    ----------
    species : tuple of str
    unwrapped : bool
        The frames are paths already.
    """

    species: tuple[str, ...]
    unwrapped: bool = False
    _unwrapper: Unwrapper = field(init=False, repr=False)
    _pending: NDArray[np.float64] = field(init=False, repr=False)
    _blocks: list[NDArray[np.floating]] = field(init=False, repr=False, default_factory=list)
    _cells: list[NDArray[np.float64]] = field(init=False, repr=False, default_factory=list)
    _twins: list[int] = field(init=False, repr=False, default_factory=list)
    _turn: NDArray[np.float64] | None = field(init=False, repr=False, default=None)
    _n_pending: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Make room for one block of frames."""
        self._unwrapper = Unwrapper(self.species, wrapped=not self.unwrapped)
        self._pending = np.empty((BLOCK_FRAMES, len(self.species), 3))

    @property
    def n_frames(self) -> int:
        """Frames taken so far."""
        return len(self._cells)

    def slot(self) -> NDArray[np.float64]:
        """Return the (n_ions, 3) array to write the next fractional positions into."""
        if self._n_pending == BLOCK_FRAMES:
            self._flush()
        return self._pending[self._n_pending]

    def take(self, cell: NDArray[np.float64]) -> None:
        """Accept the frame that was written into :meth:`slot`, with its cell."""
        here = self._pending[self._n_pending]
        if not self._cells or cell is not self._cells[-1]:
            check_cell(cell, f"frame {self.n_frames + 1}")
            cell = self._unflipped(cell) if self._cells else cell
        if self._turn is not None:
            here[:] = here @ self._turn
        if self._n_pending:
            before = self._pending[self._n_pending - 1]
            if here[0, 0] == before[0, 0] and np.array_equal(here, before):
                self._twins.append(self.n_frames)
        self._cells.append(cell)
        self._n_pending += 1

    def _unflipped(self, cell: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cell with vectors like those before; LAMMPS flips cells that tilt too far.

        The new vectors are then whole-numbered sums of the old ones: the same lattice, other
        fractions.
        """
        before = self._cells[-1]
        if self._turn is not None:
            cell = np.linalg.inv(self._turn) @ cell
        turn = np.rint(cell @ np.linalg.inv(before))
        if not np.array_equal(turn, np.eye(3)) and abs(abs(np.linalg.det(turn)) - 1) < 1e-6:
            cell = np.linalg.inv(turn) @ cell
            self._turn = turn if self._turn is None else self._turn @ turn
        return before if np.array_equal(cell, before) else cell

    def _flush(self) -> None:
        block = self._pending[: self._n_pending]
        shape = (len(self.species), 3, self._n_pending)
        n_taken = self.n_frames - self._n_pending
        out = allocate(shape, held_bytes=4 * len(self.species) * 3 * n_taken)
        self._unwrapper.add(block, out)
        self._blocks.append(out)
        self._n_pending = 0

    def finish(
        self, times: FrameTimes, options: ReadOptions, notes: tuple[str, ...] = ()
    ) -> Trajectory:
        """Return the trajectory, float32; what a restart wrote twice is used once.

        Parameters
        ----------
        times : FrameTimes
            What the file tells of its frames' times.
        options : ReadOptions
            What the caller tells.

        Raises
        ------
        InputError
            If no whole frame came, or frames and times don't go together.
        """
        if not self._cells:
            raise InputError(f"{times.path} has no whole frame; is the run finished?")
        paths = self._collected()
        pieces, more = times.arrange(paths, self._twins)
        notes += more
        cells = self._cell()
        runs: list[Trajectory] = []
        for piece in pieces:
            frame_fs, step_fs, guessed = times.interval(piece, options)
            everything = len(piece) == paths.shape[2]
            runs.append(
                Trajectory(
                    paths if everything else paths[:, :, piece],
                    cells if everything or cells.ndim == 2 else cells[piece],
                    self.species,
                    frame_fs,
                    step_fs,
                    options.temperature_k,
                    notes + guessed if not runs else (),
                    steps=times.first_and_last(piece),
                )
            )
        return runs[0] if len(runs) == 1 else Trajectory.join(runs)

    def _collected(self) -> NDArray[np.floating]:
        """Return the paths of all frames, (n_ions, 3, n_frames)."""
        if self._n_pending:
            self._flush()
        paths = allocate((len(self.species), 3, self.n_frames))
        start = 0
        self._blocks.reverse()
        while self._blocks:
            block = self._blocks.pop()
            paths[:, :, start : start + block.shape[2]] = block
            start += block.shape[2]
        return paths

    def _cell(self) -> NDArray[np.float64]:
        first = self._cells[0]
        if all(cell is first for cell in self._cells):
            return first
        cells = np.array(self._cells)
        return first if np.ptp(cells, axis=0).max() < 1e-9 else cells
