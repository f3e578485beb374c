"""Solid solutions: a parent supercell, its sublattices, what sits where and how many there are."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.exclusion import (
    MIN_SITE_DISTANCE_ANGSTROM,
    REPULSION_EV,
    close_pairs,
    count_fillings,
)
from ionsieve.ewald.interactions import translated_interaction_matrix
from ionsieve.ewald.interstitials import (
    fill_up,
    interstitial_points,
    interstitial_sublattice,
)
from ionsieve.ewald.kernels.arrangements import Model
from ionsieve.ewald.sublattices import (
    VACANCY,
    VOIDS,
    MotherSublattice,
    Rules,
    SublatticeBuilder,
    charge_of,
    parse_species,
    site_occupancy,
)
from ionsieve.ewald.symmetry import (
    LatticePoints,
    find_crystal,
    supercell_matrix,
    supercell_permutations,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Labels = NDArray[np.uint8]

#: Sites an arrangement may vary on; the kernels' scratch arrays grow with its square.
MAX_VARIABLE_SITES = 2000


@dataclass(frozen=True)
class Sublattice:
    """Sites of the supercell that share a fixed number of ions of each species.

    Attributes
    ----------
    name : str
    sites : (n_sites,) int64
        Sites of the supercell.
    species : tuple of str
        Species string, or ``"vacancy"``; label ``k`` of an arrangement stands for ``species[k]``.
    counts : tuple of int
        Ions of each species.
    charges : tuple of float, e
    """

    name: str
    sites: Int
    species: tuple[str, ...]
    counts: tuple[int, ...]
    charges: tuple[float, ...]

    @property
    def n_arrangements(self) -> int:
        """Number of ways to fill the sublattice."""
        total, left = 1, len(self.sites)
        for count in self.counts:
            total *= math.comb(left, count)
            left -= count
        return total


@dataclass(frozen=True)
class SolidSolution:
    """Every arrangement of one composition on one supercell.

    Make one with :meth:`from_structure`.

    Attributes
    ----------
    lattice : (3, 3) float64, Angstrom
        Supercell vectors as rows.
    frac_coords : (n_sites, 3) float64
        All sites of the supercell, occupied or not.
    fixed_species : tuple of (str or None)
        Species of the sites that never change; None on sublattices.
    sublattices : tuple of Sublattice
    permutations : (n_operations, n_sites) int64
        The supercell's space group as site permutations.
    translations : (n_cells, n_sites) int64
        The pure translations among them.
    notes : tuple of str
        Occupancies that were changed to whole numbers of ions.
    min_site_distance : float, Angstrom
        Sites closer than this are not filled at once.
    """

    lattice: Float
    frac_coords: Float
    fixed_species: tuple[str | None, ...]
    sublattices: tuple[Sublattice, ...]
    permutations: Int
    translations: Int
    notes: tuple[str, ...] = ()
    min_site_distance: float = 0.0

    @classmethod
    def from_structure(
        cls,
        structure: Structure,
        supercell: ArrayLike = (1, 1, 1),
        replace: Mapping[str, Mapping[str, int]] | None = None,
        vacate: Mapping[str, int] | None = None,
        insert: Mapping[str, int] | None = None,
        interstitial_sites: Sequence[Sequence[float]] | Float | None = None,
        min_distance: float | None = None,
        symprec: float = 0.01,
        arrange: Mapping[str, Mapping[str, int]] | None = None,
        occupancy_tolerance: float = 0.0,
        min_site_distance: float = MIN_SITE_DISTANCE_ANGSTROM,
    ) -> SolidSolution:
        """Build a solid solution from a mother crystal and substitution rules.

        Parameters
        ----------
        structure : Structure
            Mother cell with oxidation states. Every partially occupied crystallographic site
            becomes a sublattice of its own, with counts from its occupancies.
        supercell : 3 ints or (3, 3) ints
        replace : selector -> {species: ions in the supercell}
            A selector is an element (``Sb``), a species (``Sb5+``), the label of a
            crystallographic site (``Na1``) or its multiplicity and Wyckoff letter (``48h``).
        vacate : selector -> vacancies in the supercell
        insert : species -> extra ions in the supercell, on interstitial sites
        interstitial_sites : (n, 3) float64, optional
            Fractional coordinates in the mother cell; completed by symmetry. Without it the voids
            found by :func:`find_voids`.
        min_distance : float, optional, Angstrom
            Passed to :func:`find_voids`.
        symprec : float, Angstrom
            Tolerance of the space group; positions are made exactly symmetric within it.
        arrange : group -> {species: ions in the supercell}
            Sublattices made as they are given: sites joined by ``+``, among them ``voids`` for the
            interstitial ones (``"Li1+Li2+voids"``); the rest of their sites is vacant.
        occupancy_tolerance : float
            How far partial occupancies may be changed to make whole numbers of ions and a neutral
            supercell; what was changed is in :attr:`notes`. 0 takes whole ones only.
        min_site_distance : float, Angstrom
            Sites closer than this are never filled at once; 0 lets all of them be.

        Raises
        ------
        InputError
            Missing charges, unknown selectors, impossible counts, overlapping sites, a cell that is
            not neutral: one line with the value and the remedy.
        """
        matrix = supercell_matrix(supercell)
        rules = Rules(replace or {}, vacate or {}, insert or {})
        species = [site_occupancy(structure, i) for i in range(len(structure))]
        names = sorted({tuple(s.items()) for s in species})
        kinds = np.array([names.index(tuple(s.items())) for s in species])
        crystal = find_crystal(structure.lattice.matrix, structure.frac_coords, kinds, symprec)
        cells = LatticePoints.inside(matrix)
        builder = SublatticeBuilder(
            structure, crystal.orbits, len(cells.points), arrange, occupancy_tolerance, symprec
        )
        builder.apply(rules)
        points = crystal.frac_coords
        for group, sublattice in builder.arranged.items():
            if VOIDS in (name.strip() for name in group.split("+")):
                extra = interstitial_points(
                    structure, crystal, sublattice.counts, interstitial_sites, min_distance
                )
                new = np.arange(len(points), len(points) + len(extra))
                sublattice.sites = np.concatenate([sublattice.sites, new])
                points = np.concatenate([points, extra])
        for sublattice in builder.arranged.values():
            fill_up(sublattice, len(cells.points))
        if any(rules.insert.values()):
            extra = interstitial_points(
                structure, crystal, rules.insert, interstitial_sites, min_distance
            )
            builder.sublattices.append(
                interstitial_sublattice(rules, len(points), len(extra), len(cells.points))
            )
            points = np.concatenate([points, extra])
        if not builder.sublattices:
            raise InputError(
                "nothing to arrange: every site is fully occupied and no rule changes one; use "
                f"replace, vacate or insert on: {builder.describe()}"
            )
        permutations, translations = supercell_permutations(crystal, points, cells, symprec)
        frac = (points[:, None, :] + cells.points[None, :, :]).reshape(-1, 3)
        space = cls(
            lattice=matrix @ crystal.lattice,
            frac_coords=frac @ np.linalg.inv(matrix) % 1.0,
            fixed_species=_fixed_species(builder, len(points), len(cells.points)),
            sublattices=tuple(_expand(s, len(cells.points)) for s in builder.sublattices),
            permutations=permutations,
            translations=translations,
            notes=tuple(builder.notes),
            min_site_distance=min_site_distance,
        )
        space._check_charge()
        if space.n_arrangements == 0:
            raise InputError(
                f"no arrangement keeps all ions {min_site_distance:g} A apart: lower "
                "min_site_distance, or correct the occupancies"
            )
        return space

    @functools.cached_property
    def n_arrangements(self) -> int:
        """Exact number of arrangements, symmetry copies included, without forbidden ones."""
        if len(self.close_pairs) == 0:
            return self.n_unconstrained
        groups = np.repeat(
            np.arange(len(self.sublattices)), [len(s.sites) for s in self.sublattices]
        )
        filled, ways = [], 1
        for sublattice in self.sublattices:
            ions = [
                n
                for species, n in zip(sublattice.species, sublattice.counts, strict=True)
                if species != VACANCY
            ]
            filled.append(sum(ions))
            ways *= math.factorial(sum(ions)) // math.prod(map(math.factorial, ions))
        return ways * count_fillings(groups, self.close_pairs, filled)

    @property
    def n_unconstrained(self) -> int:
        """Number of arrangements if sites too close to each other could be filled at once."""
        return math.prod(s.n_arrangements for s in self.sublattices)

    @functools.cached_property
    def close_pairs(self) -> Int:
        """Rows of an arrangement's labels that can't both be filled, (n_pairs, 2) int64."""
        return close_pairs(
            self.lattice, self.frac_coords[self.variable_sites], self.min_site_distance
        )

    def is_allowed(self, labels: Labels) -> bool:
        """Return whether no two sites too close to each other are filled."""
        if len(self.close_pairs) == 0:
            return True
        first, filled = 0, np.ones(len(labels), dtype=bool)
        for sublattice in self.sublattices:
            rows = slice(first, first + len(sublattice.sites))
            filled[rows] = np.array([name != VACANCY for name in sublattice.species])[labels[rows]]
            first = rows.stop
        return not bool(np.any(filled[self.close_pairs[:, 0]] & filled[self.close_pairs[:, 1]]))

    @property
    def n_ions(self) -> int:
        """Ions in the supercell."""
        vacant = sum(
            count
            for s in self.sublattices
            for species, count in zip(s.species, s.counts, strict=True)
            if species == VACANCY
        )
        return len(self.fixed_species) - vacant

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the space takes for granted: changed occupancies, sites that exclude each other."""
        if len(self.close_pairs) == 0:
            return self.notes
        n_pairs, limit = len(self.close_pairs), self.min_site_distance
        return (*self.notes, f"{n_pairs} pairs of sites closer than {limit:g} A exclude each other")

    @functools.cached_property
    def variable_sites(self) -> Int:
        """Sites of all sublattices, in the order of an arrangement's labels."""
        return np.concatenate([s.sites for s in self.sublattices])

    def _check_charge(self) -> None:
        net = sum(charge_of(s) for s in self.fixed_species if s is not None)
        net += sum(
            n * q for s in self.sublattices for n, q in zip(s.counts, s.charges, strict=True)
        )
        if abs(net) > 1e-6:
            change = f"remove {net:g}" if net > 0 else f"add {-net:g}"
            raise InputError(
                f"the supercell has net charge {net:+g} e, it must be 0: {change} positive charges "
                "by other counts in vacate, insert or replace, or correct the oxidation states"
            )
        if not any(map(charge_of, filter(None, self.fixed_species))) and not any(
            q for s in self.sublattices for q in s.charges
        ):
            raise InputError("all charges are 0: give oxidation states, such as Na+ and S2-")
        if len(self.variable_sites) > MAX_VARIABLE_SITES:
            raise InputError(
                f"{len(self.variable_sites)} sites vary, at most {MAX_VARIABLE_SITES} can: take a "
                "smaller supercell"
            )

    @functools.cached_property
    def model(self) -> Model:
        """What the searches minimise: :attr:`bare_model`, with close pairs repelling each other."""
        bare = self.bare_model
        if len(self.close_pairs) == 0:
            return bare
        signs = {np.sign(q) for s in self.sublattices for q in s.charges if q}
        if len(signs) > 1 and self._has_unlike_pair():
            raise InputError(
                f"sites of cations and anions are closer than {self.min_site_distance:g} A: "
                "correct the structure, or lower min_site_distance"
            )
        interaction = bare.interaction.copy()
        for one, other in ((0, 1), (1, 0)):
            rows, columns = self.close_pairs[:, one], self.close_pairs[:, other]
            interaction[rows, columns] += REPULSION_EV
        return bare._replace(interaction=interaction)

    def _has_unlike_pair(self) -> bool:
        """Return whether some close pair may hold ions of opposite sign."""
        charges = self.bare_model.charges
        one, other = charges[self.close_pairs[:, 0]], charges[self.close_pairs[:, 1]]
        return bool(np.any(one[:, :, None] * other[:, None, :] < 0))

    @functools.cached_property
    def bare_model(self) -> Model:
        """Energy and symmetry of the variable sites as the kernels need them."""
        matrix = translated_interaction_matrix(self.lattice, self.frac_coords, self.translations)
        fixed = np.flatnonzero([s is not None for s in self.fixed_species])
        charges = np.array([charge_of(str(self.fixed_species[i])) for i in fixed])
        sites = self.variable_sites
        position = np.full(len(self.fixed_species), -1)
        position[sites] = np.arange(len(sites))
        # The image of labels x is x[inverse permutation], and the inverses are the group again.
        permutations = np.unique(position[self.permutations[:, sites]], axis=0)
        n_labels = max(len(s.species) for s in self.sublattices)
        table = np.zeros((len(sites), n_labels))
        row = 0
        for sublattice in self.sublattices:
            table[row : row + len(sublattice.sites), : len(sublattice.charges)] = sublattice.charges
            row += len(sublattice.sites)
        return Model(
            interaction=np.ascontiguousarray(matrix[np.ix_(sites, sites)]),
            potential=matrix[np.ix_(sites, fixed)] @ charges,
            charges=table,
            permutations=np.ascontiguousarray(permutations, dtype=np.int32),
            constant_ev=np.array([0.5 * charges @ matrix[np.ix_(fixed, fixed)] @ charges]),
        )

    def structure(self, labels: Labels) -> Structure:
        """Return one arrangement as a pymatgen Structure with oxidation states.

        Parameters
        ----------
        labels : (n_variable_sites,) uint8
            Index into the sublattice's species for each variable site.
        """
        species: list[str | None] = list(self.fixed_species)
        row = 0
        for sublattice in self.sublattices:
            for site in sublattice.sites:
                species[int(site)] = sublattice.species[labels[row]]
                row += 1
        filled = [i for i, s in enumerate(species) if s != VACANCY]
        ordered = sorted(filled, key=lambda i: (parse_species(str(species[i])).X, str(species[i])))
        return Structure(
            Lattice(self.lattice),
            [parse_species(str(species[i])) for i in ordered],
            self.frac_coords[ordered],
        )


def _expand(mother: MotherSublattice, n_cells: int) -> Sublattice:
    """Return a sublattice on the sites of the supercell."""
    sites = (mother.sites[:, None] * n_cells + np.arange(n_cells)).ravel()
    counts = {species: n for species, n in mother.counts.items() if n > 0}
    charges = [charge_of(s) for s in counts]
    return Sublattice(mother.name, sites, tuple(counts), tuple(counts.values()), tuple(charges))


def _fixed_species(
    builder: SublatticeBuilder, n_points: int, n_cells: int
) -> tuple[str | None, ...]:
    species: list[str | None] = []
    varying = {int(i) for s in builder.sublattices for i in s.sites}
    for point in range(n_points):
        name = None if point in varying else next(iter(builder.occupancies[point]))
        species.extend([name] * n_cells)
    return tuple(species)
