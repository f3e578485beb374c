import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.documents.raw import MaterialDocument, PhaseDocument, Provenance
from ionsieve.workflows.thermodynamics.convex_hull import disagreement, hull_distance
from naive import hull_energy_by_linear_programming

DUMMY = Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]).as_dict()
HASH = "0123456789abcdef"


def provenance(backend="mock_vasp", settings_hash=HASH):
    return Provenance(backend=backend, settings_hash=settings_hash)


def phase(formula, energy, phase_id="", **origin):
    return PhaseDocument(
        phase_id=phase_id or formula,
        formula=formula,
        structure=DUMMY,
        energy_ev_atom=energy,
        source="test",
        provenance=provenance(**origin),
    )


def material(formula, energy, **origin):
    return MaterialDocument(
        composition_id="c1",
        mother_id="m1",
        composition=formula,
        structure=DUMMY,
        energy_ev_atom=energy,
        n_ions=1,
        density_g_cm3=2.0,
        volume_change=0.0,
        ewald_rank=1,
        ewald_energy_ev=-1.0,
        provenance=provenance(**origin),
    )


def distance(formula, energy, phases, missing=(), failed=()):
    return hull_distance(
        material(formula, energy),
        phases,
        known_missing=missing,
        failed_phases=failed,
        provenance=provenance(settings_hash="of the document"),
    )


#: Formation energies in eV/atom: Na2S -1, and energies of the elements that are not zero.
BINARY = [phase("Na", -1.0), phase("S", -4.0), phase("Na2S", -3.0)]


def test_binary_by_hand():
    # NaS = 1/4 S + 3/4 Na2S by atoms: -1 - 2.25 = -3.25
    result = distance("NaS", -3.2, BINARY)
    assert result.e_hull_ev_atom == pytest.approx(0.05)
    assert result.decomposition == pytest.approx({"Na2S": 0.75, "S": 0.25})
    assert result.formation_energy_ev_atom == pytest.approx(-3.2 - (-2.5))
    assert result.n_phases == 3
    assert not result.is_lower_bound
    assert result.provenance.settings_hash == "of the document"


def test_ternary_by_hand():
    # Na3PS4 -> 3/2 Na2S + 1/2 P2S5; formation energies per atom -1.0 and -0.4
    phases = [phase(e, 0.0) for e in ("Na", "P", "S")] + [phase("Na2S", -1.0), phase("P2S5", -0.4)]
    hull = -(4.5 * 1.0 + 3.5 * 0.4) / 8
    result = distance("Na3PS4", hull + 0.15, phases)
    assert result.e_hull_ev_atom == pytest.approx(0.15)
    assert result.decomposition == pytest.approx({"Na2S": 4.5 / 8, "P2S5": 3.5 / 8})


def test_below_the_hull_is_negative():
    result = distance("NaS", -3.3, BINARY)
    assert result.e_hull_ev_atom == pytest.approx(-0.05)


def test_a_polymorph_competes_with_its_own_composition():
    result = distance("Na2S", -2.9, BINARY)
    assert result.e_hull_ev_atom == pytest.approx(0.1)
    assert result.decomposition == {"Na2S": 1.0}


def test_lowest_polymorph_counts():
    phases = [*BINARY, phase("Na2S", -3.2, "Na2S-low"), phase("S", -3.5, "S-high")]
    result = distance("NaS", -3.2, phases)
    assert result.decomposition == pytest.approx({"Na2S-low": 0.75, "S": 0.25})


def test_missing_and_failed_phases_make_a_lower_bound():
    result = distance("NaS", -3.2, BINARY, missing=["Na2S4 (I-42d)"], failed=["Na2S2"])
    assert result.is_lower_bound
    assert result.missing_phases == ["Na2S4 (I-42d)", "Na2S2 (calculation failed)"]


def test_phases_of_other_systems_are_ignored():
    more = [phase("W", -9.0), phase("WS2", -99.0)]
    result, wider = distance("NaS", -3.2, BINARY), distance("NaS", -3.2, BINARY + more)
    assert wider == result


def test_missing_element_is_explained():
    with pytest.raises(IonSieveError, match=r"element S .failed: S-alpha.*Na2S") as caught:
        distance("Na2S", -3.0, [BINARY[0], BINARY[2]], failed=["S-alpha"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("energy", [math.nan, math.inf])
def test_unfinished_energies_are_refused(energy):
    with pytest.raises(IonSieveError, match=r"phase Na2S.*eV/atom"):
        distance("NaS", -3.2, [*BINARY[:2], phase("Na2S", energy)])
    with pytest.raises(IonSieveError, match=r"c1 has the energy"):
        distance("NaS", energy, BINARY)


@pytest.mark.parametrize("origin", [{"backend": "vasp"}, {"settings_hash": "f" * 16}])
def test_energy_scales_are_not_mixed(origin):
    with pytest.raises(IonSieveError, match=r"Na2S2 was computed with.*can't be compared"):
        distance("NaS", -3.2, [*BINARY, phase("NaS", -3.1, "Na2S2", **origin)])


def random_system(seed, n_phases=8):
    """Elements and random compounds of Na-W-Sb-S, and a composition among them."""
    random = np.random.default_rng(seed)
    symbols = ["Na", "W", "Sb", "S"]
    phases = [phase(s, float(random.normal(-4, 1))) for s in symbols]
    for index in range(n_phases):
        counts = random.integers(0, 4, 4)
        counts[3] += 1
        formula = Composition(dict(zip(symbols, map(int, counts), strict=True))).formula
        phases.append(phase(formula.replace(" ", ""), float(random.normal(-5, 1)), f"phase{index}"))
    counts = random.integers(1, 6, 4)
    formula = Composition(dict(zip(symbols, map(int, counts), strict=True))).formula
    return formula.replace(" ", ""), float(random.normal(-5, 1)), phases


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_agrees_with_linear_programming_and_pymatgen(seed):
    formula, energy, phases = random_system(seed)
    result = distance(formula, energy, phases)
    hull = hull_energy_by_linear_programming(
        formula, [(p.formula, p.energy_ev_atom) for p in phases]
    )
    assert result.e_hull_ev_atom == pytest.approx(energy - hull, abs=1e-8)

    composition = Composition(formula)
    entries = [PDEntry(c := Composition(p.formula), p.energy_ev_atom * c.num_atoms) for p in phases]
    entry = PDEntry(composition, energy * composition.num_atoms)
    expected = PhaseDiagram(entries).get_decomp_and_e_above_hull(entry, allow_negative=True)[1]
    assert result.e_hull_ev_atom == pytest.approx(expected, abs=1e-8)

    energies = {p.phase_id: p for p in phases}
    assert sum(result.decomposition.values()) == pytest.approx(1.0)
    mixture = sum(x * energies[i].energy_ev_atom for i, x in result.decomposition.items())
    assert result.e_hull_ev_atom == pytest.approx(energy - mixture, abs=1e-6)
    for element in composition.elements:
        amount = sum(
            x * Composition(energies[i].formula).get_atomic_fraction(element)
            for i, x in result.decomposition.items()
        )
        assert amount == pytest.approx(composition.get_atomic_fraction(element), abs=1e-6)


@given(seed=st.integers(0, 10**6), multiple=st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_invariances(seed, multiple):
    formula, energy, phases = random_system(seed)
    result = distance(formula, energy, phases)

    fewer = distance(formula, energy, phases[:-2])
    assert result.e_hull_ev_atom >= fewer.e_hull_ev_atom - 1e-9

    reversed_ = distance(formula, energy, phases[::-1])
    assert reversed_.e_hull_ev_atom == pytest.approx(result.e_hull_ev_atom, abs=1e-9)

    scaled = (Composition(formula) * multiple).formula.replace(" ", "")
    assert distance(scaled, energy, phases).e_hull_ev_atom == pytest.approx(
        result.e_hull_ev_atom, abs=1e-9
    )

    # Other reference energies of the elements shift everything by what the composition holds.
    shift = {"Na": 1.3, "W": -2.0, "Sb": 0.4, "S": 0.9}

    def shifted(text, value):
        composition = Composition(text)
        return value + sum(composition.get_atomic_fraction(e) * s for e, s in shift.items())

    moved = [phase(p.formula, shifted(p.formula, p.energy_ev_atom), p.phase_id) for p in phases]
    again = distance(formula, shifted(formula, energy), moved)
    assert again.e_hull_ev_atom == pytest.approx(result.e_hull_ev_atom, abs=1e-8)
    assert again.formation_energy_ev_atom == pytest.approx(
        result.formation_energy_ev_atom, abs=1e-8
    )


def test_charge_neutral_doped_cell():
    phases = [phase(e, 0.0) for e in ("Na", "W", "Sb", "S")]
    phases += [phase("Na3SbS4", -1.0), phase("Na2WS4", -0.9)]
    # Na22W2Sb6S32 = 6 Na3SbS4 + 2 Na2WS4
    result = distance("Na11WSb3S16", -0.95, phases)
    hull = -(6 * 8 * 1.0 + 2 * 7 * 0.9) / 62
    assert result.e_hull_ev_atom == pytest.approx(-0.95 - hull)
    assert result.decomposition == pytest.approx({"Na3SbS4": 48 / 62, "Na2WS4": 14 / 62})


def identity(engine="vasp 6.4.2", potentials=None, tags=None, **settings):
    return {
        "engine": engine,
        "potentials": potentials or {"Na": "PAW_PBE Na_pv 19Sep2006 0a1b"},
        "tags": tags or {"ENCUT": 680.0, "GGA": "PS"},
        "settings": {"incar": {}, "n_relaxations": 2, **settings},
    }


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (identity("vasp 6.3.0"), ("engine", "vasp 6.4.2", "vasp 6.3.0")),
        (identity("vasp 7.4.2"), ("engine", "vasp 6.4.2", "vasp 7.4.2")),
        (
            identity("ionsieve-mock-vasp 6.4.2"),
            ("engine", "vasp 6.4.2", "ionsieve-mock-vasp 6.4.2"),
        ),
        (
            identity(potentials={"S": "S", "Na": "PAW_PBE Na_sv 28Sep2000"}),
            ("potentials.Na", "PAW_PBE Na_pv 19Sep2006 0a1b", "PAW_PBE Na_sv 28Sep2000"),
        ),
        (identity(tags={"ENCUT": 520.0, "GGA": "PS"}), ("tags.ENCUT", "680.0", "520.0")),
        (identity(tags={"ENCUT": 680.0}), ("tags.GGA", "PS", "unknown")),
        (identity(incar={"LDAU": True}), ("settings.incar.LDAU", "unknown", "True")),
        (identity(n_relaxations=1), ("settings.n_relaxations", "2", "1")),
        (identity(weights="9f"), ("settings.weights", "unknown", "9f")),
    ],
)
def test_energies_of_different_origin_disagree(other, found):
    assert disagreement(identity(), other) == found
    assert disagreement(other, identity()) == (found[0], found[2], found[1])


@pytest.mark.parametrize(
    "other",
    [
        identity(),
        identity("vasp 6.4.3"),
        # Another compound has other elements.
        identity(potentials={"S": "PAW_PBE S 06Sep2000"}),
    ],
)
def test_energies_of_one_origin_agree(other):
    assert disagreement(identity(), other) is None


def test_mixed_engines_are_refused_in_one_line():
    ours = material("Na2S2", -3.2).model_copy(update={"energy_identity": identity()})
    rest = {"known_missing": [], "failed_phases": []}

    def against(energy_identity):
        update = {"energy_identity": energy_identity}
        phases = [entry.model_copy(update=update) for entry in BINARY]
        return hull_distance(ours, phases, **rest, provenance=provenance())

    assert against(identity("vasp 6.4.3")).n_phases == 3
    message = r"phase Na was computed with engine vasp 6\.3\.0, c1 with vasp 6\.4\.2: [^\n]*$"
    with pytest.raises(IonSieveError, match=message):
        against(identity("vasp 6.3.0"))
    # Stored before identities were: nobody knows what computed it.
    with pytest.raises(IonSieveError, match=r"phase Na was computed with \w+ .*c1 with unknown"):
        against({})
