"""Substitution rules turned into charge-neutral compositions on supercells of a mother.

Any species of a mother can be a host: all its sites, over all crystallographic positions, form one
pool, and a level is the fraction of the pool that a dopant takes. What the dopants change in charge
is balanced by the mobile ion: vacancies among its sites, or extra ions on interstitial sites.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from fractions import Fraction

from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.ewald.solid_solution import SolidSolution
from ionsieve.ewald.sublattices import VOIDS
from ionsieve.ewald.voids import find_voids
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    MotherDocument,
    RejectedComposition,
    Substitution,
)
from ionsieve.workflows.planning.disorder import EXACT, DisorderedMother, given_sites
from ionsieve.workflows.planning.formulas import by_element, host_formula, vacancies
from ionsieve.workflows.planning.oxidation import charge
from ionsieve.workflows.planning.rules import Doped
from ionsieve.workflows.planning.supercell_choice import disordered_supercell, ordered_supercell
from ionsieve.workflows.planning.supercells import Float
from ionsieve.workflows.settings.schema import Screening


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
    if not mother.is_ordered or variants[0].sites:
        disordered = DisorderedMother(mother, screening)
        matrix = disordered_supercell(disordered, structure, variants)
        compose = functools.partial(_compose_disordered, disordered)
    else:
        matrix = ordered_supercell(mother, structure, variants, screening)
        compose = functools.partial(_compose, screening)
    n_cells = round(abs(_determinant(matrix)))
    accepted, rejected = [], []
    for variant in variants:
        try:
            accepted.append(compose(mother, amounts, variant, matrix, n_cells))
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


def _compose_disordered(
    disordered: DisorderedMother,
    mother: MotherDocument,
    amounts: dict[str, float],
    variant: Doped,
    matrix: list[list[int]],
    n_cells: int,
) -> CompositionDocument:
    """Return one composition of a disordered mother.

    Raises
    ------
    InputError
        See :meth:`DisorderedMother.fill`, or the occupancies would change too much.
    """
    filling = disordered.fill(variant.wanted, n_cells)
    screening = disordered.screening
    tolerance = max(screening.doping.occupancy_tolerance, EXACT)
    if filling.deviation > tolerance:
        raise InputError(
            f"an occupancy would change by {filling.deviation:.3f}, doping.occupancy_tolerance is "
            f"{tolerance:g} ({'; '.join(filling.notes)})"
        )
    formula = host_formula(mother, amounts, variant.host, variant.dopants, filling.ions, n_cells)
    wanted = host_formula(mother, amounts, variant.host, variant.dopants, filling.wanted, n_cells)
    composition = CompositionDocument(
        composition_id=f"{mother.mother_id}_{variant.label}",
        mother_id=mother.mother_id,
        formula=Composition(by_element(filling.ions)).reduced_formula,
        host_formula=formula,
        substitutions=[
            Substitution(
                host=str(variant.host),
                dopant=str(dopant),
                level=str(level),
                count=filling.counts[str(dopant)],
                sites=list(variant.sites),
            )
            for dopant, level in zip(variant.dopants, variant.levels, strict=True)
        ],
        supercell_matrix=matrix,
        n_ions=sum(filling.ions.values()),
        mobile_ion=mother.mobile_ion,
        n_mobile_removed=max(0, -filling.change),
        n_mobile_added=max(0, filling.change),
        n_arrangements="1",
        log10_n_arrangements=0.0,
        compensation=filling.compensation,
        wanted_formula="" if wanted == formula else wanted,
        sublattices=filling.sublattices,
        interstitial_sites=given_sites(mother, screening),
        interstitial_min_distance_angstrom=screening.ewald.min_distance,
        min_site_distance_angstrom=screening.ewald.min_site_distance,
        notes=list(filling.notes),
    )
    return _counted(mother, composition)


def _counted(mother: MotherDocument, composition: CompositionDocument) -> CompositionDocument:
    space = solid_solution(mother, composition)
    composition.n_arrangements = str(space.n_arrangements)
    composition.log10_n_arrangements = math.log10(space.n_arrangements)
    composition.notes += [note for note in space.remarks if note not in composition.notes]
    return composition


def _compose(
    screening: Screening,
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
        formula=Composition(by_element(ions)).reduced_formula,
        host_formula=host_formula(mother, amounts, variant.host, variant.dopants, ions, n_cells),
        substitutions=substitutions,
        supercell_matrix=matrix,
        n_ions=sum(ions.values()),
        mobile_ion=str(mobile),
        n_mobile_removed=max(0, -change),
        n_mobile_added=max(0, change),
        n_arrangements="1",
        log10_n_arrangements=0.0,
        compensation=_compensation(mobile, change),
        interstitial_sites=given_sites(mother, screening),
        interstitial_min_distance_angstrom=screening.ewald.min_distance,
        min_site_distance_angstrom=screening.ewald.min_site_distance,
    )
    return _counted(mother, composition)


def _compensation(mobile: Species, change: int) -> str:
    if change == 0:
        return ""
    return (
        f"{change} extra {mobile} on voids" if change > 0 else f"{vacancies(-change)} of {mobile}"
    )


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
    mobile = composition.mobile_ion
    min_distance = composition.interstitial_min_distance_angstrom
    needs_voids = (
        composition.n_mobile_added
        if not composition.sublattices
        else any(VOIDS in group.split("+") for group in composition.sublattices)
    )
    voids: Sequence[Sequence[float]] | Float | None = composition.interstitial_sites
    if voids is None and needs_voids:
        voids = _voids(json.dumps(mother.structure), mobile, min_distance)
    if composition.sublattices:
        return SolidSolution.from_structure(
            Structure.from_dict(mother.structure),
            supercell=composition.supercell_matrix,
            arrange=composition.sublattices,
            interstitial_sites=voids,
            min_site_distance=composition.min_site_distance_angstrom,
        )
    replace: dict[str, dict[str, int]] = {}
    for substitution in composition.substitutions:
        replace.setdefault(substitution.host, {})[substitution.dopant] = substitution.count
    extra = composition.n_mobile_added
    return SolidSolution.from_structure(
        Structure.from_dict(mother.structure),
        supercell=composition.supercell_matrix,
        replace=replace,
        vacate={mobile: composition.n_mobile_removed} if composition.n_mobile_removed else None,
        insert={mobile: extra} if extra else None,
        interstitial_sites=voids,
        min_site_distance=composition.min_site_distance_angstrom,
    )


@functools.lru_cache(maxsize=256)
def _voids(structure: str, species: str, min_distance: float) -> Float:
    """Return the interstitial sites of a mother, given as JSON; all its compositions share them."""
    return find_voids(Structure.from_dict(json.loads(structure)), species, min_distance)
