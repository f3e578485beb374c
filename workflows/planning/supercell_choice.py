"""The supercell that fits all levels of a rule, exactly or as nearly as is allowed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction

from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import MotherDocument
from ionsieve.workflows.planning.disorder import EXACT, DisorderedMother
from ionsieve.workflows.planning.oxidation import charge
from ionsieve.workflows.planning.rules import Doped
from ionsieve.workflows.planning.supercells import admissible_sizes, near_cubic_supercell
from ionsieve.workflows.settings.schema import Screening

#: How far a count from rounded partial occupancies may be from a whole number, ions.
_WHOLE_TOLERANCE = 0.05
#: Cells of the largest supercell that an error message may advise.
_MOST_CELLS = 120


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) <= _WHOLE_TOLERANCE


def _fits(variant: Doped, n_hosts: float, mobile: Species) -> bool:
    """Return whether all counts of a variant are whole with so many host sites."""
    counts = [float(level) * n_hosts for level in variant.levels]
    counts.append(float(variant.charge_per_host) * n_hosts / charge(mobile))
    return _is_whole(n_hosts) and all(_is_whole(count) for count in counts)


def ordered_supercell(
    mother: MotherDocument, structure: Structure, variants: list[Doped], screening: Screening
) -> list[list[int]]:
    """Return the supercell in which every level is a whole number of ions, as rows.

    Raises
    ------
    InputError
        There is none within the tolerance of the size.
    """
    mobile = Species.from_str(mother.mobile_ion)
    settings = screening.supercell
    per_cell = structure.composition[variants[0].host]
    ions = structure.composition.num_atoms
    matrix = near_cubic_supercell(
        structure.lattice.matrix,
        ions,
        settings.n_ions,
        settings.tolerance,
        lambda n: all(_fits(variant, n * per_cell, mobile) for variant in variants),
    )
    if matrix is not None:
        rows: list[list[int]] = matrix.tolist()
        return rows
    raise InputError(_no_supercell(mother, per_cell, ions, variants, screening))


def _no_supercell(
    mother: MotherDocument,
    per_cell: float,
    ions: float,
    variants: list[Doped],
    screening: Screening,
) -> str:
    """Name the level that fits nowhere, the nearest ones that fit and the size it would need."""
    mobile = Species.from_str(mother.mobile_ion)
    settings = screening.supercell

    def sizes(chosen: list[Doped], tolerance: float) -> list[int]:
        return admissible_sizes(
            ions,
            settings.n_ions,
            tolerance,
            lambda n: all(_fits(variant, n * per_cell, mobile) for variant in chosen),
        )

    culprits = [variant for variant in variants if not sizes([variant], settings.tolerance)]
    wanted = culprits or variants
    levels = ", ".join(" + ".join(map(str, variant.levels)) for variant in wanted)
    message = (
        f"{mother.mother_id}: level {levels} of {variants[0].host} fits no supercell of "
        f"{settings.n_ions} ions within {settings.tolerance:.0%}"
    )
    remedies = []
    others = [variant for variant in variants if variant not in culprits]
    fitting = sizes(others, settings.tolerance)
    hosts = [round(n * per_cell) for n in fitting if _is_whole(n * per_cell)]
    if culprits and hosts:
        near = {_nearest_level(level, hosts) for v in culprits for level in v.levels}
        remedies.append(f"nearest levels that fit: {', '.join(map(str, sorted(near)))}")
    larger = [n for n in range(1, 1000) if all(_fits(v, n * per_cell, mobile) for v in variants)]
    if larger:
        nearest = min(larger, key=lambda n: abs(n * ions - settings.n_ions))
        remedies.append(f"set supercell.n_ions to {nearest * ions:g}")
    return f"{message}; {', or '.join(remedies)}"


def _nearest_level(level: Fraction, hosts: list[int]) -> Fraction:
    near = {Fraction(max(1, round(level * n)), n) for n in hosts}
    return min(near, key=lambda x: (abs(x - level), x.denominator))


def disordered_supercell(
    disordered: DisorderedMother, structure: Structure, variants: list[Doped]
) -> list[list[int]]:
    """Return the supercell that changes the occupancies of the file least, as rows.

    Sizes that need no change go before all others; among those that need one, the change counts
    like a deviation from the wanted size. Levels that can't be made at all don't decide.

    Raises
    ------
    InputError
        No size within the tolerance keeps any level's occupancies within theirs.
    """
    screening = disordered.screening
    settings, tolerance = screening.supercell, max(screening.doping.occupancy_tolerance, EXACT)
    ions = structure.composition.num_atoms
    problems: dict[int, str] = {}

    @functools.cache
    def change(n_cells: int) -> float:
        """Return the largest change of an occupancy over the levels that can be made."""
        found = []
        for variant in variants:
            try:
                found.append(disordered.fill(variant.wanted, n_cells).deviation)
            except InputError as error:
                problems[n_cells] = str(error)
        return max(found, default=float("inf"))

    for largest in (EXACT, tolerance):
        matrix = near_cubic_supercell(
            structure.lattice.matrix,
            ions,
            settings.n_ions,
            settings.tolerance,
            _no_more_than(change, largest),
            change,
        )
        if matrix is not None:
            rows: list[list[int]] = matrix.tolist()
            return rows
    sizes = admissible_sizes(ions, settings.n_ions, settings.tolerance, lambda n: True)
    if not sizes:
        raise InputError(
            f"{disordered.mother_id}: no supercell of {ions:.4g} ions per cell has "
            f"{settings.n_ions} ions within {settings.tolerance:.0%}; change supercell.n_ions"
        )
    nearest = min(sizes, key=change)
    if change(nearest) == float("inf"):
        raise InputError(f"{disordered.mother_id}: {problems[nearest]}")
    fitting = next((n for n in range(1, _MOST_CELLS) if change(n) <= tolerance), None)
    other = "" if fitting is None else f", or set supercell.n_ions to {fitting * ions:.4g}"
    raise InputError(
        f"{disordered.mother_id}: the nearest whole numbers of ions change an occupancy by "
        f"{change(nearest):.3f} ({nearest} cells), doping.occupancy_tolerance is {tolerance:g}; "
        f"raise it{other}"
    )


def _no_more_than(change: Callable[[int], float], largest: float) -> Callable[[int], bool]:
    return lambda n_cells: change(n_cells) <= largest
