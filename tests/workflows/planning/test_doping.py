"""Substitution rules, charge balance, and the compositions they give."""

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core.composition import Composition
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.planning.doping import dope, solid_solution
from ionsieve.workflows.planning.mothers import read_mothers
from ionsieve.workflows.planning.rules import read_rules
from ionsieve.workflows.settings.schema import Doping, Mothers, ScreeningFile

CIFS = Path(__file__).parents[2] / "data" / "cif"
EXAMPLES = Path(__file__).parents[3] / "workflows" / "data" / "mothers"


def _screening(rules, *, mother="Na3PS4-cubic", mobile_ion="Na+", levels=None, **supercell):
    doping = {"rules": rules} | ({"levels": levels} if levels else {})
    return ScreeningFile(
        root=EXAMPLES,
        mobile_ion=mobile_ion,
        mothers={"files": [f"{EXAMPLES}/{mother}.cif"]},
        doping=doping,
        supercell=supercell,
    )


def _dope(screening, mother=None):
    """Return all compositions and rejections of the first mother."""
    mother = mother or read_mothers(screening)[0][0]
    accepted, rejected = [], []
    for variants in read_rules(screening.doping):
        some, refused = dope(mother, variants, screening)
        accepted += some
        rejected += refused
    return mother, accepted, rejected


def _with_element(mother, old, new):
    """Return a mother with one species renamed: another compound of the same structure."""
    structure = Structure.from_dict(mother.structure)
    structure.replace_species({old: new})
    return mother.model_copy(
        update={
            "mother_id": "Na4SiS4",
            "formula": structure.composition.element_composition.reduced_formula,
            "structure": structure.as_dict(),
        }
    )


def _net_charge(mother, composition):
    """Count the ions of a composition from its own documents, and add up their charges."""
    cells = round(abs(np.linalg.det(composition.supercell_matrix)))
    counts = {
        str(s): round(n * cells)
        for s, n in Structure.from_dict(mother.structure).composition.items()
    }
    for one in composition.substitutions:
        counts[one.host] -= one.count
        counts[one.dopant] = counts.get(one.dopant, 0) + one.count
    counts[composition.mobile_ion] += composition.n_mobile_added - composition.n_mobile_removed
    assert sum(counts.values()) == composition.n_ions
    return sum(n * Species.from_str(name).oxi_state for name, n in counts.items())


@pytest.fixture(scope="module")
def silicate():
    """Na4SiS4 in the structure of Na4SnS4."""
    (mother,), _ = read_mothers(
        _screening([{"host": "Sn4+", "dopants": ["P5+"]}], mother="Na4SnS4")
    )
    return _with_element(mother, "Sn4+", "Si4+")


@pytest.mark.parametrize(
    ("dopants", "levels", "formula"),
    [
        (["Ga3+", "P5+"], ["1/2", "1/2"], "Na4Ga0.5P0.5S4"),
        (["Ga3+", "P5+"], ["3/8", "5/8"], "Na3.75Ga0.375P0.625S4"),
        (["Ga3+", "P5+"], ["5/8", "3/8"], "Na4.25Ga0.625P0.375S4"),
        (["Ta5+"], ["1/4"], "Na3.75Si0.75Ta0.25S4"),
        (["Ta5+"], ["3/8"], "Na3.625Si0.625Ta0.375S4"),
        (["Ta5+"], ["1/2"], "Na3.5Si0.5Ta0.5S4"),
    ],
)
def test_published_compositions(silicate, dopants, levels, formula):
    rule = {"host": "Si4+"}
    if len(dopants) == 2:
        rule |= {"dopants": [dopants], "pair_levels": [levels]}
    else:
        rule |= {"dopants": dopants, "levels": levels}
    mother, (composition,), _ = _dope(_screening([rule]), silicate)
    written = Composition(composition.host_formula)
    assert written.almost_equals(Composition(formula))
    # n_Na = 8 - sum x_i v_i
    valences = {"Ga": 3, "P": 5, "Ta": 5, "Si": 4}
    assert written["Na"] == pytest.approx(8 - sum(written[e] * v for e, v in valences.items()))
    assert _net_charge(mother, composition) == 0
    extra = composition.n_mobile_added - composition.n_mobile_removed
    sites = composition.substitutions[0].count / Fraction(levels[0])
    assert Fraction(extra) / sites == Fraction(str(written["Na"])) - 4


def test_vacancies_by_hand():
    """Na3PS4 in a 2x2x2 cell: 16 P and 48 Na sites, two W and so two vacancies."""
    screening = _screening([{"host": "P5+", "dopants": ["W6+"]}], levels=["1/8"], n_ions=128)
    mother, (composition,), rejected = _dope(screening)
    assert not rejected
    assert composition.composition_id == "Na3PS4-cubic_W6+_1-8"
    assert composition.host_formula == "Na2.875P0.875W0.125S4"
    assert composition.formula == "Na23P7WS32"
    assert (composition.n_mobile_removed, composition.n_mobile_added) == (2, 0)
    assert composition.n_ions == 126
    assert [s.count for s in composition.substitutions] == [2]
    assert int(composition.n_arrangements) == comb(16, 2) * comb(48, 2)
    assert solid_solution(mother, composition).n_ions == 126


def test_extra_ions_go_on_voids():
    screening = _screening([{"host": "P5+", "dopants": ["Sn4+"]}], levels=["1/8"], n_ions=128)
    mother, (composition,), _ = _dope(screening)
    assert (composition.n_mobile_removed, composition.n_mobile_added) == (0, 2)
    assert composition.host_formula == "Na3.125P0.875Sn0.125S4"
    assert solid_solution(mother, composition).n_ions == composition.n_ions == 130
    assert int(composition.n_arrangements) % comb(16, 2) == 0


def test_isovalent_dopant_needs_no_compensation():
    screening = _screening([{"host": "P5+", "dopants": ["Sb5+"]}], levels=["1/2"])
    _, (composition,), _ = _dope(screening)
    assert composition.n_mobile_removed == composition.n_mobile_added == 0
    assert composition.host_formula == "Na3P0.5Sb0.5S4"


def test_anion_substitution():
    screening = _screening([{"host": "S2-", "dopants": ["Cl-"]}], levels=["1/16"], n_ions=128)
    mother, (composition,), _ = _dope(screening)
    assert composition.composition_id == "Na3PS4-cubic_Cl-_1-16"
    assert composition.host_formula == "Na2.75PS3.75Cl0.25"
    assert composition.n_mobile_removed == 4
    assert _net_charge(mother, composition) == 0


def test_mobile_ion_itself_can_be_the_host():
    screening = _screening([{"host": "Na+", "dopants": ["Ca2+"]}], levels=["1/24"], n_ions=128)
    mother, (composition,), _ = _dope(screening)
    assert composition.n_mobile_removed == composition.substitutions[0].count == 2
    assert _net_charge(mother, composition) == 0
    assert solid_solution(mother, composition).n_ions == composition.n_ions == 126


def test_default_pairs_take_every_two_levels():
    rule = {"host": "Sn4+", "dopants": [["Ga3+", "P5+"]]}
    (variants,) = read_rules(Doping(rules=[rule]))
    assert len(variants) == 16
    assert variants[0].label == "Ga3+-1-8_P5+-1-8"
    (variants,) = read_rules(Doping(rules=[rule], levels=["1/2", "3/4"]))
    assert [v.levels for v in variants] == [(Fraction(1, 2), Fraction(1, 2))]


def test_too_many_vacancies_is_a_rejection_not_a_crash():
    screening = _screening([{"host": "S2-", "dopants": ["Cl-"]}], mother="NaInS2", levels=["1/2"])
    _, accepted, (rejected,) = _dope(screening)
    assert not accepted
    assert rejected.composition_id == "NaInS2_Cl-_1-2"
    assert (
        rejected.reason
        == "needs 48 vacancies of Na+, the supercell has 48 of them; lower the level"
    )


def test_no_room_for_extra_ions_is_a_rejection():
    """Rock salt with voids 1.9 A from the ions."""
    screening = _screening([{"host": "F-", "dopants": ["O2-"]}], levels=["1/8"], n_ions=128)
    (mother,), _ = read_mothers(_screening([{"host": "P5+", "dopants": ["W6+"]}]))
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.4), ["Na+", "F-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    update = {"mother_id": "NaF", "formula": "NaF", "structure": salt.as_dict()}
    _, accepted, (rejected,) = _dope(screening, mother.model_copy(update=update))
    assert not accepted
    assert rejected.composition_id == "NaF_O2-_1-8"
    assert "no void for Na+" in rejected.reason


def test_level_that_fits_no_supercell_names_levels_and_sizes():
    screening = _screening(
        [{"host": "P5+", "dopants": ["W6+"]}], levels=["1/8", "1/13"], n_ions=128, tolerance=0.1
    )
    with pytest.raises(InputError) as error:
        _dope(screening)
    message = str(error.value)
    assert "Na3PS4-cubic: level 1/13 of P5+ fits no supercell of 128 ions within 10%" in message
    assert "nearest levels that fit: 1/16" in message
    assert ", or set supercell.n_ions to 832" in message


def test_suggested_size_does_fit():
    rules = [{"host": "P5+", "dopants": ["W6+"]}]
    _, (composition,), _ = _dope(_screening(rules, levels=["1/13"], n_ions=104))
    assert composition.substitutions[0].count == 1


def test_disordered_mother_without_whole_numbers_of_hosts():
    """0.88 Sb on 2 sites: no size near 200 ions holds whole numbers, the nearest ones are taken."""
    screening = _screening([{"host": "Sb5+", "dopants": ["W6+"]}], levels=["1/8"])
    files = {"files": [str(CIFS / "database_export.cif")], "allow_disorder": True}
    screening = screening.model_copy(update={"mothers": Mothers(**files)})
    mothers, _ = read_mothers(screening)
    mother = next(mother for mother in mothers if not mother.is_ordered)
    _, accepted, rejected = _dope(screening, mother)
    assert not rejected
    (composition,) = accepted
    assert composition.wanted_formula
    assert composition.notes
    assert solid_solution(mother, composition).n_ions == composition.n_ions
    exact = screening.doping.model_copy(update={"occupancy_tolerance": 0.0})
    with pytest.raises(InputError, match=r"change an occupancy by .* set supercell.n_ions to"):
        _dope(screening.model_copy(update={"doping": exact}), mother)


def test_divalent_mobile_ion_needs_an_even_charge():
    """A divalent mobile ion: odd excess charge can't be balanced by whole vacancies."""
    screening = _screening([{"host": "P5+", "dopants": ["W6+"]}], levels=["1/4"], n_ions=128)
    (mother,), _ = read_mothers(screening)
    divalent = mother.model_copy(update={"mobile_ion": "Ca2+"})
    structure = Structure.from_dict(mother.structure)
    # No real compound: only the counting is tested.
    structure.replace_species({"Na+": "Ca2+", "P5+": "P2+"})
    divalent = divalent.model_copy(update={"structure": structure.as_dict(), "formula": "Ca3PS4"})
    rules = [{"host": "P2+", "dopants": ["P3+"]}]
    (variants,) = read_rules(Doping(rules=rules, levels=["1/4"]))
    (composition,), _ = dope(divalent, variants, screening)
    assert composition.substitutions[0].count % 2 == 0
    assert composition.n_mobile_removed == composition.substitutions[0].count // 2


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"host": "P5+", "dopants": ["W7+"]}, "Tungsten has no oxidation state 7"),
        ({"host": "P5+", "dopants": ["P5+"]}, "is the host itself"),
        ({"host": "P5+", "dopants": ["Cl-"]}, "an anion replaces anions only"),
        ({"host": "P5+", "dopants": [["W6+", "W6+"]]}, "twice in one pair"),
    ],
)
def test_impossible_rules(rule, message):
    with pytest.raises(InputError, match=message) as error:
        read_rules(Doping(rules=[rule]))
    assert "\n" not in str(error.value)


@given(
    st.sampled_from(["Si4+", "W6+", "Sb5+", "Ga3+", "Mg2+"]),
    st.sampled_from(["P4+", "Mo6+", "Ta5+", "Al3+"]),
    st.integers(1, 4),
    st.integers(1, 3),
)
@settings(max_examples=15, deadline=None)
def test_everything_accepted_is_neutral_and_whole(first, second, one, two):
    rule = {
        "host": "P5+",
        "dopants": [[first, second]],
        "pair_levels": [[f"{one}/8", f"{two}/8"]],
    }
    mother, accepted, rejected = _dope(_screening([rule], n_ions=128))
    assert len(accepted) + len(rejected) == 1
    for composition in accepted:
        assert _net_charge(mother, composition) == 0
        assert composition.n_mobile_added * composition.n_mobile_removed == 0
        assert solid_solution(mother, composition).n_arrangements == int(composition.n_arrangements)
