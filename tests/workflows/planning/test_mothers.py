"""Reading, decorating and filtering mother structures."""

from pathlib import Path

import pytest
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.planning.cif import read_cif
from ionsieve.workflows.planning.mothers import parse_species, read_mothers
from ionsieve.workflows.settings.schema import ScreeningFile

CIFS = Path(__file__).parents[2] / "data" / "cif"
EXAMPLES = Path(__file__).parents[3] / "workflows" / "data" / "mothers"


def _screening(*files, mobile_ion="Na+", **mothers):
    return ScreeningFile(
        mobile_ion=mobile_ion,
        mothers={"files": list(files), **mothers},
        doping={"rules": [{"host": "P5+", "dopants": ["W6+"]}]},
        root=CIFS,
    )


def _charges(mother):
    return sorted(str(species) for species in Structure.from_dict(mother.structure).composition)


def test_seven_examples():
    mothers, rejected = read_mothers(_screening(f"{EXAMPLES}/*.cif"))
    assert not rejected
    found = {m.mother_id: (m.formula, m.space_group, _charges(m)) for m in mothers}
    assert found == {
        "Na3PS4-cubic": ("Na3PS4", "I-43m", ["Na+", "P5+", "S2-"]),
        "Na3PS4-tetragonal": ("Na3PS4", "P-42_1c", ["Na+", "P5+", "S2-"]),
        "Na3SbS4-cubic": ("Na3SbS4", "I-43m", ["Na+", "S2-", "Sb5+"]),
        "Na3SbS4-tetragonal": ("Na3SbS4", "P-42_1c", ["Na+", "S2-", "Sb5+"]),
        "Na4SnS4": ("Na4SnS4", "P-42_1c", ["Na+", "S2-", "Sn4+"]),
        "NaInS2": ("NaInS2", "R-3m", ["In3+", "Na+", "S2-"]),
        "NaYS2": ("NaYS2", "R-3m", ["Na+", "S2-", "Y3+"]),
    }
    assert {m.oxidation_source for m in mothers} == {"guessed"}


def test_centred_lattice_becomes_primitive_and_keeps_its_density():
    (mother,), _ = read_mothers(_screening(f"{EXAMPLES}/NaInS2.cif"))
    structure = Structure.from_dict(mother.structure)
    assert len(structure) == 4
    assert structure.volume == pytest.approx(249.12543248 / 3, rel=1e-6)


def test_database_export_with_three_blocks():
    entries = read_cif(CIFS / "database_export.cif")
    assert [entry.block for entry in entries] == ["900001-ICSD", "900002-ICSD", "900003-ICSD"]
    assert [entry.database_code for entry in entries] == [
        "ICSD 900001",
        "ICSD 900002",
        "ICSD 900003",
    ]
    mothers, rejected = read_mothers(_screening("database_export.cif"))
    (mother,) = mothers
    assert mother.mother_id == "database_export-900001-ICSD".replace("_", "-")
    assert mother.oxidation_source == "file"
    assert _charges(mother) == ["Na+", "S2-", "Sb5+"]
    assert [r.source_block for r in rejected] == ["900002-ICSD", "900003-ICSD"]
    assert "partially occupied" in rejected[0].reason
    assert rejected[1].reason == f"same structure as {mother.mother_id}"


def test_disorder_and_duplicates_are_kept_on_request():
    mothers, rejected = read_mothers(
        _screening("database_export.cif", allow_disorder=True, merge_duplicates=False)
    )
    assert not rejected
    assert [m.is_ordered for m in mothers] == [True, False, True]
    assert [m.oxidation_source for m in mothers] == ["file", "file", "guessed"]
    disordered = Structure.from_dict(mothers[1].structure)
    assert disordered.composition["W6+"] == pytest.approx(0.24)


def test_charges_in_type_symbols_count_as_the_files():
    (mother,), _ = read_mothers(_screening("charges_in_symbols.cif"))
    assert mother.oxidation_source == "file"
    assert _charges(mother) == ["Na+", "S2-", "Sb5+"]


def test_open_database_file_with_a_block_without_atoms():
    (mother,), rejected = read_mothers(_screening("open_database.cif"))
    assert not rejected
    assert (mother.formula, mother.space_group) == ("NaInS2", "R-3m")
    assert mother.database_code == "COD 9000001"
    assert mother.source_block == "9000001"


@pytest.mark.parametrize(
    ("file", "settings", "reason"),
    [
        ("no_sodium.cif", {}, "has no Na"),
        ("average_valence.cif", {}, "average of 2.5"),
        ("charges_in_symbols.cif", {"anions": ["O2-"]}, "has S2-; allowed anions are O2-"),
        ("charges_in_symbols.cif", {"n_elements": [4, 6]}, "3 elements, wanted 4 to 6"),
    ],
)
def test_each_rejection_has_its_reason(file, settings, reason):
    settings = {"merge_duplicates": False, **settings}
    with pytest.raises(InputError, match="no mother is left") as error:
        read_mothers(_screening(file, **settings))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_rejected_block_does_not_stop_the_others():
    mothers, rejected = read_mothers(_screening("missing_atoms.cif"))
    assert [m.source_block for m in mothers] == ["900006-ICSD"]
    assert "atoms are missing" in rejected[0].reason


def test_mobile_ion_of_another_charge_is_refused():
    with pytest.raises(InputError, match=r"Na is Na\+ here, not the mobile ion Na-"):
        read_mothers(_screening("charges_in_symbols.cif", mobile_ion="Na-"))


def test_wrong_charges_in_the_file_are_refused(tmp_path):
    text = (CIFS / "charges_in_symbols.cif").read_text(encoding="latin-1")
    (tmp_path / "wrong.cif").write_text(text.replace("Sb5+", "Sb3+"))
    with pytest.raises(InputError, match=r"the oxidation states in the file add up to -4 e"):
        read_mothers(_screening(str(tmp_path / "wrong.cif")))


def test_unreadable_cif_names_file_and_missing_key():
    with pytest.raises(InputError, match=r"unreadable\.cif.*_atom_site_fract_z' is missing"):
        read_mothers(_screening("unreadable.cif"))


def test_file_that_is_no_cif(tmp_path):
    path = tmp_path / "photo.cif"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="no data block with atoms"):
        read_mothers(_screening(str(path)))


def test_pattern_without_files():
    with pytest.raises(InputError, match=r"nothing matches 'absent/\*\.cif'"):
        read_mothers(_screening("absent/*.cif"))


def test_same_file_twice_is_read_once():
    mothers, rejected = read_mothers(_screening("open_database.cif", "open_data*.cif"))
    assert (len(mothers), len(rejected)) == (1, 0)


@pytest.mark.parametrize("text", ["Na", "P5", "Xx2+", "5+", "W 6+", ""])
def test_what_is_no_species(text):
    with pytest.raises(InputError, match="is not a species with a charge"):
        parse_species(text, "here")


def test_unknown_oxidation_state_names_the_known_ones():
    with pytest.raises(InputError, match=r"Tungsten has no oxidation state 7\+; known.*6\+"):
        parse_species("W7+", "doping")
