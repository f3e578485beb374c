"""One way to read a crystal, for every command: CIF by data blocks, other formats by pymatgen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.planning.cif import (
    SYMMETRY_TOLERANCE,
    CifEntry,
    read_cif,
)
from ionsieve.workflows.planning.cif_layout import overlap_problem
from ionsieve.workflows.planning.oxidation import ChargeError, decorate


@dataclass(frozen=True)
class Crystal:
    """One crystal with oxidation states.

    Attributes
    ----------
    structure : Structure
    notes : tuple of str
        What was guessed or changed in reading.
    """

    structure: Structure
    notes: tuple[str, ...]


def read_entries(path: Path, symmetry_tolerance: float = SYMMETRY_TOLERANCE) -> list[CifEntry]:
    """Return the crystals of a file, as they stand in it.

    Parameters
    ----------
    path
        CIF, POSCAR or anything else pymatgen reads.
    symmetry_tolerance
        Atoms of a CIF this near to a symmetry element are moved onto it, Angstrom.

    Raises
    ------
    InputError
        The file can't be read; one line with its name.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a CIF or POSCAR")
    if path.suffix.lower() in (".cif", ".mcif"):
        return read_cif(path, symmetry_tolerance)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_file(path)
    except Exception as error:  # pymatgen's readers raise whatever their parsers raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} can't be read as a structure ({reason}): give a CIF") from error
    return [CifEntry(path, "", structure)]


def choose_entry(path: Path, entries: Sequence[CifEntry], block: str | None) -> CifEntry:
    """Return the one crystal that is meant.

    Parameters
    ----------
    path, entries
        The file and what :func:`read_entries` gave.
    block : str or None
        Name of the data block; needed where several have atoms.

    Raises
    ------
    InputError
        There is no such block, several and none named, or it can't be used.
    """
    names = ", ".join(entry.block for entry in entries)
    if block is not None:
        chosen = [entry for entry in entries if entry.block == block]
        if not chosen:
            raise InputError(f"{path}: no data block '{block}' with atoms; there are {names}")
    else:
        chosen = list(entries)
        if len(chosen) > 1:
            raise InputError(f"{path}: {len(chosen)} data blocks with atoms, choose one: {names}")
    if chosen[0].structure is None:
        raise InputError(f"{path}, block '{chosen[0].block}': {chosen[0].problem}; correct it")
    return chosen[0]


def read_crystal(
    path: Path,
    charges: Sequence[str] = (),
    block: str | None = None,
    symmetry_tolerance: float = SYMMETRY_TOLERANCE,
) -> Crystal:
    """Read one crystal and give it oxidation states, as ``plan`` gives them to a mother.

    Parameters
    ----------
    path
    charges
        ``Na+`` for all atoms of an element, ``V1=V4+`` for a site; replaces what the file says.
    block
        Name of the data block of a CIF that has several.
    symmetry_tolerance
        Atoms of a CIF this near to a symmetry element are moved onto it, Angstrom.

    Raises
    ------
    InputError
        The file can't be read, or the states can't be told; one line with the file's name.
    """
    entry = choose_entry(path, read_entries(path, symmetry_tolerance), block)
    assert entry.structure is not None
    try:
        decorated = decorate(entry.structure, charges)
    except ChargeError as error:
        raise InputError(f"{path}: {error}") from error
    if problem := overlap_problem(decorated.structure):
        raise InputError(f"{path}: {problem}; correct it")
    notes = (*entry.notes, decorated.note) if decorated.note else entry.notes
    return Crystal(decorated.structure, notes)
