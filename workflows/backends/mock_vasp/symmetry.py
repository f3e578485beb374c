"""The symmetry of a crystal, as a projection of forces onto what it allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import spglib
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Wider than VASP's SYMPREC (1e-5): published coordinates are rounded.
_TOLERANCE_ANGSTROM = 1e-3


class Symmetry:
    """The space group of one crystal, acting on displacements and strains.

    In exact arithmetic forces have the symmetry of the crystal. Rounding breaks it, and what is
    broken grows on a saddle until it decides in which minimum a relaxation ends.

    Parameters
    ----------
    fractional : (n_ions, 3) float64
    cell : (3, 3) float64, Angstrom
    kinds : (n_ions,) int64
        Ions of different kinds are never images of each other.

    Attributes
    ----------
    n_operations
        1 where none but the identity is found.
    corrections : (n_ions, 3) float64, Angstrom
        Displacements that make the symmetry exact.
    """

    def __init__(self, fractional: Array, cell: Array, kinds: NDArray[np.int64]) -> None:
        rotations, translations, self._parents = _operations(fractional, cell, kinds)
        self.n_operations = len(rotations)
        inverse = np.linalg.inv(cell)
        # For row vectors: displaced by u, the image is displaced by u @ turn.
        turns = np.array([inverse @ w.T @ cell for w in rotations])
        self._point_group = np.unique(turns.round(9), axis=0)
        # From its parent to each ion, and the mean of those that keep the parent in place.
        self._turns = np.empty((len(fractional), 3, 3))
        self._averages = np.empty((len(fractional), 3, 3))
        errors = np.empty_like(fractional)
        for parent in np.unique(self._parents):
            members = np.flatnonzero(self._parents == parent)
            images = rotations @ fractional[parent] + translations
            offsets = images[:, None] - fractional[members]
            offsets -= np.round(offsets)
            nearest = np.linalg.norm(offsets @ cell, axis=2).argmin(axis=1)
            to_itself = nearest == np.flatnonzero(members == parent)[0]
            shift = offsets[to_itself, nearest[to_itself]].mean(axis=0)
            self._averages[members] = turns[to_itself].mean(axis=0)
            for place, member in enumerate(members):
                operation = np.flatnonzero(nearest == place)[0]
                self._turns[member] = turns[operation]
                # Of the ion against the image of its parent, itself put on its site.
                errors[member] = -offsets[operation, place] - rotations[operation] @ shift
        self._sizes = np.bincount(self._parents, minlength=len(fractional))
        errors = errors @ cell
        self.corrections = self.displacements(errors) - errors

    def displacements(self, vectors: Array) -> Array:
        """Return what the symmetry allows of (n_ions, 3) Cartesian vectors."""
        sums = np.zeros_like(vectors)
        np.add.at(sums, self._parents, np.einsum("ija,ia->ij", self._turns, vectors))
        means = sums[self._parents] / self._sizes[self._parents, None]
        return np.einsum("ia,iab,ibc->ic", means, self._averages, self._turns)

    def strain(self, matrix: Array) -> Array:
        """Return what the symmetry allows of a (3, 3) strain."""
        group = self._point_group
        return np.einsum("gab,bc,gdc->ad", group, matrix, group) / len(group)


def _operations(
    fractional: Array, cell: Array, kinds: NDArray[np.int64]
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return rotations, translations and, per ion, the first ion of its orbit."""
    crystal: Any = cell, fractional, kinds
    try:
        found = spglib.get_symmetry(crystal, symprec=_TOLERANCE_ANGSTROM)
    except spglib.SpglibError:
        found = None
    if found is None:
        # Ions on top of each other, for instance.
        return np.eye(3)[None], np.zeros((1, 3)), np.arange(len(fractional))
    rotations = np.asarray(found["rotations"], dtype=np.float64)
    translations = np.asarray(found["translations"], dtype=np.float64)
    return rotations, translations, np.asarray(found["equivalent_atoms"], dtype=np.int64)
