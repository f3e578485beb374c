"""Building a trajectory from a stream of frames, in memory or, if it is too large, on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.storage import room
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.unwrapping import BLOCK_FRAMES, Unwrapper


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
        self._cells.append(cell)
        self._n_pending += 1

    def _flush(self) -> None:
        block = self._pending[: self._n_pending]
        shape = (len(self.species), 3, self._n_pending)
        n_taken = self.n_frames - self._n_pending
        out = room(shape, held_bytes=4 * len(self.species) * 3 * n_taken)
        self._unwrapper.add(block, out)
        self._blocks.append(out)
        self._n_pending = 0

    def finish(
        self,
        timestep_fs: float,
        *,
        md_timestep_fs: float | None = None,
        temperature_k: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> Trajectory:
        """Return the trajectory, float32.

        Raises
        ------
        InputError
            If no whole frame came.
        """
        if not self._cells:
            raise InputError("no whole frame in the trajectory; is the run finished?")
        if self._n_pending:
            self._flush()
        shape = (len(self.species), 3, self.n_frames)
        paths = room(shape)
        start = 0
        self._blocks.reverse()
        while self._blocks:
            block = self._blocks.pop()
            paths[:, :, start : start + block.shape[2]] = block
            start += block.shape[2]
        return Trajectory(
            paths,
            self._cell(),
            self.species,
            timestep_fs,
            md_timestep_fs,
            temperature_k,
            notes,
        )

    def _cell(self) -> NDArray[np.float64]:
        first = self._cells[0]
        if all(cell is first for cell in self._cells):
            return first
        cells = np.array(self._cells)
        return first if np.ptp(cells, axis=0).max() < 1e-9 else cells
