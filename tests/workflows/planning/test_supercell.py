"""Near-cubic supercells."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ionsieve.workflows.planning.supercells import (
    admissible_sizes,
    cube_deviation,
    most_cubic,
    near_cubic_supercell,
)
from naive import most_cubic_deviation

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
BCC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2


@pytest.mark.parametrize(
    ("lattice", "n_cells"), [(np.eye(3), 8), (np.eye(3), 27), (FCC, 4), (FCC, 32), (BCC, 16)]
)
def test_cubes_are_found(lattice, n_cells):
    deviation, matrix = most_cubic(lattice, n_cells)
    assert deviation == pytest.approx(0, abs=1e-8)
    cell = matrix @ lattice
    edge = np.linalg.det(cell) ** (1 / 3)
    np.testing.assert_allclose(cell @ cell.T, edge**2 * np.eye(3), atol=1e-12)
    assert round(np.linalg.det(matrix)) == n_cells


def test_plain_multiples_are_written_as_such():
    assert most_cubic(np.eye(3) * 7.0, 8)[1].tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert most_cubic(np.diag([4.0, 6.0, 12.0]), 6)[1].tolist() == [[3, 0, 0], [0, 2, 0], [0, 0, 1]]


lengths = st.floats(3.0, 9.0)
angles = st.floats(-0.4, 0.4)


@given(
    st.tuples(lengths, lengths, lengths),
    st.tuples(angles, angles, angles),
    st.integers(1, 4),
)
@example((4.0, 7.0, 3.0), (0.375, 0.25, 0.0), 1)  # the shortest vectors are not the squarest
@settings(max_examples=10, deadline=None)
def test_nothing_is_more_cubic(edges, shears, n_cells):
    lattice = np.diag(edges)
    lattice[1, 0], lattice[2, 0], lattice[2, 1] = np.array(shears) * edges[0]
    deviation, matrix = most_cubic(lattice, n_cells)
    assert round(np.linalg.det(matrix)) == n_cells
    assert deviation == pytest.approx(float(cube_deviation(matrix @ lattice)), abs=1e-6)
    assert deviation <= most_cubic_deviation(lattice, n_cells) + 1e-6


def test_same_answer_whatever_cell_describes_the_lattice():
    lattice = np.array([[5.0, 0, 0], [0.7, 6.0, 0], [1.1, 0.3, 7.0]])
    changes = [[[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 2, 3]]]
    deviations = [most_cubic(np.array(change) @ lattice, 6)[0] for change in changes]
    assert deviations == pytest.approx([most_cubic(lattice, 6)[0]] * 2, abs=1e-6)


def test_sizes_within_the_tolerance_nearest_first():
    assert admissible_sizes(16, 200, 0.35, lambda n: n % 4 == 0) == [12, 16]
    assert admissible_sizes(16, 200, 0.35, lambda n: n % 100 == 0) == []
    assert admissible_sizes(16, 128, 0.0, lambda _: True) == [8]


def test_shape_and_size_are_weighed_together():
    # 2x2x2 is a cube of 128 ions, all others near 130 are not.
    matrix = near_cubic_supercell(np.eye(3) * 7.0, 16, 130, 0.2, lambda _: True)
    assert matrix is not None
    assert matrix.tolist() == (2 * np.eye(3)).tolist()
    assert near_cubic_supercell(np.eye(3), 16, 130, 0.2, lambda _: False) is None


def test_deviation_of_known_cells():
    assert cube_deviation(np.eye(3) * 3) == pytest.approx(0)
    # 1 x 1 x 8: V^(2/3) = 4, metric diag(1, 1, 64) / 4.
    expected = np.sqrt(0.75**2 * 2 + 15**2)
    assert cube_deviation(np.diag([1.0, 1.0, 8.0])) == pytest.approx(expected)
    stack = np.array([np.eye(3), np.diag([1.0, 1.0, 8.0])])
    assert cube_deviation(stack) == pytest.approx([0, expected])
    for order in itertools.permutations(range(3)):
        permuted = np.diag([1.0, 1.0, 8.0])[list(order)]
        assert cube_deviation(permuted) == pytest.approx(expected)
