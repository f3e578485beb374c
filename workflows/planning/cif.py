"""CIF files as ICSD, COD and pymatgen write them, one structure per data block."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifBlock, CifParser

from ionsieve.errors import InputError

logger = logging.getLogger(__name__)

#: Refined occupancies of one site may add up to this; they are then scaled to 1.
_OCCUPANCY_LIMIT = 1.02
#: Allowed relative difference of an element's share in the atoms and in the formula of the file.
_FORMULA_TOLERANCE = 0.02

_CODES = (("_database_code_ICSD", "ICSD"), ("_cod_database_code", "COD"))


@dataclass(frozen=True)
class CifEntry:
    """One data block with atoms.

    Attributes
    ----------
    source_file : Path
    block : str
        Name of the data block.
    structure : Structure or None
        Has oxidation states if the file gives them; None if it can't be used.
    problem : str
        Why it can't be used.
    database_code : str or None
        For example ``ICSD 12345``.
    """

    source_file: Path
    block: str
    structure: Structure | None
    problem: str = ""
    database_code: str | None = None


def read_cif(path: Path) -> list[CifEntry]:
    """Read every data block that has atoms.

    Parameters
    ----------
    path
        CIF file, in UTF-8 or Latin-1.

    Raises
    ------
    InputError
        The file can't be opened, is not a CIF, or no block of it gives a structure.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a CIF file") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    entries = [
        entry
        for block_text in _split_blocks(text)
        if (entry := _read_block(path, block_text)) is not None
    ]
    if not entries:
        raise InputError(
            f"{path}: no data block with atoms, so not a readable CIF; export it again or remove "
            "it from mothers.files"
        )
    if all(entry.structure is None for entry in entries):
        raise InputError(
            f"{path}: unreadable CIF, block '{entries[0].block}': {entries[0].problem}; correct it "
            "or remove it from mothers.files"
        )
    return entries


def _split_blocks(text: str) -> list[str]:
    """Return the text of each data block; ``data_`` inside a text field starts none."""
    blocks: list[list[str]] = []
    in_text_field = False
    for line in text.splitlines():
        if line.startswith(";"):
            in_text_field = not in_text_field
        if re.match(r"\s*data_", line, flags=re.IGNORECASE):
            if in_text_field:
                continue  # pymatgen would take the comment's line for a block
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    return ["\n".join(lines) for lines in blocks]


def _read_block(path: Path, text: str) -> CifEntry | None:
    """Read one block; None if it has no atoms (a publication header, a powder pattern)."""
    name = text.split(maxsplit=1)[0][len("data_") :]
    try:
        tags = CifBlock.from_str(text).data
    except (ValueError, KeyError, IndexError) as error:
        return CifEntry(path, name, None, _one_line(error))
    if "_atom_site_label" not in tags and "_atom_site_fract_x" not in tags:
        return None
    code = next((f"{base} {tags[key]}" for key, base in _CODES if tags.get(key)), None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser = CifParser.from_str(text, occupancy_tolerance=_OCCUPANCY_LIMIT)
            structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        except Exception as error:  # pymatgen raises many kinds on malformed files
            return CifEntry(path, name, None, _reason(error), code)
    for warning in caught:
        logger.debug("%s, block %s: %s", path, name, _one_line(warning.message))
    if problem := _formula_problem(tags, structure):
        return CifEntry(path, name, None, problem, code)
    return CifEntry(path, name, _with_written_charges(tags, structure), database_code=code)


def _formula_problem(tags: dict[str, Any], structure: Structure) -> str:
    """Say so if the atoms don't make up the file's formula, as when some have no coordinates."""
    formula = tags.get("_chemical_formula_sum")
    if not formula or formula == "?":
        return ""
    try:
        written = Composition(str(formula)).element_composition.fractional_composition
    except ValueError:
        return ""
    found = structure.composition.element_composition.fractional_composition
    differences = [abs(written[e] - found[e]) for e in {*written, *found}]
    if max(differences) <= _FORMULA_TOLERANCE:
        return ""
    return (
        f"its atoms make up {structure.composition.element_composition.reduced_formula}, its "
        f"formula says {formula}: atoms are missing"
    )


def _with_written_charges(tags: dict[str, Any], structure: Structure) -> Structure:
    """Return the structure with the charges of the file, in whichever place it has them.

    pymatgen takes them from the loop of ``_atom_type_oxidation_number``; some exports only write
    them into the atoms' type symbols (``Na1+``).
    """
    if all(hasattr(species, "oxi_state") for species in structure.composition):
        # All zero is how a file without numbers may look.
        if any(species.oxi_state for species in structure.composition):
            return structure
        structure.remove_oxidation_states()
    charges: dict[str, set[float]] = {}
    for symbol in tags.get("_atom_site_type_symbol", []):
        match = re.fullmatch(r"([A-Z][a-z]?)(\d*)([+-])", symbol)
        if match is None:
            return structure
        charge = float(match[2] or 1) * (1 if match[3] == "+" else -1)
        charges.setdefault(match[1], set()).add(charge)
    if not charges or any(len(values) > 1 for values in charges.values()):
        return structure
    structure.add_oxidation_state_by_element({e: v.pop() for e, v in charges.items()})
    return structure


def _reason(error: Exception) -> str:
    """Return what pymatgen found wrong, without its wrapping."""
    cause = error.__cause__ or error
    return f"{_one_line(cause)} is missing" if isinstance(cause, KeyError) else _one_line(cause)


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:300]
