"""A small screening: Cl in Na2S, one composition in a chemical system of few phases."""

from pymatgen.core import Lattice, Structure

#: All but the gates and the molecular dynamics; one arrangement is relaxed.
SETTINGS = {
    "mobile_ion": "Na+",
    "mothers": {"files": ["Na2S.cif"]},
    "doping": {"levels": ["1/8"], "rules": [{"host": "S2-", "dopants": ["Cl-"]}]},
    "supercell": {"n_ions": 90},
    "ewald": {"keep": 1, "seconds": 60},
    "relax": {"double_relax": False},
    "compute": {"workers": 2},
}


def write_mother(folder):
    """Write the mother that the settings name into a folder."""
    sulfide = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.526), ["S", "Na"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    sulfide.to(filename=str(folder / "Na2S.cif"))
