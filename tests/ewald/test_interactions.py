import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

import naive
from ionsieve.errors import InputError
from ionsieve.ewald.interactions import (
    COULOMB_EV_ANGSTROM,
    interaction_matrix,
    splitting_parameter,
)

FCC = Lattice([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
CRYSTALS = {
    # Madelung constants with respect to the nearest distance (OEIS A085469, A181152, A182566);
    # fluorite is twice zinc blende (each F with the Ca) plus CsCl (the F among themselves).
    "NaCl": (FCC, [(1, (0, 0, 0)), (-1, (0.5, 0.5, 0.5))], 0.5, 1.74756459463318),
    "CsCl": (
        Lattice.cubic(1),
        [(1, (0, 0, 0)), (-1, (0.5, 0.5, 0.5))],
        math.sqrt(3) / 2,
        1.76267477307099,
    ),
    "ZnS": (FCC, [(1, (0, 0, 0)), (-1, (0.25, 0.25, 0.25))], math.sqrt(3) / 4, 1.63805505338879),
    "CaF2": (
        FCC,
        [(2, (0, 0, 0)), (-1, (0.25, 0.25, 0.25)), (-1, (0.75, 0.75, 0.75))],
        math.sqrt(3) / 4,
        2 * 1.63805505338879 + 1.76267477307099,
    ),
}

angles = st.floats(65, 115)
lengths = st.floats(3.0, 9.0)


def energy(lattice, coords, charges, alpha=None):
    return 0.5 * charges @ interaction_matrix(lattice, coords, alpha) @ charges


@pytest.mark.parametrize("name", CRYSTALS)
def test_madelung_constants(name):
    lattice, ions, nearest, expected = CRYSTALS[name]
    charges = np.array([charge for charge, _ in ions], dtype=float)
    coords = np.array([position for _, position in ions], dtype=float)
    madelung = -energy(lattice.matrix, coords, charges) * nearest / COULOMB_EV_ANGSTROM
    assert madelung == pytest.approx(expected, abs=1e-10)


@given(st.tuples(lengths, lengths, lengths), st.tuples(angles, angles, angles), st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_naive_twin_pymatgen_and_splitting(lengths_angstrom, angles_degree, seed):
    lattice = Lattice.from_parameters(*lengths_angstrom, *angles_degree)
    random = np.random.default_rng(seed)
    coords = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    coords = coords + random.uniform(-0.1, 0.1, size=(4, 3))
    matrix = interaction_matrix(lattice.matrix, coords)
    np.testing.assert_allclose(matrix, naive.ewald_matrix(lattice.matrix, coords), atol=1e-9)
    alpha = splitting_parameter(lattice.matrix)
    for factor in (0.7, 1.6):
        other = interaction_matrix(lattice.matrix, coords, alpha * factor)
        np.testing.assert_allclose(other, matrix, atol=1e-10)
    # Charged on purpose: the background is part of the matrix.
    charges = [1, 2, -2, 3]
    structure = Structure(lattice, ["Na", "Ca", "O", "Al"], coords)
    structure.add_oxidation_state_by_site(charges)
    for eta in (None, 0.05):
        peer = EwaldSummation(structure, eta=eta, acc_factor=14).total_energy
        q = np.array(charges, dtype=float)
        assert 0.5 * q @ matrix @ q == pytest.approx(peer, abs=1e-6)


def test_elongated_small_cell():
    lattice = Lattice.from_parameters(2.5, 2.5, 40.0, 90, 90, 120)
    coords = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0.02], [0, 0, 0.5]])
    structure = Structure(lattice, ["Na+", "Cl-", "Cl-"], coords)
    q = np.array([1.0, -1.0, -1.0])
    peer = EwaldSummation(structure, acc_factor=14).total_energy
    assert energy(lattice.matrix, coords, q) == pytest.approx(peer, abs=1e-6)


def test_rotation_and_translation_leave_the_matrix_alone():
    lattice = Lattice.from_parameters(4, 5, 6, 80, 95, 100).matrix
    coords = np.random.default_rng(0).random((5, 3))
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    moved = interaction_matrix(lattice @ rotation, coords + [0.3, -1.2, 2.7])
    np.testing.assert_allclose(moved, interaction_matrix(lattice, coords), atol=1e-10)


def test_overlapping_sites_and_flat_cells_are_refused():
    with pytest.raises(InputError, match="apart"):
        interaction_matrix(np.eye(3) * 4, np.array([[0, 0, 0], [1.0, 0, 0]]))
    with pytest.raises(InputError, match="volume"):
        interaction_matrix(np.ones((3, 3)), np.zeros((1, 3)))
