"""Substitution rules turned into charge-neutral compositions on supercells of a mother.

Any species of a mother can be a host: all its sites, over all crystallographic positions, form one
pool, and a level is the fraction of the pool that a dopant takes. What the dopants change in charge
is balanced by the mobile ion: vacancies among its sites, or extra ions on interstitial sites.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.solid_solution import SolidSolution
from ionsieve.ewald.voids import find_voids
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    MotherDocument,
    RejectedComposition,
    Substitution,
)
from ionsieve.workflows.planning.mothers import parse_species
from ionsieve.workflows.planning.oxidation import charge
from ionsieve.workflows.planning.supercells import Float, admissible_sizes, near_cubic_supercell
from ionsieve.workflows.settings.schema import Doping, DopingRule, Screening

#: How far a count from rounded partial occupancies may be from a whole number, ions.
_WHOLE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Doped:
    """Dopants on one host, each with its level.

    Attributes
    ----------
    host : Species
    dopants : tuple of Species
        One, or two for co-doping.
    levels : tuple of Fraction
        Shares of the host's sites.
    """

    host: Species
    dopants: tuple[Species, ...]
    levels: tuple[Fraction, ...]

    @property
    def charge_per_host(self) -> Fraction:
        """Change in charge per site of the host, e."""
        changes = (
            level * Fraction(charge(dopant) - charge(self.host))
            for dopant, level in zip(self.dopants, self.levels, strict=True)
        )
        return sum(changes, Fraction(0))

    @property
    def label(self) -> str:
        """Readable and fit for file names, for example ``Ga3+-3-8_P5+-5-8``."""
        levels = [f"{level.numerator}-{level.denominator}" for level in self.levels]
        if len(levels) == 1:
            return f"{self.dopants[0]}_{levels[0]}"
        return "_".join(f"{d}-{x}" for d, x in zip(self.dopants, levels, strict=True))


def read_rules(doping: Doping) -> list[list[Doped]]:
    """Return what the rules ask for: one list of levels per host and dopant (or pair).

    Raises
    ------
    InputError
        A species is wrong, a dopant is its host, or a cation is to replace an anion.
    """
    return [
        [Doped(host, dopants, levels) for levels in _levels(rule, doping, len(dopants))]
        for number, rule in enumerate(doping.rules)
        for host in [parse_species(rule.host, f"doping.rules.{number}.host")]
        for dopants in _dopants(rule, host, f"doping.rules.{number}.dopants")
    ]


def _dopants(rule: DopingRule, host: Species, where: str) -> Iterator[tuple[Species, ...]]:
    for entry in rule.dopants:
        names = (entry,) if isinstance(entry, str) else entry
        dopants = tuple(parse_species(name, where) for name in names)
        for dopant in dopants:
            if dopant == host:
                raise InputError(f"{where}: {dopant} is the host itself; remove it")
            if charge(dopant) * charge(host) < 0:
                raise InputError(
                    f"{where}: {dopant} can't sit on the sites of {host}: an anion replaces anions "
                    "only, a cation cations"
                )
        if len(set(dopants)) < len(dopants):
            raise InputError(f"{where}: {dopants[0]} twice in one pair; name two species")
        yield dopants


def _levels(rule: DopingRule, doping: Doping, n_dopants: int) -> list[tuple[Fraction, ...]]:
    levels = rule.levels or doping.levels
    if n_dopants == 1:
        return [(level,) for level in levels]
    if rule.pair_levels is not None:
        return list(rule.pair_levels)
    return [(first, second) for first in levels for second in levels if first + second <= 1]


def dope(
    mother: MotherDocument, variants: list[Doped], screening: Screening
) -> tuple[list[CompositionDocument], list[RejectedComposition]]:
    """Return the compositions of one host and its dopants on one mother, over all levels.

    Parameters
    ----------
    mother
    variants
        Same host and dopants, different levels; they share one supercell. Nothing comes back if
        the mother has no such host.
    screening
        Its section ``supercell`` sets the size.

    Raises
    ------
    InputError
        No supercell within the tolerance makes every level a whole number of ions.
    """
    structure = Structure.from_dict(mother.structure)
    amounts = {str(s): n for s, n in structure.composition.items()}
    if str(variants[0].host) not in amounts:
        return [], []
    matrix = _supercell(mother, structure, variants, screening)
    n_cells = round(abs(_determinant(matrix)))
    accepted, rejected = [], []
    for variant in variants:
        try:
            accepted.append(_compose(mother, amounts, variant, matrix, n_cells))
        except InputError as error:
            rejected.append(
                RejectedComposition(
                    composition_id=f"{mother.mother_id}_{variant.label}",
                    mother_id=mother.mother_id,
                    reason=str(error),
                )
            )
    return accepted, rejected


def _determinant(matrix: list[list[int]]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) <= _WHOLE_TOLERANCE


def _fits(variant: Doped, n_hosts: float, mobile: Species) -> bool:
    """Return whether all counts of a variant are whole with so many host sites."""
    counts = [float(level) * n_hosts for level in variant.levels]
    counts.append(float(variant.charge_per_host) * n_hosts / charge(mobile))
    return _is_whole(n_hosts) and all(_is_whole(count) for count in counts)


def _supercell(
    mother: MotherDocument, structure: Structure, variants: list[Doped], screening: Screening
) -> list[list[int]]:
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


def _compose(
    mother: MotherDocument,
    amounts: dict[str, float],
    variant: Doped,
    matrix: list[list[int]],
    n_cells: int,
) -> CompositionDocument:
    """Return one composition.

    Raises
    ------
    InputError
        The charge can't be balanced, or there is no room for the extra ions.
    """
    mobile = Species.from_str(mother.mobile_ion)
    ions = {name: round(amount * n_cells) for name, amount in amounts.items()}
    host = str(variant.host)
    n_hosts = ions[host]
    substitutions = [
        Substitution(host=host, dopant=str(dopant), level=str(level), count=round(level * n_hosts))
        for dopant, level in zip(variant.dopants, variant.levels, strict=True)
    ]
    for substitution in substitutions:
        ions[host] -= substitution.count
        ions[substitution.dopant] = ions.get(substitution.dopant, 0) + substitution.count
    change = -round(variant.charge_per_host * n_hosts / Fraction(charge(mobile)))
    present = ions.get(str(mobile), 0)
    if change <= -present:
        raise InputError(
            f"needs {-change} vacancies of {mobile}, the supercell has {present} of them; lower "
            "the level"
        )
    ions[str(mobile)] = present + change
    composition = CompositionDocument(
        composition_id=f"{mother.mother_id}_{variant.label}",
        mother_id=mother.mother_id,
        formula=Composition(_by_element(ions)).reduced_formula,
        host_formula=_host_formula(mother, amounts, variant, ions, n_cells),
        substitutions=substitutions,
        supercell_matrix=matrix,
        n_ions=sum(ions.values()),
        mobile_ion=str(mobile),
        n_mobile_removed=max(0, -change),
        n_mobile_added=max(0, change),
        n_arrangements="1",
        log10_n_arrangements=0.0,
    )
    n_arrangements = solid_solution(mother, composition).n_arrangements
    composition.n_arrangements = str(n_arrangements)
    composition.log10_n_arrangements = math.log10(n_arrangements)
    return composition


def solid_solution(mother: MotherDocument, composition: CompositionDocument) -> SolidSolution:
    """Return every arrangement of a composition, ready to be ranked.

    Parameters
    ----------
    mother
        The composition's mother.
    composition

    Raises
    ------
    InputError
        There are fewer interstitial sites than extra ions.
    """
    replace: dict[str, dict[str, int]] = {}
    for substitution in composition.substitutions:
        replace.setdefault(substitution.host, {})[substitution.dopant] = substitution.count
    mobile = composition.mobile_ion
    extra = composition.n_mobile_added
    return SolidSolution.from_structure(
        Structure.from_dict(mother.structure),
        supercell=composition.supercell_matrix,
        replace=replace,
        vacate={mobile: composition.n_mobile_removed} if composition.n_mobile_removed else None,
        insert={mobile: extra} if extra else None,
        interstitial_sites=_voids(json.dumps(mother.structure), mobile) if extra else None,
    )


@functools.lru_cache(maxsize=256)
def _voids(structure: str, species: str) -> Float:
    """Return the interstitial sites of a mother, given as JSON; all its compositions share them."""
    return find_voids(Structure.from_dict(json.loads(structure)), species)


def _by_element(ions: dict[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, count in ions.items():
        symbol = Species.from_str(name).symbol
        counts[symbol] = counts.get(symbol, 0) + count
    return counts


def _host_formula(
    mother: MotherDocument,
    amounts: dict[str, float],
    variant: Doped,
    ions: dict[str, int],
    n_cells: int,
) -> str:
    """Return the formula per formula unit of the mother: mobile ion, cations, anions."""
    cell = Composition({Species.from_str(name): amount for name, amount in amounts.items()})
    units = cell.num_atoms / Composition(mother.formula).num_atoms * n_cells
    order = [mother.mobile_ion]
    for name in sorted(amounts, key=lambda n: Species.from_str(n).X):
        order += [name, *map(str, variant.dopants)] if name == str(variant.host) else [name]
    counts = _by_element({name: ions[name] for name in dict.fromkeys(order)})
    parts = []
    for symbol, count in counts.items():
        if count:
            number = f"{count / units:.4f}".rstrip("0").rstrip(".")
            parts.append(symbol if number == "1" else f"{symbol}{number}")
    return "".join(parts)
