"""Reading CIFs: symmetry from wherever it stands, facts held against each other, odd syntax."""

import warnings

import gemmi
import numpy as np
import pytest
from pymatgen.core.structure import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from cif_text import LOOP, NACL, cif
from ionsieve.errors import InputError
from ionsieve.workflows.planning.cif import read_cif

OPERATIONS = "loop_\n_space_group_symop_operation_xyz\n"


def _read(tmp_path, text, **options):
    path = tmp_path / "a.cif"
    path.write_text(text)
    (entry,) = read_cif(path, **options)
    assert entry.structure is not None, entry.problem
    return entry


def _refused(tmp_path, text):
    path = tmp_path / "a.cif"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_cif(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def _operations(name):
    group = gemmi.find_spacegroup_by_name(name)
    return OPERATIONS + "\n".join(f"'{op.triplet()}'" for op in group.operations())


@pytest.mark.parametrize(
    "symmetry",
    [
        "_space_group_name_Hall '-F 4 2 3'",
        "_space_group_name_H-M_alt 'F 4/m -3 2/m'",
        "_symmetry_space_group_name_H-M 'F m 3 m'",
        "_symmetry_space_group_name_H-M Fm-3m",
        "_symmetry_Int_Tables_number 225",
        "_space_group.IT_number 225",
        _operations("F m -3 m"),
    ],
)
def test_rock_salt_from_each_way_to_write_its_symmetry(tmp_path, symmetry):
    structure = _read(tmp_path, cif(symmetry=symmetry)).structure
    assert structure.composition.formula == "Na4 Cl4"
    assert structure.density == pytest.approx(2.16, abs=0.01)
    assert structure.charge == 0


@pytest.mark.parametrize(
    "group",
    [g for g in gemmi.spacegroup_table() if ")" not in g.hm],
    ids=lambda g: g.xhm().replace(" ", ""),
)
def test_every_setting_agrees_however_it_is_written(tmp_path, group):
    if group.crystal_system() in (gemmi.CrystalSystem.Cubic,):
        cell = (11, 11, 11, 90, 90, 90)
    elif group.ext == "R":
        cell = (11, 11, 11, 80, 80, 80)
    elif group.crystal_system() in (gemmi.CrystalSystem.Trigonal, gemmi.CrystalSystem.Hexagonal):
        cell = (11, 11, 14, 90, 90, 120)
    else:
        cell = (11, 11, 11, 90, 90, 90)
    atoms = ("Na1 Na+ 0.137 0.071 0.233 1", "Cl1 Cl- 0.411 0.173 0.367 1")
    n = len(list(group.operations()))
    suffix = f":{group.ext}" if group.ext in ("1", "2", "H", "R") else ""
    ways = [
        f"_space_group_name_Hall '{group.hall}'",
        f"_space_group_name_H-M_alt '{group.hm}{suffix}'",
    ]
    read = [_read(tmp_path, cif(atoms, cell, way)).structure for way in ways]
    for structure in read:
        assert structure.composition.formula == f"Na{n} Cl{n}"
    one, other = (sorted(map(tuple, np.round(s.frac_coords % 1, 6))) for s in read)
    assert one == other


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("F d -3 m S", 1), ("F d -3 m Z", 2), ("F d -3 m :1", 1), ("F d -3 m:2", 2)],
)
def test_origin_of_a_spinel(tmp_path, symbol, expected):
    shift = 0.125 if expected == 1 else 0.0
    atoms = [
        f"Mg1 Mg2+ {0.125 - shift} {0.125 - shift} {0.125 - shift} 1",
        f"Al1 Al3+ {0.5 + shift} {0.5 + shift} {0.5 + shift} 1",
        "O1 O2- " + " ".join([f"{0.2624 - shift if expected == 2 else 0.3876 + 0.0}"] * 3) + " 1",
    ]
    structure = _read(
        tmp_path, cif(atoms, (8.08,) * 3 + (90,) * 3, f"_space_group_name_H-M_alt '{symbol}'")
    ).structure
    assert structure.composition.reduced_formula == "MgAl2O4"


SPINEL = ("Mg1 Mg2+ 0.125 0.125 0.125 1", "Al1 Al3+ 0.5 0.5 0.5 1", "O1 O2- 0.262 0.262 0.262 1")


def test_formula_decides_an_open_origin_and_says_so(tmp_path):
    more = "_chemical_formula_sum 'Mg Al2 O4'\n_cell_formula_units_Z 8"
    entry = _read(
        tmp_path,
        cif(SPINEL, (8.08,) * 3 + (90,) * 3, "_space_group_name_H-M_alt 'F d -3 m'", more),
    )
    assert entry.structure.composition.formula == "Mg8 Al16 O32"
    assert any("F d -3 m:2" in note for note in entry.notes)


def test_open_origin_that_nothing_decides_is_refused(tmp_path):
    atoms = ("Na1 Na+ 0.03 0.21 0.37 0.25", "Cl1 Cl- 0.16 0.28 0.44 0.25")
    symmetry = "_space_group_name_H-M_alt 'F d -3 m'"
    message = _refused(tmp_path, cif(atoms, (20,) * 3 + (90,) * 3, symmetry))
    assert "F d -3 m:1 or F d -3 m:2" in message


@pytest.mark.parametrize(
    ("symmetry", "named"),
    [
        ("_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 221", ("225", "221")),
        ("_space_group_name_Hall '-F 4 2 3'\n_space_group_IT_number 216", ("225", "216")),
        ("_space_group_name_H-M_alt 'P m -3 m'\n" + _operations("F m -3 m"), ("225", "P m -3 m")),
        ("_space_group_name_Hall '-P 4 2 3'\n" + _operations("F m -3 m"), ("192", "-P 4 2 3")),
        ("_space_group_name_H-M_alt 'Q 7 x'", ("Q 7 x",)),
        ("_space_group_name_Hall 'nonsense'", ("nonsense",)),
        ("_space_group_IT_number 300", ("300",)),
        (OPERATIONS + "'x,y,z'\n'-x,y,z+1/3'", ("2 symmetry operations are no group",)),
        ("", ("no symmetry is given",)),
    ],
)
def test_symmetry_that_contradicts_itself_names_both_sides(tmp_path, symmetry, named):
    message = _refused(tmp_path, cif(symmetry=symmetry))
    assert all(name in message for name in named)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("_cell_formula_units_Z 2\n_chemical_formula_sum 'Na Cl'", ("4", "Z = 2")),
        ("_exptl_crystal_density_diffrn 1.08", ("2.16", "1.08")),
        ("_cell_volume 200.0", ("179.4", "200")),
        ("_chemical_formula_sum 'Na Cl2'", ("Na Cl2", "instead of")),
        ("_chemical_formula_sum 'Na2 Cl2 O'", ("O 0 instead of", "missing")),
        ("_chemical_formula_moiety 'Na2 +, Cl -'", ("Na 4 instead of 8",)),
        ("_cell_formula_units_Z 2\n_chemical_formula_weight 58.44", ("4", "Z = 2")),
    ],
)
def test_each_fact_is_held_against_the_atoms(tmp_path, more, named):
    message = _refused(tmp_path, cif(more=more))
    assert all(name in message for name in named)


@pytest.mark.parametrize(
    "more",
    [
        "_cell_formula_units_Z 4\n_chemical_formula_sum 'Na Cl'",
        "_cell_formula_units_Z 4\n_chemical_formula_sum 'Na4 Cl4'",
        "_exptl_crystal_density_diffrn 2.165(3)",
        "_cell_volume 179.41(2)",
        "_chemical_formula_moiety 'Na +, Cl -'",
        "_chemical_formula_sum ?\n_cell_formula_units_Z .",
    ],
)
def test_true_facts_pass(tmp_path, more):
    _read(tmp_path, cif(more=more))


def test_no_symmetry_passes_only_if_the_contents_agree(tmp_path):
    facts = "_cell_formula_units_Z 4\n_chemical_formula_sum 'Na Cl'"
    assert "Z = 4" in _refused(tmp_path, cif(symmetry="", more=facts))
    facts = "_cell_formula_units_Z 1\n_chemical_formula_sum 'Na Cl'"
    entry = _read(tmp_path, cif(symmetry="", more=facts))
    assert any("no symmetry" in note for note in entry.notes)


def test_missing_dopant_of_one_percent_is_seen(tmp_path):
    more = "_chemical_formula_sum 'Na0.99 K0.01 Cl'"
    assert "K 0 instead of 0.04" in _refused(tmp_path, cif(more=more))


def test_too_many_atoms_are_not_called_missing(tmp_path):
    atoms = (*NACL, "Cl2 Cl- 0.25 0.25 0.25 1")
    more = "_chemical_formula_sum 'Na Cl'\n_cell_formula_units_Z 4"
    message = _refused(tmp_path, cif(atoms, more=more))
    assert "too many" in message
    assert "missing" not in message


THIRDS = ("Na1 Na+ 0.333 0.667 0.75 1", "Cr1 Cr3+ 0 0 0 1", "O1 O2- 0.333 0.667 0.09 1")


def test_three_digits_are_moved_onto_the_axis_and_it_is_said(tmp_path):
    text = cif(THIRDS, (3.6, 3.6, 11.9, 90, 90, 120), "_space_group_name_H-M_alt 'P 63/m m c'")
    entry = _read(tmp_path, text)
    assert entry.structure.composition.formula == "Na2 Cr2 O4"
    assert any("moved onto symmetry elements" in note for note in entry.notes)
    assert SpacegroupAnalyzer(entry.structure).get_space_group_number() == 194
    assert len(_read(tmp_path, text, symmetry_tolerance=0.0).structure) == 2 + 6 + 12


def test_formula_tells_a_split_site_from_a_rounded_one(tmp_path):
    # 0.03 A off the mirror: half occupied pairs, which the formula confirms.
    atoms = ("Na1 Na+ 0.003 0 0 0.5", "Cl1 Cl- 0.5 0.5 0.5 1")
    cell, symmetry = (6, 6, 6, 90, 90, 90), "_space_group_name_H-M_alt 'P m m m'"
    split = _read(tmp_path, cif(atoms, cell, symmetry, "_chemical_formula_sum 'Na Cl'"))
    assert len(split.structure) == 3
    rounded = _read(tmp_path, cif(atoms, cell, symmetry, "_chemical_formula_sum 'Na0.5 Cl'"))
    assert len(rounded.structure) == 2


def test_multiplicities_are_checked_in_both_conventions(tmp_path):
    loop = LOOP + "_atom_site_symmetry_multiplicity\n"
    _read(tmp_path, cif([f"{NACL[0]} 4", f"{NACL[1]} 4"], loop=loop))
    _read(tmp_path, cif([f"{NACL[0]} 48", f"{NACL[1]} 48"], loop=loop))
    message = _refused(tmp_path, cif([f"{NACL[0]} 8", f"{NACL[1]} 4"], loop=loop))
    assert "site Na1 has 4 positions" in message
    assert "says 8" in message


def test_cell_of_another_shape_than_the_symmetry_is_refused(tmp_path):
    assert "shape" in _refused(tmp_path, cif(cell=(5.64, 5.64, 6.64, 90, 90, 90)))


@pytest.mark.parametrize("value", ["nan", "-5.64", "0", "?"])
def test_impossible_cells(tmp_path, value):
    assert "_cell_length_a" in _refused(tmp_path, cif(cell=(value, 5.64, 5.64, 90, 90, 90)))


def test_isotopes_are_hydrogen(tmp_path):
    atoms = ("Li1 Li+ 0 0 0 1", "D1 D- 0.5 0.5 0.5 0.95", "H1 H- 0.5 0.5 0.5 0.05")
    more = "_chemical_formula_sum 'D0.95 H0.05 Li'"
    entry = _read(tmp_path, cif(atoms, (4.07,) * 3 + (90,) * 3, more=more))
    assert entry.structure.composition.formula == "Li4 H4"
    assert entry.structure.is_ordered
    assert "D read as H" in entry.notes


@pytest.mark.parametrize("unknown", [".", "?"])
def test_unknown_occupancy_is_full(tmp_path, unknown):
    atoms = (f"Na1 Na+ 0 0 0 {unknown}", f"Cl1 Cl- 0.5 0.5 0.5 {unknown}")
    assert _read(tmp_path, cif(atoms)).structure.is_ordered


def test_rounded_sum_of_occupancies_is_scaled_and_it_is_said(tmp_path):
    atoms = ("Na1 Na+ 0 0 0 0.6667", "K1 K+ 0 0 0 0.3334", NACL[1])
    entry = _read(tmp_path, cif(atoms))
    assert entry.structure[0].species.num_atoms == pytest.approx(1.0)
    assert any("Na1/K1 scaled" in note for note in entry.notes)
    atoms = ("Na1 Na+ 0 0 0 0.7", "K1 K+ 0 0 0 0.4", NACL[1])
    assert "add up to 1.1" in _refused(tmp_path, cif(atoms))


def test_empty_loop_is_nothing(tmp_path):
    text = cif() + "loop_\n_atom_site_moment_label\n_atom_site_moment_crystalaxis_x\n"
    _read(tmp_path, text)


def test_charges_by_label_and_by_symbol(tmp_path):
    table = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\n"
    loop = LOOP.replace("_atom_site_type_symbol\n", "")
    atoms = ("NaA 0 0 0 1", "ClB 0.5 0.5 0.5 1")
    entry = _read(tmp_path, cif(atoms, more=table + "NaA +1\nClB -1", loop=loop))
    assert {str(s) for s in entry.structure.composition} == {"Na+", "Cl-"}
    message = _refused(tmp_path, cif(more=table + "Na+ 2\nCl- -2"))
    assert "Na1 is 'Na+', its oxidation number is +2" in message


@pytest.mark.parametrize(
    ("label", "element"), [("Na1", "Na"), ("S1", "S"), ("SB2", "Sb"), ("O1A", "O"), ("Cl(1)", "Cl")]
)
def test_elements_from_labels(tmp_path, label, element):
    loop = LOOP.replace("_atom_site_type_symbol\n", "")
    more = "_chemical_formula_sum 'K " + element + "'"
    entry = _read(tmp_path, cif(("K1 0 0 0 1", f"{label} 0.5 0.5 0.5 1"), more=more, loop=loop))
    assert entry.structure.composition.chemical_system == "-".join(sorted(["K", element]))


def test_label_that_tells_no_element_is_refused(tmp_path):
    loop = LOOP.replace("_atom_site_type_symbol\n", "")
    assert "'M1' does not tell" in _refused(tmp_path, cif(("M1 0 0 0 1",), loop=loop))
    assert "'M' of atom A" in _refused(tmp_path, cif(("A M 0 0 0 1",)))


def test_labels_of_the_file_are_kept(tmp_path):
    atoms = ("Li2 Li+ 0 0 0 0.5", "Na7 Na+ 0 0 0 0.5", "Cl(1) Cl- 0.5 0.5 0.5 1")
    structure = _read(tmp_path, cif(atoms)).structure
    assert set(structure.labels) == {"Li2/Na7", "Cl(1)"}


def test_bad_block_does_not_stop_the_good_one(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(cif(block="bad").replace("'F m -3 m'", "'F m -3 m") + cif(block="good"))
    bad, good = read_cif(path)
    assert bad.structure is None
    assert bad.problem
    assert good.structure.composition.formula == "Na4 Cl4"


def test_same_as_pymatgen_where_it_reads(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(
        cif(THIRDS, (3.6, 3.6, 11.9, 90, 90, 120), _operations("P 63/m m c"))
        .replace("0.333 ", "0.33333333 ")
        .replace("0.667 ", "0.66666667 ")
    )
    (entry,) = read_cif(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Structure.from_file(path)
    entry.structure.remove_oxidation_states()
    assert entry.structure.species == theirs.species
    assert entry.structure.frac_coords == pytest.approx(theirs.frac_coords, abs=1e-6)


def test_broken_syntax_of_other_things_is_passed_over_and_it_is_said(tmp_path):
    broken = "_publ_author_name M. O'Neill and others\n_journal_title 'never closed\n"
    loop = "loop_\n_citation_id\n_citation_title\n1 A title without marks\n"
    text = cif(more=broken + loop + "_chemical_formula_sum 'Na Cl'")
    entry = _read(tmp_path, text)
    assert entry.structure.composition.formula == "Na4 Cl4"
    assert any("broken syntax" in note for note in entry.notes)
    assert "Na Cl2" in _refused(tmp_path, text.replace("'Na Cl'", "'Na Cl2'"))
