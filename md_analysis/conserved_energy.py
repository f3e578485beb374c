"""Drift of the energy that the integrator should conserve: a sign of too long a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Fewer steps than this give no slope worth telling.
_MIN_STEPS = 200

#: Blocks whose means give the error of the slope: each is longer than the oscillations.
_N_BLOCKS = 10

#: A conserved quantity fluctuates by less than this share of the kinetic energy's fluctuation.
#: With a Langevin thermostat "E" of OSZICAR is not conserved, and fluctuates as much or more. Only
#: asked without a Nose thermostat, whose energies make the sum conserved.
_CONSERVED_SHARE = 1 / 3


@dataclass(frozen=True)
class EnergyDrift:
    """Slope of the conserved energy of a run.

    Attributes
    ----------
    mev_atom_ps : float
        meV per atom and ps.
    standard_error : float
        Of the slope, from means of blocks of the run.
    length_ps : float
        Time it was seen over.
    """

    mev_atom_ps: float
    standard_error: float
    length_ps: float

    @property
    def certain(self) -> float:
        """Size of the drift less twice its error, zero at least."""
        return max(abs(self.mev_atom_ps) - 2 * self.standard_error, 0.0)

    @staticmethod
    def mean(drifts: Sequence[EnergyDrift | None]) -> EnergyDrift | None:
        """Return the drift over consecutive segments; None if that of one is not known.

        Jumps of the energy from one segment to the next don't count: thermostats start anew.
        """
        known = [drift for drift in drifts if drift is not None]
        if len(known) < len(drifts) or not known:
            return None
        length = sum(drift.length_ps for drift in known)
        weights = [drift.length_ps / length for drift in known]
        pairs = list(zip(weights, known, strict=True))
        return EnergyDrift(
            sum(w * d.mev_atom_ps for w, d in pairs),
            math.sqrt(sum((w * d.standard_error) ** 2 for w, d in pairs)),
            length,
        )


def energy_drift(
    energies_ev: NDArray[np.float64], step_fs: float, n_ions: int
) -> EnergyDrift | None:
    """Return the drift of a run's conserved energy.

    None if the run is too short, or the energy is no conserved quantity: without the energy of a
    thermostat it then fluctuates like the kinetic energy, for example in Langevin dynamics.

    Parameters
    ----------
    energies_ev : (4, n_steps) float64
        Of the whole cell: total (the thermostat's included), kinetic, and the thermostat's
        potential and kinetic energy.
    step_fs : float
        Time between the energies.
    """
    total, kinetic, *thermostat = energies_ev
    n_steps = len(total)
    if n_steps < _MIN_STEPS:
        return None
    time_ps = step_fs * 1e-3 * np.arange(n_steps)
    slope, start = np.polyfit(time_ps, total, 1)
    rest = total - slope * time_ps - start
    if not np.any(thermostat) and rest.std() > _CONSERVED_SHARE * kinetic.std():
        return None
    per_block = n_steps // _N_BLOCKS
    blocks = rest[: per_block * _N_BLOCKS].reshape(_N_BLOCKS, per_block).mean(axis=1)
    times = step_fs * 1e-3 * per_block * (np.arange(_N_BLOCKS) - (_N_BLOCKS - 1) / 2)
    error = math.sqrt(float((blocks**2).sum()) / (_N_BLOCKS - 2) / float((times**2).sum()))
    return EnergyDrift(1e3 * float(slope) / n_ions, 1e3 * error / n_ions, n_steps * step_fs / 1e3)
