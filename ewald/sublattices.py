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

#: How far a partial occupancy times the number of sites may be from a whole number, ions.
WHOLE_TOLERANCE = 0.05

#: Supercells named when occupancies do not come out whole, and cells of the largest one tried.
SUGGESTIONS, MAX_SUGGESTED_CELLS = 4, 64

#: What a species is called when nothing sits on the site.
VACANCY = "vacancy"


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


def site_labels(structure: Structure, orbits: NDArray[np.int64]) -> list[str]:
    """Return one label per crystallographic site, unique to it.

    The file's own labels are kept where each names one crystallographic site; otherwise it is the
    element with a number.
    """
    labels: list[str] = []
    taken: dict[str, int] = {}
    for orbit in range(int(orbits.max()) + 1):
        members = np.flatnonzero(orbits == orbit)
        given = {structure[int(i)].label or "" for i in members}
        others = {structure[int(i)].label for i in np.flatnonzero(orbits != orbit)}
        label = given.pop() if len(given) == 1 else ""
        if not label or label in others or not re.fullmatch(r"[A-Za-z]+\d+\w*", label):
            symbol = structure[int(members[0])].species.elements[0].symbol
            taken[symbol] = taken.get(symbol, 0) + 1
            label = f"{symbol}{taken[symbol]}"
        labels.append(label)
    return labels


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
    """

    def __init__(self, structure: Structure, orbits: NDArray[np.int64], n_cells: int) -> None:
        self.structure = structure
        self.orbits = orbits
        self.n_cells = n_cells
        self.occupancies = [site_occupancy(structure, i) for i in range(len(structure))]
        self.labels = site_labels(structure, orbits)
        self.sublattices: list[MotherSublattice] = []
        self._add_disordered()

    def _add_disordered(self) -> None:
        amounts = self._disordered_amounts()
        problems: list[str] = []
        for label, (sites, occupancy) in amounts.items():
            n_total = len(sites) * self.n_cells
            counts = {s: round(amount * n_total) for s, amount in occupancy.items()}
            counts[VACANCY] = n_total - sum(counts.values())
            problems += _not_whole(label, n_total, occupancy)
            self.sublattices.append(MotherSublattice(label, sites, counts, is_disordered=True))
        if problems:
            exact = [n * len(s) for s, o in amounts.values() for n in o.values()]
            raise InputError(
                f"{'; '.join(problems)}; supercells with whole counts: "
                f"{_whole_supercells(self.structure, exact)}"
            )
        for sublattice in self.sublattices:
            if sublattice.counts[VACANCY] < 0:
                n_total = len(sublattice.sites) * self.n_cells
                raise InputError(
                    f"site {sublattice.name}: {-sublattice.counts[VACANCY]} more ions than its "
                    f"{n_total} sites"
                )

    def _disordered_amounts(self) -> dict[str, tuple[NDArray[np.int64], dict[str, float]]]:
        """Return sites and occupancies of every partially occupied crystallographic site."""
        amounts = {}
        for orbit, label in enumerate(self.labels):
            sites = np.flatnonzero(self.orbits == orbit)
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
        if text in self.labels:
            return np.flatnonzero(self.orbits == self.labels.index(text))
        if Element.is_valid_symbol(text):
            names = [{parse_species(s).symbol for s in o} for o in self.occupancies]
        else:
            names = [set(o) for o in self.occupancies]
        sites = np.flatnonzero([text in n for n in names])
        if len(sites) == 0:
            raise InputError(f"nothing is called '{selector}'; there are: {self.describe()}")
        return sites

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


def _is_whole(exact: float) -> bool:
    return abs(exact - round(exact)) <= WHOLE_TOLERANCE


def _not_whole(label: str, n_total: int, occupancy: dict[str, float]) -> list[str]:
    """Describe the species of a site whose number of ions is not whole."""
    problems = []
    for species, amount in occupancy.items():
        exact = amount * n_total
        if not _is_whole(exact):
            near = (int(exact), int(exact) + 1)
            problems.append(
                f"site {label}: occupancy {amount:.6g} of {species} gives {exact:.2f} ions on "
                f"{n_total} sites; nearest occupancies for this supercell: "
                + ", ".join(f"{n / n_total:.6g} ({n} of {n_total})" for n in near)
            )
    return problems


def _whole_supercells(structure: Structure, exact: list[float]) -> str:
    """Return the smallest supercells that hold whole numbers of ions, the most cubic of each size.

    Parameters
    ----------
    structure : Structure
        Mother cell.
    exact : list of float
        Ions of each species on each partially occupied site in the mother cell.
    """
    lengths = np.array(structure.lattice.abc)
    found: list[str] = []
    for n_cells in range(1, MAX_SUGGESTED_CELLS + 1):
        if len(found) < SUGGESTIONS and all(_is_whole(n * n_cells) for n in exact):
            shapes = [
                (a, b, n_cells // (a * b))
                for a in range(1, n_cells + 1)
                for b in range(1, n_cells + 1)
                if n_cells % (a * b) == 0
            ]
            shape = min(shapes, key=lambda s: (float(np.ptp(lengths * s)), s))
            n_ions = round(n_cells * sum(site.species.num_atoms for site in structure))
            found.append(f"{'x'.join(map(str, shape))} ({n_ions} ions)")
    return ", ".join(found) or f"none up to {MAX_SUGGESTED_CELLS} cells: correct the occupancies"
