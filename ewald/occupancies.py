"""Whole numbers of ions nearest to the occupancies of a crystal, for a neutral supercell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError

#: How far a partial occupancy times the number of sites may be from a whole number, ions.
WHOLE_TOLERANCE = 0.05
#: Supercells named when occupancies do not come out whole, and cells of the largest one tried.
SUGGESTIONS, MAX_SUGGESTED_CELLS = 4, 64
#: Largest change of an occupancy that is made without being asked, per site.
OCCUPANCY_TOLERANCE = 0.05
#: Fillings of one sublattice that are looked at, the nearest ones.
_MAX_FILLINGS = 400


@dataclass(frozen=True)
class Shares:
    """A sublattice and the ions that are wanted on it; the rest of the sites is vacant.

    Attributes
    ----------
    name : str
    n_sites : int
        In the supercell.
    ions : species -> float
        Numbers in the supercell, not whole.
    charges : species -> float, e
    """

    name: str
    n_sites: int
    ions: Mapping[str, float]
    charges: Mapping[str, float]

    def times(self, factor: int) -> Shares:
        """Return the same in a supercell so many times as large."""
        ions = {species: n * factor for species, n in self.ions.items()}
        return Shares(self.name, self.n_sites * factor, ions, self.charges)

    @property
    def is_full(self) -> bool:
        """Whether no site is vacant."""
        return sum(self.ions.values()) > self.n_sites * (1 - 1e-3)


@dataclass(frozen=True)
class Realised:
    """Whole numbers of ions.

    Attributes
    ----------
    counts : tuple of (species -> int)
        One per sublattice.
    deviation : float
        Largest change of an occupancy, per site.
    """

    counts: tuple[dict[str, int], ...]
    deviation: float


def realise(shares: Sequence[Shares], fixed_charge: float) -> Realised | None:
    """Return the whole numbers of ions nearest to what is wanted that make a neutral supercell.

    The sum of squared deviations, in ions per root of the number of sites, is least. Every
    sublattice may differ by a few ions from rounding; that is searched completely.

    Parameters
    ----------
    shares
    fixed_charge
        Of everything else in the supercell, e.

    Returns
    -------
    Realised or None
        None if no filling near the wanted ones is neutral.
    """
    # Cheapest way to reach each net charge, sublattice by sublattice.
    best: dict[int, tuple[float, tuple[dict[str, int], ...]]] = {_units(fixed_charge): (0.0, ())}
    for one in shares:
        fillings = _fillings(one)
        following: dict[int, tuple[float, tuple[dict[str, int], ...]]] = {}
        for net, (cost, chosen) in best.items():
            for own_cost, charge, filling in fillings:
                key, total = net + charge, cost + own_cost
                if key not in following or total < following[key][0] - 1e-12:
                    following[key] = (total, (*chosen, filling))
        best = following
    if 0 not in best:
        return None
    counts = best[0][1]
    return Realised(counts, deviation(shares, counts))


def deviation(shares: Sequence[Shares], counts: Sequence[Mapping[str, int]]) -> float:
    """Return the largest change of an occupancy, per site."""
    return max(
        (
            abs(count.get(species, 0) - wanted) / one.n_sites
            for one, count in zip(shares, counts, strict=True)
            for species, wanted in one.ions.items()
        ),
        default=0.0,
    )


def _units(charge: float) -> int:
    """Return a charge in thousandths, so that sums of formal charges are exact."""
    return round(charge * 1000)


def _fillings(one: Shares) -> list[tuple[float, int, dict[str, int]]]:
    """Return (cost, charge, counts) of the fillings near the wanted one, nearest first."""
    names = list(one.ions)
    reach = 3 if len(names) == 1 else 2 if len(names) <= 3 else 1
    options = [_near(one.ions[name], one.n_sites, reach) for name in names]
    made = []
    for values in itertools.product(*options):
        n_ions = sum(values)
        if n_ions > one.n_sites or (one.is_full and n_ions < one.n_sites):
            continue
        cost = math.fsum(
            (value - one.ions[name]) ** 2 for name, value in zip(names, values, strict=True)
        )
        charge = _units(sum(v * one.charges[n] for n, v in zip(names, values, strict=True)))
        made.append((cost / one.n_sites, charge, dict(zip(names, values, strict=True))))
    made.sort(key=lambda item: item[0])
    return made[:_MAX_FILLINGS]


def _near(wanted: float, n_sites: int, reach: int) -> Iterator[int]:
    middle = round(wanted)
    low, high = max(0, middle - reach), min(n_sites, middle + reach)
    return iter(range(low, high + 1))


def describe(shares: Sequence[Shares], counts: Sequence[Mapping[str, int]]) -> list[str]:
    """Return what changed, one line per species of a sublattice: wanted and realised occupancy."""
    return [
        f"{one.name}: {species} {wanted / one.n_sites:.4g} in the file, "
        f"{count[species] / one.n_sites:.4g} here ({count[species]} of {one.n_sites} sites)"
        for one, count in zip(shares, counts, strict=True)
        for species, wanted in one.ions.items()
        if abs(count[species] - wanted) > 1e-3 * max(1.0, wanted)
    ]


def checked(
    shares: Sequence[Shares], fixed_charge: float, tolerance: float, shape_of: Callable[[int], str]
) -> Realised:
    """Return the realisation of :func:`realise` if it is within the tolerance.

    Parameters
    ----------
    shares, fixed_charge
    tolerance
        Largest change of an occupancy, per site.
    shape_of
        Words for a supercell of so many times the size, for the error message.

    Raises
    ------
    InputError
        There is none; the message names supercells that have one.
    """
    found = realise(shares, fixed_charge)
    if found is not None and found.deviation <= tolerance + 1e-9:
        return found
    larger = [
        shape_of(times)
        for times in range(2, MAX_SUGGESTED_CELLS // 4)
        if (other := realise([one.times(times) for one in shares], fixed_charge * times))
        and other.deviation <= tolerance
    ]
    names = ", ".join(one.name for one in shares)
    remedy = (
        f"supercells that do: {', '.join(larger[:SUGGESTIONS])}, or raise the occupancy tolerance"
        if larger
        else "take a larger supercell, or raise the occupancy tolerance"
    )
    if found is None:
        raise InputError(
            f"no whole numbers of ions near the occupancies of {names} make a neutral supercell; "
            + remedy
        )
    changes = "; ".join(describe(shares, found.counts))
    raise InputError(
        f"the nearest whole numbers of ions change an occupancy by {found.deviation:.3f}, the "
        f"tolerance is {tolerance:g} ({changes}); {remedy}"
    )


def near_cubic_shape(structure: Structure, n_cells: int) -> str:
    """Return the most cubic supercell along the axes with so many cells, and its ions."""
    lengths = np.array(structure.lattice.abc)
    shapes = [
        (a, b, n_cells // (a * b))
        for a in range(1, n_cells + 1)
        for b in range(1, n_cells + 1)
        if n_cells % (a * b) == 0
    ]
    shape = min(shapes, key=lambda s: (float(np.ptp(lengths * s)), s))
    n_ions = round(n_cells * sum(site.species.num_atoms for site in structure))
    return f"{'x'.join(map(str, shape))} ({n_ions} ions)"


def is_whole(exact: float) -> bool:
    """Return whether a number of ions is whole within the rounding of an occupancy."""
    return abs(exact - round(exact)) <= WHOLE_TOLERANCE


def not_whole(label: str, n_total: int, occupancy: dict[str, float]) -> list[str]:
    """Describe the species of a site whose number of ions is not whole."""
    problems = []
    for species, amount in occupancy.items():
        exact = amount * n_total
        if not is_whole(exact):
            near = (int(exact), int(exact) + 1)
            problems.append(
                f"site {label}: occupancy {amount:.6g} of {species} gives {exact:.2f} ions on "
                f"{n_total} sites; nearest occupancies for this supercell: "
                + ", ".join(f"{n / n_total:.6g} ({n} of {n_total})" for n in near)
            )
    return problems


def whole_supercells(structure: Structure, exact: list[float]) -> str:
    """Return the smallest supercells that hold whole numbers of ions, the most cubic of each size.

    Parameters
    ----------
    structure : Structure
        Mother cell.
    exact : list of float
        Ions of each species on each partially occupied site in the mother cell.
    """
    found: list[str] = []
    for n_cells in range(1, MAX_SUGGESTED_CELLS + 1):
        if len(found) < SUGGESTIONS and all(is_whole(n * n_cells) for n in exact):
            found.append(near_cubic_shape(structure, n_cells))
    return ", ".join(found) or f"none up to {MAX_SUGGESTED_CELLS} cells: correct the occupancies"
