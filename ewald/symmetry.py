"""The space group of a supercell as permutations of its sites.

The mother crystal's operations come from spglib; those that map the supercell's lattice onto itself
are combined with the supercell's translations. Positions and lattice are first made exactly
symmetric (within ``symprec``), so that equivalent arrangements have the same energy to rounding.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import spglib
import spglib.error
from numpy.typing import ArrayLike, NDArray

from ionsieve.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Crystal:
    """A crystal with its space group operations.

    Attributes
    ----------
    lattice : (3, 3) float64, Angstrom
        Lattice vectors as rows.
    frac_coords : (n_sites, 3) float64
    rotations : (n_operations, 3, 3) int64
        x' = rotation @ x + translation, in fractional coordinates.
    translations : (n_operations, 3) float64
    orbits : (n_sites,) int64
        Crystallographic site each site belongs to, numbered from 0 by first appearance.
    """

    lattice: Float
    frac_coords: Float
    rotations: Int
    translations: Float
    orbits: Int


def find_crystal(lattice: Float, frac_coords: Float, kinds: Int, symprec: float = 0.01) -> Crystal:
    """Find the space group and make lattice and positions exactly symmetric under it.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
    frac_coords : (n_sites, 3) float64
    kinds : (n_sites,) int64
        Sites of different kinds are never equivalent.
    symprec : float, Angstrom
        Distance tolerance.

    Raises
    ------
    InputError
        spglib finds no symmetry, as with overlapping sites.
    """
    # spglib returns None or raises, as a switch that other libraries turn says.
    data = None
    with contextlib.suppress(spglib.error.SpglibError):
        data = spglib.get_symmetry(
            (lattice.tolist(), frac_coords.tolist(), kinds.tolist()), symprec=symprec
        )
    if data is None:
        raise InputError(
            f"no space group found at symprec {symprec} A: check for overlapping sites"
        )
    rotations = np.asarray(data["rotations"], dtype=np.int64)
    shifts = np.asarray(data["translations"], dtype=np.float64)
    _, orbits = _renumber(np.asarray(data["equivalent_atoms"]))
    # Translations are multiples of 1/24 in a standard cell, but not in every cell and origin, so
    # they are averaged together with the positions instead of rounded.
    crystal = Crystal(
        _symmetric_lattice(lattice, rotations), frac_coords, rotations, shifts, orbits
    )
    for _ in range(3):
        crystal = _symmetric_positions(crystal, symprec)
    return crystal


def _renumber(labels: Int) -> tuple[Int, Int]:
    """Return the labels in order of first appearance, and each one's number."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return labels[np.sort(first)], order[inverse]


def _symmetric_lattice(lattice: Float, rotations: Int) -> Float:
    """Average the metric over the point group; keep the orientation."""
    metric = lattice @ lattice.T
    averaged = np.mean([rotation.T @ metric @ rotation for rotation in rotations], axis=0)
    inverse = np.linalg.inv(lattice)
    values, vectors = np.linalg.eigh(inverse @ averaged @ inverse.T)
    return lattice @ (vectors * np.sqrt(values)) @ vectors.T


def map_sites(crystal: Crystal, points: Float, symprec: float) -> tuple[Int, Float]:
    """Return where each operation takes each point of a symmetry-complete set.

    Returns
    -------
    targets : (n_operations, n_points) int64
        Index of the image.
    residuals : (n_operations, n_points, 3) float64
        Image minus target; near integers.

    Raises
    ------
    InputError
        An image meets no point: the set is not symmetry-complete.
    """
    n_operations = len(crystal.rotations)
    targets = np.empty((n_operations, len(points)), dtype=np.int64)
    residuals = np.empty((n_operations, len(points), 3))
    for number in range(n_operations):
        images = points @ crystal.rotations[number].T + crystal.translations[number]
        delta = images[:, None, :] - points[None, :, :]
        wrapped = delta - np.round(delta)
        distance = np.linalg.norm(wrapped @ crystal.lattice, axis=2)
        targets[number] = distance.argmin(axis=1)
        worst = distance.min(axis=1).max()
        if worst > 4 * symprec or len(set(targets[number])) < len(points):
            raise InputError(
                f"symmetry image {worst:.3f} A off every site (limit {4 * symprec} A): "
                "lower symprec or symmetrise the structure"
            )
        residuals[number] = delta[np.arange(len(points)), targets[number]]
    return targets, residuals


def _symmetric_positions(crystal: Crystal, symprec: float) -> Crystal:
    """Move sites and operation origins to their averages over the group."""
    targets, residuals = map_sites(crystal, crystal.frac_coords, symprec)
    offsets = residuals - np.round(residuals)
    shifts = crystal.translations - offsets.mean(axis=1)
    offsets -= offsets.mean(axis=1, keepdims=True)
    moved = np.zeros_like(crystal.frac_coords)
    for target, offset in zip(targets, offsets, strict=True):
        moved[target] += offset
    coords = crystal.frac_coords + moved / len(targets)
    return Crystal(crystal.lattice, coords, crystal.rotations, shifts, crystal.orbits)


@dataclass(frozen=True)
class LatticePoints:
    """The mother cells inside a supercell.

    Attributes
    ----------
    matrix : (3, 3) int64
        Rows are the supercell's vectors in units of the mother's.
    points : (n_cells, 3) int64
        Offsets of the cells.
    """

    matrix: Int
    points: Int

    @staticmethod
    def inside(matrix: Int) -> LatticePoints:
        """Enumerate the cells of a supercell.

        Raises
        ------
        InputError
            The matrix is singular.
        """
        size = round(abs(float(np.linalg.det(matrix))))
        if size == 0:
            raise InputError(f"supercell {matrix.tolist()} has no volume: give independent vectors")
        corners = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) @ matrix
        axes = [
            np.arange(lo, hi + 1) for lo, hi in zip(corners.min(0), corners.max(0), strict=True)
        ]
        box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        keys = LatticePoints(matrix, box).key(box)
        _, first = np.unique(keys, return_index=True)
        points = box[np.sort(first)]
        assert len(points) == size
        return LatticePoints(matrix, points)

    def key(self, offsets: Int) -> Int:
        """Return a number per offset that is equal for offsets equal modulo the supercell."""
        determinant = round(float(np.linalg.det(self.matrix)))
        adjugate = np.round(np.linalg.inv(self.matrix) * determinant).astype(np.int64)
        size = abs(determinant)
        residues = (offsets @ (adjugate * np.sign(determinant))) % size
        return (residues[..., 0] * size + residues[..., 1]) * size + residues[..., 2]

    def index(self, offsets: Int) -> Int:
        """Return the cell each offset falls in, modulo the supercell."""
        keys = self.key(self.points)
        order = np.argsort(keys)
        return order[np.searchsorted(keys[order], self.key(offsets))]


def supercell_matrix(supercell: ArrayLike) -> Int:
    """Return a supercell, given as 3 multiples or 9 numbers, as a (3, 3) int64 matrix.

    Raises
    ------
    InputError
        They are not whole numbers, or a multiple is below 1.
    """
    given = np.asarray(supercell)
    if given.shape not in ((3,), (3, 3)) or not np.array_equal(given, np.round(given)):
        raise InputError(
            f"supercell {given.tolist()}: give 3 whole numbers or a 3x3 matrix of them"
        )
    matrix = np.diag(given) if given.shape == (3,) else given
    if given.shape == (3,) and np.any(given < 1):
        raise InputError(f"supercell {given.tolist()}: multiples must be 1 or more")
    return np.asarray(np.round(matrix), dtype=np.int64)


def supercell_permutations(
    crystal: Crystal, points: Float, cells: LatticePoints, symprec: float = 0.01
) -> tuple[Int, Int]:
    """Return the supercell's space group as site permutations.

    Sites are numbered mother site by mother site, each with all its cells:
    ``site = mother_site * n_cells + cell``.

    Returns
    -------
    permutations : (n_operations, n_sites) int64
        Where each operation takes each site; all distinct, a group.
    translations : (n_cells, n_sites) int64
        The pure translations among them.
    """
    targets, residuals = map_sites(crystal, points, symprec)
    wraps = np.round(residuals).astype(np.int64)
    n_cells = len(cells.points)
    inverse = np.linalg.inv(cells.matrix.astype(float))
    found = []
    for rotation, target, wrap in zip(crystal.rotations, targets, wraps, strict=True):
        image = cells.matrix @ rotation.T @ inverse
        if not np.allclose(image, np.round(image), atol=1e-6):
            continue
        rotated = cells.points @ rotation.T
        # offsets: (shift, mother site, cell, xyz)
        offsets = (
            cells.points[:, None, None, :] + wrap[None, :, None, :] + rotated[None, None, :, :]
        )
        sites = target[None, :, None] * n_cells + cells.index(offsets)
        found.append(sites.reshape(n_cells, -1))
    shifts = cells.points[:, None, :] + cells.points[None, :, :]
    moved = cells.index(shifts)
    translations = (np.arange(len(points))[None, :, None] * n_cells + moved[:, None, :]).reshape(
        n_cells, -1
    )
    return np.unique(np.concatenate(found), axis=0), translations


def complete_orbits(crystal: Crystal, points: Float, tolerance: float = 0.1) -> tuple[Float, Int]:
    """Add every symmetry image of some points; snap them to their symmetry positions.

    Parameters
    ----------
    crystal : Crystal
    points : (n_points, 3) float64
        Fractional coordinates.
    tolerance : float, Angstrom
        Images closer than this to a point are that point.

    Returns
    -------
    completed : (n_completed, 3) float64, in [0, 1)
    orbits : (n_completed,) int64
        Number of the inequivalent point each one comes from.
    """
    completed: list[Float] = []
    orbits: list[int] = []
    number = 0
    for point in points:
        if completed and _distance(crystal, np.array(completed), point).min() < tolerance:
            continue
        orbit = _orbit(crystal, point, tolerance)
        completed.extend(orbit)
        orbits.extend([number] * len(orbit))
        number += 1
    return np.array(completed).reshape(-1, 3), np.array(orbits, dtype=np.int64)


def _distance(crystal: Crystal, points: Float, point: Float) -> Float:
    delta = points - point
    return np.linalg.norm((delta - np.round(delta)) @ crystal.lattice, axis=1)


def _orbit(crystal: Crystal, point: Float, tolerance: float) -> list[Float]:
    """Return the orbit of a point that is first moved onto the symmetry elements near it."""
    images = crystal.rotations @ point + crystal.translations
    delta = images - point
    delta -= np.round(delta)
    near = np.linalg.norm(delta @ crystal.lattice, axis=1) < tolerance
    centre = point + delta[near].mean(axis=0)
    orbit: list[Float] = []
    for image in crystal.rotations @ centre + crystal.translations:
        if not orbit or _distance(crystal, np.array(orbit), image).min() > tolerance:
            orbit.append(image % 1.0)
    return orbit
