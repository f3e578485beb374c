"""Parent structures from files, ranked structures to files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from ionsieve.errors import InputError, IonSieveError
from ionsieve.ewald.ranking import Ranking
from ionsieve.ewald.sublattices import charge_of, parse_species


def read_parent(path: str | Path, charges: list[str]) -> Structure:
    """Read a structure and make sure that it has oxidation states.

    Parameters
    ----------
    path : path
        CIF, POSCAR or anything else pymatgen reads; partial occupancies are kept.
    charges : list of str
        Species such as ``Na+``, one for each element; they replace what the file says.

    Raises
    ------
    InputError
        The file can't be read, or has no oxidation states and none were given.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a CIF or POSCAR")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_file(path)
    except Exception as error:
        # pymatgen's readers raise whatever their parsers raise.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} can't be read as a structure ({reason}): give a CIF") from error
    if charges:
        states = {parse_species(s).symbol: charge_of(s) for s in charges}
        missing = {e.symbol for e in structure.composition.elements} - set(states)
        if missing:
            raise InputError(f"--charges lacks {', '.join(sorted(missing))}: name every element")
        structure.add_oxidation_state_by_element(states)
    elif any(getattr(s, "oxi_state", None) is None for s in structure.composition):
        raise InputError(
            f"{path} has no oxidation states: give them, as in --charges '{_guess(structure)}'"
        )
    return structure


def _guess(structure: Structure) -> str:
    """Return a guess of the species, for an error message only."""
    composition = structure.composition.element_composition
    guesses = composition.oxi_state_guesses() or [{e.symbol: 1 for e in composition}]
    return " ".join(str(Species(symbol, round(state))) for symbol, state in guesses[0].items())


def write_ranking(ranking: Ranking, folder: str | Path) -> list[Path]:
    """Write the ranking as JSON and every structure as CIF, POSCAR and extended XYZ.

    Returns
    -------
    list of Path
        The files, ``ranking.json`` first.

    Raises
    ------
    IonSieveError
        The folder can't be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "ranking.json"]
        files[0].write_text(json.dumps(ranking.to_dict()))
        for number, entry in enumerate(ranking.entries, 1):
            name = f"rank_{number:03d}"
            structure = entry.structure
            files += [folder / f"{name}{end}" for end in (".cif", ".vasp", ".extxyz")]
            CifWriter(structure).write_file(files[-3])
            comment = f"{structure.composition.reduced_formula} {entry.energy_ev:.6f} eV"
            Poscar(structure, comment=comment).write_file(files[-2])
            files[-1].write_text(_extended_xyz(structure, entry.energy_ev))
    except OSError as error:
        raise IonSieveError(f"can't write to {folder} ({error.strerror}): name another") from error
    return files


def _extended_xyz(structure: Structure, energy_ev: float) -> str:
    """Return the text of an extended XYZ file, written by hand: its library is an extra."""
    lattice = " ".join(f"{x:.10f}" for x in structure.lattice.matrix.ravel())
    lines = [
        str(len(structure)),
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:initial_charges:R:1 '
        f'ewald_energy_ev={energy_ev:.10f} pbc="T T T"',
    ]
    for site in structure:
        x, y, z = site.coords
        charge = float(site.specie.oxi_state or 0.0)
        lines.append(f"{site.specie.symbol:<2} {x:15.8f} {y:15.8f} {z:15.8f} {charge:15.8f}")
    return "\n".join(lines) + "\n"
