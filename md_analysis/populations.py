"""Whether ions differ for ever: some fast, some slow, as on two sublattices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from ionsieve.md_analysis.slope import Slope

#: Correlation of the ions' diffusivities in the two halves of a run, in its standard errors, from
#: which on they are said to differ for ever.
_SIGNIFICANT = 3.0

#: Fewer ions tell no populations.
_FEWEST_IONS = 8

#: Populations whose diffusivities differ by a smaller factor are not told apart.
_SMALLEST_RATIO = 3.0


@dataclass(frozen=True)
class Population:
    """Ions of one kind.

    Attributes
    ----------
    n_ions : int
    share : float
        Of all mobile ions.
    diffusivity_cm2_s : float
    standard_error_cm2_s : float
        From how much each ion's motion differs in the two halves of the run.
    """

    n_ions: int
    share: float
    diffusivity_cm2_s: float
    standard_error_cm2_s: float


def halves(slope: Slope) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the diffusivity of each ion in both halves of the run, (n_ions,) Angstrom^2/ps."""
    n_ions, n_blocks = slope.scalar_residuals.shape
    middle = n_blocks // 2
    each = slope.scalar_residuals * n_ions
    value = slope.diffusivity_angstrom2_ps
    first = value + each[:, :middle].sum(axis=1) * n_blocks / middle
    second = value + each[:, middle:].sum(axis=1) * n_blocks / (n_blocks - middle)
    return first, second


def differ_for_ever(slope: Slope) -> bool:
    """Return whether ions that are fast in one half of the run are so in the other."""
    first, second = halves(slope)
    n_ions = slope.coupling.n_independent(len(first))
    if n_ions < _FEWEST_IONS:
        return False
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return False
    # Of ranks: one ion that went far once is no population.
    correlation = float(scipy.stats.spearmanr(first, second).statistic)
    return correlation * np.sqrt(n_ions - 1) > _SIGNIFICANT


def within_variance(slope: Slope) -> tuple[float, float]:
    """Return the variance of the mean diffusivity of these very ions, and its degrees of freedom.

    What differs for ever is the same in both halves, so that their difference has only what is
    noise.
    """
    first, second = halves(slope)
    noise = (first - second) ** 2 / 4
    n_walkers = slope.coupling.n_independent(len(noise))
    # Few fast ions make most of the noise.
    dof = 3 * float(noise.sum() ** 2 / max((noise**2).sum(), 1e-300)) * n_walkers / len(noise)
    return float(noise.mean() / n_walkers), max(min(dof, n_walkers - 1), 1.0)


def find_populations(slope: Slope, to_cm2_s: float) -> tuple[Population, ...]:
    """Return the slow and the fast ions; empty where ions don't differ for ever."""
    if not differ_for_ever(slope):
        return ()
    first, second = halves(slope)
    each = 0.5 * (first + second)
    order = np.sqrt(np.maximum(each, 0.0))
    limit = _threshold(order)
    fast = order > limit
    found = []
    for chosen in (~fast, fast):
        noise = (first[chosen] - second[chosen]) ** 2 / 4
        found.append(
            Population(
                int(chosen.sum()),
                float(chosen.mean()),
                float(max(each[chosen].mean(), 0.0)) * to_cm2_s,
                float(np.sqrt(noise.mean() / chosen.sum())) * to_cm2_s,
            )
        )
    slow_ions, fast_ions = found
    if fast_ions.diffusivity_cm2_s < _SMALLEST_RATIO * slow_ions.diffusivity_cm2_s:
        return ()
    return slow_ions, fast_ions


def _threshold(values: NDArray[np.float64]) -> float:
    """Return the value that splits into two groups of least scatter (N. Otsu, 1979)."""
    ordered = np.sort(values)
    between = [
        k * (len(ordered) - k) * (ordered[k:].mean() - ordered[:k].mean()) ** 2
        for k in range(1, len(ordered))
    ]
    best = int(np.argmax(between)) + 1
    return float(0.5 * (ordered[best - 1] + ordered[best]))
