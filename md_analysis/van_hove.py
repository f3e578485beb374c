"""Radial distribution and van Hove functions: where ions are, and where they go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.displacement import drift, paths
from ionsieve.md_analysis.trajectory import Trajectory

#: Origins averaged over; more differ too little.
_ORIGINS = 100


@njit(cache=True)
def _count_pairs(a, b, cell, inverse, same, width, counts):  # type: ignore[no-untyped-def]
    """Histogram of nearest-image distances between points of a and b, each (n, 3) Angstrom."""
    delta, image = np.empty(3), np.empty(3)
    for i in range(len(a)):
        for j in range(len(b)):
            if same and i == j:
                continue
            for k in range(3):
                image[k] = 0.0
                for m in range(3):
                    image[k] += (b[j, m] - a[i, m]) * inverse[m, k]
                image[k] -= np.rint(image[k])
            distance = 0.0
            for k in range(3):
                delta[k] = 0.0
                for m in range(3):
                    delta[k] += image[m] * cell[m, k]
                distance += delta[k] * delta[k]
            index = int(np.sqrt(distance) / width)
            if index < len(counts):
                counts[index] += 1


@dataclass(frozen=True, eq=False)
class RadialDistribution:
    """Density of one species around another over the mean density.

    Attributes
    ----------
    radii_angstrom : (n_bins,) float64
        Middles of the bins.
    values : (n_bins,) float64
    coordination : (n_bins,) float64
        Mean number of neighbours up to the end of each bin.
    """

    species: tuple[str, str]
    radii_angstrom: NDArray[np.float64]
    values: NDArray[np.float64]
    coordination: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VanHove:
    """Van Hove functions of one species.

    Attributes
    ----------
    lags_ps : (n_lags,) float64
    radii_angstrom : (n_bins,) float64
    self_part : (n_lags, n_bins) float64, 1/Angstrom
        Probability density of the distance an ion moved in each lag (4 pi r^2 G_s).
    distinct : (n_lags, n_bins) float64
        Density of other ions at distance r from where an ion was one lag ago, over the mean
        density; a peak at r = 0 tells that ions replace each other.
    """

    species: str
    lags_ps: NDArray[np.float64]
    radii_angstrom: NDArray[np.float64]
    self_part: NDArray[np.float64]
    distinct: NDArray[np.float64]


def _largest_radius(cell: NDArray[np.float64]) -> float:
    """Half the smallest distance of opposite faces: nearest images are unique up to there."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return float(heights.min() / 2)


def _bins(trajectory: Trajectory, width: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not width > 0:
        raise InputError(f"the bin width is {width}; it must be above 0 Angstrom")
    n_bins = max(1, int(_largest_radius(trajectory.mean_cell) / width))
    edges: NDArray[np.float64] = width * np.arange(n_bins + 1, dtype=np.float64)
    return edges, np.asarray(4 / 3 * np.pi * np.diff(edges**3))


def radial_distribution(
    trajectory: Trajectory, first: str, second: str, width_angstrom: float = 0.05
) -> RadialDistribution:
    """Return g(r) of the second species around the first, up to half the cell's height.

    Raises
    ------
    InputError
        On an unknown species or a bad bin width.
    """
    a, b = trajectory.indices(first), trajectory.indices(second)
    edges, shells = _bins(trajectory, width_angstrom)
    counts = np.zeros(len(shells), dtype=np.int64)
    frames = np.unique(np.linspace(0, trajectory.n_frames - 1, _ORIGINS).astype(int))
    for frame in frames:
        cell = trajectory.cell if trajectory.cell.ndim == 2 else trajectory.cell[frame]
        places = trajectory.fractional[:, :, frame].astype(np.float64) @ cell
        _count_pairs(
            places[a], places[b], cell, np.linalg.inv(cell), first == second, width_angstrom, counts
        )
    per_ion = counts / (len(frames) * len(a))
    density = (len(b) - (first == second)) / trajectory.volume_angstrom3
    values = per_ion / shells / density if density else np.zeros(len(shells))
    return RadialDistribution(
        (first, second), edges[:-1] + width_angstrom / 2, values, np.cumsum(per_ion)
    )


def van_hove(
    trajectory: Trajectory,
    species: str,
    lags_ps: NDArray[np.float64] | None = None,
    width_angstrom: float = 0.1,
) -> VanHove:
    """Return self and distinct van Hove functions in the framework's frame.

    Parameters
    ----------
    lags_ps : (n_lags,) float64, optional
        Default: 24 lags, evenly spaced up to half the run.

    Raises
    ------
    InputError
        On an unknown species, a bad bin width, or lags beyond the run.
    """
    mobile = trajectory.indices(species)
    walks = paths(trajectory, mobile, drift(trajectory, mobile)[0])
    dt_ps = trajectory.timestep_fs / 1e3
    if lags_ps is None:
        lags_ps = np.linspace(0, (trajectory.n_frames - 1) // 2, 25)[1:] * dt_ps
    lags = np.round(np.asarray(lags_ps) / dt_ps).astype(int)
    if lags.min() < 0 or lags.max() >= trajectory.n_frames:
        raise InputError(
            f"lags from {min(lags_ps):g} to {max(lags_ps):g} ps; the run is "
            f"{trajectory.length_ps:g} ps long"
        )
    edges, shells = _bins(trajectory, width_angstrom)
    moved = np.zeros((len(lags), len(shells)))
    distinct = np.zeros((len(lags), len(shells)))
    density = max(len(mobile) - 1, 1) / trajectory.volume_angstrom3
    for row, lag in enumerate(lags):
        moved[row], counts = _one_lag(walks, int(lag), edges, trajectory.mean_cell)
        distinct[row] = counts / shells / density
    return VanHove(species, lags * dt_ps, edges[:-1] + width_angstrom / 2, moved, distinct)


def _one_lag(
    walks: NDArray[np.floating], lag: int, edges: NDArray[np.float64], cell: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    origins = np.unique(np.linspace(0, walks.shape[2] - 1 - lag, _ORIGINS).astype(int))
    step = walks[:, :, origins + lag].astype(np.float64) - walks[:, :, origins]
    distance = np.linalg.norm(step, axis=1).ravel()
    width = edges[1] - edges[0]
    moved = np.histogram(distance, edges)[0] / (len(distance) * width)
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    inverse = np.linalg.inv(cell)
    for origin in origins:
        before = np.ascontiguousarray(walks[:, :, origin], dtype=np.float64)
        after = np.ascontiguousarray(walks[:, :, origin + lag], dtype=np.float64)
        _count_pairs(before, after, cell, inverse, True, width, counts)
    return moved, counts / (len(origins) * len(walks))
