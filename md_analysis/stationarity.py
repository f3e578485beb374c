"""Whether the rate stays the same during a run: a mean says nothing of a rate that drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from numba import njit
from numpy.typing import NDArray

from ionsieve.md_analysis.diffusivity import DiffusiveFit

#: Stretches of time whose rates are compared.
_N_STRETCHES = 10

#: Time origins per lag: more add nothing once they overlap so much.
_ORIGINS_PER_LAG = 10

#: Variances of the trend from stretches of time and from ions differ by less in 97 of 100 runs in
#: which ions hop on their own.
_USUAL_RATIO = 2.5


@njit(cache=True)
def _squared_in_stretches(path, lag, stride, width, out):  # type: ignore[no-untyped-def]
    """Mean squared displacement of one path (3, n_frames) over a lag, in each stretch."""
    for block in range(len(out)):
        total, n_origins = 0.0, 0
        for start in range(block * width, (block + 1) * width - lag, stride):
            for axis in range(3):
                step = np.float64(path[axis, start + lag]) - np.float64(path[axis, start])
                total += step * step
            n_origins += 1
        out[block] = total / max(n_origins, 1)


@dataclass(frozen=True)
class Stationarity:
    """How the rate of motion changes with time.

    Attributes
    ----------
    thirds_angstrom2_ps : (float, float, float)
        Mean squared displacement over the window's shortest lag, per 6 lags, in each third of the
        run: not D (motion at short lags may go back), but it changes as D does.
    p_value : float
        Chance of a trend like this in a run without one.
    """

    thirds_angstrom2_ps: tuple[float, float, float]
    p_value: float

    @property
    def change(self) -> float:
        """Last third over first; infinite where the first has no motion."""
        first, _, last = self.thirds_angstrom2_ps
        return last / first if first > 0 else float("inf")


def examine_stationarity(
    paths: NDArray[np.floating], timestep_fs: float, fit: DiffusiveFit
) -> Stationarity:
    """Compare the motion in stretches of the run.

    The trend's error is that of ions that hop independently; where stretches of time scatter more,
    all ions are fast or slow at the same times, and the error is that of the stretches.

    Parameters
    ----------
    paths : (n_ions, 3, n_frames) float, Angstrom
    fit : DiffusiveFit
        Of the same paths.
    """
    n_ions, _, n_frames = paths.shape
    lag = int(min(fit.slope.window.lag_frames[0], max(1, n_frames // (2 * _N_STRETCHES))))
    n_stretches = min(_N_STRETCHES, (n_frames - 1) // max(lag, 1))
    if n_stretches < 3:
        return Stationarity((0.0, 0.0, 0.0), 1.0)
    width = n_frames // n_stretches
    rates = np.empty((n_ions, n_stretches))
    for ion, path in enumerate(paths):
        _squared_in_stretches(path, lag, max(1, lag // _ORIGINS_PER_LAG), width, rates[ion])
    # What vibrations alone give, from the offset of the shortest window.
    rates = (rates - max(fit.slopes[0].offset_angstrom2, 0.0)) / (6 * lag * timestep_fs / 1e3)
    time = np.linspace(-1, 1, n_stretches)
    mean = rates.mean(axis=0)
    slopes = rates @ time / (time @ time)
    of_ions = float(slopes.std(ddof=1) / np.sqrt(fit.n_walkers())) if n_ions > 1 else 0.0
    slope = float(slopes.mean())
    rest = mean - mean.mean() - slope * time
    of_times = float(np.sqrt((rest**2).sum() / (n_stretches - 2) / (time @ time)))
    # Cautious: what ions do together in real crystals shows in few stretches only.
    alike = of_times < np.sqrt(_USUAL_RATIO) * of_ions
    error, dof = of_ions if alike else of_times, n_stretches - 2.0
    p_value = float(2 * scipy.stats.t.sf(abs(slope) / error, dof)) if error > 0 else 1.0
    thirds = [float(max(part.mean(), 0.0)) for part in np.array_split(mean, 3)]
    return Stationarity((thirds[0], thirds[1], thirds[2]), p_value)
