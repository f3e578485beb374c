"""Ranked structures to files."""

from __future__ import annotations

import json
from pathlib import Path

from pymatgen.core.structure import Structure
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
