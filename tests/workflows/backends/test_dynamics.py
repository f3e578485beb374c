"""Molecular dynamics: conservation, temperature, reproducibility."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Structure

from ionsieve.workflows.backends.mock_vasp.dynamics import (
    BOLTZMANN_EV_K,
    Dynamics,
    DynamicsSettings,
    State,
    Thermostat,
)
from ionsieve.workflows.backends.mock_vasp.elements import element
from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.mock_vasp.relaxation import Freedom, relax

SETTINGS = DynamicsSettings(
    timestep_fs=2.0,
    n_steps=300,
    start_temperature_k=300.0,
    end_temperature_k=300.0,
    thermostat=Thermostat.NONE,
    seed=1,
)


@pytest.fixture(scope="module")
def crystal():
    """Relaxed rock salt of 64 ions: symbols, positions, cell."""
    structure = Structure.from_spacegroup(
        "Fm-3m", np.eye(3) * 5.6, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    structure.make_supercell(2)
    symbols = [site.specie.symbol for site in structure]
    freedom = Freedom.from_isif(3, np.ones((len(structure), 3), bool))
    cell = structure.lattice.matrix.copy()
    *_, step = relax(ForceField(symbols), structure.frac_coords.copy(), cell, freedom, -1e-3)
    return symbols, step.fractional, step.cell


def start(crystal, settings, temperature_k=None, movable=None):
    symbols, fractional, cell = crystal
    masses = np.array([element(s).mass_amu for s in symbols])
    movable = np.ones((len(symbols), 3), bool) if movable is None else movable
    force_field = ForceField(symbols)
    dynamics = Dynamics(force_field, masses, movable, settings)
    velocities = dynamics.maxwell_velocities(temperature_k or settings.start_temperature_k)
    state = State(
        fractional.copy(),
        cell.copy(),
        velocities,
        force_field.evaluate(fractional, cell),
        np.zeros((3, 3)),
    )
    return dynamics, state


def run(crystal, settings, **start_options):
    dynamics, state = start(crystal, settings, **start_options)
    conserved, temperatures = [], []
    for step in dynamics.run(state):
        conserved.append(step.conserved_ev)
        temperatures.append(step.temperature_k)
    return np.array(conserved), np.array(temperatures), state


def nose_hoover(settings, n_ions=64, temperature_k=300.0, period_fs=80.0):
    mass = 2 * (3 * n_ions - 3) * BOLTZMANN_EV_K * temperature_k * (period_fs / (2 * np.pi)) ** 2
    return replace(settings, thermostat=Thermostat.NOSE_HOOVER, thermostat_mass_ev_fs2=mass)


def test_energy_is_conserved_without_thermostat(crystal):
    conserved, temperatures, _ = run(crystal, replace(SETTINGS, n_steps=1000))
    slope_ev_ps = np.polyfit(np.arange(1000) * 2e-3, conserved, 1)[0]
    assert abs(slope_ev_ps) / 64 < 1e-4
    assert conserved.std() / 64 < 1e-4
    assert temperatures[0] == pytest.approx(300)


def test_error_of_the_energy_falls_with_the_square_of_the_step(crystal):
    coarse, _, _ = run(crystal, replace(SETTINGS, timestep_fs=4.0, n_steps=100))
    fine, _, _ = run(crystal, replace(SETTINGS, timestep_fs=2.0, n_steps=200))
    assert coarse.std() / fine.std() == pytest.approx(4, rel=0.3)


def test_time_reversal_returns_to_the_start(crystal):
    dynamics, state = start(crystal, replace(SETTINGS, n_steps=50))
    before = state.fractional.copy()
    list(dynamics.run(state))
    state.velocities *= -1
    list(dynamics.run(state))
    assert np.abs(state.fractional - before).max() < 1e-10


def test_nose_hoover_conserves_its_energy_and_holds_the_temperature(crystal):
    settings = nose_hoover(replace(SETTINGS, n_steps=2000))
    conserved, temperatures, _ = run(crystal, settings, temperature_k=600.0)
    slope_ev_ps = np.polyfit(np.arange(2000) * 2e-3, conserved, 1)[0]
    assert abs(slope_ev_ps) / 64 < 2e-4
    assert temperatures[500:].mean() == pytest.approx(300, rel=0.05)
    # The canonical ensemble's fluctuation of the kinetic energy.
    assert temperatures[500:].std() / 300 == pytest.approx(np.sqrt(2 / 189), rel=0.4)


@pytest.mark.parametrize(
    "changes",
    [
        {"thermostat": Thermostat.LANGEVIN, "frictions_per_fs": np.full(64, 0.02)},
        {"thermostat": Thermostat.ANDERSEN, "collision_probability": 0.05},
        {"thermostat": Thermostat.RESCALING, "rescaling_interval": 5},
    ],
    ids=lambda changes: changes["thermostat"].value,
)
def test_other_thermostats_hold_the_temperature(crystal, changes):
    _, temperatures, _ = run(crystal, replace(SETTINGS, n_steps=1500, **changes))
    assert temperatures[500:].mean() == pytest.approx(300, rel=0.08)


def test_temperature_ramp_is_followed(crystal):
    settings = nose_hoover(replace(SETTINGS, n_steps=2000, end_temperature_k=600.0))
    _, temperatures, _ = run(crystal, settings, temperature_k=600.0)
    assert temperatures[-200:].mean() == pytest.approx(585, rel=0.1)


def test_constant_pressure_relaxes_a_compressed_cell(crystal):
    settings = replace(
        SETTINGS,
        n_steps=3000,
        thermostat=Thermostat.LANGEVIN,
        frictions_per_fs=np.full(64, 0.01),
        lattice_mass_amu=100.0,
        lattice_friction_per_fs=0.01,
    )
    symbols, fractional, cell = crystal
    dynamics, state = start((symbols, fractional, cell * 0.97), settings)
    volumes, pressures = [], []
    for step in dynamics.run(state):
        volumes.append(abs(np.linalg.det(state.cell)))
        kinetic = 2 * step.kinetic_ev / 3 / volumes[-1] * 1602.1766
        pressures.append(np.trace(state.evaluation.stress_kbar(state.cell)) / 3 + kinetic)
    relaxed = abs(np.linalg.det(cell))
    assert volumes[0] < 0.93 * relaxed
    assert 0.98 * relaxed < np.mean(volumes[1500:]) < 1.12 * relaxed
    assert abs(np.mean(pressures[1500:])) < 3
    assert step.temperature_k == pytest.approx(300, rel=0.5)


def test_same_seed_same_run_and_another_seed_another(crystal):
    settings = replace(
        SETTINGS, thermostat=Thermostat.LANGEVIN, frictions_per_fs=np.full(64, 0.01), n_steps=20
    )
    ends = [run(crystal, replace(settings, seed=seed))[2].fractional for seed in (1, 1, 2)]
    assert np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_momentum_is_zero_and_fixed_ions_stay(crystal):
    dynamics, state = start(crystal, SETTINGS)
    assert (dynamics.masses * state.velocities).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    movable = np.ones((64, 3), bool)
    movable[:4] = False
    before = crystal[1]
    _, _, state = run(crystal, replace(SETTINGS, n_steps=50), movable=movable)
    assert np.array_equal(state.fractional[:4], before[:4])
    assert np.abs(state.fractional[4:] - before[4:]).max() > 1e-4
