"""Slope of the MSD over one window of lags, with an error that survives correlated motion.

One rung of the fit is a window of lags D, 2D, ... MD. The slope is a generalised least squares
fit with a free offset, so it is a fixed linear combination of squared displacements; its error
comes from how the contributions of ions and of stretches of time scatter, not from a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ionsieve.md_analysis.displacement import TENSOR_PAIRS

#: Origins per shortest lag: more add nothing once they overlap so much.
_ORIGINS_PER_LAG = 10

#: Most lags in one window.
_MAX_LAGS = 10

#: Stretches of time whose contributions are compared.
MAX_BLOCKS = 40

#: Most stretches of time between whose mean positions displacements are compared.
_MAX_STRETCHES = 400


@njit(cache=True, nogil=True)
def _block_products(path, lags, stride, block_frames, out, counts):  # type: ignore[no-untyped-def]
    n_blocks = out.shape[0]
    for k in range(len(lags)):
        lag = lags[k]
        for start in range(0, path.shape[1] - lag, stride):
            block = min((start + lag // 2) // block_frames, n_blocks - 1)
            x = path[0, start + lag] - path[0, start]
            y = path[1, start + lag] - path[1, start]
            z = path[2, start + lag] - path[2, start]
            out[block, k, 0] += x * x
            out[block, k, 1] += y * y
            out[block, k, 2] += z * z
            out[block, k, 3] += y * z
            out[block, k, 4] += x * z
            out[block, k, 5] += x * y
            counts[block, k] += 1


@njit(cache=True, nogil=True)
def _correlate(steps, summed, squared):  # type: ignore[no-untyped-def]
    for first in range(steps.shape[1]):
        for second in range(first + 2, steps.shape[1]):
            product = 0.0
            for axis in range(3):
                product += steps[axis, first] * steps[axis, second]
            summed[first, second] += product
            squared[first, second] += product * product


@dataclass(frozen=True, eq=False)
class Window:
    """Lags of one rung.

    Attributes
    ----------
    lag_frames : (n_lags,) int64
        Multiples of the shortest.
    stride : int
        Frames between time origins.
    block_frames : int
        Length of the stretches of time.
    n_blocks : int
    """

    lag_frames: NDArray[np.int64]
    stride: int
    block_frames: int
    n_blocks: int

    @property
    def bandwidth_blocks(self) -> int:
        """Blocks over which contributions are correlated because their lags overlap."""
        overlap = int(np.ceil(1.5 * self.lag_frames[-1] / self.block_frames)) + 1
        return min(overlap, self.n_blocks - 1)

    @property
    def bandwidth_share(self) -> float:
        """Share of the run over which contributions are correlated."""
        return (self.bandwidth_blocks + 1) / self.n_blocks

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of an error from time blocks with Bartlett weights."""
        return max(1.0, 1.5 / self.bandwidth_share - 1)


def windows(n_frames: int, timestep_ps: float, shortest_ps: float) -> list[Window]:
    """Return the fit: windows whose shortest lag doubles, up to a fifth of the run."""
    n_blocks = max(2, min(MAX_BLOCKS, n_frames // 8))
    block_frames = -(-n_frames // n_blocks)
    longest = max(1, n_frames // 5)
    lag = min(max(1, round(shortest_ps / timestep_ps)), longest)
    fit = []
    while lag <= longest:
        n_lags = int(np.clip(n_frames // (5 * lag), 2, _MAX_LAGS))
        lags = lag * np.arange(1, n_lags + 1)
        lags = lags[lags < n_frames - 1]
        fit.append(Window(lags, max(1, lag // _ORIGINS_PER_LAG), block_frames, n_blocks))
        lag *= 2
    return fit


@dataclass(frozen=True)
class Coupling:
    """How much ions move together.

    Attributes
    ----------
    others : float
        Sum over all other ions of the squared correlation of their displacements with one ion's:
        0 for independent ions, 3 in groups of four that move as one. By chance below 0.
    standard_error : float
        That of independent ions.
    """

    others: float
    standard_error: float

    def n_independent(self, n_ions: int) -> float:
        """Return the number of independent walkers whose mean scatters as that of the ions."""
        return n_ions / (1 + max(self.others, 0.0))


@dataclass(frozen=True, eq=False)
class Slope:
    """Diffusivity tensor from one window, and what each ion and stretch of time gave to it.

    Attributes
    ----------
    coupling : Coupling
        Of displacements over the window's shortest lag.
    tensor_angstrom2_ps : (6,) float64
        xx, yy, zz, yz, xz, xy.
    walker_variance : float
        Variance of the diffusivity that one Brownian walker with the same MSD would give,
        (Angstrom^2/ps)^2.
    residuals : (n_ions, n_blocks, 6) float64, Angstrom^2/ps
        Contribution of each ion and block minus its share of the mean; they sum to zero.
    """

    window: Window
    coupling: Coupling
    tensor_angstrom2_ps: NDArray[np.float64]
    walker_variance: float
    residuals: NDArray[np.float64]

    @property
    def diffusivity_angstrom2_ps(self) -> float:
        """Mean over the three directions."""
        return float(self.tensor_angstrom2_ps[:3].mean())

    @property
    def scalar_residuals(self) -> NDArray[np.float64]:
        """Residuals of the mean diffusivity, (n_ions, n_blocks)."""
        return self.residuals[:, :, :3].mean(axis=2)


def fit_slope(paths: NDArray[np.floating], window: Window, timestep_ps: float) -> Slope:
    """Return the slope of the MSD over one window.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom
    """
    n_ions, n_lags = len(paths), len(window.lag_frames)
    sums = np.zeros((n_ions, window.n_blocks, n_lags, len(TENSOR_PAIRS)))
    counts = np.zeros((window.n_blocks, n_lags), dtype=np.int64)
    for ion, path in enumerate(paths):
        counts[:] = 0
        _block_products(
            path, window.lag_frames, window.stride, window.block_frames, sums[ion], counts
        )
    n_origins = counts.sum(axis=0)
    msd = sums.sum(axis=(0, 1)) / (n_ions * n_origins)[:, None]
    weights, variance = _slope_weights(window, msd[:, :3].sum(axis=1), timestep_ps)
    scale = weights / (n_ions * n_origins)
    residuals = np.einsum("k,ibkc->ibc", scale, sums)
    residuals -= np.einsum("k,bk,kc->bc", scale, counts, msd)
    # The covariance is that of origins a tenth of the shortest lag apart; three directions.
    n_fine = n_origins.mean() * window.stride * _ORIGINS_PER_LAG / window.lag_frames[0]
    steady = variance / (3 * n_fine)
    return Slope(window, _coupling(paths, window), weights @ msd, steady, residuals)


def _coupling(paths: NDArray[np.floating], window: Window) -> Coupling:
    """Return how much ions move together, without bias and for any directions of their motion.

    Independent ions correlate by chance, so no squared correlation of two ions may be taken from
    one stretch of time. With d_ib the displacement of ion i from the mean position in stretch b to
    that in the next, the sum over ions of d_ib d_ic, squared, is a sum over pairs of ions of
    products of their correlations in b and in c; for independent ions only the pairs of an ion
    with itself remain, and these are taken off. Stretches that share a mean position are left out.
    """
    stretch = max(int(window.lag_frames[0]), -(-paths.shape[2] // _MAX_STRETCHES))
    n_stretches = paths.shape[2] // stretch
    summed, squared = np.zeros((2, n_stretches - 1, n_stretches - 1))
    for path in paths:
        pieces = path[:, : n_stretches * stretch].reshape(3, n_stretches, stretch)
        means = pieces[:, :, :: window.stride].mean(axis=2, dtype=np.float64)
        _correlate(np.diff(means, axis=1), summed, squared)
    n_pairs = max((n_stretches - 2) * (n_stretches - 3) // 2, 1)
    standard_error = float(np.sqrt(2 / n_pairs))
    own = float(squared.sum())
    if own == 0:
        return Coupling(0.0, standard_error)
    return Coupling(float((summed**2).sum()) / own - 1, standard_error)


def _slope_weights(
    window: Window, msd: NDArray[np.float64], timestep_ps: float
) -> tuple[NDArray[np.float64], float]:
    """Return weights w with D_ab = sum_k w_k <da db>_k, blind to a constant offset.

    Generalised least squares with the covariance of a diffusing particle seen with white noise
    (its vibration). Also returned is the variance of D along one axis times the number of time
    origins, these a tenth of the shortest lag apart.

    References
    ----------
    J. T. Bullerjahn, S. von Buelow, G. Hummer, J. Chem. Phys. 153, 024116 (2020),
    doi 10.1063/5.0008312.
    """
    lags_ps = window.lag_frames * timestep_ps
    design = np.column_stack([2 * lags_ps, np.ones(len(lags_ps))])
    slope, offset = np.linalg.lstsq(design, msd / 3, rcond=None)[0]
    per_lag = max(2 * slope * lags_ps[0], 0.02 * msd[0] / 3, 1e-30)
    covariance = _covariance(len(lags_ps), max(offset, 0.0) / per_lag)
    weighted = np.linalg.solve(covariance, design)
    weights = np.linalg.solve(design.T @ weighted, weighted.T)[0]
    return weights, float(weights @ covariance @ weights) * per_lag**2


def _covariance(n_lags: int, offset: float) -> NDArray[np.float64]:
    """Covariance (any scale) of MSDs at lags 1...n of a walk of unit variance per lag + noise.

    The covariance of two squared Gaussian displacements is twice that of the displacements,
    squared; it is summed over all distances of their origins.
    """
    fine = _ORIGINS_PER_LAG
    lags = fine * np.arange(1, n_lags + 1)
    i, j = lags[:, None, None], lags[None, :, None]
    apart = np.arange(-lags[-1], lags[-1] + 1)
    overlap = np.minimum(i, apart + j) - np.maximum(0, apart)
    walk = np.maximum(overlap, 0) / fine
    same = (apart == 0).astype(float) + (apart + j == i) - (apart == i) - (apart + j == 0)
    return 2 * ((walk + 0.5 * offset * same) ** 2).sum(axis=2)
