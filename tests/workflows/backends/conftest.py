"""Folders with VASP inputs."""

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

SALT = Structure.from_spacegroup(
    "Fm-3m", np.eye(3) * 5.7, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


@pytest.fixture
def salt():
    """Rock salt, 8 ions."""
    return SALT.copy()


@pytest.fixture
def write_inputs(tmp_path, salt):
    """Write POSCAR, INCAR and POTCAR.spec; give the folder."""

    def write(tags, structure=None, name="run"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        poscar = Poscar(structure or salt)
        poscar.write_file(folder / "POSCAR")
        (folder / "POTCAR.spec").write_text("\n".join(poscar.site_symbols))
        (folder / "INCAR").write_text("\n".join(f"{k} = {v}" for k, v in tags.items()))
        return folder

    return write
