import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from ionsieve.errors import InputError
from ionsieve.workflows.thermodynamics.competing_phases import (
    known_missing,
    library_elements,
    phases_for,
    read_phase,
    uncovered_system,
)

#: Elements of the example's sodium sulfides and their dopants, and chlorine.
ELEMENTS = {
    *("Na", "S", "P", "Sb", "Sn", "In", "Y", "W", "Mo", "Si", "Ge", "Ta", "Nb", "V"),
    *("Ga", "Al", "Zr", "Hf", "Ti", "Mg", "Zn", "Ca", "Cl"),
}
#: Elements that occur in solid electrolytes: each must have a structure.
ELECTROLYTES = {
    *("H", "Li", "Na", "K", "Ag", "Cu", "Mg", "Ca", "Sr", "Ba", "Zn", "Al", "Ga", "In", "Sc"),
    *("Y", "La", "Gd", "Er", "B", "C", "Si", "Ge", "Sn", "Ti", "Zr", "Hf", "V", "Nb", "Ta"),
    *("Cr", "Mo", "W", "Mn", "Fe", "Co", "Ni", "N", "P", "As", "Sb", "Bi", "O", "S", "Se"),
    *("Te", "F", "Cl", "Br", "I"),
}
DATA = files("ionsieve.workflows") / "data" / "phases"
RECORDS = {
    record["phase_id"]: record
    for name in ("elements", "binaries", "ternaries")
    for record in json.loads((DATA / f"{name}.json").read_text())
}
#: Handbook densities in g/cm3 (CRC Handbook of Chemistry and Physics).
DENSITIES = {
    "Na": 0.97,
    "S-alpha": 2.07,
    "P-black": 2.69,
    "Sb": 6.68,
    "Sn-beta": 7.29,
    "W": 19.3,
    "Ga": 5.91,
    "Si": 2.33,
    "In": 7.31,
    "Na2S": 1.86,
    "MgS": 2.68,
    "CaS": 2.59,
    "NaCl": 2.17,
    "ZnS-sphalerite": 4.04,
    "SnS2": 4.5,
    "SnS": 5.08,
    "MoS2": 5.06,
    "WS2": 7.6,
    "Sb2S3": 4.56,
    "SiS2": 2.04,
    "TiS2": 3.37,
    "ZrS2": 3.82,
    "HfS2": 6.03,
    "In2S3": 4.45,
    "GaS": 3.86,
    "P4S10": 2.09,
    "Y2S3": 3.87,
    "Ga2S3": 3.7,
    "Al2S3": 2.02,
    "GeS2-II": 3.01,
    "Li": 0.534,
    "K": 0.86,
    "Ag": 10.5,
    "La": 6.15,
    "Er": 9.07,
    "As": 5.75,
    "Se": 4.81,
    "C-graphite": 2.2,
    "Mn-alpha": 7.3,
    "B-alpha": 2.46,
    "Br2": 4.05,
    "LiCl": 2.07,
    "LiF": 2.64,
    "Li2O": 2.01,
    "Li2S": 1.64,
    "Na2O": 2.39,
    "Al2O3": 3.99,
    "Y2O3": 5.03,
    "La2O3": 6.51,
    "TiO2-rutile": 4.23,
    "ZrO2": 5.68,
    "HfO2": 9.68,
    "SiO2-quartz": 2.65,
    "MgCl2": 2.33,
    "CaCl2": 2.15,
    "BaCl2": 3.9,
    "AlCl3": 2.48,
    "LaF3": 5.9,
    "LaCl3": 3.84,
    "LiNbO3": 4.64,
    "MgAl2O4": 3.58,
    "Li3PO4-beta": 2.46,
    "NaZr2P3O12": 3.2,
}


@pytest.fixture(scope="module")
def library():
    return {phase.phase_id: phase for phase in phases_for(library_elements())}


def shortest_over_radii(structure):
    """The shortest interatomic distance over the sum of the atomic radii, periodic images too."""
    radii = np.array([float(Element(s.specie.symbol).atomic_radius) for s in structure])
    centers, neighbors, _, distances = structure.get_neighbor_list(6.0)
    return float(np.min(distances / (radii[centers] + radii[neighbors])))


def test_every_record_builds_to_its_formula(library):
    assert set(library) == set(RECORDS)
    assert library_elements() >= {*ELEMENTS, *ELECTROLYTES}
    for phase_id, record in RECORDS.items():
        structure = library[phase_id].structure
        assert structure.composition.reduced_formula == record["formula"], phase_id
        assert record["n_atoms"] % len(structure) == 0, phase_id
        assert all(isinstance(site.specie, Element) for site in structure), phase_id


def test_symmetry_is_the_recorded_one(library):
    symbols = {record["space_group"] for record in RECORDS.values()}
    numbers = {symbol: SpaceGroup(symbol).int_number for symbol in symbols}
    for phase_id, record in RECORDS.items():
        _, number = library[phase_id].structure.get_space_group_info(symprec=5e-3)
        assert number == numbers[record["space_group"]], phase_id


def test_no_atoms_are_too_close(library):
    ratios = {phase_id: shortest_over_radii(p.structure) for phase_id, p in library.items()}
    assert {phase_id: r for phase_id, r in ratios.items() if r < 0.7} == {}


def test_densities_match_the_handbook(library):
    found = {phase_id: float(library[phase_id].structure.density) for phase_id in DENSITIES}
    assert found == {k: pytest.approx(value, rel=0.17) for k, value in DENSITIES.items()}
    published = {k for k in DENSITIES if RECORDS[k]["accuracy"] == "published"}
    assert {k: found[k] for k in published} == {
        k: pytest.approx(DENSITIES[k], rel=0.06) for k in published
    }


def test_provenance_is_complete():
    for phase_id, record in RECORDS.items():
        assert record["accuracy"] in {"published", "prototype"}
        assert record["prototype"]
        assert len(record["source"]) > 20
        assert not re.search("ICSD|FIZ", json.dumps(record)), phase_id
        for doi in re.findall(r"doi:(\S+?)(?:[;,]|$|\s)", record["source"]):
            assert re.fullmatch(r"10\.\d{4,5}/\S+", doi), phase_id


def test_every_element_of_an_electrolyte_is_shipped():
    for symbol in ELECTROLYTES:
        assert any(set(Composition(p.formula).as_dict()) == {symbol} for p in phases_for({symbol}))


def test_systems_outside_the_library_are_said_not_to_be_covered():
    assert uncovered_system({"Na", "Sb", "W", "S"}) is None
    assert uncovered_system({"Li", "Mg", "O", "Cl"}) == "Li-Mg-Cl-O"
    missing = known_missing({"Li", "Mg", "O", "Cl"}, phases_for({"Li", "Mg", "O", "Cl"}))
    assert missing[-1].startswith("not covered: Li-Mg-Cl-O (")
    assert not any(text.startswith("not covered") for text in known_missing({"Na", "S"}))


def test_user_phases_by_pattern(tmp_path, xenon):
    assert phases_for({"Xe"}, extra=[tmp_path / "x*.cif"])[-1].phase_id == "user-xenon"
    assert len(phases_for({"Xe"}, extra=[xenon, tmp_path / "*.cif"])) == 1
    with pytest.raises(InputError, match=r"nothing matches .*z\*\.cif"):
        phases_for({"Xe"}, extra=[tmp_path / "z*.cif"])


def test_every_metal_has_its_element_and_a_sulfide(library):
    for symbol in ELEMENTS - {"Na", "S", "Cl"}:
        ids = [phase.phase_id for phase in phases_for({symbol, "S"})]
        formulas = {library[i].formula for i in ids}
        assert any(set(Composition(f).as_dict()) == {symbol} for f in formulas)
        assert any(set(Composition(f).as_dict()) == {symbol, "S"} for f in formulas), symbol


def test_only_phases_of_the_system_are_returned():
    for phase in phases_for({"Na", "W", "Sb", "S"}):
        assert set(Composition(phase.formula).as_dict()) <= {"Na", "W", "Sb", "S"}
    ids = [phase.phase_id for phase in phases_for({"Na", "W", "Sb", "S"})]
    assert {"Na", "W", "Sb", "S-alpha", "Na2S", "WS2", "Sb2S3", "Na2WS4", "NaSbS2"} <= set(ids)
    assert Counter(ids).most_common(1)[0][1] == 1
    assert not any("Sn" in phase_id for phase_id in ids)


def test_order_and_structures_are_independent_of_the_call():
    first = phases_for(["S", "Na", "P"])
    first[0].structure.scale_lattice(1.0)
    second = phases_for({"P", "S", "Na"})
    assert [p.phase_id for p in first] == [p.phase_id for p in second]
    assert second[0].structure.volume > 30


def test_unknown_element_is_named():
    with pytest.raises(InputError, match=r"element Xe.*hull\.phases"):
        phases_for({"Na", "S", "Xe"})


def test_missing_phases_belong_to_the_system():
    missing = known_missing({"Na", "S"})
    assert {text.split(" ")[0] for text in missing} == {"Na2S4", "Na2S5"}
    assert any(text.startswith("Na3SbS3") for text in known_missing({"Na", "Sb", "S", "W"}))
    assert not any("Sn" in text for text in known_missing({"Na", "Sb", "S", "W"}))


def test_missing_formulas_are_formulas_of_known_elements():
    for record in json.loads((DATA / "missing.json").read_text()):
        assert set(Composition(record["formula"]).as_dict()) <= library_elements(), record


def write_cif(path: Path, structure: Structure) -> Path:
    structure.to(filename=str(path), fmt="cif")
    return path


@pytest.fixture
def xenon(tmp_path):
    lattice = Lattice.cubic(6.2)
    return write_cif(
        tmp_path / "xenon.cif", Structure.from_spacegroup("Fm-3m", lattice, ["Xe"], [[0, 0, 0]])
    )


def test_user_phases_join_their_system_only(tmp_path, xenon):
    polysulfide = Structure(
        Lattice.cubic(9), ["Na"] * 2 + ["S"] * 4, np.eye(6, 3) * 0.3 + np.arange(6)[:, None] / 6
    )
    own = write_cif(
        tmp_path / "my Na2S4.cif", polysulfide.add_oxidation_state_by_element({"Na": 1, "S": -0.5})
    )
    phases = phases_for({"Na", "S"}, extra=[own, xenon])
    assert [p.phase_id for p in phases] == ["Na", "S-alpha", "Na2S", "Na2S2", "user-my Na2S4"]
    assert phases[-1].accuracy == "user"
    assert "my Na2S4.cif" in phases[-1].source
    assert phases[-1].structure.composition == Composition("Na2S4")
    assert not any(text.startswith("Na2S4") for text in known_missing({"Na", "S"}, phases))


def test_user_element_makes_its_system_possible(xenon):
    assert phases_for({"Xe", "S"}, extra=[xenon])[-1].formula == "Xe"


def test_unfit_user_files_are_refused(tmp_path, xenon):
    with pytest.raises(InputError, match="nowhere"):
        read_phase(tmp_path / "nowhere.cif")
    garbage = tmp_path / "garbage.cif"
    garbage.write_text("not a crystal\n")
    with pytest.raises(InputError, match=r"garbage\.cif: no data block"):
        read_phase(garbage)
    half = Structure(Lattice.cubic(5), [{"Na": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match=r"half\.cif: partially occupied"):
        read_phase(write_cif(tmp_path / "half.cif", half))
    double = tmp_path / "double.cif"
    text = xenon.read_text()
    double.write_text(text + text.replace("data_Xe", "data_Xe2"))
    with pytest.raises(InputError, match="2 structures"):
        read_phase(double)
    (tmp_path / "copy").mkdir()
    twin = tmp_path / "copy" / "xenon.cif"
    twin.write_text(text)
    with pytest.raises(InputError, match="same name"):
        phases_for({"Na", "S"}, extra=[xenon, twin])
