"""Jumps of ions found from their paths alone, without knowing the sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Paths are averaged over this time, so that vibrations aren't jumps.
SMOOTHING_PS = 0.5


@njit(cache=True)
def _follow(path, reach, home, counts):  # type: ignore[no-untyped-def]
    """Count the jumps of one smoothed path; see :class:`Jumps` for what is counted."""
    n_frames = path.shape[0]
    reach_squared = reach * reach
    here, previous = path[0].copy(), np.zeros(3)
    stay, n_jumps = 1, 0
    away = -1
    for frame in range(1, n_frames):
        step = path[frame] - here
        if (step**2).sum() <= reach_squared:
            stay += 1
            here += step / min(stay, home)
            away = -1
            continue
        if away < 0 or ((path[frame] - path[away]) ** 2).sum() > reach_squared:
            # Wait for a second frame near this one: a passing excursion is no jump.
            away = frame
            continue
        target = 0.5 * (path[frame] + path[away])
        counts[2] += ((target - here) ** 2).sum()
        if n_jumps > 0 and ((target - previous) ** 2).sum() > reach_squared:
            counts[1] += 1
        n_jumps += 1
        previous[:] = here
        here[:] = target
        stay, away = 2, -1
    counts[0] = n_jumps


@dataclass(frozen=True, eq=False)
class Jumps:
    """Jumps of one species.

    Attributes
    ----------
    per_ion : (n_ions,) int64
        Jumps of each ion: changes of its mean position by more than ``reach_angstrom``.
    onward_per_ion : (n_ions,) int64
        Jumps to neither where the ion is nor where it was before: two-site rattling has none.
    length_angstrom : float
        Root mean square jump length; NaN without jumps.
    reach_angstrom : float
    """

    per_ion: NDArray[np.int64]
    onward_per_ion: NDArray[np.int64]
    length_angstrom: float
    reach_angstrom: float

    @property
    def n_jumps(self) -> int:
        """All jumps."""
        return int(self.per_ion.sum())

    @property
    def n_onward(self) -> int:
        """Jumps onward to a third place."""
        return int(self.onward_per_ion.sum())

    @property
    def n_successions(self) -> int:
        """Jumps of ions that had jumped before: each is onward or a return."""
        return int(np.maximum(self.per_ion - 1, 0).sum())

    @property
    def onward_fraction(self) -> float:
        """Share of the successive jumps that lead onward; NaN without any."""
        return self.n_onward / self.n_successions if self.n_successions else float("nan")


def _smooth(path: NDArray[np.floating], timestep_ps: float) -> NDArray[np.float64]:
    """Return block means of one path (3, n_frames), as (n_blocks, 3) float64 in rows."""
    n_frames = path.shape[1]
    width = max(1, min(round(SMOOTHING_PS / timestep_ps), n_frames))
    n_blocks = n_frames // width
    blocks = path[:, : n_blocks * width].reshape(3, n_blocks, width)
    return np.ascontiguousarray(blocks.mean(axis=2, dtype=np.float64).T)


def find_jumps(
    paths: NDArray[np.floating], timestep_fs: float, reach_angstrom: float = 1.5
) -> Jumps:
    """Find the jumps in paths.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom
    reach_angstrom : float
        Motion within this distance of an ion's mean position is no jump; above the amplitude of
        vibrations, below the distance of sites.
    """
    counts = np.zeros((len(paths), 3))
    for ion, path in enumerate(paths):
        _follow(_smooth(path, timestep_fs / 1e3), reach_angstrom, 20, counts[ion])
    n_jumps = counts[:, 0].sum()
    length = float(np.sqrt(counts[:, 2].sum() / n_jumps)) if n_jumps else float("nan")
    return Jumps(
        counts[:, 0].astype(np.int64), counts[:, 1].astype(np.int64), length, reach_angstrom
    )
