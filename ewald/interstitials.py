"""Sites besides those of the crystal that extra ions may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.sublattices import VACANCY, MotherSublattice, Rules, parse_species
from ionsieve.ewald.symmetry import Crystal, complete_orbits, find_crystal
from ionsieve.ewald.voids import find_voids

Float = NDArray[np.float64]

#: A point nearer than this to a site of the crystal is that site, Angstrom.
_ON_A_SITE_ANGSTROM = 0.3


def interstitial_points(
    structure: Structure,
    crystal: Crystal,
    ions: Mapping[str, int],
    given: Sequence[Sequence[float]] | Float | None,
    min_distance: float | None,
) -> Float:
    """Return the interstitial sites: those given, completed by symmetry, or the voids.

    Parameters
    ----------
    structure, crystal
    ions
        Extra ions; the first species decides what the voids are for.
    given : (n, 3) float64, optional
    min_distance : float, optional, Angstrom
    """
    if given is None:
        options = {} if min_distance is None else {"min_distance": min_distance}
        return find_voids(structure, next(iter(ions)), **options)
    return _completed(crystal, given)


def symmetric_points(structure: Structure, points: Sequence[Sequence[float]]) -> Float:
    """Return points of a crystal with all their symmetry images.

    Parameters
    ----------
    structure : Structure
        With oxidation states.
    points : (n, 3) float64
        Fractional coordinates.
    """
    names = [str(site.species) for site in structure]
    kinds = np.array([sorted(set(names)).index(name) for name in names])
    crystal = find_crystal(structure.lattice.matrix, structure.frac_coords, kinds)
    return _completed(crystal, points)


def _completed(crystal: Crystal, points: Sequence[Sequence[float]] | Float) -> Float:
    """Add all symmetry images; refuse points on the crystal's own sites."""
    completed, _ = complete_orbits(crystal, np.asarray(points, dtype=float).reshape(-1, 3))
    delta = completed[:, None] - crystal.frac_coords[None]
    distances = np.linalg.norm((delta - np.round(delta)) @ crystal.lattice, axis=2)
    if distances.size and distances.min() < _ON_A_SITE_ANGSTROM:
        point = np.round(completed[int(distances.min(axis=1).argmin())], 4).tolist()
        raise InputError(
            f"interstitial site {point} is {distances.min():.2f} A from a site of the crystal: "
            "give another"
        )
    return completed


def fill_up(sublattice: MotherSublattice, n_cells: int) -> None:
    """Count the vacancies of a sublattice whose ions were given."""
    n_sites = len(sublattice.sites) * n_cells
    vacant = n_sites - sum(sublattice.counts.values())
    if vacant < 0:
        raise InputError(
            f"arrange: {n_sites - vacant} ions on the {n_sites} sites of '{sublattice.name}': "
            "lower the numbers, or add sites"
        )
    sublattice.counts[VACANCY] = vacant


def interstitial_sublattice(
    rules: Rules, first: int, n_sites: int, n_cells: int
) -> MotherSublattice:
    """Return the sublattice of extra ions, on sites numbered after the crystal's own."""
    counts = {str(parse_species(s)): int(n) for s, n in rules.insert.items()}
    vacant = n_sites * n_cells - sum(counts.values())
    if vacant < 0 or any(n < 0 for n in counts.values()):
        raise InputError(
            f"insert: {sum(counts.values())} ions on {n_sites * n_cells} interstitial sites: lower "
            "the count, or lower min_distance to find more sites"
        )
    return MotherSublattice(
        "interstitial", np.arange(first, first + n_sites), {VACANCY: vacant, **counts}
    )
