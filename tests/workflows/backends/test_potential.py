"""The pair potential: against the slow sum, and energy, forces and stress against each other."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from ionsieve.workflows.backends.mock_vasp.elements import element, is_element
from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.mock_vasp.kernels import count_or_fill_pairs
from ionsieve.workflows.backends.mock_vasp.potential import (
    DEFAULT,
    Ion,
    pair_energy,
    site_energy,
)

CRYSTALS = {
    "sulfide": ["Na", "Na", "Na", "P", "S", "S", "S", "S"],
    "polysulfide": ["Na", "Na", "S", "S"],
    "metal": ["Na", "Na", "In", "In"],
}


def random_crystal(seed, n, edge=5.0):
    random = np.random.default_rng(seed)
    cell = edge * (np.eye(3) + 0.25 * random.uniform(-1, 1, (3, 3)))
    grid = np.array(list(itertools.product((0, 0.5), repeat=3)))[:n]
    return grid + random.uniform(-0.08, 0.08, (n, 3)), cell


def without_site_energies(force_field, symbols):
    return sum(site_energy(Ion(s, force_field.charges[s])) for s in symbols)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("edge", [3.9, 7.5])
def test_energy_equals_the_slow_sum(name, edge):
    symbols = CRYSTALS[name]
    fractional, cell = random_crystal(3, len(symbols), edge)
    force_field = ForceField(symbols)
    energy = force_field.evaluate(fractional, cell).energy_ev
    expected = naive.mock_vasp_energy(symbols, force_field.charges, fractional, cell)
    assert energy - without_site_energies(force_field, symbols) == pytest.approx(expected, rel=1e-7)


@given(st.integers(0, 10_000), st.sampled_from(sorted(CRYSTALS)))
@settings(max_examples=10, deadline=None)
def test_forces_are_minus_the_gradient(seed, name):
    symbols = CRYSTALS[name]
    fractional, cell = random_crystal(seed, len(symbols))
    force_field = ForceField(symbols)
    forces = force_field.evaluate(fractional, cell).forces
    assert forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    step, inverse = 1e-4, np.linalg.inv(cell)
    for ion, axis in ((0, 0), (1, 1), (len(symbols) - 1, 2)):
        move = np.zeros_like(fractional)
        move[ion, axis] = step
        plus = force_field.evaluate(fractional + move @ inverse, cell).energy_ev
        minus = force_field.evaluate(fractional - move @ inverse, cell).energy_ev
        expected = (minus - plus) / (2 * step)
        assert forces[ion, axis] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_virial_is_the_strain_derivative(seed):
    symbols = CRYSTALS["sulfide"]
    fractional, cell = random_crystal(seed, len(symbols))
    force_field = ForceField(symbols)
    virial = force_field.evaluate(fractional, cell).virial
    step = 1e-5
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        plus = force_field.evaluate(fractional, cell @ (np.eye(3) + strain)).energy_ev
        minus = force_field.evaluate(fractional, cell @ (np.eye(3) - strain)).energy_ev
        expected = (plus - minus) / (2 * step)
        assert virial[i, j] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_list_with_skin_gives_what_a_fresh_one_gives():
    symbols = CRYSTALS["sulfide"]
    fractional, cell = random_crystal(5, len(symbols))
    kept = ForceField(symbols)
    random = np.random.default_rng(0)
    for _ in range(30):
        fractional = fractional + random.normal(scale=0.02, size=fractional.shape)
        cell = cell @ (np.eye(3) + random.normal(scale=0.002, size=(3, 3)))
        fresh = ForceField(symbols).evaluate(fractional, cell)
        result = kept.evaluate(fractional, cell)
        assert result.energy_ev == pytest.approx(fresh.energy_ev, abs=1e-9)
        assert result.forces == pytest.approx(fresh.forces, abs=1e-9)


def test_supercell_has_the_same_energy_per_ion():
    symbols = CRYSTALS["sulfide"]
    fractional, cell = random_crystal(7, len(symbols))
    one = ForceField(symbols).evaluate(fractional, cell).energy_ev
    doubled = np.vstack([fractional, fractional + [1, 0, 0]]) / [2, 1, 1]
    two = ForceField(symbols * 2).evaluate(doubled, cell * [[2], [1], [1]]).energy_ev
    assert two == pytest.approx(2 * one, rel=1e-10)


def test_pairs_are_those_of_a_plain_search():
    fractional, cell = random_crystal(11, 6)
    reach = 6.0
    first, second = np.empty(5000, np.int64), np.empty(5000, np.int64)
    images = np.empty((5000, 3))
    crosses = np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]])
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(crosses, axis=1)
    n = count_or_fill_pairs(fractional, cell, heights, reach, first, second, images)
    expected = 0
    for i, j in itertools.product(range(6), repeat=2):
        for image in itertools.product(range(-4, 5), repeat=3):
            r = np.linalg.norm((fractional[j] - fractional[i] + image) @ cell)
            expected += 0 < r < reach
    assert 2 * n == expected


def test_energy_and_slope_vanish_at_the_cutoff():
    r = np.array([DEFAULT.cutoff_angstrom - 1e-6])
    for one, other in itertools.product([Ion("Na", 1), Ion("S", -2), Ion("P", 5)], repeat=2):
        energy, slope = pair_energy(one, other, r)
        assert abs(energy[0]) < 1e-9
        assert abs(slope[0]) < 1e-4


def test_all_elements_to_bismuth_have_data():
    from pymatgen.core import Element

    for z in range(1, 84):
        symbol = Element.from_Z(z).symbol
        assert is_element(symbol)
        data = element(symbol)
        assert data.mass_amu == pytest.approx(float(Element.from_Z(z).atomic_mass), rel=1e-4)
        assert data.neutral_radius_angstrom > 0
        for state in data.states:
            assert data.radius_angstrom(state) > -0.2
