"""The plan: every mother and composition of a screening, counted before anything runs."""

from __future__ import annotations

import re

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    MotherDocument,
    PlanDocument,
    RejectedComposition,
    RejectedMother,
)
from ionsieve.workflows.planning.doping import dope
from ionsieve.workflows.planning.mothers import read_mothers
from ionsieve.workflows.planning.rules import Doped, read_rules
from ionsieve.workflows.settings.schema import ScreeningFile


def make_plan(screening: ScreeningFile) -> PlanDocument:
    """Read the mothers, apply the rules and merge what is reached twice.

    Returns
    -------
    PlanDocument
        Compositions by mother, in the order of the files and rules.

    Raises
    ------
    InputError
        Something in the input is wrong, or there is nothing to compute; the message says what.
    """
    rules = read_rules(screening.doping)
    mothers, rejected = read_mothers(screening)
    _refuse_unknown_hosts(rules, mothers, rejected)
    compositions: list[CompositionDocument] = []
    rejected_compositions: list[RejectedComposition] = []
    for mother in mothers:
        for variants in rules:
            try:
                accepted, refused = dope(mother, variants, screening)
            except InputError as error:
                # One mother's sizes don't stop the others.
                accepted, refused = [], _refused(mother, variants, str(error))
            compositions.extend(accepted)
            rejected_compositions.extend(refused)
    if not compositions:
        reasons = "; ".join(f"{r.composition_id}: {r.reason}" for r in rejected_compositions[:3])
        raise InputError(f"no composition is left: {reasons}")
    _name_apart(compositions)
    return PlanDocument(
        mothers=mothers,
        rejected=rejected,
        compositions=merge_duplicates(compositions, mothers),
        rejected_compositions=rejected_compositions,
    )


def _refused(
    mother: MotherDocument, variants: list[Doped], reason: str
) -> list[RejectedComposition]:
    return [
        RejectedComposition(
            composition_id=f"{mother.mother_id}_{variant.label}",
            mother_id=mother.mother_id,
            reason=reason.removeprefix(f"{mother.mother_id}: "),
        )
        for variant in variants
    ]


def _refuse_unknown_hosts(
    rules: list[list[Doped]], mothers: list[MotherDocument], rejected: list[RejectedMother]
) -> None:
    present = {
        str(species)
        for mother in mothers
        for species in Structure.from_dict(mother.structure).composition
    }
    for variants in rules:
        host = str(variants[0].host)
        if host not in present:
            symbol = variants[0].host.symbol
            might = [
                f"{r.source_file} ({r.formula}) was rejected: {r.reason}"
                for r in rejected
                if not r.formula or symbol in re.findall(r"[A-Z][a-z]?", r.formula)
            ]
            raise InputError(
                f"doping.rules: no mother has the host {host}; there are "
                f"{', '.join(sorted(present))}{''.join(f'; {m}' for m in might[:3])}"
            )


def _name_apart(compositions: list[CompositionDocument]) -> None:
    """Add the host to the name where one dopant sits on different hosts of a mother."""
    hosts: dict[str, str] = {}
    for composition in compositions:
        host = composition.substitutions[0].host
        if hosts.setdefault(composition.composition_id, host) != host:
            composition.composition_id += f"_for-{host}"


def merge_duplicates(
    compositions: list[CompositionDocument], mothers: list[MotherDocument]
) -> list[CompositionDocument]:
    """Return the compositions without those that repeat an earlier one.

    Half of M replaced by M' and half of M' replaced by M is one solid solution if the two mothers
    have the same structure. So two compositions are one if their formulas agree and their average
    structures, with shared sites, match in the same space group. The one kept lists the others in
    ``merged_from``.
    """
    by_id = {mother.mother_id: mother for mother in mothers}
    groups: dict[tuple[object, ...], list[CompositionDocument]] = {}
    kept = []
    for composition in compositions:
        mother = by_id[composition.mother_id]
        sites = tuple(site for one in composition.substitutions for site in one.sites)
        key = (composition.formula, mother.space_group, composition.n_mobile_added > 0, sites)
        earlier = groups.setdefault(key, [])
        twin = next((one for one in earlier if _is_same(one, composition, by_id)), None)
        if twin is None:
            earlier.append(composition)
            kept.append(composition)
        elif twin.composition_id != composition.composition_id:
            twin.merged_from.append(composition.composition_id)
    return kept


def _is_same(
    first: CompositionDocument, second: CompositionDocument, mothers: dict[str, MotherDocument]
) -> bool:
    if first.composition_id == second.composition_id:
        return True
    one, two = (average_structure(mothers[c.mother_id], c) for c in (first, second))
    return bool(StructureMatcher().fit(one, two))


def average_structure(mother: MotherDocument, composition: CompositionDocument) -> Structure:
    """Return the mother with shared occupancies on the sites of the hosts and the mobile ion.

    Extra ions on interstitial sites are left out: they follow from the rest.
    """
    structure = Structure.from_dict(mother.structure)
    n_cells = abs(np.linalg.det(composition.supercell_matrix))
    amounts = {str(s): n * n_cells for s, n in structure.composition.items()}
    counts = {name: {name: amount} for name, amount in amounts.items()}
    for one in composition.substitutions:
        counts[one.host][one.host] -= one.count
        counts[one.host][one.dopant] = counts[one.host].get(one.dopant, 0) + one.count
    counts[composition.mobile_ion][composition.mobile_ion] -= composition.n_mobile_removed
    shares = {
        name: {species: n / amounts[name] for species, n in on_site.items() if n > 1e-6}
        for name, on_site in counts.items()
    }
    for index, site in enumerate(structure):
        mixed: dict[str, float] = {}
        for species, occupancy in site.species.items():
            for name, share in shares[str(species)].items():
                mixed[name] = mixed.get(name, 0.0) + occupancy * share
        structure.replace(index, mixed)
    return structure
