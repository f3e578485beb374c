"""Near-cubic supercells in which wanted numbers of ions are whole.

All sublattices of a crystal with a given number of cells are its Hermite normal forms; each is
reduced to its shortest vectors, made as square as can be and compared with a cube.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

#: Signed permutations of three vectors that keep their handedness.
_ORIENTATIONS = np.array(
    [
        matrix
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
        if np.linalg.det(matrix := np.diag(signs)[list(order)]) > 0
    ],
    dtype=np.int64,
)

#: Every change of one vector by another, or by both others, once.
_CHANGES = np.array(
    [
        np.eye(3, dtype=np.int64) + np.outer(np.eye(3, dtype=np.int64)[row], added)
        for row in range(3)
        for added in itertools.product((-1, 0, 1), repeat=3)
        if added[row] == 0 and any(added)
    ],
    dtype=np.int64,
)


def near_cubic_supercell(
    lattice: Float,
    n_ions_per_cell: float,
    n_ions: int,
    tolerance: float,
    is_admissible: Callable[[int], bool],
    penalty: Callable[[int], float] = lambda n_cells: 0.0,
) -> Int | None:
    """Return the supercell nearest to a cube of the wanted size.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
        Cell vectors as rows.
    n_ions_per_cell : float
    n_ions : int
        Wanted number of ions.
    tolerance : float
        Largest relative deviation from ``n_ions``.
    is_admissible
        Whether a supercell of so many cells may be used.
    penalty
        What else speaks against so many cells, 0 or more.

    Returns
    -------
    (3, 3) int64 or None
        Rows are the supercell's vectors in units of the cell's; None if no size is admissible. The
        smallest sum of :func:`cube_deviation`, the relative deviation from ``n_ions`` and the
        penalty wins.
    """
    best: tuple[float, Int] | None = None
    for n_cells in admissible_sizes(n_ions_per_cell, n_ions, tolerance, is_admissible):
        size = abs(n_cells * n_ions_per_cell / n_ions - 1) + penalty(n_cells)
        if best is not None and size >= best[0]:
            continue
        deviation, matrix = most_cubic(lattice, n_cells)
        if best is None or deviation + size < best[0] - 1e-9:
            best = (deviation + size, matrix)
    return None if best is None else best[1]


def admissible_sizes(
    n_ions_per_cell: float, n_ions: int, tolerance: float, is_admissible: Callable[[int], bool]
) -> list[int]:
    """Return the admissible numbers of cells within the tolerance, nearest to ``n_ions`` first."""
    fewest = max(1, int(np.ceil(n_ions * (1 - tolerance) / n_ions_per_cell - 1e-9)))
    most = int(np.floor(n_ions * (1 + tolerance) / n_ions_per_cell + 1e-9))
    sizes = [n for n in range(fewest, most + 1) if is_admissible(n)]
    return sorted(sizes, key=lambda n: (abs(n * n_ions_per_cell - n_ions), n))


def cube_deviation(vectors: Float) -> Float:
    """Return how far cells are from a cube of their volume.

    Parameters
    ----------
    vectors : (..., 3, 3) float64
        Cell vectors as rows.

    Returns
    -------
    (...) float64
        Frobenius norm of the metric tensor over V^(2/3), minus the identity; 0 for a cube.
    """
    metric = vectors @ np.swapaxes(vectors, -1, -2)
    volume = np.abs(np.linalg.det(vectors))
    scaled = metric / volume[..., None, None] ** (2 / 3)
    return np.linalg.norm(scaled - np.eye(3), axis=(-2, -1))


def most_cubic(lattice: Float, n_cells: int) -> tuple[float, Int]:
    """Return the supercell of ``n_cells`` cells that is nearest to a cube, and its deviation.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
        Cell vectors as rows.
    n_cells : int

    Returns
    -------
    deviation, matrix
        See :func:`cube_deviation`; (3, 3) int64, as near to a diagonal matrix as can be.
    """
    deviation, matrix = _most_cubic(tuple(map(tuple, lattice.tolist())), n_cells)
    return deviation, matrix.copy()


@functools.lru_cache(maxsize=1024)
def _most_cubic(rows: tuple[tuple[float, ...], ...], n_cells: int) -> tuple[float, Int]:
    """Search for :func:`most_cubic`; one mother asks for the same sizes again and again."""
    lattice = np.array(rows)
    matrices = _square(lattice, _reduce(lattice, _hermite_normal_forms(n_cells)))
    deviations = np.round(cube_deviation(matrices @ lattice), 8)
    equal = matrices[deviations == deviations.min()]
    oriented = _ORIENTATIONS[None] @ (equal * np.sign(np.linalg.det(equal))[:, None, None])[:, None]
    candidates = np.round(oriented).astype(np.int64).reshape(-1, 3, 3)
    best = min(
        candidates,
        key=lambda m: (-int(np.trace(m)), int(np.abs(m).sum()), tuple((-m).ravel().tolist())),
    )
    return float(deviations.min()), best


@functools.cache
def _hermite_normal_forms(n_cells: int) -> Int:
    """Return every upper triangular Hermite normal form with a determinant, (n, 3, 3) int64."""
    forms = []
    for a in range(1, n_cells + 1):
        if n_cells % a:
            continue
        for d in range(1, n_cells // a + 1):
            if (n_cells // a) % d:
                continue
            f = n_cells // a // d
            b, c, e = np.meshgrid(np.arange(d), np.arange(f), np.arange(f), indexing="ij")
            form = np.zeros((b.size, 3, 3), dtype=np.int64)
            form[:, 0, 0], form[:, 1, 1], form[:, 2, 2] = a, d, f
            form[:, 0, 1], form[:, 0, 2], form[:, 1, 2] = b.ravel(), c.ravel(), e.ravel()
            forms.append(form)
    return np.concatenate(forms)


def _reduce(lattice: Float, matrices: Int) -> Int:
    """Reduce supercells to their shortest vectors (Minkowski reduction, three dimensions).

    Semaev, doi:10.1007/3-540-44670-2_13: the longest vector is made as short as possible by adding
    multiples of the two others, until nothing gets shorter.
    """
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=2)), dtype=np.int64)
    while True:
        lengths = np.linalg.norm(matrices @ lattice, axis=2)
        order = np.argsort(lengths, axis=1, kind="stable")
        matrices = np.take_along_axis(matrices, order[:, :, None], axis=1)
        before = np.sort(lengths, axis=1)
        # Shorten the second vector by the first, then the third by both.
        vectors = matrices @ lattice
        first, second = vectors[:, 0], vectors[:, 1]
        ratio = np.einsum("ij,ij->i", first, second) / np.einsum("ij,ij->i", first, first)
        matrices[:, 1] -= np.round(ratio - 1e-9).astype(np.int64)[:, None] * matrices[:, 0]
        vectors = matrices @ lattice
        plane = vectors[:, :2]
        gram = plane @ np.swapaxes(plane, 1, 2)
        shadow = np.linalg.solve(gram, plane @ vectors[:, 2, :, None])[..., 0]
        nearest = np.round(shadow - 1e-9).astype(np.int64)
        trials = matrices[:, None, 2] - np.einsum(
            "nsk,nkj->nsj", nearest[:, None] + shifts[None], matrices[:, :2]
        )
        trial_lengths = np.round(np.linalg.norm(trials @ lattice, axis=2), 8)
        matrices[:, 2] = np.take_along_axis(
            trials, trial_lengths.argmin(axis=1)[:, None, None], axis=1
        )[:, 0]
        after = np.sort(np.linalg.norm(matrices @ lattice, axis=2), axis=1)
        if np.all(after.sum(axis=1) > before.sum(axis=1) - 1e-8):
            return matrices


def _square(lattice: Float, matrices: Int) -> Int:
    """Change the vectors of reduced supercells as long as that brings them nearer to a cube.

    The shortest vectors are not always the squarest: a slightly longer one may stand more upright.
    Supercells that cannot win are left out: the squared lengths over V^(2/3) sum to 3 for a cube,
    no vectors have a smaller sum than the shortest, and an excess t means a deviation of at least
    t / sqrt(3).
    """
    vectors = matrices @ lattice
    deviations = cube_deviation(vectors)
    volume = abs(np.linalg.det(vectors[0]))  # the same for all
    excess = (vectors**2).sum(axis=(1, 2)) / volume ** (2 / 3) - 3
    may_win = excess / np.sqrt(3) <= deviations.min() + 1e-9
    matrices, deviations = matrices[may_win], deviations[may_win]
    while True:
        trials = _CHANGES[None] @ matrices[:, None]
        trial_deviations = cube_deviation(trials @ lattice)
        best = trial_deviations.argmin(axis=1)[:, None]
        least = np.take_along_axis(trial_deviations, best, axis=1)[:, 0]
        nearer = least < deviations - 1e-10
        if not nearer.any():
            return matrices
        matrices = np.where(
            nearer[:, None, None],
            np.take_along_axis(trials, best[:, :, None, None], axis=1)[:, 0],
            matrices,
        )
        deviations = np.minimum(deviations, least)
