"""Mother structures: read, given oxidation states, filtered, each rejection with its reason.

A mother is a known crystal that holds the mobile ion; doped variants of it are what a screening
looks at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import MotherDocument, RejectedMother
from ionsieve.workflows.planning.cif import CifEntry, read_cif
from ionsieve.workflows.planning.cif_layout import overlap_problem
from ionsieve.workflows.planning.files import matching_files
from ionsieve.workflows.planning.oxidation import ChargeError, charge, decorate
from ionsieve.workflows.settings.schema import Screening, ScreeningFile

#: Tolerance of the space group, Angstrom; files give four digits of a coordinate.
_SYMMETRY_TOLERANCE = 0.01


class _RejectedError(Exception):
    """A structure was read but is not used; the message is the reason."""


def read_mothers(screening: ScreeningFile) -> tuple[list[MotherDocument], list[RejectedMother]]:
    """Read the CIF files of a screening and keep the structures it asks for.

    Parameters
    ----------
    screening
        Its ``mobile_ion`` and its section ``mothers`` say what is kept.

    Returns
    -------
    mothers, rejected
        In the order of the files; of equal structures the first stays.

    Raises
    ------
    InputError
        A file is missing or unreadable, or no mother is left.
    """
    mobile = parse_species(screening.mobile_ion, "mobile_ion")
    mothers: list[MotherDocument] = []
    rejected: list[RejectedMother] = []
    for path in matching_files(screening.mothers.files, screening.resolve, "mothers.files"):
        source = _relative(path, screening.root)
        try:
            entries = read_cif(path, screening.mothers.symmetry_tolerance)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ")
            rejected.append(RejectedMother(source_file=source, reason=reason))
            continue
        for entry in entries:
            try:
                mother = _accept(entry, screening, mobile, source, len(entries) > 1)
                mother.mother_id = _unused(mother.mother_id, {m.mother_id for m in mothers})
                if screening.mothers.merge_duplicates:
                    _refuse_duplicate(mother, mothers)
            except _RejectedError as reason:
                formula = entry.structure.composition.reduced_formula if entry.structure else ""
                rejected.append(
                    RejectedMother(
                        source_file=source,
                        source_block=entry.block,
                        formula=formula,
                        reason=str(reason),
                    )
                )
            else:
                mothers.append(mother)
    if not mothers:
        reasons = "; ".join(
            f"{r.source_file}{f' ({r.formula})' if r.formula else ''}: {r.reason}"
            for r in rejected[:5]
        )
        raise InputError(f"no mother is left: {reasons}; add files or change the filters")
    return mothers, rejected


def parse_species(text: str, where: str) -> Species:
    """Return the species of a string such as ``Na+``.

    Raises
    ------
    InputError
        It is no species with a charge, or the element is not known in that oxidation state.
    """
    match = re.fullmatch(r"([A-Z][a-z]?)(\d*)([+-])", text.strip())
    try:
        species = Species.from_str(text.strip()) if match else None
    except ValueError:
        species = None
    if species is None:
        raise InputError(
            f"{where}: '{text}' is not a species with a charge; write it as P5+ or S2-"
        )
    element = species.element
    known = sorted({*element.oxidation_states, *element.icsd_oxidation_states})
    if species.oxi_state not in known:
        states = ", ".join(f"{abs(s)}{'+' if s > 0 else '-'}" for s in known if s)
        raise InputError(
            f"{where}: {element.long_name} has no oxidation state "
            f"{text.strip().removeprefix(element.symbol)}; known ones are {states}"
        )
    return species


def _relative(path: Path, root: Path) -> str:
    base = root.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _accept(
    entry: CifEntry, screening: Screening, mobile: Species, source: str, many_blocks: bool
) -> MotherDocument:
    """Return the mother of one data block.

    Raises
    ------
    _RejectedError
        A filter refuses it.
    """
    if entry.structure is None:
        raise _RejectedError(entry.problem)
    settings = screening.mothers
    structure = entry.structure
    elements = {element.symbol for element in structure.composition.element_composition}
    if mobile.symbol not in elements:
        raise _RejectedError(f"has no {mobile.symbol}, the element of the mobile ion {mobile}")
    fewest, most = settings.n_elements
    if not fewest <= len(elements) <= most:
        raise _RejectedError(f"{len(elements)} elements, wanted {fewest} to {most}")
    if not structure.is_ordered and not settings.allow_disorder:
        raise _RejectedError("partially occupied sites; set mothers.allow_disorder to keep it")
    given = _given_charges(settings.charges, source, entry.block)
    try:
        # Charges first: they may tell sites of one element apart by the file's labels.
        decorated = decorate(structure, given)
    except (ChargeError, InputError) as error:
        raise _RejectedError(str(error)) from error
    if problem := overlap_problem(structure):
        raise _RejectedError(problem)
    primitive, cell_from_file = _primitive(decorated.structure)
    decorated = replace(decorated, structure=primitive)
    species = {str(s): s for s in decorated.structure.composition}
    if str(mobile) not in species:
        found = ", ".join(s for s in species if species[s].symbol == mobile.symbol)
        raise _RejectedError(f"{mobile.symbol} is {found} here, not the mobile ion {mobile}")
    anions = sorted(name for name, s in species.items() if charge(s) < 0)
    allowed = {str(parse_species(a, "mothers.anions")) for a in settings.anions}
    if allowed and not set(anions) <= allowed:
        others = ", ".join(a for a in anions if a not in allowed)
        raise _RejectedError(f"has {others}; allowed anions are {', '.join(sorted(allowed))}")
    stem = f"{Path(source).stem}-{entry.block}" if many_blocks else Path(source).stem
    return MotherDocument(
        mother_id=re.sub(r"[^A-Za-z0-9.+-]+", "-", stem).strip("-"),
        formula=structure.composition.reduced_formula,
        structure=decorated.structure.as_dict(),
        space_group=_space_group(decorated.structure),
        n_elements=len(elements),
        mobile_ion=str(mobile),
        anions=anions,
        is_ordered=structure.is_ordered,
        oxidation_source=decorated.source,
        source_file=source,
        source_block=entry.block,
        database_code=entry.database_code,
        cell_from_file=cell_from_file,
        notes=[*entry.notes, decorated.note] if decorated.note else list(entry.notes),
    )


def _given_charges(charges: dict[str, list[str]], source: str, block: str) -> list[str]:
    """Return what the config says of a file's charges, by its name, stem or data block."""
    names = (block, Path(source).name, Path(source).stem)
    return next((charges[name] for name in names if name in charges), [])


def _primitive(structure: Structure) -> tuple[Structure, list[list[float]] | None]:
    """Return the primitive cell of a centred lattice: it allows supercells nearer to a cube.

    Returns
    -------
    structure
        Its sites keep the labels of the file.
    cell_from_file : (3, 4) or None
        Takes fractional coordinates (and a 1) of the file's cell to the primitive one; None if the
        cell stays.
    """
    analyzer = SpacegroupAnalyzer(structure, symprec=_SYMMETRY_TOLERANCE)
    try:
        primitive = analyzer.find_primitive()
        dataset = analyzer.get_symmetry_dataset()
    except Exception as error:  # spglib's own errors have no common public base
        raise _RejectedError(
            f"no space group is found within {_SYMMETRY_TOLERANCE} A ({error}): check for "
            "overlapping sites"
        ) from error
    if primitive is None or dataset is None or len(primitive) >= len(structure):
        return structure, None
    # Sites of the primitive cell are sites of the standard cell, which spglib maps to the file's.
    standard = np.asarray(dataset.std_positions)
    to_primitive = np.asarray(dataset.std_mapping_to_primitive)
    origin = {int(p): i for i, p in reversed(list(enumerate(dataset.mapping_to_primitive)))}
    inverse = np.linalg.inv(dataset.std_lattice)
    for site in primitive:
        delta = standard - site.coords @ inverse
        delta -= np.round(delta)
        nearest = int(np.linalg.norm(delta @ dataset.std_lattice, axis=1).argmin())
        site.label = structure[origin[int(to_primitive[nearest])]].label
    to_cell = np.linalg.inv(primitive.lattice.matrix).T @ np.asarray(dataset.std_lattice).T
    affine = to_cell @ np.column_stack([dataset.transformation_matrix, dataset.origin_shift])
    return primitive, affine.tolist()


def _space_group(structure: Structure) -> str:
    return SpacegroupAnalyzer(structure, symprec=_SYMMETRY_TOLERANCE).get_space_group_symbol()


def _unused(wanted: str, taken: set[str]) -> str:
    names = (wanted if n == 1 else f"{wanted}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _refuse_duplicate(mother: MotherDocument, accepted: list[MotherDocument]) -> None:
    """Raise if an accepted mother is the same crystal.

    Polymorphs that differ in space group stay apart even where they are close, as cubic and
    tetragonal Na3PS4 are.
    """
    for other in accepted:
        if (other.formula, other.space_group) != (mother.formula, mother.space_group):
            continue
        one, two = Structure.from_dict(mother.structure), Structure.from_dict(other.structure)
        if StructureMatcher().fit(one, two):
            raise _RejectedError(f"same structure as {other.mother_id}")
