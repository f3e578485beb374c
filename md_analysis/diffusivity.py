"""Self-diffusivity with a calibrated interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from ionsieve.md_analysis.jumps import Jumps, find_jumps
from ionsieve.md_analysis.populations import differ_for_ever, within_variance
from ionsieve.md_analysis.slope import Coupling, Slope, Window, fit_slope, windows

#: Angstrom^2/ps in cm^2/s.
CM2_S_PER_ANGSTROM2_PS = 1e-4

#: Shortest lag of all windows: beyond the vibrations of a solid.
SHORTEST_LAG_PS = 0.5

#: Degrees of freedom granted to the error that a walk of independent jumps would have.
_MODEL_DOF = 2.0

#: Standard errors by which the slope must lie above one that goes on falling.
_LEVEL_ERRORS = 1.3

#: Coupling in longer windows counts beyond so many of its standard errors.
_CERTAIN_ERRORS = 2.0

#: Degrees of freedom granted to the comparison of two windows.
_LEAST_COMPARISON_DOF = 5.0


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and the degrees of freedom that error has."""

    value: float
    standard_error: float
    degrees_of_freedom: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval of a positive quantity.

        It is that of a scaled chi-squared variable with the estimate's mean and variance, which
        has the long upper tail of a diffusivity from few events; widened by the ratio of
        Student's t to the normal quantile because the error is itself an estimate.
        """
        if not np.isfinite(self.standard_error) or self.standard_error == 0:
            return self.value, self.value
        quantile = 0.5 + level / 2
        t = float(scipy.stats.t.ppf(quantile, self.degrees_of_freedom))
        error = self.standard_error * t / float(scipy.stats.norm.ppf(quantile))
        if self.value <= 2 * error:
            return max(0.0, self.value - t * self.standard_error), (
                max(self.value, 0.0) + t * self.standard_error
            )
        shape = (self.value / error) ** 2
        tails = scipy.stats.gamma.ppf([1 - quantile, quantile], shape + 0.5)
        return float(self.value * shape / tails[1]), float(self.value * shape / tails[0])

    @property
    def relative_error(self) -> float:
        """Half the 95 % interval over the value; infinite unless the value is positive."""
        low, high = self.interval()
        return (high - low) / (2 * self.value) if self.value > 0 else float("inf")


@dataclass(frozen=True, eq=False)
class DiffusiveFit:
    """Slopes of all windows and the first one that agrees with all longer ones.

    Attributes
    ----------
    slopes : tuple of Slope
        Shortest lags first.
    onset : int
        First window whose slope agrees with every longer one.
    chosen : int
        Window whose slope is reported.
    jumps : Jumps
        Of the same paths.
    length_ps : float
    """

    slopes: tuple[Slope, ...]
    onset: int
    chosen: int
    jumps: Jumps
    length_ps: float

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """Diffusivity of each window, Angstrom^2/ps."""
        return tuple(
            estimate(
                s.diffusivity_angstrom2_ps,
                s.scalar_residuals,
                s.window,
                self.coupling(number),
                self._expected_variance(s),
                within_variance(s) if self.ions_differ else None,
                self._common_share * s.diffusivity_angstrom2_ps**2,
            )
            for number, s in enumerate(self.slopes)
        )

    def coupling(self, number: int) -> Coupling:
        """Return how much ions move together, from one window or, where it is more, a longer one.

        In single file ions hop on their own and in the end go where all go.
        """
        own = self.slopes[number].coupling
        longer = [s.coupling for s in self.slopes[number + 1 :]]
        certain = [c.others - _CERTAIN_ERRORS * c.standard_error for c in longer]
        return Coupling(max([own.others, *certain]), own.standard_error)

    def n_walkers(self) -> float:
        """Return the number of independent walkers whose mean scatters as that of the ions."""
        return self.coupling(self.chosen).n_independent(len(self.slope.residuals))

    @cached_property
    def _common_share(self) -> float:
        """Relative variance from times at which all ions are fast or slow.

        Short lags tell most of it: they don't smear the times out.
        """
        first = self.slopes[0]
        value = first.diffusivity_angstrom2_ps
        if value <= 0 or len(first.residuals) < 2:
            return 0.0
        return _common_variance(first.scalar_residuals, first.window, first.coupling) / value**2

    @cached_property
    def is_established(self) -> bool:
        """Whether longer windows confirm the onset.

        Two of them; one alone agrees with nearly anything, and counts only if the slope, which
        fell up to the onset, falls less from there on: in subdiffusion it falls on as it did.
        """
        n_longer = len(self.slopes) - 1 - self.onset
        if n_longer != 1 or self.onset == 0:
            return n_longer > 1
        first, short, long = self.slopes[0], self.slopes[-2], self.slopes[-1]
        values = [s.diffusivity_angstrom2_ps for s in (first, short, long)]
        if values[0] <= 0 or values[1] <= 0:
            return False
        per_octave = float((values[1] / values[0]) ** (1 / self.onset))
        residuals = long.scalar_residuals - per_octave * short.scalar_residuals
        difference = values[2] - per_octave * values[1]
        error = estimate(difference, residuals, long.window, long.coupling).standard_error
        return difference > _LEVEL_ERRORS * error

    @cached_property
    def ions_differ(self) -> bool:
        """Whether some ions are fast and some slow for ever."""
        return differ_for_ever(self.slopes[self.onset])

    def _expected_variance(self, slope: Slope) -> float:
        """Variance of the diffusivity from one walker that jumps at random times.

        A Brownian walker's, and the scatter of the number of jumps: D is known no better than
        6 D t / a^2 jumps of length a can be counted.
        """
        value = max(slope.diffusivity_angstrom2_ps, 0.0)
        length = self.jumps.length_angstrom if self.jumps.n_jumps else 0.0
        return slope.walker_variance + value * length**2 / (6 * self.length_ps)

    @property
    def slope(self) -> Slope:
        """The chosen window's slope."""
        return self.slopes[self.chosen]

    @property
    def diffusivity(self) -> Estimate:
        """The chosen window's diffusivity, Angstrom^2/ps."""
        return self.estimates[self.chosen]

    @cached_property
    def tensor(self) -> NDArray[np.float64]:
        """Diffusivity tensor, (3, 3) Angstrom^2/ps."""
        xx, yy, zz, yz, xz, xy = self.slope.tensor_angstrom2_ps
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    @cached_property
    def tensor_standard_error(self) -> NDArray[np.float64]:
        """Standard errors of the tensor, (3, 3) Angstrom^2/ps."""
        window, coupling = self.slope.window, self.coupling(self.chosen)
        errors = [
            estimate(0.0, self.slope.residuals[:, :, c], window, coupling).standard_error
            for c in range(6)
        ]
        xx, yy, zz, yz, xz, xy = errors
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def estimate(
    value: float,
    residuals: NDArray[np.float64],
    window: Window,
    coupling: Coupling,
    expected_variance: float | None = None,
    within: tuple[float, float] | None = None,
    least_common: float = 0.0,
) -> Estimate:
    """Return the value with a standard error clustered both by ion and by time.

    Ions may differ for ever, so all times of one ion count as one observation, and ions that move
    together count as fewer: the scatter between ions is that of ``coupling.n_independent``
    walkers. Ions may also be fast or slow at the same times without moving together; that shows
    in the scatter between blocks of time (neighbouring blocks with Bartlett weights) beyond the
    blocks of each ion and beyond what moves together, and is added where it is positive.

    The scatter of a few walkers is itself known badly, and runs in which it came out too small
    would be believed too much. What a model expects of one walker counts as a few more of them.

    Parameters
    ----------
    residuals : (n_ions, n_blocks) float64
        They sum to zero.
    expected_variance : float, optional
        Variance of the value from one walker.
    within : (float, float), optional
        Variance and degrees of freedom of the mean of these very ions, where they differ for ever:
        it takes the place of the scatter between ions.
    least_common : float
        Variance from times at which all are fast or slow, as another window tells it.

    References
    ----------
    A. C. Cameron, J. B. Gelbach, D. L. Miller, J. Bus. Econ. Stat. 29, 238 (2011),
    doi 10.1198/jbes.2010.07136; W. K. Newey, K. D. West, Econometrica 55, 703 (1987),
    doi 10.2307/1913610; bias and degrees of freedom of Bartlett weights: N. M. Kiefer,
    T. J. Vogelsang, Econom. Theory 21, 1130 (2005), doi 10.1017/S0266466605050565.
    """
    n_ions = len(residuals)
    bandwidth, share = window.bandwidth_blocks, window.bandwidth_share
    # Residuals from a fitted mean scatter less than those from the true one.
    bias = 1 - share + share**2 / 3
    time_dof = window.degrees_of_freedom
    v_time = _bartlett(residuals.sum(axis=0)[None, :], bandwidth) / bias
    if n_ions < 2:
        return Estimate(value, float(np.sqrt(max(v_time, 0.0))), time_dof)
    # Below two walkers nothing can be told from their scatter; v_time then counts.
    n_walkers = coupling.n_independent(n_ions)
    ion_dof = max(n_walkers, 2.0) - 1
    squares = n_ions * float((residuals.sum(axis=1) ** 2).sum())
    v_independent, v_ion = squares / (n_ions - 1), squares / ion_dof
    common = max(_common_variance(residuals, window, coupling), least_common)
    if within is not None:
        v_ion, ion_dof = within
    if expected_variance is not None:
        expected = expected_variance / n_walkers
        v_ion = (ion_dof * v_ion + _MODEL_DOF * expected) / (ion_dof + _MODEL_DOF)
        ion_dof += _MODEL_DOF
    total = v_ion + common
    if total == 0:
        return Estimate(value, 0.0, time_dof)
    uncertain = v_independent * coupling.standard_error
    dof = total**2 / (v_ion**2 / ion_dof + uncertain**2 / 2 + common**2 / time_dof)
    return Estimate(value, float(np.sqrt(total)), max(1.0, dof))


def _common_variance(residuals: NDArray[np.float64], window: Window, coupling: Coupling) -> float:
    """Return the variance from times at which ions are fast or slow without moving together.

    What blocks of time scatter beyond the blocks of each ion and beyond what moves together.
    """
    n_ions = len(residuals)
    bandwidth, share = window.bandwidth_blocks, window.bandwidth_share
    bias = 1 - share + share**2 / 3
    squares = n_ions * float((residuals.sum(axis=1) ** 2).sum())
    walkers = max(coupling.n_independent(n_ions), 2.0)
    together = squares / (walkers - 1) - squares / (n_ions - 1)
    v_time = _bartlett(residuals.sum(axis=0)[None, :], bandwidth) / bias
    return max(v_time - _bartlett(residuals, bandwidth) / bias - together, 0.0)


def _bartlett(series: NDArray[np.float64], bandwidth: int) -> float:
    total = float((series**2).sum())
    for lag in range(1, min(bandwidth, series.shape[1] - 1) + 1):
        weight = 1 - lag / (bandwidth + 1)
        total += 2 * weight * float((series[:, lag:] * series[:, :-lag]).sum())
    return total


def fit_diffusion(
    paths: NDArray[np.floating], timestep_fs: float, shortest_lag_ps: float = SHORTEST_LAG_PS
) -> DiffusiveFit:
    """Return the slopes of all windows with the diffusive regime found by Lepski's rule.

    The regime starts at the shortest window whose slope agrees, within the error of their
    difference, with the slope of every longer one; the next longer window is reported.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom

    References
    ----------
    O. V. Lepskii, Theory Probab. Appl. 35, 454 (1991), doi 10.1137/1135065.
    """
    timestep_ps = timestep_fs / 1e3
    candidates = windows(paths.shape[2], timestep_ps, shortest_lag_ps)
    slopes = tuple(fit_slope(paths, window, timestep_ps) for window in candidates)
    onset = next(
        i
        for i in range(len(slopes))
        if all(_agree(slopes[i], longer) for longer in slopes[i + 1 :])
    )
    chosen = min(onset + 1, len(slopes) - 1)
    length_ps = (paths.shape[2] - 1) * timestep_ps
    return DiffusiveFit(slopes, onset, chosen, find_jumps(paths, timestep_fs), length_ps)


def _agree(short: Slope, long: Slope) -> bool:
    difference = short.diffusivity_angstrom2_ps - long.diffusivity_angstrom2_ps
    residuals = short.scalar_residuals - long.scalar_residuals
    error = estimate(difference, residuals, long.window, long.coupling)
    # Cautious where time blocks are few, since a window rejected by chance costs precision; but
    # not so much that the longest windows could contradict nothing.
    dof = max(long.window.degrees_of_freedom, _LEAST_COMPARISON_DOF)
    t = float(scipy.stats.t.ppf(0.975, dof))
    return abs(difference) <= t * error.standard_error
