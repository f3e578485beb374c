"""Doped compositions of disordered mothers: partly filled and shared sites, whole numbers of ions.

The host's sites form one pool, and so do the mobile ion's where the dopants change how many there
are: then nobody knows which of its sites empty or fill. Where the number stays, every site keeps
the occupancy of the file. Numbers of ions are the nearest ones that are whole and neutral.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.interstitials import symmetric_points
from ionsieve.ewald.occupancies import Shares, describe, deviation, realise
from ionsieve.ewald.site_names import CrystalSite, crystal_sites
from ionsieve.ewald.sublattices import VOIDS, charge_of
from ionsieve.ewald.voids import find_voids
from ionsieve.workflows.documents.raw import MotherDocument
from ionsieve.workflows.planning.formulas import vacancies
from ionsieve.workflows.settings.schema import Screening

#: Changes of an occupancy below this are rounding of the file, per site.
EXACT = 2e-3


@dataclass(frozen=True)
class Wanted:
    """What a rule asks of a mother.

    Attributes
    ----------
    host : str
    dopants : species -> Fraction
        Share of the host's ions that each takes.
    sites : tuple of str
        Host sites, by label or Wyckoff letter; empty: all.
    """

    host: str
    dopants: Mapping[str, Fraction]
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filling:
    """Ions on the sites of one supercell.

    Attributes
    ----------
    sublattices : group of sites -> {species: ions}
    ions : species -> ions in the supercell
    wanted : species -> float
        The same from the file's occupancies and the exact levels.
    counts : dopant -> ions
    deviation : float
        Largest change of an occupancy, per site.
    change : int
        Mobile ions added (negative: removed).
    compensation : str
        Which sites balance the charge.
    notes : tuple of str
        Occupancies that were changed.
    """

    sublattices: dict[str, dict[str, int]]
    ions: dict[str, int]
    wanted: dict[str, float]
    counts: dict[str, int]
    deviation: float
    change: int
    compensation: str
    notes: tuple[str, ...]


class DisorderedMother:
    """A mother by crystallographic sites.

    Parameters
    ----------
    mother : MotherDocument
    screening : Screening
        Its sections ``doping`` and ``ewald`` say what may be done to the sites.

    Attributes
    ----------
    sites : tuple of CrystalSite
    """

    def __init__(self, mother: MotherDocument, screening: Screening) -> None:
        self.mother = mother
        self.mother_id, self.mobile = mother.mother_id, mother.mobile_ion
        self.screening = screening
        self._text = json.dumps(mother.structure)
        self.sites = _sites(self._text)

    def named(self, names: Sequence[str], where: str) -> list[CrystalSite]:
        """Return the sites that labels or Wyckoff letters name; all of them for no names.

        Raises
        ------
        InputError
            A name is no site of the mother.
        """
        if not names:
            return sorted(self.sites, key=lambda site: site.label)
        chosen: list[CrystalSite] = []
        for name in names:
            found = [s for s in self.sites if name in (s.label, s.wyckoff, *s.label.split("/"))]
            if not found:
                there = ", ".join(f"{s.label} ({s.wyckoff}, {_held(s)})" for s in self.sites)
                raise InputError(f"{where}: {self.mother_id} has no site '{name}'; it has {there}")
            chosen += [site for site in found if site not in chosen]
        return chosen

    @functools.cached_property
    def n_voids(self) -> int:
        """Interstitial sites per cell, given or found."""
        given = given_sites(self.mother, self.screening)
        if given is None:
            min_distance = self.screening.ewald.min_distance
            return _n_voids(self._text, self.mobile, min_distance)
        return len(symmetric_points(Structure.from_dict(json.loads(self._text)), given))

    def fill(self, wanted: Wanted, n_cells: int) -> Filling:
        """Return the nearest whole numbers of ions on so many cells.

        Raises
        ------
        InputError
            A dopant is less than one ion, there is no room for the mobile ions, or nothing near is
            neutral.
        """
        return _Filler(self, wanted, n_cells).fill()


def given_sites(
    mother: MotherDocument, screening: Screening
) -> list[tuple[float, float, float]] | None:
    """Return the interstitial sites of the config in the cell of the mother; None without any."""
    given = screening.ewald.interstitial_sites.get(mother.mother_id)
    if given is None or mother.cell_from_file is None:
        return given
    affine = np.array(mother.cell_from_file)
    moved = np.column_stack([given, np.ones(len(given))]) @ affine.T % 1.0
    return [(float(x), float(y), float(z)) for x, y, z in moved]


@functools.lru_cache(maxsize=64)
def _sites(text: str) -> tuple[CrystalSite, ...]:
    return tuple(crystal_sites(Structure.from_dict(json.loads(text))))


@functools.lru_cache(maxsize=64)
def _n_voids(text: str, species: str, min_distance: float) -> int:
    try:
        return len(find_voids(Structure.from_dict(json.loads(text)), species, min_distance))
    except InputError:
        return 0


def _held(site: CrystalSite) -> str:
    return "/".join(site.occupancy)


def _join(sites: Sequence[CrystalSite], *more: str) -> str:
    return "+".join([*(site.label for site in sites), *more])


class _Group:
    """Sites that share their ions in one supercell."""

    def __init__(self, name: str, sites: Sequence[CrystalSite], n_cells: int) -> None:
        self.name = name
        self.sites = list(sites)
        self.n_sites = sum(len(site.members) for site in sites) * n_cells
        self.ions: dict[str, float] = {}
        for site in sites:
            for species, occupancy in site.occupancy.items():
                n = occupancy * len(site.members) * n_cells
                self.ions[species] = self.ions.get(species, 0.0) + n
        self.dopants: dict[str, int] = {}

    def shares(self, ions: Mapping[str, float]) -> Shares:
        """Return what is left to fill beside the dopants."""
        n_left = self.n_sites - sum(self.dopants.values())
        return Shares(self.name, n_left, dict(ions), {s: charge_of(s) for s in ions})


class _Filler:
    """One rule on one mother in one supercell."""

    def __init__(self, mother: DisorderedMother, wanted: Wanted, n_cells: int) -> None:
        self.mother, self.wanted, self.n_cells = mother, wanted, n_cells
        self.mobile = mother.mobile
        named = mother.named(wanted.sites, "doping.rules.sites")
        hosts = [site for site in named if wanted.host in site.occupancy]
        if not hosts:
            sites = ", ".join(wanted.sites)
            raise InputError(f"{wanted.host} is not on {sites} of {mother.mother_id}")
        self.host = _Group(_join(hosts), hosts, n_cells)
        self.exact = {d: float(x) * self.host.ions[wanted.host] for d, x in wanted.dopants.items()}
        self.host.dopants = {dopant: round(n) for dopant, n in self.exact.items()}
        for dopant, n in self.host.dopants.items():
            if n == 0:
                raise InputError(
                    f"{dopant} would be {self.exact[dopant]:.2f} ions on {n_cells} cells; raise "
                    "the level or supercell.n_ions"
                )
        self.host.ions[wanted.host] -= sum(self.host.dopants.values())
        step = sum(
            n * (charge_of(dopant) - charge_of(wanted.host))
            for dopant, n in self.host.dopants.items()
        )
        change = -step / charge_of(self.mobile)
        if not change.is_integer():
            raise InputError(f"{change:+g} {self.mobile} would balance the charge, no whole number")
        self.change = round(change)

    def fill(self) -> Filling:
        """Return the filling."""
        groups, compensation = self._groups()
        fixed = sum(
            charge_of(species) * occupancy * len(site.members) * self.n_cells
            for site in self.mother.sites
            if not any(site in group.sites for group in groups)
            for species, occupancy in site.occupancy.items()
        )
        fixed += sum(
            charge_of(dopant) * n for group in groups for dopant, n in group.dopants.items()
        )
        wanted = [group.shares(group.ions) for group in groups]
        found = realise(self._neutral(wanted, fixed), fixed)
        if found is None:
            raise InputError(
                "no whole numbers of ions near the occupancies of "
                f"{', '.join(group.name for group in groups)} make {self.n_cells} cells neutral"
            )
        change = max(
            deviation(wanted, found.counts),
            *(abs(self.host.dopants[d] - n) / self.host.n_sites for d, n in self.exact.items()),
        )
        return self._filling(groups, wanted, list(found.counts), change, compensation)

    def _filling(
        self,
        groups: list[_Group],
        wanted: list[Shares],
        counts: list[dict[str, int]],
        change: float,
        compensation: str,
    ) -> Filling:
        sublattices: dict[str, dict[str, int]] = {}
        for group, filled in zip(groups, counts, strict=True):
            own = {species: count for species, count in filled.items() if count}
            for dopant, count in group.dopants.items():
                own[dopant] = own.get(dopant, 0) + count
            sublattices[group.name] = own
        ions: dict[str, float] = {}
        for site in self.mother.sites:
            if not any(site in group.sites for group in groups):
                for species, occupancy in site.occupancy.items():
                    n = occupancy * len(site.members) * self.n_cells
                    ions[species] = ions.get(species, 0) + n
        exact = dict(ions)
        if not any(own.get(self.mobile) for own in sublattices.values()) and not ions.get(
            self.mobile
        ):
            raise InputError(f"no {self.mobile} is left in {self.n_cells} cells; lower the level")
        for own in sublattices.values():
            for species, number in own.items():
                ions[species] = ions.get(species, 0) + number
        for share in wanted:
            for species, amount in share.ions.items():
                exact[species] = exact.get(species, 0) + amount
        for dopant, amount in self.exact.items():
            exact[dopant] = exact.get(dopant, 0) + amount
        notes = [line for line in describe(wanted, counts) if change > EXACT]
        for dopant, amount in self.exact.items():
            if abs(self.host.dopants[dopant] - amount) > EXACT * self.host.n_sites:
                notes.append(
                    f"{dopant}: {amount:.2f} ions wanted, {self.host.dopants[dopant]} here"
                )
        return Filling(
            sublattices,
            {species: round(n) for species, n in ions.items()},
            exact,
            dict(self.host.dopants),
            change,
            self.change,
            compensation,
            tuple(notes),
        )

    def _groups(self) -> tuple[list[_Group], str]:
        """Return the sublattices, the host's first, and what balances the charge."""
        groups = [self.host]
        chosen = self.mother.named(self.mother.screening.doping.mobile_sites, "doping.mobile_sites")
        pool = [
            site
            for site in chosen
            if set(site.occupancy) == {self.mobile} and site not in self.host.sites
        ]
        compensation = ""
        if self.wanted.host == self.mobile:
            pool = []
        if self.change:
            group, compensation = self._compensate(pool)
            if group is not None:
                groups.append(group)
        for site in self.mother.sites:
            if site.is_disordered and not any(site in group.sites for group in groups):
                groups.append(_Group(site.label, [site], self.n_cells))
        return groups, compensation

    def _compensate(self, pool: list[CrystalSite]) -> tuple[_Group | None, str]:
        """Return the sublattice that takes vacancies or extra ions."""
        if self.change < 0:
            return self._vacancies(pool)
        mode = self.mother.screening.ewald.extra_ions_on
        sites = sum(len(site.members) for site in pool) * self.n_cells
        filled = (
            sum(site.occupancy[self.mobile] * len(site.members) for site in pool) * self.n_cells
        )
        has_vacant = sites - filled > 0.5
        n_voids = 0 if mode == "vacant" else self.mother.n_voids * self.n_cells
        if mode == "voids" or not has_vacant:
            group = _Group(VOIDS, [], self.n_cells)
            group.n_sites, group.ions = n_voids, {self.mobile: float(self.change)}
            words = f"{self.change} extra {self.mobile} on {n_voids} voids"
            left = round(sites - filled)
            if left > 0 and mode == "voids":
                words += f", {left} vacant sites of {_join(pool)} left out"
        else:
            names = [VOIDS] if n_voids else []
            group = _Group(_join(pool, *names), pool, self.n_cells)
            group.n_sites += n_voids
            group.ions[self.mobile] += self.change
            words = (
                f"{self.change} extra {self.mobile} on {round(sites - filled)} vacant sites of "
                f"{_join(pool)}"
            )
            if n_voids:
                words += f" and {n_voids} voids"
            elif mode == "vacant":
                words += ", voids left out"
        if group.ions[self.mobile] > group.n_sites:
            raise InputError(
                f"{self.change} extra {self.mobile}, but there is no room on {group.n_sites} sites "
                f"({words}); lower the level or ewald.min_distance, give ewald.interstitial_sites, "
                "or change ewald.extra_ions_on"
            )
        return group, words

    def _vacancies(self, pool: list[CrystalSite]) -> tuple[_Group | None, str]:
        if pool:
            group = _Group(_join(pool), pool, self.n_cells)
            group.ions[self.mobile] += self.change
            present, name = group.ions[self.mobile], group.name
        elif self.mobile in self.host.ions:
            group = None
            self.host.ions[self.mobile] += self.change
            present, name = self.host.ions[self.mobile], self.host.name
        else:
            # Only sites that the mobile ion shares: each gives its part.
            shared = [site for site in self.mother.sites if self.mobile in site.occupancy]
            group = _Group(_join(shared), shared, self.n_cells)
            group.ions[self.mobile] += self.change
            present, name = group.ions[self.mobile], group.name
        if present < 0.5:
            raise InputError(
                f"needs {-self.change} vacancies of {self.mobile}, the supercell has "
                f"{round(present - self.change)} of them; lower the level"
            )
        return group, f"{vacancies(-self.change)} of {self.mobile} on {name}"

    def _neutral(self, shares: list[Shares], fixed: float) -> list[Shares]:
        """Let the mobile ion make up for what the file's occupancies leave."""
        net = fixed + math.fsum(n * s.charges[i] for s in shares for i, n in s.ions.items())
        holders = [share for share in shares if share.ions.get(self.mobile, 0) > 0]
        total = math.fsum(share.ions[self.mobile] for share in holders)
        if not holders or abs(net) < 1e-9:
            return shares
        shift = -net / charge_of(self.mobile)
        made = []
        for share in shares:
            ions = dict(share.ions)
            if share in holders:
                room = share.n_sites - math.fsum(ions.values())
                own = shift * ions[self.mobile] / total
                ions[self.mobile] = max(ions[self.mobile] + min(own, max(room, 0.0)), 0.0)
            made.append(Shares(share.name, share.n_sites, ions, share.charges))
        return made
