"""Whether one piece of a run follows another, told by its positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.fixed_point import COARSEST_ANGSTROM

#: Two frames closer than this (largest displacement of an ion, Angstrom) may be one frame twice.
#: Positions of stored trajectories can be a step of the grid apart along each cell vector.
SAME_FRAME_ANGSTROM = 2.5 * COARSEST_ANGSTROM

#: Two segments whose ends differ by more than this (rms) don't follow each other, if steps between
#: frames are not known.
_LARGEST_GAP_ANGSTROM = 1.0

#: Nor do they if the gap is this many times the largest step between frames of either.
_LARGEST_GAP_STEPS = 1.5

#: Steps between frames looked at, from each segment.
_STEPS_SEEN = 100

#: Ions by which frames that may be the same are found before all are compared.
_PROBES = 4

Array = NDArray[np.floating]


def repeated_from(first: Array, start: Array, cell: NDArray[np.float64]) -> int:
    """Return how many frames of a segment come before the one that the next starts with.

    All of them if the next segment does not start with a frame of this one.

    Parameters
    ----------
    first : (n_ions, 3, n_frames) float
        Fractional paths of the segment.
    start : (n_ions, 3) float
        First frame of the next.
    """
    n_frames = first.shape[2]
    away = np.abs(_nearest(first[:_PROBES] - start[:_PROBES, :, None])).max(axis=(0, 1))
    near = np.flatnonzero(away * np.linalg.norm(cell, axis=1).max() < 2 * SAME_FRAME_ANGSTROM)
    for frame in near[::-1]:
        if _distance(first[:, :, frame], start, cell) > SAME_FRAME_ANGSTROM:
            continue
        other = frame - 1 if frame else min(1, n_frames - 1)
        usual = _distance(first[:, :, frame], first[:, :, other], cell)
        if _distance(first[:, :, frame], start, cell) < 0.1 * usual or usual == 0:
            return int(frame)
    return n_frames


def check_gap(
    first: Array, second: Array, shift: NDArray[np.float64], cell: NDArray[np.float64], number: int
) -> None:
    """Refuse a segment that does not start where the one before ends.

    Parameters
    ----------
    first, second : (n_ions, 3, n_frames) float
        Fractional paths, what is repeated left out.
    shift : (n_ions, 3) float64
        Whole cells to add to the second.

    Raises
    ------
    InputError
        If the step from one to the other is larger than those between frames.
    """
    gap = _rms((second[:, :, 0] + shift - first[:, :, -1]) @ cell)
    usual = max(_largest_step(first, cell), _largest_step(second, cell))
    limit = _LARGEST_GAP_STEPS * usual if usual > 0 else _LARGEST_GAP_ANGSTROM
    if gap > limit:
        raise InputError(
            f"segment {number} starts {gap:.2g} Angstrom (rms) from where the one before ends, "
            f"frames are at most {usual:.2g} Angstrom apart (limit {limit:.2g}): a piece is "
            "missing, swapped or of another run; give the segments of one run in order"
        )


def _largest_step(paths: Array, cell: NDArray[np.float64]) -> float:
    """Largest rms displacement between frames that follow each other, of a sample of them."""
    n_frames = paths.shape[2]
    if n_frames < 2:
        return 0.0
    frames = np.unique(np.linspace(0, n_frames - 2, _STEPS_SEEN).astype(int))
    return max(_rms(_nearest(paths[:, :, k + 1] - paths[:, :, k]) @ cell) for k in frames)


def _nearest(difference: Array) -> Array:
    return difference - np.rint(difference)


def _distance(frame: Array, other: Array, cell: NDArray[np.float64]) -> float:
    """Largest distance of an ion in two frames, Angstrom."""
    return float(np.linalg.norm(_nearest(frame - other) @ cell, axis=1).max())


def _rms(displacements: Array) -> float:
    return float(np.sqrt((displacements**2).sum(axis=1).mean()))
