"""What an analysis says of one run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ionsieve.md_analysis.escape import Escape
from ionsieve.md_analysis.framework import FrameworkSpecies
from ionsieve.md_analysis.populations import Population
from ionsieve.md_analysis.stationarity import Stationarity
from ionsieve.md_analysis.verdict import Verdict
from ionsieve.md_analysis.vibrations import TimestepCheck

Interval = tuple[float, float]
Matrix = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Curve:
    """The MSD for plots: lags (ps), the MSD and its three axes (Angstrom^2)."""

    lags_ps: tuple[float, ...]
    msd_angstrom2: tuple[float, ...]
    msd_axes_angstrom2: tuple[tuple[float, float, float], ...]
    fit_lags_ps: Interval
    fit_offset_angstrom2: float


@dataclass(frozen=True)
class WindowEstimate:
    """Diffusivity from one window of lags."""

    lags_ps: Interval
    diffusivity_cm2_s: float
    diffusivity_ci95_cm2_s: Interval


@dataclass(frozen=True, repr=False)
class TransportResult:
    """What a run says about transport. Intervals hold with 95 % confidence.

    Attributes
    ----------
    diffusivity_cm2_s : float
        Self-diffusivity; with the verdict ``upper_bound`` never above the bound, often zero.
    diffusivity_ci95_cm2_s : (float, float)
        With the verdict ``upper_bound`` zero and the bound.
    diffusivity_tensor_cm2_s, diffusivity_tensor_se_cm2_s : 3 x 3 float
        Cartesian tensor and standard errors of its elements.
    sigma_ne_s_cm : float
        Nernst-Einstein conductivity.
    sigma_collective_s_cm : float or None
        From the summed charge displacement; None where no diffusion was seen, or where there is
        no framework to measure it in.
    haven_ratio : float or None
        Self-diffusivity over the diffusivity of the charge.
    relative_error : float or None
        Half the interval of D over D; None where D is zero.
    required_length_ps : float or None
        Length of a run with a relative error of 10 %.
    escape : Escape or None
        How far ions got, against what D foretells.
    stationarity : Stationarity or None
        Whether the rate changes during the run.
    populations : tuple of Population
        Slow and fast ions, where they differ for ever; empty otherwise.
    composition : str
        Numbers of ions in the cell: ``Na12 S12``.
    """

    species: str
    charge: float
    temperature_k: float
    n_mobile: int
    n_frames: int
    length_ps: float
    timestep_fs: float
    volume_angstrom3: float
    frame_of_reference: str
    verdict: Verdict
    reasons: tuple[str, ...]
    diffusivity_cm2_s: float
    diffusivity_ci95_cm2_s: Interval
    diffusivity_tensor_cm2_s: Matrix
    diffusivity_tensor_se_cm2_s: Matrix
    sigma_ne_s_cm: float
    sigma_ne_ci95_s_cm: Interval
    sigma_collective_s_cm: float | None
    sigma_collective_ci95_s_cm: Interval | None
    haven_ratio: float | None
    haven_ratio_ci95: Interval | None
    relative_error: float | None
    required_length_ps: float | None
    n_jumps: int
    n_onward_jumps: int
    jump_length_angstrom: float | None
    correlation_factor: float | None
    displacements_angstrom: tuple[float, ...]
    framework: tuple[FrameworkSpecies, ...]
    timestep_check: TimestepCheck | None
    windows: tuple[WindowEstimate, ...]
    msd: Curve
    escape: Escape | None = None
    stationarity: Stationarity | None = None
    populations: tuple[Population, ...] = ()
    composition: str = ""

    def summary(self) -> list[tuple[str, str]]:
        """Return the main figures with their 95 % intervals, as names and texts."""
        rows = [
            (
                "run",
                f"{self.n_mobile} {self.species} in {self.length_ps:.4g} ps, "
                f"{self.temperature_k:g} K",
            ),
            ("verdict", self.verdict),
            ("D (cm2/s)", _with_interval(self.diffusivity_cm2_s, self.diffusivity_ci95_cm2_s)),
            (
                "sigma, Nernst-Einstein (S/cm)",
                _with_interval(self.sigma_ne_s_cm, self.sigma_ne_ci95_s_cm),
            ),
        ]
        if self.sigma_collective_s_cm is not None and self.sigma_collective_ci95_s_cm is not None:
            text = _with_interval(self.sigma_collective_s_cm, self.sigma_collective_ci95_s_cm)
            rows.append(("sigma, collective (S/cm)", text))
        if self.haven_ratio is not None and self.haven_ratio_ci95 is not None:
            low, high = self.haven_ratio_ci95
            rows.append(("Haven ratio", f"{self.haven_ratio:.2f} ({low:.2f} to {high:.2f})"))
        for kind in self.populations:
            error = 2 * kind.standard_error_cm2_s
            rows.append(
                (
                    f"{kind.n_ions} ions ({kind.share:.0%}), D (cm2/s)",
                    f"{kind.diffusivity_cm2_s:.2e} +- {error:.1e}",
                )
            )
        return rows

    def __repr__(self) -> str:
        """Return what fits a screen."""
        lines = [f"{name:30s} {text}" for name, text in self.summary()]
        return "\n".join([*lines, *(f"- {reason}" for reason in self.reasons)])

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = "".join(
            f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in self.summary()
        )
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return f"<table>{rows}</table><ul>{reasons}</ul>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings; what is not a finite number becomes None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def _with_interval(value: float, interval: Interval) -> str:
    return f"{value:.3g} ({interval[0]:.2g} to {interval[1]:.2g})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
