"""Sites too close to each other to be filled at once, as the halves of a split position are.

A pair of such sites gets a repulsion far above every energy difference, so that all searches, with
their bounds and certificates, put the arrangements that break the rule behind all that keep it;
what is left of them in a result is dropped. Counts are exact: the independent sets of the graph of
close pairs, component by component.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

#: Like-charged ions are never closer than this, Angstrom; ions of hydrogen and carbon included.
MIN_SITE_DISTANCE_ANGSTROM = 1.0
#: Added to the interaction of a close pair, eV/e^2; energies of supercells span some hundred eV.
REPULSION_EV = 1e5
#: Steps of the count after which a network of close pairs is given up.
_MAX_STEPS = 300_000

#: Filled sites of each sublattice -> number of ways.
Counts = dict[tuple[int, ...], int]


def close_pairs(lattice: Float, frac_coords: Float, min_distance: float) -> Int:
    """Return the pairs of sites closer than a distance.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
    frac_coords : (n_sites, 3) float64
    min_distance : float, Angstrom

    Returns
    -------
    (n_pairs, 2) int64
        First < second.
    """
    if min_distance <= 0 or len(frac_coords) < 2:
        return np.empty((0, 2), dtype=np.int64)
    found = []
    for i in range(len(frac_coords) - 1):
        delta = frac_coords[i + 1 :] - frac_coords[i]
        delta -= np.round(delta)
        # Of two images within reach the nearest is found: cells are larger than twice the reach.
        near = np.linalg.norm(delta @ lattice, axis=1) < min_distance - 1e-6
        found += [(i, i + 1 + int(j)) for j in np.flatnonzero(near)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def count_fillings(groups: Int, pairs: Int, n_filled: Sequence[int]) -> int:
    """Return in how many ways sites can be filled without filling both of a close pair.

    Parameters
    ----------
    groups : (n_sites,) int64
        Sublattice of each site.
    pairs : (n_pairs, 2) int64
    n_filled : sequence of int
        Filled sites of each sublattice.

    Raises
    ------
    InputError
        The close pairs are one network too large to count.
    """
    neighbours = [0] * len(groups)
    for i, j in pairs.tolist():
        neighbours[i] |= 1 << j
        neighbours[j] |= 1 << i
    sizes = np.bincount(groups, minlength=len(n_filled))
    alone = [
        n - sum(1 for i, g in enumerate(groups) if g == s and neighbours[i])
        for s, n in enumerate(sizes)
    ]
    total: Counts = {(0,) * len(n_filled): 1}
    counter = _Counter(neighbours, groups.tolist(), len(n_filled))
    for component in _components(sum(1 << i for i, n in enumerate(neighbours) if n), neighbours):
        total = _product(total, counter.count(component), n_filled)
    return sum(
        ways
        * math.prod(math.comb(a, n - f) for a, n, f in zip(alone, n_filled, filled, strict=True))
        for filled, ways in total.items()
    )


def _components(sites: int, neighbours: list[int]) -> list[int]:
    """Return the connected parts of a set of sites, as bit sets."""
    parts = []
    while sites:
        part, border = 0, sites & -sites
        while border:
            part |= border
            grown = 0
            while border:
                low = border & -border
                grown |= neighbours[low.bit_length() - 1]
                border ^= low
            border = grown & sites & ~part
        parts.append(part)
        sites &= ~part
    return parts


def _product(one: Counts, other: Counts, limits: Sequence[int]) -> Counts:
    made: Counts = {}
    for filled, ways in one.items():
        for more, other_ways in other.items():
            key = tuple(a + b for a, b in zip(filled, more, strict=True))
            if all(k <= limit for k, limit in zip(key, limits, strict=True)):
                made[key] = made.get(key, 0) + ways * other_ways
    return made


class _Counter:
    """Independent sets by deleting one site after the other, the best connected first."""

    def __init__(self, neighbours: list[int], groups: list[int], n_groups: int) -> None:
        self.neighbours, self.groups, self.n_groups = neighbours, groups, n_groups
        self.known: dict[int, Counts] = {}
        self.shapes: dict[tuple[tuple[int, ...], ...], Counts] = {}
        self.steps = 0

    def count(self, component: int) -> Counts:
        """Return the counts of one component; equal ones (by translation) are counted once."""
        sites = [i for i in range(component.bit_length()) if component >> i & 1]
        place = {site: k for k, site in enumerate(sites)}
        shape = tuple(
            (self.groups[i], *(place[j] for j in sites if self.neighbours[i] >> j & 1))
            for i in sites
        )
        if shape not in self.shapes:
            self.shapes[shape] = self._sets(component)
        return self.shapes[shape]

    def _sets(self, sites: int) -> Counts:
        if not sites:
            return {(0,) * self.n_groups: 1}
        if sites in self.known:
            return self.known[sites]
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise InputError(
                "the sites too close to each other make one network, too large to count its "
                "arrangements: lower min_site_distance, or take a smaller supercell"
            )
        parts = _components(sites, self.neighbours)
        limits = [len(self.groups)] * self.n_groups
        if len(parts) > 1:
            made = self._sets(parts[0])
            for part in parts[1:]:
                made = _product(made, self._sets(part), limits)
        else:
            members = [i for i in range(sites.bit_length()) if sites >> i & 1]
            pick = max(members, key=lambda i: (self.neighbours[i] & sites).bit_count())
            made = dict(self._sets(sites & ~(1 << pick)))
            step = tuple(int(g == self.groups[pick]) for g in range(self.n_groups))
            rest = self._sets(sites & ~(1 << pick) & ~self.neighbours[pick])
            for filled, ways in rest.items():
                key = tuple(a + b for a, b in zip(filled, step, strict=True))
                made[key] = made.get(key, 0) + ways
        self.known[sites] = made
        return made
