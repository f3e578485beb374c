"""Paths of ions through a periodic cell, built block by block from wrapped or unwrapped frames."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ionsieve.errors import InputError

#: Steps longer than this fraction of a cell edge can't be told from the opposite step.
AMBIGUOUS_STEP = 0.45

#: Frames unwrapped at once: small enough for the cache, large enough to hide the call.
BLOCK_FRAMES = 512


@njit(cache=True)
def _unwrap(block, previous, images, wrapped, out, worst):  # type: ignore[no-untyped-def]
    for ion in range(block.shape[1]):
        for axis in range(3):
            last = previous[ion, axis]
            image = images[ion, axis]
            for frame in range(block.shape[0]):
                here = block[frame, ion, axis]
                step = here - last
                if wrapped:
                    turns = np.rint(step)
                    image -= turns
                    step -= turns
                    if abs(step) > worst[0]:
                        worst[0] = abs(step)
                        worst[1] = ion
                        worst[2] = frame
                        worst[3] = axis
                out[ion, axis, frame] = here + image
                last = here
            previous[ion, axis] = last
            images[ion, axis] = image


class Unwrapper:
    """Follow every ion through the periodic boundaries by the nearest image.

    Image counts are integers, so that no rounding error builds up however long the run.

    Parameters
    ----------
    species : tuple of str
        One per ion, for error messages.
    wrapped : bool
        False if the frames already are paths; they are then only checked and stored.
    """

    def __init__(self, species: tuple[str, ...], wrapped: bool = True) -> None:
        self._species = species
        self._wrapped = wrapped
        self._previous: NDArray[np.float64] | None = None
        self._images = np.zeros((len(species), 3))
        self._frames_done = 0

    def add(self, fractional: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        """Unwrap the next frames.

        Parameters
        ----------
        fractional : (n_frames, n_ions, 3) float, fractions of the cell
        out : (n_ions, 3, n_frames) float, the unwrapped path

        Raises
        ------
        InputError
            On NaN or infinite positions, and on steps of nearly half a cell or more.
        """
        for start in range(0, len(fractional), BLOCK_FRAMES):
            block = np.ascontiguousarray(fractional[start : start + BLOCK_FRAMES])
            if self._previous is None:
                self._previous = block[0].astype(np.float64)
            self._check_finite(block)
            worst = np.zeros(4)
            _unwrap(
                block,
                self._previous,
                self._images,
                self._wrapped,
                out[:, :, start : start + len(block)],
                worst,
            )
            self._check_step(worst)
            self._frames_done += len(block)

    def _check_finite(self, block: NDArray[np.floating]) -> None:
        if np.isfinite(block).all():
            return
        frame, ion = np.argwhere(~np.isfinite(block))[0][:2]
        raise InputError(
            f"the position of {self._species[ion]} (ion {ion}) in frame "
            f"{self._frames_done + frame} is not a number; cut the trajectory before it"
        )

    def _check_step(self, worst: NDArray[np.float64]) -> None:
        if worst[0] <= AMBIGUOUS_STEP:
            return
        ion, frame = int(worst[1]), self._frames_done + int(worst[2])
        raise InputError(
            f"{self._species[ion]} (ion {ion}) moves {worst[0]:.2f} of cell edge "
            f"{'abc'[int(worst[3])]} between frames {frame - 1} and {frame} "
            f"(limit {AMBIGUOUS_STEP}), so its path is ambiguous; write frames more often, or "
            "give unwrapped positions and say so (unwrapped=True)"
        )
