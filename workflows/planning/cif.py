"""CIF files as ICSD, COD and pymatgen write them, one structure per data block.

The atoms are laid out by every reading of the symmetry that the file allows; what else the file
says (formula, formula units, density, volume, multiplicities) decides between them, and a file that
contradicts itself is refused. What is guessed or changed on the way is in the entry's ``notes``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.planning.cif_atoms import read_atoms
from ionsieve.workflows.planning.cif_facts import read_facts
from ionsieve.workflows.planning.cif_layout import lay_out
from ionsieve.workflows.planning.cif_symmetry import (
    ContradictionError,
    Setting,
    first,
    read_settings,
)
from ionsieve.workflows.planning.cif_syntax import crystal_part, read_tags, split_blocks

logger = logging.getLogger(__name__)

#: Atoms this near to a symmetry element are moved onto it, Angstrom.
SYMMETRY_TOLERANCE = 0.05

_CODES = (("_database_code_icsd", "ICSD"), ("_cod_database_code", "COD"))


@dataclass(frozen=True)
class CifEntry:
    """One data block with atoms.

    Attributes
    ----------
    source_file : Path
    block : str
        Name of the data block.
    structure : Structure or None
        Labelled as in the file, with oxidation states if the file gives them; None if it can't be
        used.
    problem : str
        Why it can't be used.
    database_code : str or None
        For example ``ICSD 12345``.
    notes : tuple of str
        What was guessed or changed in reading.
    """

    source_file: Path
    block: str
    structure: Structure | None
    problem: str = ""
    database_code: str | None = None
    notes: tuple[str, ...] = ()


def read_cif(path: Path, symmetry_tolerance: float = SYMMETRY_TOLERANCE) -> list[CifEntry]:
    """Read every data block that has atoms.

    Parameters
    ----------
    path
        CIF file, in UTF-8 or Latin-1.
    symmetry_tolerance
        Atoms this near to a symmetry element are moved onto it, Angstrom.

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
        for block_text in split_blocks(text)
        if (entry := _read_block(path, block_text, symmetry_tolerance)) is not None
    ]
    if not entries:
        raise InputError(
            f"{path}: no data block with atoms, so not a readable CIF; export it again or remove it"
        )
    if all(entry.structure is None for entry in entries):
        raise InputError(
            f"{path}: unreadable CIF, block '{entries[0].block}': {entries[0].problem}; correct it "
            "or remove it"
        )
    return entries


def _read_block(path: Path, text: str, tolerance: float) -> CifEntry | None:
    """Read one block; None if it has no atoms (a publication header, a powder pattern)."""
    name = text.split(maxsplit=1)[0][len("data_") :]
    if "_atom_site" not in text.lower():
        return None
    syntax_notes = []
    try:
        tags = read_tags(text)
    except (ValueError, RuntimeError) as error:
        try:
            tags = read_tags(crystal_part(text))
        except (ValueError, RuntimeError):
            return CifEntry(path, name, None, _one_line(error))
        syntax_notes = [f"broken syntax outside the crystal's own data is passed over ({error})"]
    if not any(tags.get(t) for t in ("_atom_site_label", "_atom_site_fract_x")):
        return None
    code = next((f"{base} {value}" for tag, base in _CODES if (value := first(tags, [tag]))), None)
    try:
        structure, notes = _interpret(tags, tolerance)
    except ContradictionError as error:
        return CifEntry(path, name, None, _one_line(error), code)
    except Exception as error:  # whatever a malformed file makes the libraries raise
        logger.debug("%s, block %s", path, name, exc_info=True)
        return CifEntry(path, name, None, _one_line(error) or type(error).__name__, code)
    return CifEntry(path, name, structure, database_code=code, notes=(*syntax_notes, *notes))


def _interpret(tags: dict[str, list[str]], tolerance: float) -> tuple[Structure, list[str]]:
    """Return the one structure that everything in the block agrees with.

    Raises
    ------
    ContradictionError
        There is none, or several.
    """
    rows, notes = read_atoms(tags)
    lattice = _lattice(tags)
    facts, remarks = read_facts(tags)
    settings, more = read_settings(tags)
    notes += remarks + more
    if not settings:
        if not facts.decide_contents:
            raise ContradictionError(
                "no symmetry is given and nothing to check it by: write the space group, or "
                "_space_group_name_H-M_alt 'P 1' if all atoms of the cell are listed"
            )
        settings = [Setting("P 1", np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)))]
        notes.append("no symmetry is given: the atoms listed are taken for all of the cell")
    refused: list[str] = []
    for snap in (tolerance, 0.0):
        readings = []
        for setting in settings:
            problem, structure, remarks = lay_out(
                lattice, rows, facts, setting, snap, len(settings) > 1
            )
            if structure is None:
                refused += (
                    [problem] if len(settings) == 1 else [f"read in {setting.name}, {problem}"]
                )
            else:
                readings.append((setting, structure, remarks))
        if len(readings) > 1:
            names = " or ".join(setting.name for setting, _, _ in readings)
            raise ContradictionError(
                f"the space group is {names}: nothing in the file decides; write the symmetry "
                "operations, or the symbol with its origin or axes"
            )
        if readings:
            setting, structure, remarks = readings[0]
            if len(settings) > 1:
                remarks = [f"read in {setting.name}: the only setting that fits", *remarks]
            return structure, notes + remarks
    raise ContradictionError(min(dict.fromkeys(refused), key=refused.index))


def _lattice(tags: dict[str, list[str]]) -> Lattice:
    values = []
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"):
        tag = f"_cell_{name}"
        text = first(tags, [tag])
        if not text and name.startswith("length"):
            raise ContradictionError(f"'{tag}' is missing")
        value = float(gemmi.cif.as_number(text)) if text else 90.0
        limit = np.inf if name.startswith("length") else 180.0
        if not 0 < value < limit:
            raise ContradictionError(f"{tag} is {text}: not a cell")
        values.append(value)
    lattice = Lattice.from_parameters(*values)
    if not (np.isfinite(lattice.volume) and lattice.volume > 1.0):
        raise ContradictionError(f"cell {values} has no volume")
    return lattice


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:400]
