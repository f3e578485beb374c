"""The symmetry of the stand-in's relaxations, against all operations one by one."""

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from ionsieve.workflows.backends.mock_vasp.symmetry import Symmetry

#: Space group, lattice, sites, number of operations.
CRYSTALS = {
    "hexagonal": ("P6_3/mmc", (3.2, 3.2, 12.3, 90, 90, 120), [[1 / 3, 2 / 3, 0.1], [0, 0, 0]], 24),
    "screws": ("P2_12_12_1", (5, 6, 7, 90, 90, 90), [[0.1, 0.23, 0.37], [0.4, 0.1, 0.8]], 4),
    "centred": ("I-43m", (7.2, 7.2, 7.2, 90, 90, 90), [[0.185, 0.185, 0.185]], 48),
    "triclinic": ("P1", (5, 6, 7, 80, 85, 95), np.eye(3) * 0.3 + 0.07, 1),
}


def arrays(name):
    group, lattice, sites, n_operations = CRYSTALS[name]
    lattice = Lattice.from_parameters(*lattice)
    structure = Structure.from_spacegroup(group, lattice, ["S"] * len(sites), sites)
    kinds = np.zeros(len(structure), dtype=np.int64)
    return structure.frac_coords.copy(), lattice.matrix.copy(), kinds, n_operations


def mean_over_operations(fractional, cell, kinds, vectors):
    """Turn the vectors with every operation and average: the slow twin."""
    found = spglib.get_symmetry((cell, fractional, kinds), symprec=1e-3)
    total = np.zeros_like(vectors)
    for w, t in zip(found["rotations"], found["translations"], strict=True):
        for ion, place in enumerate(fractional):
            difference = w @ place + t - fractional
            difference -= np.round(difference)
            image = np.linalg.norm(difference @ cell, axis=1).argmin()
            total[image] += w @ (vectors[ion] @ np.linalg.inv(cell)) @ cell
    return total / len(found["rotations"])


@pytest.mark.parametrize("name", CRYSTALS)
def test_displacements_are_the_mean_over_all_operations(name):
    fractional, cell, kinds, n_operations = arrays(name)
    found = Symmetry(fractional, cell, kinds)
    assert found.n_operations == n_operations
    vectors = np.random.default_rng(2).normal(size=fractional.shape)
    expected = mean_over_operations(fractional, cell, kinds, vectors)
    assert found.displacements(vectors) == pytest.approx(expected, abs=1e-9)
    assert found.displacements(expected) == pytest.approx(expected, abs=1e-9)


def test_strain_is_what_the_point_group_allows():
    strain = np.random.default_rng(2).normal(size=(3, 3))
    strain += strain.T
    cubic = Symmetry(*arrays("centred")[:3]).strain(strain)
    assert cubic == pytest.approx(np.trace(strain) / 3 * np.eye(3), abs=1e-9)
    hexagonal = Symmetry(*arrays("hexagonal")[:3]).strain(strain)
    mean = (strain[0, 0] + strain[1, 1]) / 2
    assert hexagonal == pytest.approx(np.diag([mean, mean, strain[2, 2]]), abs=1e-7)
    free = Symmetry(*arrays("triclinic")[:3]).strain(strain)
    assert free == pytest.approx(strain, abs=1e-7)


@pytest.mark.parametrize("name", CRYSTALS)
def test_rounded_coordinates_are_put_right(name):
    exact, cell, kinds, n_operations = arrays(name)
    noise = np.random.default_rng(3).normal(scale=1e-5, size=exact.shape)
    found = Symmetry(exact + noise, cell, kinds)
    assert found.n_operations == n_operations
    corrected = exact + noise + found.corrections @ np.linalg.inv(cell)
    assert np.abs(found.corrections).max() < 1e-3
    strict = spglib.get_symmetry((cell, corrected, kinds), symprec=1e-9)
    assert len(strict["rotations"]) == n_operations


def test_ions_on_top_of_each_other_have_no_symmetry():
    found = Symmetry(np.zeros((2, 3)), 4 * np.eye(3), np.zeros(2, dtype=np.int64))
    assert found.n_operations == 1
    assert np.array_equal(found.corrections, np.zeros((2, 3)))
