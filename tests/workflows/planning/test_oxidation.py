"""Oxidation states: guessed as a chemist would, or asked for."""

import pytest
from pymatgen.core.composition import Composition
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from cif_text import cif
from ionsieve.errors import InputError
from ionsieve.workflows.planning.crystal_file import read_crystal
from ionsieve.workflows.planning.oxidation import ChargeError, decorate
from ionsieve.workflows.planning.valence_statistics import guesses

#: Materials of measured conductors and their neighbours, with the states of the textbooks.
CHECKED = {
    "Li10GeP2S12": "Li+ Ge4+ P5+ S2-",
    "Li20.2Ge2.06P3.94S24": "Li+ Ge4+ P5+ S2-",
    "Li6PS5Cl": "Li+ P5+ S2- Cl-",
    "Li6PS5Br": "Li+ P5+ S2- Br-",
    "Li6.6Si0.6Sb0.4S5I": "Li+ Si4+ Sb5+ S2- I-",
    "Li3PS4": "Li+ P5+ S2-",
    "Li4P2S6": "Li+ P4+ S2-",
    "Li7P3S11": "Li+ P5+ S2-",
    "Li2SiS3": "Li+ Si4+ S2-",
    "Li4SnS4": "Li+ Sn4+ S2-",
    "Li7La3Zr2O12": "Li+ La3+ Zr4+ O2-",
    "Li6.5La3Zr1.5Ta0.5O12": "Li+ La3+ Zr4+ Ta5+ O2-",
    "Li0.33La0.557TiO3": "Li+ La3+ Ti4+ O2-",
    "LiTi2(PO4)3": "Li+ Ti4+ P5+ O2-",
    "Li1.3Al0.3Ti1.7(PO4)3": "Li+ Al3+ Ti4+ P5+ O2-",
    "LiGe2(PO4)3": "Li+ Ge4+ P5+ O2-",
    "Li3PO4": "Li+ P5+ O2-",
    "Li2ZnGe3O8": "Li+ Zn2+ Ge4+ O2-",
    "LiFePO4": "Li+ Fe2+ P5+ O2-",
    "LiCoO2": "Li+ Co3+ O2-",
    "LiClO4": "Li+ Cl7+ O2-",
    "Li2SO4": "Li+ S6+ O2-",
    "LiNO3": "Li+ N5+ O2-",
    "Li2CO3": "Li+ C4+ O2-",
    "LiBH4": "Li+ B3+ H-",
    "LiAlH4": "Li+ Al3+ H-",
    "LiOH": "Li+ H+ O2-",
    "Li3N": "Li+ N3-",
    "Li3P": "Li+ P3-",
    "Li2O2": "Li+ O-",
    "Li3OCl": "Li+ Cl- O2-",
    "Li3YCl6": "Li+ Y3+ Cl-",
    "Li3InCl6": "Li+ In3+ Cl-",
    "Li2ZrCl6": "Li+ Zr4+ Cl-",
    "LiAlCl4": "Li+ Al3+ Cl-",
    "Na3PS4": "Na+ P5+ S2-",
    "Na2.88Sb0.88W0.12S4": "Na+ Sb5+ W6+ S2-",
    "Na11Sn2PS12": "Na+ Sn4+ P5+ S2-",
    "Na3SbSe4": "Na+ Sb5+ Se2-",
    "Na3SbS3": "Na+ Sb3+ S2-",
    "Na3Zr2Si2PO12": "Na+ Zr4+ Si4+ P5+ O2-",
    "NaAl11O17": "Na+ Al3+ O2-",
    "Na2S2": "Na+ S-",
    "NaInS2": "Na+ In3+ S2-",
    "NaCrO2": "Na+ Cr3+ O2-",
    "Na2CrO4": "Na+ Cr6+ O2-",
    "AgI": "Ag+ I-",
    "RbAg4I5": "Rb+ Ag+ I-",
    "La0.95Ba0.05F2.95": "La3+ Ba2+ F-",
    "MgAl2O4": "Mg2+ Al3+ O2-",
    "ZnIn2S4": "Zn2+ In3+ S2-",
    "BaSnF4": "Ba2+ Sn2+ F-",
}


@pytest.mark.parametrize(("formula", "expected"), CHECKED.items())
def test_states_of_known_materials(formula, expected):
    amounts = {str(e): float(n) for e, n in Composition(formula).items()}
    best = guesses(amounts)[0]
    assert set(str(best).split()) == set(expected.split())
    assert best.confidence > 0.75


def _structure(species):
    positions = [[0.1 * i, 0.07 * i, 0.13 * i] for i in range(len(species))]
    return Structure(Lattice.cubic(20), species, positions, labels=_labels(species))


def _labels(species):
    return [f"{next(iter(s)) if isinstance(s, dict) else s}{i}" for i, s in enumerate(species, 1)]


def test_guess_tells_confidence_and_runner_up():
    decorated = decorate(_structure(["Li"] * 2 + ["Cr"] + ["Cl"] * 4))
    assert decorated.source == "guessed"
    assert "Cr2+" in decorated.note
    assert "confidence" in decorated.note


def test_ambiguous_guess_is_refused_with_the_line_to_write():
    # Cu+ Fe3+ or Cu2+ Fe2+
    with pytest.raises(ChargeError, match=r"can't be guessed: .*%.*then.*--charges 'Fe3\+"):
        decorate(_structure(["Cu", "Fe", "S", "S"]))


def test_what_is_not_neutral_is_refused_with_what_is_left():
    with pytest.raises(ChargeError, match=r"Ti4\+ O2- leave -1 e"):
        decorate(_structure(["La", "Ti", "Ti", *["O"] * 6]))


def test_refined_occupancies_may_leave_a_little_and_it_is_said():
    species = [{"Li": 0.98}, *["Li"] * 2, "P", *["S"] * 4]
    decorated = decorate(_structure(species))
    assert "leave -0.02 e" in decorated.note or "confidence" in decorated.note
    species = [{"Li": 0.9}, *["Li"] * 2, "P", *["S"] * 4]
    assert "occupancies leave -0.1 e" in decorate(_structure(species)).note
    with pytest.raises(ChargeError, match=r"make it neutral"):
        decorate(_structure([{"Li": 0.5}, *["Li"] * 2, "P", *["S"] * 4]))


def test_charges_by_element_and_by_site():
    structure = _structure(["Na", "V", "V", *["O"] * 5])
    with pytest.raises(InputError, match=r"V4\+ and V5\+ are both given for V.*V2=V5\+.*V2, V3"):
        decorate(structure, ["Na+", "V4+", "V5+", "O2-"])
    decorated = decorate(structure, ["Na+", "V2=V4+", "V3=V5+", "O2-"])
    assert [str(s) for s in decorated.structure.species[1:3]] == ["V4+", "V5+"]
    assert decorate(structure, ["Na+", "V4+", "V3=V5+", "O2-"]).structure == decorated.structure
    with pytest.raises(InputError, match="no site is called 'V9'"):
        decorate(structure, ["Na+", "V9=V4+", "V5+", "O2-"])
    with pytest.raises(InputError, match="charges lack O"):
        decorate(structure, ["Na+", "V5+"])
    with pytest.raises(ChargeError, match=r"add up to \+1 e"):
        decorate(structure, ["Na+", "V5+", "O2-"])


def test_two_states_need_sites():
    with pytest.raises(ChargeError, match=r"V may be V4\+ and V5\+.*V2=V"):
        decorate(_structure(["Na", "V", "V", *["O"] * 5]))


def test_reader_chooses_a_block_only_by_name(tmp_path):
    path = tmp_path / "two.cif"
    path.write_text(cif(block="one") + cif(block="two"))
    with pytest.raises(InputError, match="2 data blocks with atoms, choose one: one, two"):
        read_crystal(path)
    assert read_crystal(path, block="two").structure.charge == 0
    with pytest.raises(InputError, match="no data block 'three'"):
        read_crystal(path, block="three")


def test_reader_takes_other_formats_and_names_the_file(tmp_path):
    path = tmp_path / "POSCAR"
    Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(
        str(path), fmt="poscar"
    )
    assert {str(s) for s in read_crystal(path).structure.composition} == {"Na+", "Cl-"}
    path.write_text("nothing")
    with pytest.raises(InputError, match="POSCAR can't be read"):
        read_crystal(path)
    with pytest.raises(InputError, match="is not a file"):
        read_crystal(tmp_path / "none.cif")
