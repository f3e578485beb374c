"""Activation energy and extrapolation from runs at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import scipy.constants as const
import scipy.stats
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.result import Interval, TransportResult

BOLTZMANN_EV_K = const.k / const.e
ROOM_TEMPERATURE_K = 300.0

#: An interval that reaches zero reaches this far down in ln D.
_LARGEST_LOG_ERROR = 2.0

#: Width of the step at a 95 % upper bound, in ln D.
_BOUND_WIDTH = 0.3

#: Chance below which a single straight line is given up.
_SIGNIFICANT = 0.01

_GRID = 201

#: Solids have higher barriers.
_SMALLEST_ENERGY_EV = 0.05

#: D(300 K) farther than this from all that was measured, or less well known, is warned of.
_LONGEST_EXTRAPOLATION_DECADES = 1.0

#: Heat expands a crystal by less between two runs.
_LARGEST_EXPANSION = 1.15


@dataclass(frozen=True)
class ArrheniusPoint:
    """Diffusivity at one temperature.

    Attributes
    ----------
    diffusivity_ci95_cm2_s : (float, float)
        May be asymmetric; with ``is_upper_bound`` only its upper end counts.
    sigma_ne_ci95_s_cm : (float, float), optional
        Nernst-Einstein conductivity at the ends of that interval; needed for sigma at 300 K.
    composition : str
        Numbers of ions in the cell; points of different ones are warned of.
    volume_angstrom3 : float or None
        Of the cell.
    """

    temperature_k: float
    diffusivity_cm2_s: float
    diffusivity_ci95_cm2_s: Interval
    is_upper_bound: bool = False
    sigma_ne_ci95_s_cm: Interval | None = None
    composition: str = ""
    volume_angstrom3: float | None = None

    @classmethod
    def from_result(cls, result: TransportResult) -> ArrheniusPoint:
        """Make a point from an analysis."""
        return cls(
            result.temperature_k,
            result.diffusivity_cm2_s,
            result.diffusivity_ci95_cm2_s,
            result.verdict == "upper_bound",
            result.sigma_ne_ci95_s_cm,
            result.composition,
            result.volume_angstrom3,
        )

    @property
    def sigma_t_per_diffusivity(self) -> float | None:
        """N q^2 / (V k_B): sigma times T over D; the same at all temperatures."""
        if self.sigma_ne_ci95_s_cm is None or self.diffusivity_ci95_cm2_s[1] <= 0:
            return None
        ratio = self.sigma_ne_ci95_s_cm[1] / self.diffusivity_ci95_cm2_s[1]
        return ratio * self.temperature_k


@dataclass(frozen=True)
class ArrheniusFit:
    """A straight line of ln D against 1/T; intervals hold with 95 % confidence.

    Attributes
    ----------
    prefactor_cm2_s : float
        D at infinite temperature.
    sigma_300k_s_cm : float or None
        None unless the points carry conductivities.
    is_extrapolated : bool
        300 K lies outside the temperatures of the points.
    straight_line_p : float or None
        Chance of points scattering so far from a straight line; None with fewer than three.
    bend_temperature_k : float or None
        Where two slopes fit significantly better than one (melting, change of mechanism).
    line_temperatures_k, line_cm2_s, line_ci95_cm2_s
        The fit and its band, for plots.
    warnings : tuple of str
        Why the line should not be believed without a second look.
    """

    points: tuple[ArrheniusPoint, ...]
    activation_energy_ev: float
    activation_energy_ci95_ev: Interval
    prefactor_cm2_s: float
    diffusivity_300k_cm2_s: float
    diffusivity_300k_ci95_cm2_s: Interval
    sigma_300k_s_cm: float | None
    sigma_300k_ci95_s_cm: Interval | None
    is_extrapolated: bool
    straight_line_p: float | None
    bend_temperature_k: float | None
    line_temperatures_k: tuple[float, ...] = field(repr=False)
    line_cm2_s: tuple[float, ...] = field(repr=False)
    line_ci95_cm2_s: tuple[Interval, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Data:
    """Points as arrays: x = 1 / (k_B T), y = ln D or ln bound, errors down and up."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    down: NDArray[np.float64]
    up: NDArray[np.float64]
    censored: NDArray[np.bool_]

    def misfit(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return -2 ln likelihood of ln D values, (..., n_points) -> (...)."""
        above = line > self.y
        score = (line - self.y) / np.where(above, self.up, self.down)
        # A 95 % bound leaves 5 % for values above it.
        shift = scipy.stats.norm.ppf(0.95)
        bound = scipy.stats.norm.logcdf(shift - (line - self.y) / _BOUND_WIDTH)
        return np.asarray(np.where(self.censored, -2 * bound, score**2).sum(axis=-1))


def fit_arrhenius(points: Sequence[ArrheniusPoint]) -> ArrheniusFit:
    """Fit D = D_0 exp(-E_a / k_B T) to points with asymmetric errors and upper bounds.

    The likelihood is a split normal in ln D per point and a smooth step per upper bound. Its
    posterior with flat priors is summed on a grid, which gives intervals for anything that
    follows from the line without linearising.

    Raises
    ------
    InputError
        With fewer than two temperatures at which D was measured.
    """
    measured = {p.temperature_k for p in points if not p.is_upper_bound}
    if len(measured) < 2:
        raise InputError(
            f"{len(measured)} temperatures with a measured D; an Arrhenius fit needs two or more"
        )
    points = sorted(points, key=lambda p: p.temperature_k)
    data = _as_data(points)
    pivot = float(data.x[~data.censored].mean())
    posterior = _Posterior.of(data, pivot)
    room = 1 / (BOLTZMANN_EV_K * ROOM_TEMPERATURE_K)
    ln_room = posterior.quantiles(room)
    room_ci = float(np.exp(ln_room[0])), float(np.exp(ln_room[2]))
    d_room = float(np.exp(ln_room[1]))
    energy = posterior.energy_quantiles()
    factors = [p.sigma_t_per_diffusivity for p in points if p.sigma_t_per_diffusivity]
    to_sigma = float(np.median(factors)) / ROOM_TEMPERATURE_K if factors else None
    temperatures = [p.temperature_k for p in points]
    grid = np.linspace(1 / max(temperatures), 1 / min(*temperatures, ROOM_TEMPERATURE_K), 40)
    band = [np.exp(posterior.quantiles(u / BOLTZMANN_EV_K)) for u in grid]
    p_value, bend = _straightness(data)
    return ArrheniusFit(
        points=tuple(points),
        activation_energy_ev=energy[1],
        activation_energy_ci95_ev=(energy[0], energy[2]),
        prefactor_cm2_s=d_room * float(np.exp(energy[1] * room)),
        diffusivity_300k_cm2_s=d_room,
        diffusivity_300k_ci95_cm2_s=room_ci,
        sigma_300k_s_cm=None if to_sigma is None else d_room * to_sigma,
        sigma_300k_ci95_s_cm=(
            None if to_sigma is None else (room_ci[0] * to_sigma, room_ci[1] * to_sigma)
        ),
        is_extrapolated=not min(temperatures) - 5 <= ROOM_TEMPERATURE_K <= max(temperatures) + 5,
        straight_line_p=p_value,
        bend_temperature_k=bend,
        line_temperatures_k=tuple((1 / grid).tolist()),
        line_cm2_s=tuple(float(b[1]) for b in band),
        line_ci95_cm2_s=tuple((float(b[0]), float(b[2])) for b in band),
        warnings=(
            *_warn_of_points(points),
            *_warn_of_energy(energy),
            *_warn_of_extrapolation(points, d_room, room_ci),
        ),
    )


def _warn_of_points(points: Sequence[ArrheniusPoint]) -> list[str]:
    """Say that the points may not belong together, or are too few to tell a line."""
    found = []
    kinds = {_reduced(p.composition): p.composition for p in points if p.composition}
    if len(kinds) > 1:
        found.append(f"points of different materials on one line: {', '.join(kinds.values())}")
    elif len({p.composition for p in points if p.composition}) > 1:
        cells = dict.fromkeys(p.composition for p in points if p.composition)
        found.append(f"points of cells of different size on one line: {', '.join(cells)}")
    volumes = [p.volume_angstrom3 for p in points if p.volume_angstrom3]
    if len(kinds) == 1 and not found and max(volumes) > _LARGEST_EXPANSION * min(volumes):
        found.append(
            f"the cells differ in volume by {max(volumes) / min(volumes) - 1:.0%}: other phases, "
            "or one run at another volume"
        )
    if len({p.temperature_k for p in points if not p.is_upper_bound}) == 2:
        found.append("two temperatures: whether the line is straight can't be seen")
    return found


def _reduced(composition: str) -> tuple[tuple[str, float], ...]:
    """Return the shares of the elements in ``Na12 S12``."""
    counts = {
        word.rstrip("0123456789"): int(word.lstrip("".join(filter(str.isalpha, word))) or 1)
        for word in composition.split()
    }
    total = sum(counts.values())
    return tuple(sorted((symbol, round(count / total, 4)) for symbol, count in counts.items()))


def _warn_of_energy(energy: tuple[float, float, float]) -> list[str]:
    low, value, _ = energy
    if value < 0:
        return [
            f"the activation energy is negative ({value:.3f} eV): no thermally activated motion"
        ]
    if value < _SMALLEST_ENERGY_EV:
        return [
            f"the activation energy is tiny ({value:.3f} eV, solids have above "
            f"{_SMALLEST_ENERGY_EV:g}): a melt, or points that don't belong together"
        ]
    if low <= 0:
        return [f"the activation energy may be zero (95 % from {low:.3f} eV)"]
    return []


def _warn_of_extrapolation(
    points: Sequence[ArrheniusPoint], d_room: float, room_ci: Interval
) -> list[str]:
    """Say that D(300 K) is far from all that was measured, or hardly known."""
    found = []
    measured = [p.diffusivity_cm2_s for p in points if not p.is_upper_bound]
    away = max(float(np.log10(min(measured) / d_room)), float(np.log10(d_room / max(measured))))
    if away > _LONGEST_EXTRAPOLATION_DECADES:
        found.append(f"D(300 K) is extrapolated over {away:.1f} decades")
    width = float(np.log10(room_ci[1] / room_ci[0])) if room_ci[0] > 0 else float("inf")
    if width > _LONGEST_EXTRAPOLATION_DECADES:
        found.append(f"the 95 % interval of D(300 K) spans {width:.1f} decades")
    return found


def _as_data(points: Sequence[ArrheniusPoint]) -> _Data:
    y, down, up = [], [], []
    for point in points:
        low, high = point.diffusivity_ci95_cm2_s
        value = high if point.is_upper_bound else point.diffusivity_cm2_s
        if not value > 0 or not np.isfinite(value) or not low <= high:
            raise InputError(
                f"D at {point.temperature_k:g} K is {value} cm2/s ({low} to {high}); "
                "mark it as an upper bound or leave it out"
            )
        y.append(np.log(value))
        floor = value * np.exp(-1.96 * _LARGEST_LOG_ERROR)
        down.append(max(np.log(value / max(low, floor)), 1e-3) / 1.96)
        up.append(max(np.log(high / value), 1e-3) / 1.96)
    return _Data(
        np.array([1 / (BOLTZMANN_EV_K * p.temperature_k) for p in points]),
        np.array(y),
        np.array(down),
        np.array(up),
        np.array([p.is_upper_bound for p in points]),
    )


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Probability of (E_a, ln D at the pivot) on a grid that is refined once."""

    energies: NDArray[np.float64]
    levels: NDArray[np.float64]
    weights: NDArray[np.float64]
    pivot: float

    @classmethod
    def of(cls, data: _Data, pivot: float) -> _Posterior:
        use = ~data.censored
        error = np.maximum(data.down, data.up)[use]
        design = np.column_stack([-(data.x[use] - pivot), np.ones(use.sum())]) / error[:, None]
        best, *_ = np.linalg.lstsq(design, data.y[use] / error, rcond=None)
        spread = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
        # Points that scatter more than their errors allow make the errors larger.
        half = 8 * spread * max(1.0, np.sqrt(_excess(data, pivot, best)))
        centre = best
        for _ in range(2):
            energies = np.linspace(centre[0] - half[0], centre[0] + half[0], _GRID)
            levels = np.linspace(centre[1] - half[1], centre[1] + half[1], _GRID)
            line = levels[None, :, None] - energies[:, None, None] * (data.x - pivot)
            misfit = data.misfit(line)
            scale = max(1.0, float(misfit.min()) / max(1, len(data.x) - 2))
            weights = np.exp(-0.5 * (misfit - misfit.min()) / scale)
            weights /= weights.sum()
            mean = np.array([weights.sum(1) @ energies, weights.sum(0) @ levels])
            width = np.sqrt(
                [
                    weights.sum(1) @ (energies - mean[0]) ** 2,
                    weights.sum(0) @ (levels - mean[1]) ** 2,
                ]
            )
            centre, half = mean, 6 * width + 1e-9
        return cls(energies, levels, weights, pivot)

    def energy_quantiles(self) -> tuple[float, float, float]:
        """Return 2.5 %, 50 % and 97.5 % of E_a."""
        return _weighted_quantiles(self.energies, self.weights.sum(axis=1))

    def quantiles(self, x: float) -> tuple[float, float, float]:
        """Return 2.5 %, 50 % and 97.5 % of ln D at x = 1 / (k_B T)."""
        values = self.levels[None, :] - self.energies[:, None] * (x - self.pivot)
        return _weighted_quantiles(values.ravel(), self.weights.ravel())


def _excess(data: _Data, pivot: float, best: NDArray[np.floating]) -> float:
    line = best[1] - best[0] * (data.x - pivot)
    return float(data.misfit(line)) / max(1, len(data.x) - 2)


def _weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    low, mid, high = np.interp([0.025, 0.5, 0.975], cumulative / cumulative[-1], values[order])
    return float(low), float(mid), float(high)


def _straightness(data: _Data) -> tuple[float | None, float | None]:
    """Return the chance of a straight line and where two slopes are needed."""
    use = ~data.censored
    x, y = data.x[use], data.y[use]
    error = 0.5 * (data.down + data.up)[use]
    if len(x) < 3:
        return None, None
    straight = _chi_squared(np.column_stack([np.ones_like(x), x]), y, error)
    p_value = float(scipy.stats.chi2.sf(straight, len(x) - 2))
    if len(x) < 4:
        return p_value, None
    best, bend = straight, None
    for left, right in pairwise(np.sort(x)[1:-1]):
        knot = 0.5 * (left + right)
        design = np.column_stack([np.ones_like(x), x, np.maximum(x - knot, 0)])
        bent = _chi_squared(design, y, error)
        if bent < best:
            best, bend = bent, float(1 / (BOLTZMANN_EV_K * knot))
    # Slope and place of the bend are two more parameters.
    better = scipy.stats.chi2.sf(straight - best, 2)
    return p_value, bend if better < _SIGNIFICANT else None


def _chi_squared(
    design: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64]
) -> float:
    scaled = design / error[:, None]
    solution, *_ = np.linalg.lstsq(scaled, y / error, rcond=None)
    return float((((y - design @ solution) / error) ** 2).sum())
