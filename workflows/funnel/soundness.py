"""Nonsense that an engine gave without an error: lost ions, no numbers, an exploded run."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import scipy.constants as const
from numpy.typing import NDArray
from pymatgen.core import Composition, Element, Structure

if TYPE_CHECKING:
    from ionsieve.md_analysis import Trajectory

#: An ion so many times faster than the mean square speed at its temperature has 100 times the
#: thermal energy: in equilibrium one in 10^60.
_MAX_THERMAL_SPEEDS = 10.0


def calculation_fault(structure: Structure, energy_ev_atom: float | None, asked: str) -> str:
    """Return what is wrong with the outcome of a relaxation or a static calculation.

    Parameters
    ----------
    structure
        As it was computed.
    energy_ev_atom
        None as NaN: not all stores can keep one.
    asked
        Formula of the cell that was asked for, with its numbers of ions.

    Returns
    -------
    str
        Empty if the energy and all positions are numbers, and the ions those asked for.
    """
    if energy_ev_atom is None or not math.isfinite(energy_ev_atom):
        return f"the energy of {asked} is no number: the calculation broke down; see its outputs"
    if not (
        np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()
    ):
        return f"a position or the cell of {asked} is no number: the calculation broke down"
    return _other_ions(structure.composition.element_composition, asked)


def trajectory_fault(trajectory: Trajectory, asked: str, temperature_k: float) -> str:
    """Return what is wrong with a segment of molecular dynamics.

    Parameters
    ----------
    asked
        Formula of the cell that the run started from, with its numbers of ions.
    temperature_k
        Of the thermostat.

    Returns
    -------
    str
        Empty if the ions are those asked for, positions and energy are numbers, and no ion moves
        further from one frame to the next than half the cell, or than anything could at this
        temperature.
    """
    if fault := _other_ions(Composition(Counter(trajectory.species)), asked):
        return fault
    for ion, path in enumerate(trajectory.fractional):
        if not np.isfinite(path).all():
            return f"a position of {_name(trajectory, ion)} is no number: the run broke down"
    drift = trajectory.energy_drift
    if drift is not None and not math.isfinite(drift.mev_atom_ps):
        return "the energy of the run is no number: it broke down"
    half_cell = least_height(trajectory.cell) / 2
    thermal = np.array([thermal_speed(name, temperature_k) for name in trajectory.species])
    thermal *= trajectory.timestep_fs
    limits = np.minimum(half_cell, _MAX_THERMAL_SPEEDS * thermal)
    ion, frame, step = worst_step(trajectory, limits)
    if step <= limits[ion]:
        return ""
    return (
        f"{_name(trajectory, ion)} moves {step:.2f} Angstrom between frames {frame} and "
        f"{frame + 1}, {step / thermal[ion]:.0f} times as fast as at {temperature_k:g} K (limits: "
        f"{_MAX_THERMAL_SPEEDS:g} times, and {half_cell:.2f} Angstrom, half the cell): the run "
        "exploded; try a shorter timestep_fs"
    )


def _name(trajectory: Trajectory, ion: int) -> str:
    return f"{trajectory.species[ion]} (ion {ion + 1})"


def least_height(cells: NDArray[np.float64]) -> float:
    """Return the least distance between opposite faces of one or more cells.

    Parameters
    ----------
    cells : (3, 3) or (n_frames, 3, 3) float64, Angstrom
        Rows are cell vectors.
    """
    return float(1 / np.linalg.norm(np.linalg.inv(cells), axis=-2).max())


def thermal_speed(symbol: str, temperature_k: float) -> float:
    """Return the root of the mean square speed of an element's ions, in Angstrom/fs."""
    mass_kg = float(Element(symbol).atomic_mass) * const.atomic_mass
    return math.sqrt(3 * const.Boltzmann * temperature_k / mass_kg) * 1e-5


def worst_step(trajectory: Trajectory, limits: NDArray[np.float64]) -> tuple[int, int, float]:
    """Return the step from one frame to the next that is longest for its limit.

    Parameters
    ----------
    limits : (n_ions,) float64, Angstrom

    Returns
    -------
    ion, frame, step
        Of the ion, of the later frame (from 1), and its length in Angstrom; 0, 0, 0.0 with one
        frame.
    """
    worst = (0, 0, 0.0)
    if trajectory.n_frames < 2:
        return worst
    cells = trajectory.cell if trajectory.cell.ndim == 2 else trajectory.cell[1:]
    # Ion by ion: the steps of all would take as much memory as the run.
    for ion, path in enumerate(trajectory.fractional):
        fractional = np.diff(path.astype(np.float64), axis=1).T
        steps = np.linalg.norm((fractional[:, None, :] @ cells)[:, 0, :], axis=1)
        frame = int(steps.argmax())
        if steps[frame] / limits[ion] > (worst[2] / limits[worst[0]]):
            worst = (ion, frame + 1, float(steps[frame]))
    return worst


def _other_ions(found: Composition, asked: str) -> str:
    if found == Composition(asked):
        return ""
    return (
        f"the calculation ended with {found.formula}, where {asked} was asked for: ions were lost "
        "or changed"
    )
