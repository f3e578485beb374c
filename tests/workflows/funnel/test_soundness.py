"""Nonsense of an engine is told from sound results."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

import naive
from ionsieve.md_analysis import Trajectory
from ionsieve.md_analysis.conserved_energy import EnergyDrift
from ionsieve.workflows.funnel.soundness import (
    calculation_fault,
    least_height,
    thermal_speed,
    trajectory_fault,
    worst_step,
)

SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
ASKED = "Na4 Cl4"
KELVIN = 600.0


def vibrating(n_frames=200, timestep_fs=20.0, seed=0):
    """Ions that fly for one frame at speeds from Maxwell's distribution, and back."""
    dice = np.random.default_rng(seed)
    speeds = np.array([thermal_speed(site.specie.symbol, KELVIN) for site in SALT])
    flights = dice.normal(size=(n_frames, len(SALT), 3)) * (speeds / math.sqrt(3))[:, None]
    positions = SALT.cart_coords + np.where(np.arange(n_frames) % 2, 1, 0)[:, None, None] * (
        flights * timestep_fs
    )
    species = [site.specie.symbol for site in SALT]
    return Trajectory.from_arrays(
        positions, SALT.lattice.matrix, species, timestep_fs, unwrapped=True
    )


@pytest.mark.parametrize("timestep_fs", [1.0, 20.0, 100.0])
def test_thermal_motion_is_sound(timestep_fs):
    assert trajectory_fault(vibrating(timestep_fs=timestep_fs), ASKED, KELVIN) == ""


def test_half_the_cell_is_the_limit_however_long_the_time_between_frames():
    trajectory = replace(vibrating(timestep_fs=2.0), timestep_fs=5000.0)
    assert trajectory_fault(trajectory, ASKED, KELVIN) == ""
    fractional = trajectory.fractional.copy()
    fractional[0, 1, 11:] += 0.6
    fault = trajectory_fault(replace(trajectory, fractional=fractional), ASKED, KELVIN)
    assert fault.startswith("Na (ion 1) moves 3.")
    assert "2.80 Angstrom, half the cell" in fault


def test_one_ion_that_flies_away_is_named():
    trajectory = vibrating(timestep_fs=2.0)
    fractional = trajectory.fractional.copy()
    fractional[5, 2, 80:] += 1.0 / 5.6
    fault = trajectory_fault(replace(trajectory, fractional=fractional), ASKED, KELVIN)
    assert fault.startswith("Cl (ion 6) moves 1.")
    assert "between frames 80 and 81" in fault
    assert "the run exploded" in fault


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_position_that_is_no_number(value):
    trajectory = vibrating()
    fractional = trajectory.fractional.copy()
    fractional[2, 0, 17] = value
    fault = trajectory_fault(replace(trajectory, fractional=fractional), ASKED, KELVIN)
    assert fault == "a position of Na (ion 3) is no number: the run broke down"


def test_an_energy_that_is_no_number():
    trajectory = replace(vibrating(), energy_drift=EnergyDrift(math.nan, 1.0, 1.0))
    assert "energy of the run is no number" in trajectory_fault(trajectory, ASKED, KELVIN)


@pytest.mark.parametrize("asked", ["Na4 Cl3", "Na8 Cl8", "K4 Cl4", "Na4"])
def test_lost_and_changed_ions(asked):
    assert f"where {asked} was asked for" in trajectory_fault(vibrating(), asked, KELVIN)
    assert f"where {asked} was asked for" in calculation_fault(SALT, -3.0, asked)


@pytest.mark.parametrize("energy", [math.nan, math.inf, -math.inf, None])
def test_a_calculation_without_an_energy(energy):
    assert "is no number" in calculation_fault(SALT, energy, ASKED)
    assert calculation_fault(SALT, -3.2, ASKED) == ""
    charged = SALT.copy().add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert calculation_fault(charged, -3.2, ASKED) == ""


def test_a_calculation_with_a_broken_cell():
    broken = SALT.copy()
    broken[3].frac_coords = [0.1, math.nan, 0.2]
    assert "is no number" in calculation_fault(broken, -3.2, ASKED)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5), st.booleans())
def test_worst_step_and_height_are_those_of_the_slow_twins(seed, n_frames, n_ions, changes):
    dice = np.random.default_rng(seed)
    cells = 5 * np.eye(3) + dice.normal(size=(n_frames, 3, 3)) * 0.5
    cell = cells if changes else cells[0]
    trajectory = Trajectory(dice.normal(size=(n_ions, 3, n_frames)), cell, ("Na",) * n_ions, 2.0)
    limits = dice.uniform(0.5, 2.0, n_ions)
    expected = naive.worst_step(trajectory.fractional, np.broadcast_to(cell, cells.shape), limits)
    found = worst_step(trajectory, limits)
    assert found[:2] == expected[:2]
    assert found[2] == pytest.approx(expected[2], rel=1e-12)
    assert least_height(cell) == pytest.approx(
        min(naive.height(one) for one in np.broadcast_to(cell, cells.shape)), rel=1e-9
    )
