"""Interstitial sites: the largest voids between the ions of a crystal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from scipy.spatial import Voronoi, cKDTree

from ionsieve.errors import InputError
from ionsieve.ewald.sublattices import parse_species, site_occupancy
from ionsieve.ewald.symmetry import Crystal, complete_orbits, find_crystal

Float = NDArray[np.float64]

#: Void sites closer to each other than this are one site, Angstrom.
MERGE_ANGSTROM = 1.2
#: Distance an extra ion must have from every ion of the crystal, Angstrom.
MIN_DISTANCE_ANGSTROM = 2.0
#: Images of the crystal within this distance of the cell bound its Voronoi cells, Angstrom.
_REACH_ANGSTROM = 10.0


def find_voids(
    structure: Structure, species: str, min_distance: float = MIN_DISTANCE_ANGSTROM
) -> Float:
    """Find the voids of a crystal that hold an extra ion.

    Voids are Voronoi vertices of the ions, largest first, moved onto the symmetry elements near
    them and completed by the space group; those closer than 1.2 A to a larger one are merged into
    it. An ion of the void's own charge sign is counted as an obstacle like any other.

    Parameters
    ----------
    structure : Structure
        Crystal with oxidation states.
    species : str
        The ion to insert, such as ``Na+``.
    min_distance : float, Angstrom
        Least distance from every ion of the crystal.

    Returns
    -------
    (n_sites, 3) float64
        Fractional coordinates in [0, 1), symmetry-complete.

    Raises
    ------
    InputError
        No void is as large as ``min_distance``, or ``species`` is not a charged species.
    """
    parse_species(species)
    names = [tuple(site_occupancy(structure, i).items()) for i in range(len(structure))]
    kinds = np.array([sorted(set(names)).index(name) for name in names])
    crystal = find_crystal(structure.lattice.matrix, structure.frac_coords, kinds)
    points, radii = _voronoi_vertices(crystal)
    chosen = np.empty((0, 3))
    for point in points[radii >= min_distance]:
        if _too_close(crystal, point[None, :], chosen):
            continue
        orbit, _ = complete_orbits(crystal, point[None, :], tolerance=MERGE_ANGSTROM)
        inside = _too_close(crystal, orbit[:1], crystal.frac_coords, min_distance - 1e-3)
        if not inside and not _too_close(crystal, orbit, chosen):
            chosen = np.concatenate([chosen, orbit])
    if len(chosen) == 0:
        raise InputError(
            f"no void for {species}: the largest is {radii.max():.2f} A from its nearest ions, "
            f"min_distance is {min_distance} A; lower it or give interstitial_sites"
        )
    return chosen


def _voronoi_vertices(crystal: Crystal) -> tuple[Float, Float]:
    """Return the Voronoi vertices in one cell and their distance to the nearest ion, descending."""
    inverse = np.linalg.inv(crystal.lattice)
    reach = np.ceil(_REACH_ANGSTROM * np.linalg.norm(inverse, axis=0)).astype(int)
    axes = [np.arange(-n, n + 1) for n in reach]
    images = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    frac = (crystal.frac_coords % 1.0)[None, :, :] + images[:, None, :]
    ions = frac.reshape(-1, 3) @ crystal.lattice
    # A small shell around the cell is all that its vertices need.
    near = np.all((frac > -1.0 - 1e-6) & (frac < 2.0 + 1e-6), axis=-1).ravel()
    far_enough = np.linalg.norm(inverse, axis=0).max() * _REACH_ANGSTROM < 1.0
    vertices = Voronoi(ions[near] if far_enough else ions).vertices
    points = vertices @ inverse
    points = points[np.all((points > -1e-6) & (points < 1 - 1e-6), axis=1)]
    radii, _ = cKDTree(ions).query(points @ crystal.lattice)
    # Rounding makes the order of equally large voids reproducible.
    order = np.lexsort((*np.round(points.T, 4), -np.round(radii, 4)))
    return points[order], radii[order]


def _too_close(
    crystal: Crystal, points: Float, others: Float, limit: float = MERGE_ANGSTROM
) -> bool:
    if len(others) == 0:
        return False
    delta = points[:, None, :] - others[None, :, :]
    distance = np.linalg.norm((delta - np.round(delta)) @ crystal.lattice, axis=2)
    return bool(distance.min() < limit)
