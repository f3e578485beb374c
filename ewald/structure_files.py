"""Ranked structures to files."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
from pymatgen.core.structure import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from ionsieve.errors import IonSieveError
from ionsieve.ewald.ranking import Ranking


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
            ase.io.write(files[-1], _with_charges(structure, entry.energy_ev), format="extxyz")
    except OSError as error:
        raise IonSieveError(f"can't write to {folder} ({error.strerror}): name another") from error
    return files


def _with_charges(structure: Structure, energy_ev: float) -> ase.Atoms:
    bare = structure.copy()
    bare.remove_oxidation_states()
    atoms = AseAtomsAdaptor.get_atoms(bare)
    atoms.set_initial_charges([site.specie.oxi_state for site in structure])
    atoms.info["ewald_energy_ev"] = energy_ev
    atoms.calc = None
    return atoms
