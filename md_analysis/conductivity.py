"""Conductivity from diffusivity, and from the collective motion of the charges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.constants as const
from numpy.typing import NDArray

from ionsieve.md_analysis.diffusivity import DiffusiveFit, Estimate, estimate
from ionsieve.md_analysis.slope import fit_slope


def nernst_einstein_factor(
    n_mobile: int, volume_angstrom3: float, charge: float, temperature_k: float
) -> float:
    """Return sigma / D = N q^2 / (V k_B T), in S/cm per cm^2/s.

    Examples
    --------
    >>> round(nernst_einstein_factor(1, 100.0, 1, 300.0), 1)
    61975.0
    """
    per_m3 = n_mobile / (volume_angstrom3 * 1e-30)
    siemens_per_m = per_m3 * (charge * const.e) ** 2 / (const.k * temperature_k)
    return float(siemens_per_m * 1e-6)  # S/m per m^2/s -> S/cm per cm^2/s


@dataclass(frozen=True)
class Collective:
    """Diffusivity of the charge and the Haven ratio.

    Attributes
    ----------
    diffusivity : Estimate
        Of the summed displacement of the mobile ions over sqrt(N), Angstrom^2/ps.
    haven_ratio : float
        Self-diffusivity over it; NaN where it is not positive.
    haven_ratio_ci95 : (float, float)
    """

    diffusivity: Estimate
    haven_ratio: float
    haven_ratio_ci95: tuple[float, float]


def collective(paths: NDArray[np.floating], timestep_fs: float, fit: DiffusiveFit) -> Collective:
    """Return the diffusivity of the summed charge displacement.

    It is one path only, so its window can't be chosen from it: the tracer's window is reused.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom
        All ions carry the same charge.
    fit : DiffusiveFit
        The tracer's.
    """
    summed = paths.sum(axis=0, dtype=np.float64)[None] / np.sqrt(len(paths))
    slope = fit_slope(summed, fit.slope.window, timestep_fs / 1e3)
    charge = estimate(
        slope.diffusivity_angstrom2_ps, slope.scalar_residuals, slope.window, slope.coupling
    )
    return Collective(charge, *_haven(fit.diffusivity, charge))


def _haven(tracer: Estimate, charge: Estimate) -> tuple[float, tuple[float, float]]:
    """Return the ratio and its interval; relative errors of both add in quadrature."""
    if tracer.value <= 0 or charge.value <= 0:
        return float("nan"), (0.0, float("inf"))
    ratio = tracer.value / charge.value
    with np.errstate(divide="ignore"):
        tracer_low, tracer_high = np.log(np.array(tracer.interval()) / tracer.value)
        charge_low, charge_high = np.log(np.array(charge.interval()) / charge.value)
    down, up = np.hypot(tracer_low, charge_high), np.hypot(tracer_high, charge_low)
    return ratio, (float(ratio * np.exp(-down)), float(ratio * np.exp(up)))
