"""Sites besides those of the crystal that extra ions may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.sublattices import VACANCY, MotherSublattice, Rules, parse_species
from ionsieve.ewald.symmetry import Crystal, complete_orbits
from ionsieve.ewald.voids import find_voids

Float = NDArray[np.float64]


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
    points = np.asarray(given, dtype=float).reshape(-1, 3)
    completed, _ = complete_orbits(crystal, points)
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
