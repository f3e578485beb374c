"""Mother structures: read, given oxidation states, filtered, each rejection with its reason.

A mother is a known crystal that holds the mobile ion; doped variants of it are what a screening
looks at.
"""

from __future__ import annotations

import glob
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.periodic_table import DummySpecies, Element, Species
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import MotherDocument, RejectedMother
from ionsieve.workflows.planning.cif import CifEntry, read_cif
from ionsieve.workflows.settings.schema import Screening, ScreeningFile

#: Net charge per ion that rounded partial occupancies may leave, e.
_CHARGE_TOLERANCE = 0.01
#: Tolerance of the space group, Angstrom; files give four digits of a coordinate.
_SYMMETRY_TOLERANCE = 0.01


class _RejectedError(Exception):
    """A structure was read but is not used; the message is the reason."""


@dataclass(frozen=True)
class _Decorated:
    structure: Structure
    source: Literal["file", "guessed"]


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
    for path in _files(screening):
        entries = read_cif(path)
        for entry in entries:
            source = _relative(path, screening.root)
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
        reasons = "; ".join(f"{r.source_file} ({r.formula}): {r.reason}" for r in rejected[:5])
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


def charge(species: Species | Element | DummySpecies) -> float:
    """Return the charge of a species in e; 0 if it has none."""
    return float(getattr(species, "oxi_state", None) or 0)


def _files(screening: ScreeningFile) -> list[Path]:
    paths: list[Path] = []
    for pattern in screening.mothers.files:
        full = screening.resolve(pattern)
        found = [full] if full.is_file() else [Path(p) for p in sorted(glob.glob(str(full)))]
        if not found:
            raise InputError(f"mothers.files: nothing matches '{pattern}' in {screening.root}")
        paths.extend(path for path in found if path not in paths)
    return paths


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
    decorated = _decorate(_primitive(structure))
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
    )


def _decorate(structure: Structure) -> _Decorated:
    """Return the structure with whole oxidation states that add up to zero.

    Those of the file are used as they are; otherwise bond valences decide (site by site), and
    where they can't, the most common whole states that make the formula neutral.
    """
    if all(isinstance(species, Species) for species in structure.composition):
        _check_states(structure, "the oxidation states in the file")
        return _Decorated(structure, "file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guessed = BVAnalyzer().get_oxi_state_decorated_structure(structure)
        _check_states(guessed, "the states guessed from bond valences")
    except (ValueError, _RejectedError):
        guesses = structure.composition.element_composition.oxi_state_guesses()
        if not guesses:
            raise _RejectedError(
                "no oxidation states make it neutral; write them into the CIF "
                "(_atom_type_oxidation_number)"
            ) from None
        guessed = structure.copy()
        guessed.add_oxidation_state_by_element(guesses[0])
        _check_states(guessed, "the states guessed from the formula")
    return _Decorated(guessed, "guessed")


def _check_states(structure: Structure, which: str) -> None:
    for species in structure.composition:
        if not charge(species).is_integer():
            raise _RejectedError(
                f"{which} give {species.symbol} an average of {charge(species):g}, which is no "
                "ion; write whole ones into the CIF, site by site"
            )
    total = math.fsum(n * charge(s) for s, n in structure.composition.items())
    if abs(total) > _CHARGE_TOLERANCE * structure.composition.num_atoms:
        raise _RejectedError(f"{which} add up to {total:+g} e per cell, not 0; correct the CIF")


def _primitive(structure: Structure) -> Structure:
    """Return the primitive cell of a centred lattice: it allows supercells nearer to a cube."""
    primitive = SpacegroupAnalyzer(structure, symprec=_SYMMETRY_TOLERANCE).find_primitive()
    return structure if primitive is None or len(primitive) >= len(structure) else primitive


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
