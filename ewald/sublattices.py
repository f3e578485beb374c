"""Which sites of a mother cell may hold what: selectors, rules, partial occupancies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element, Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.occupancies import (
    Shares,
    checked,
    describe,
    is_whole,
    near_cubic_shape,
    not_whole,
    whole_supercells,
)
from ionsieve.ewald.site_names import is_label, site_labels, wyckoff_sites

#: What a species is called when nothing sits on the site.
VACANCY = "vacancy"
#: What interstitial sites are called in a group of sites.
VOIDS = "voids"


@dataclass(frozen=True)
class Rules:
    """What changes with respect to the mother crystal, counted in the supercell.

    Attributes
    ----------
    replace : selector -> {species: count}
    vacate : selector -> count
    insert : species -> count
        Extra ions on interstitial sites.
    """

    replace: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    vacate: Mapping[str, int] = field(default_factory=dict)
    insert: Mapping[str, int] = field(default_factory=dict)


@dataclass
class MotherSublattice:
    """Sites of the mother cell that share one set of species.

    Attributes
    ----------
    name : str
    sites : (n_sites,) int64
        Sites of the mother cell, interstitial ones after the crystal's own.
    counts : species -> ions in the supercell; :data:`VACANCY` included
    """

    name: str
    sites: NDArray[np.int64]
    counts: dict[str, int]
    is_disordered: bool = False


def charge_of(name: str) -> float:
    """Return the charge of a species string or of a vacancy, e."""
    return 0.0 if name == VACANCY else float(parse_species(name).oxi_state or 0.0)


def parse_species(text: str) -> Species:
    """Return the pymatgen species of a string such as ``W6+``.

    Raises
    ------
    InputError
        Not a species with an oxidation state.
    """
    try:
        species = Species.from_str(text)
    except ValueError:
        species = None
    if species is None or species.oxi_state is None or not re.search(r"\d*[+-]$", text.strip()):
        raise InputError(f"'{text}' is not a species with a charge: write it as W6+ or S2-")
    return species


def site_occupancy(structure: Structure, index: int) -> dict[str, float]:
    """Return the species of one site and their occupancies, the vacant part left out.

    Raises
    ------
    InputError
        A species has no oxidation state.
    """
    occupancy = {}
    for species, amount in structure[index].species.items():
        if getattr(species, "oxi_state", None) is None:
            raise InputError(
                f"site {index + 1} ({species}) has no oxidation state: decorate the structure, for "
                f"example with structure.add_oxidation_state_by_guess(), or give --charges"
            )
        occupancy[str(species)] = float(amount)
    return occupancy


class SublatticeBuilder:
    """Applies rules to a mother crystal; the sublattices that result are in ``sublattices``.

    Parameters
    ----------
    structure : Structure
        Mother cell with oxidation states.
    orbits : (n_sites,) int64
        Crystallographic site of each site.
    n_cells : int
        Mother cells in the supercell.
    arrange : group of sites -> {species: ions in the supercell}
        Sublattices made as they are given, such as ``"Li1+Li2"``; the rest of the sites is vacant.
    occupancy_tolerance : float
        How far a partial occupancy may be changed to make whole numbers of ions and a neutral
        supercell; 0 takes only those that are whole.
    symprec : float, Angstrom
    """

    def __init__(
        self,
        structure: Structure,
        orbits: NDArray[np.int64],
        n_cells: int,
        arrange: Mapping[str, Mapping[str, int]] | None = None,
        occupancy_tolerance: float = 0.0,
        symprec: float = 0.01,
    ) -> None:
        self.structure = structure
        self.orbits = orbits
        self.n_cells = n_cells
        self.occupancy_tolerance = occupancy_tolerance
        self.notes: list[str] = []
        self.occupancies = [site_occupancy(structure, i) for i in range(len(structure))]
        self.labels = site_labels(structure, orbits)
        self.wyckoffs = wyckoff_sites(structure, orbits, symprec)
        self.sublattices: list[MotherSublattice] = []
        self.arranged: dict[str, MotherSublattice] = {}
        for group, ions in (arrange or {}).items():
            self._add_arranged(group, ions)
        self._add_disordered()

    def _add_arranged(self, group: str, ions: Mapping[str, int]) -> None:
        """Make one sublattice of several crystallographic sites, and voids if they are named."""
        names = [name.strip() for name in group.split("+")]
        selected = [self._selected(name) for name in names if name != VOIDS]
        sites = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *selected]))
        for sublattice in self.sublattices:
            if np.isin(sites, sublattice.sites).any():
                raise InputError(f"arrange: '{group}' overlaps '{sublattice.name}': join the two")
        counts = {str(parse_species(species)): int(n) for species, n in ions.items()}
        if any(n < 0 for n in counts.values()):
            raise InputError(f"arrange: '{group}': numbers of ions are 0 or more")
        made = MotherSublattice(group, sites, counts, is_disordered=True)
        self.arranged[group] = made
        self.sublattices.append(made)

    def _add_disordered(self) -> None:
        amounts = self._disordered_amounts()
        if self.occupancy_tolerance > 0 and self._add_realised(amounts):
            return
        problems: list[str] = []
        for label, (sites, occupancy) in amounts.items():
            n_total = len(sites) * self.n_cells
            counts = {s: round(amount * n_total) for s, amount in occupancy.items()}
            counts[VACANCY] = n_total - sum(counts.values())
            problems += not_whole(label, n_total, occupancy)
            self.sublattices.append(MotherSublattice(label, sites, counts, is_disordered=True))
        if problems:
            exact = [n * len(s) for s, o in amounts.values() for n in o.values()]
            raise InputError(
                f"{'; '.join(problems)}; supercells with whole counts: "
                f"{whole_supercells(self.structure, exact)}"
            )
        for sublattice in self.sublattices:
            if sublattice.counts.get(VACANCY, 0) < 0:
                n_total = len(sublattice.sites) * self.n_cells
                raise InputError(
                    f"site {sublattice.name}: {-sublattice.counts[VACANCY]} more ions than its "
                    f"{n_total} sites"
                )

    def _add_realised(self, amounts: dict[str, tuple[NDArray[np.int64], dict[str, float]]]) -> bool:
        """Take the nearest whole numbers of ions that are neutral; not needed if all are whole."""
        shares = [
            Shares(
                label,
                len(sites) * self.n_cells,
                {s: amount * len(sites) * self.n_cells for s, amount in occupancy.items()},
                {s: charge_of(s) for s in occupancy},
            )
            for label, (sites, occupancy) in amounts.items()
        ]
        if all(is_whole(n) for one in shares for n in one.ions.values()):
            return False
        varying = {int(i) for sites, _ in amounts.values() for i in sites}
        varying |= {int(i) for sublattice in self.sublattices for i in sublattice.sites}
        fixed = sum(
            n * charge_of(species)
            for i, occupancy in enumerate(self.occupancies)
            if i not in varying
            for species, n in occupancy.items()
        ) * self.n_cells + sum(
            n * charge_of(species) for s in self.sublattices for species, n in s.counts.items()
        )
        found = checked(
            shares,
            fixed,
            self.occupancy_tolerance,
            lambda times: near_cubic_shape(self.structure, times * self.n_cells),
        )
        self.notes += describe(shares, found.counts)
        for one, counts in zip(shares, found.counts, strict=True):
            vacant = one.n_sites - sum(counts.values())
            self.sublattices.append(
                MotherSublattice(
                    one.name, amounts[one.name][0], {**counts, VACANCY: vacant}, is_disordered=True
                )
            )
        return True

    def _disordered_amounts(self) -> dict[str, tuple[NDArray[np.int64], dict[str, float]]]:
        """Return sites and occupancies of every partially occupied crystallographic site."""
        amounts = {}
        arranged = {int(i) for sublattice in self.sublattices for i in sublattice.sites}
        for orbit, label in enumerate(self.labels):
            sites = np.flatnonzero(self.orbits == orbit)
            if int(sites[0]) in arranged:
                continue
            occupancy = self.occupancies[int(sites[0])]
            total = sum(occupancy.values())
            if total > 1 + 1e-3:
                raise InputError(
                    f"site {label} is occupied {total:.4g} times: occupancies add up to 1 at most"
                )
            if len(occupancy) > 1 or total <= 1 - 1e-3:
                amounts[label] = sites, occupancy
        return amounts

    def describe(self) -> str:
        """Return the selectors there are, for error messages."""
        parts = []
        for orbit, label in enumerate(self.labels):
            sites = np.flatnonzero(self.orbits == orbit)
            species = "/".join(self.occupancies[int(sites[0])])
            parts.append(f"{label} ({len(sites) * self.n_cells} sites, {species})")
        return ", ".join(parts)

    def _selected(self, selector: str) -> NDArray[np.int64]:
        """Return the sites an element, a species or a crystallographic site label names."""
        text = selector.strip()
        orbits = self._named(text)
        if len(orbits) > 1:
            names = ", ".join(self.labels[o] for o in sorted(orbits))
            raise InputError(f"'{selector}' names several sites: {names}; select one of them")
        if orbits:
            return np.flatnonzero(self.orbits == orbits.pop())
        if Element.is_valid_symbol(text):
            held = [{parse_species(s).symbol for s in o} for o in self.occupancies]
        else:
            held = [set(o) for o in self.occupancies]
        sites = np.flatnonzero([text in species for species in held])
        if len(sites) == 0:
            raise InputError(f"nothing is called '{selector}'; there are: {self.describe()}")
        return sites

    def _named(self, text: str) -> set[int]:
        """Return the crystallographic sites that a label or a Wyckoff letter names."""
        found = {o for o, label in enumerate(self.labels) if text in (label, *label.split("/"))}
        if not found and is_label(text):
            found = {
                int(self.orbits[i])
                for i, site in enumerate(self.structure)
                if text in (site.label or "").split("/")
            }
        return found or {o for o, letter in enumerate(self.wyckoffs) if letter == text}

    def sublattice(self, selector: str) -> MotherSublattice:
        """Return the sublattice a selector names, made on first use.

        Raises
        ------
        InputError
            Nothing, or several disordered sites, or part of another sublattice is selected.
        """
        sites = self._selected(selector)
        touching = [s for s in self.sublattices if np.isin(sites, s.sites).any()]
        for sublattice in touching:
            if (
                sublattice.is_disordered
                and len(touching) == 1
                and np.isin(sites, sublattice.sites).all()
            ):
                return sublattice
            if np.array_equal(sublattice.sites, sites):
                return sublattice
        if touching:
            raise InputError(
                f"'{selector}' overlaps {', '.join(s.name for s in touching)}: select one "
                f"crystallographic site; there are: {self.describe()}"
            )
        counts: dict[str, int] = {}
        for site in sites:
            (species,) = self.occupancies[int(site)]
            counts[species] = counts.get(species, 0) + self.n_cells
        if len(counts) > 1:
            raise InputError(
                f"'{selector}' selects {', '.join(counts)}: select one species or one site; "
                f"there are: {self.describe()}"
            )
        made = MotherSublattice(selector.strip(), sites, counts)
        self.sublattices.append(made)
        return made

    def apply(self, rules: Rules) -> None:
        """Replace and vacate as the rules say."""
        for selector, targets in rules.replace.items():
            for species, count in targets.items():
                self.substitute(selector, species, count)
        for selector, count in rules.vacate.items():
            self.substitute(selector, VACANCY, count)

    def substitute(self, selector: str, species: str, count: int) -> None:
        """Put ``count`` ions of a species, or vacancies, in place of what a selector names.

        Raises
        ------
        InputError
            The count is not a positive whole number, or more than there is.
        """
        sublattice = self.sublattice(selector)
        if isinstance(count, bool) or int(count) != count or count < 0:
            raise InputError(f"{selector} -> {species}: {count} is not a number of ions, 0 or more")
        new = species if species == VACANCY else str(parse_species(species))
        host = self._host(sublattice, selector)
        if new == host:
            raise InputError(f"{selector} -> {species}: that is what sits there already")
        if count > sublattice.counts[host]:
            raise InputError(
                f"{selector} -> {species}: {count} of {host} asked for, {sublattice.counts[host]} "
                "there: lower the count or enlarge the supercell"
            )
        sublattice.counts[host] -= int(count)
        sublattice.counts[new] = sublattice.counts.get(new, 0) + int(count)

    def _host(self, sublattice: MotherSublattice, selector: str) -> str:
        """Return the species of a sublattice that is being replaced."""
        original = self.occupancies[int(sublattice.sites[0])]
        text = selector.strip()
        named = [s for s in original if text in (s, parse_species(s).symbol)]
        hosts = named or list(original)
        if len(hosts) > 1:
            raise InputError(f"'{selector}' holds {', '.join(hosts)}: select one of these species")
        return hosts[0]
