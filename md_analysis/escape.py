"""Whether ions get away: how far they got, against what the stated diffusivity would take them.

A slope of the MSD says nothing of what happens later: ions that hop around in a closed cage have
one until they have seen all of it. So the displacements over half of the run and over all of it
are compared with those that the slope, found at shorter lags, foretells; and ions are counted that
got farther than any compact cage of a dozen sites is wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ionsieve.md_analysis.diffusivity import DiffusiveFit
from ionsieve.md_analysis.jumps import SMOOTHING_PS
from ionsieve.md_analysis.slope import Slope

#: Width of a compact cage of twelve sites over the jump from site to site: an icosahedron's is 1.9,
#: a cuboctahedron's 2.
_CAGE_JUMPS = 2.2

#: Cages of crystals are no narrower, however short the jumps in them (argyrodites: 5.5 Angstrom).
_CAGE_ANGSTROM = 6.0

#: Mean positions between which distances are taken.
_N_MEANS = 40

#: Frames that a mean position is taken of.
_FRAMES_PER_MEAN = 100

#: Time origins of the displacements over half of the run.
_ORIGINS = 40

#: With fewer walkers their own scatter says too little; that of Gaussian steps counts then.
_FEW_WALKERS = 10


@njit(cache=True)
def _farthest(means):  # type: ignore[no-untyped-def]
    """Largest distance between two of the points (n, 3)."""
    best = 0.0
    for i in range(len(means)):
        for j in range(i):
            distance = 0.0
            for axis in range(3):
                distance += (means[i, axis] - means[j, axis]) ** 2
            best = max(best, distance)
    return np.sqrt(best)


@dataclass(frozen=True)
class Growth:
    """Mean squared displacement at one long lag, seen and foretold by the slope at shorter ones.

    Attributes
    ----------
    lag_ps : float
    seen_angstrom2, expected_angstrom2 : float
    standard_error : float
        Of their difference, Angstrom^2.
    """

    lag_ps: float
    seen_angstrom2: float
    expected_angstrom2: float
    standard_error: float

    @property
    def z(self) -> float:
        """How far the seen value lies above the expected one, in standard errors."""
        if self.standard_error <= 0:
            return 0.0
        return (self.seen_angstrom2 - self.expected_angstrom2) / self.standard_error


@dataclass(frozen=True)
class Escape:
    """How far ions got.

    Attributes
    ----------
    cage_angstrom : float
        A compact cage of twelve sites is no wider.
    farthest_angstrom : float
        The farthest that any ion got.
    n_escaped : int
        Ions that got farther than a cage is wide.
    n_independent : float
        The same, ions that move together counted once.
    growth : tuple of Growth
        Over half of the run and over the whole of it, foretold by the reported window.
    growth_from_onset : tuple of Growth
        The same, foretold by the first window of the diffusive regime.
    """

    cage_angstrom: float
    farthest_angstrom: float
    n_escaped: int
    n_independent: float
    growth: tuple[Growth, ...]
    growth_from_onset: tuple[Growth, ...] = ()


def examine_escape(paths: NDArray[np.floating], timestep_fs: float, fit: DiffusiveFit) -> Escape:
    """Compare how far ions got with what the fit foretells.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom
    fit : DiffusiveFit
        Of the same paths.
    """
    n_ions, _, n_frames = paths.shape
    jump = fit.jumps.length_angstrom if fit.jumps.n_jumps else 0.0
    cage = max(_CAGE_JUMPS * jump, _CAGE_ANGSTROM)
    width = max(round(SMOOTHING_PS * 1e3 / timestep_fs), n_frames // _N_MEANS, 1)
    reached = np.array([_farthest(_means(path, width)) for path in paths])
    escaped = int((reached > cage).sum())
    walkers = fit.n_walkers()
    ends = max(1, min(width, n_frames // 4))
    lags = (n_frames // 2, n_frames - ends)
    dt_ps = timestep_fs / 1e3
    seen = [(lag, _seen(paths, lag)) for lag in lags]
    growth, from_onset = (
        tuple(_growth(paths, lag, dt_ps, far, slope, walkers) for lag, far in seen)
        for slope in (fit.slope, fit.slopes[fit.onset])
    )
    alone = float(escaped * walkers / n_ions)
    return Escape(cage, float(reached.max()), escaped, alone, growth, from_onset)


def _means(path: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    n_blocks = max(1, path.shape[1] // width)
    width = min(width, path.shape[1])
    blocks = path[:, : n_blocks * width].reshape(3, n_blocks, width)[
        :, :, :: max(1, width // _FRAMES_PER_MEAN)
    ]
    return np.ascontiguousarray(blocks.mean(axis=2, dtype=np.float64).T)


def _seen(paths: NDArray[np.floating], lag: int) -> NDArray[np.float64]:
    """Return the mean squared displacement of each ion over a long lag, Angstrom^2."""
    origins = np.unique(np.linspace(0, paths.shape[2] - lag - 1, _ORIGINS).astype(int))
    return np.array([_squared(path, origins, lag) for path in paths])


def _growth(
    paths: NDArray[np.floating],
    lag: int,
    dt_ps: float,
    seen: NDArray[np.float64],
    slope: Slope,
    walkers: float,
) -> Growth:
    """Return the displacement over one lag; each ion is compared with its own short-lag motion."""
    n_ions, _, n_frames = paths.shape
    middle = int(slope.window.lag_frames[len(slope.window.lag_frames) // 2])
    near = np.unique(np.linspace(0, n_frames - middle - 1, 10 * _ORIGINS).astype(int))
    base = np.array([_squared(path, near, middle) for path in paths])
    value = slope.diffusivity_angstrom2_ps
    each = value + n_ions * slope.scalar_residuals.sum(axis=1)
    beyond_ps = (lag - middle) * dt_ps
    expected = float(base.mean() + 6 * value * beyond_ps)
    difference = seen - base - 6 * each * beyond_ps
    error = float(difference.std(ddof=1)) / np.sqrt(walkers) if n_ions > 1 else 0.0
    if walkers < _FEW_WALKERS:
        # Squared Gaussian displacements scatter so; the many origins of half a run take off a part.
        tensor = slope.tensor_angstrom2_ps[:3].clip(0)
        scatter = 2.0 if n_frames - lag < n_frames // 4 else 0.7
        scatter *= float((tensor**2).sum() / max(tensor.sum(), 1e-30) ** 2)
        error = max(error, abs(expected) * np.sqrt(scatter / walkers))
    return Growth(lag * dt_ps, float(seen.mean()), expected, float(error))


def _squared(path: NDArray[np.floating], origins: NDArray[np.intp], lag: int) -> float:
    step = path[:, origins + lag].astype(np.float64) - path[:, origins]
    return float((step**2).sum(axis=0).mean())
