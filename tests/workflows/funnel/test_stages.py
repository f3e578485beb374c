"""What the stages ask for and how they judge, without running DFT."""

import math
import re

import pytest

from ionsieve.workflows.documents.raw import Provenance, TransportDocument
from ionsieve.workflows.funnel.conclusion import concluded
from ionsieve.workflows.funnel.progress import standing
from ionsieve.workflows.funnel.table import enabled_stages
from store_writer import StoreWriter

BOLTZMANN_EV_K = 8.617333262e-5
#: Surely enough for both gates.
HIGH = (0.9, 1.0, 1.1)


def run_at(temperature_k, activation_ev=0.25, verdict="diffusing"):
    """Return a run whose diffusivity follows a known Arrhenius law."""
    diffusivity = 1e-3 * math.exp(-activation_ev / (BOLTZMANN_EV_K * temperature_k))
    sigma = 2e5 * diffusivity / temperature_k
    return TransportDocument(
        composition_id="NaCl_none",
        mother_id="NaCl",
        composition="NaCl",
        stage="arrhenius",
        temperature_k=temperature_k,
        timestep_fs=2,
        length_ps=100,
        run_length_ps=105,
        verdict=verdict,
        reasons=[],
        diffusivity_cm2_s=diffusivity,
        diffusivity_ci95_cm2_s=(0.9 * diffusivity, 1.1 * diffusivity),
        relative_error=0.1,
        sigma_ne_s_cm=sigma,
        sigma_ne_ci95_s_cm=(0.9 * sigma, 1.1 * sigma),
        analysis={},
        segment_uuids=[],
        provenance=Provenance(),
    )


def conclusion(candidate, runs):
    return concluded(candidate.subject, "key", runs, [f"run {n}" for n in range(len(runs))])


def test_conclusion_extrapolates_a_known_law(candidate):
    conductor = conclusion(candidate, [run_at(temperature) for temperature in (600, 700, 800)])
    assert conductor.activation_energy_ev == pytest.approx(0.25, abs=0.01)
    assert conductor.sigma_300k_s_cm == pytest.approx(run_at(300).sigma_ne_s_cm, rel=0.15)
    low, high = conductor.sigma_300k_ci95_s_cm
    assert low < run_at(300).sigma_ne_s_cm < high
    assert conductor.sigma_300k_is_extrapolated
    assert len(conductor.provenance.input_uuids) == 3


def test_conclusion_takes_room_temperature_as_measured(candidate):
    conductor = conclusion(candidate, [run_at(300)])
    assert conductor.sigma_300k_s_cm == run_at(300).sigma_ne_s_cm
    assert not conductor.sigma_300k_is_extrapolated
    assert conductor.activation_energy_ev is None


def test_conclusion_never_extrapolates_from_one_temperature(candidate):
    assert conclusion(candidate, [run_at(600)]).sigma_300k_s_cm is None


@pytest.fixture
def writer(candidate):
    return StoreWriter(candidate)


def state(case):
    return standing(case, enabled_stages(case.screening)).state


def test_lowest_relaxed_energy_wins_and_failures_are_recorded(writer):
    writer.write_ranking(3)
    writer.write_relaxed([-1.0])
    case = writer.case()
    assert case.outcomes["relax"].state == "open"
    writer.write_relaxed([None, -1.5])
    case = writer.case()
    outcome = case.outcomes["relax"]
    assert outcome.state == "done"
    assert outcome.result["energy_ev_atom"] == -1.5
    assert len(outcome.requests) == 1  # the failed one, for whoever retries
    assert standing(case, enabled_stages(case.screening)).failure == "relax: job: it broke"


def test_all_relaxations_failed_fails_the_composition_with_the_reason(writer):
    writer.write_ranking(2)
    writer.write_relaxed([None, None])
    now = standing(writer.case(), enabled_stages(writer.case().screening))
    assert now.state == "failed"
    assert now.reasons == ("all 2 relaxations failed: relax: job: it broke",)


def test_hull_waits_for_every_phase_and_says_for_which(writer):
    writer.write_ranking(1)
    writer.write_relaxed([-1.0])
    writer.write_phases("Na")
    assert writer.case().outcomes["hull"].reason == "competing phases not computed yet: Cl2"
    writer.fail("phase Cl2")
    assert "no energy of the element Cl (failed: Cl2)" in writer.case().outcomes["hull"].reason
    writer.write_phases("Cl2")
    assert writer.case().outcomes["hull"].state == "open"


def at_hull(writer, energies=(-1.0,)):
    writer.write_ranking(len(energies))
    writer.write_relaxed(energies)
    writer.write_phases()


@pytest.mark.parametrize(
    ("e_hull", "missing", "verdict", "reasons"),
    [
        (0.05, (), "passed", ()),
        (0.15, (), "failed", ("0.150 eV/atom above the hull, the limit is 0.1",)),
        (
            0.05,
            ("NaCl3",),
            "unknown",
            (
                ">= 0.050 eV/atom above the hull",
                "lower bound: 1 known phases have no energy",
            ),
        ),
        (0.15, ("NaCl3",), "failed", (">= 0.150 eV/atom above the hull, the limit is 0.1",)),
        (
            -0.05,
            (),
            "passed",
            ("0.050 eV/atom below all competing phases: new stable phase",),
        ),
    ],
)
def test_hull_gate_does_not_call_a_lower_bound_passed(writer, e_hull, missing, verdict, reasons):
    goes_on = verdict != "failed"
    at_hull(writer)
    writer.write_hull(e_hull, missing)
    judgement = writer.case().outcomes["hull"].judgement
    assert (judgement.verdict, judgement.goes_on) == (verdict, goes_on)
    assert judgement.reasons == reasons
    assert writer.case().outcomes.get("short_md") is None or goes_on


def test_a_system_that_is_not_covered_is_unknown_and_may_end_there(writer):
    at_hull(writer)
    writer.write_hull(-1.25, ["not covered: Cl-Li-Mg-O (2 of its phases are used)"])
    judgement = writer.case().outcomes["hull"].judgement
    assert judgement.reasons == (
        "1.250 eV/atom below all of those computed",
        "not covered: Cl-Li-Mg-O (2 of its phases are used)",
    )
    assert (judgement.verdict, judgement.goes_on) == ("unknown", True)
    strict = writer.case(hull={"go_on_if_unknown": False})
    assert strict.outcomes["hull"].judgement.verdict == "unknown"
    assert "short_md" not in strict.outcomes
    assert state(strict) == "hull_unknown"


def test_a_moved_limit_judges_anew_and_computes_nothing(writer):
    at_hull(writer)
    writer.write_hull(0.05)
    assert state(writer.case()) == "hull_passed"
    strict = writer.case(hull={"max_e_hull_ev_atom": 0.02})
    assert state(strict) == "hull_failed"
    assert not any(outcome.requests for outcome in strict.outcomes.values())


@pytest.mark.parametrize(
    ("lowest", "highest", "word"),
    # 1062 per cm = 31.8 THz is where Verlet's scheme breaks down at 10 fs; the limit of 1.6 for
    # the ratio of temperatures is reached at 19.5 THz.
    [
        (-2.0, 12.0, "imaginary"),
        (0.0, 19.6, "temperature is 1.61 times .* below 9.9"),
        (0.0, 32.0, "temperature is inf times .* below 6.1"),
    ],
)
def test_phonon_gate_refuses(writer, lowest, highest, word):
    at_hull(writer)
    writer.write_hull(0.05)
    on = {"phonons": {"enabled": True}}
    writer.write_phonons(lowest, highest, **on)
    case = writer.case(**on)
    assert case.outcomes["phonons"].judgement.verdict == "failed"
    assert re.search(word, case.outcomes["phonons"].judgement.reasons[0])
    now = standing(case, enabled_stages(case.screening))
    assert (now.state, now.passages["phonons"]) == ("phonons_failed", "stopped")


def test_phonon_gate_lets_a_stable_material_on(writer):
    at_hull(writer)
    writer.write_hull(0.05)
    on = {"phonons": {"enabled": True}}
    writer.write_phonons(-0.1, 19.4, **on)
    case = writer.case(**on)
    assert case.outcomes["phonons"].judgement.verdict == "passed"
    # The runs that follow are checked against the phonons, too.
    without = writer.case().outcomes["short_md"].requests[0]
    assert case.outcomes["short_md"].requests[0].key != without.key


def test_a_material_goes_from_gate_to_gate(writer):
    at_hull(writer)
    writer.write_hull(0.05)
    for stage, expected in (("short_md", "short_passed"), ("long_md", "long_passed")):
        writer.write_look(stage, HIGH)
        assert state(writer.case()) == expected
    assert writer.case().outcomes["conductor"].state == "open"


def finished(writer):
    at_hull(writer)
    writer.write_hull(0.05)
    writer.write_look("short_md", HIGH)
    writer.write_look("long_md", HIGH)


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        ({"arrhenius": {"temperatures_k": [700.0]}}, "arrhenius"),
        ({"ewald": {"keep": 2}}, None),
        ({"compute": {"workers": 8}}, None),
        ({"short_md": {"min_sigma_s_cm": 1e-4}}, None),
        ({"hull": {"max_e_hull_ev_atom": 0.12}}, None),
        ({"long_md": {"max_relative_error": 0.4}}, None),
        ({"long_md": {"seed": 3}}, "long_md"),
        ({"short_md": {"temperature_k": 900.0}}, "short_md"),
        ({"relax": {"double_relax": False}}, "relax"),
        ({"ewald": {"seed": 3}}, "rank"),
    ],
)
def test_a_changed_setting_repeats_only_what_depends_on_it(writer, settings, stage):
    finished(writer)
    case = writer.case(**settings)
    asked = [name for name, outcome in case.outcomes.items() if outcome.requests]
    assert asked == ([stage] if stage else ["conductor"])
    assert all(writer.case().outcomes[s].state == "done" for s in ("rank", "relax", "long_md"))


def test_a_further_temperature_adds_only_itself(writer):
    finished(writer)
    one = {"arrhenius": {"temperatures_k": [700.0]}}
    writer.write_look("arrhenius", HIGH, temperature_k=700.0, **one)
    assert writer.case(**one).outcomes["arrhenius"].state == "done"
    two = {"arrhenius": {"temperatures_k": [700.0, 800.0]}}
    assert len(writer.case(**two).outcomes["arrhenius"].requests) == 1


def test_more_arrangements_relax_only_the_new_ones(writer):
    writer.write_ranking(5, n_kept=5)
    writer.write_relaxed([-1.0, -1.1], ewald={"keep": 2})
    assert writer.case(ewald={"keep": 2}).outcomes["relax"].state == "done"
    assert len(writer.case(ewald={"keep": 5}).outcomes["relax"].requests) == 3
    # More than the ranking kept: rank again.
    assert writer.case(ewald={"keep": 6}).outcomes["rank"].state == "open"


def test_another_lowest_arrangement_renews_what_rested_on_the_old_one(writer):
    writer.write_ranking(2)
    writer.write_relaxed([-1.0, None])
    writer.write_phases()
    writer.write_hull(0.05)
    writer.write_look("short_md", HIGH)
    before = writer.case().outcomes["relax"].result.uuid
    (failed,) = writer.case().outcomes["relax"].requests
    writer.job_store.remove_docs({"uuid": f"failure-{failed.key}"})
    writer.write_relaxed([-2.0])
    case = writer.case()
    assert case.outcomes["relax"].result.uuid != before
    assert case.outcomes["hull"].state == "open"
    assert "short_md" not in case.outcomes


def test_undecided_is_neither_passed_nor_failed(writer):
    at_hull(writer)
    writer.write_hull(0.05)
    settings = {"short_md": {"length_ps": 100.0, "max_length_ps": 100.0, "stop_early": False}}
    writer.write_look("short_md", (0.0, 0.0, 7e-4), verdict="upper_bound", **settings)
    low = {**settings, "short_md": {**settings["short_md"], "min_sigma_s_cm": 1e-4}}
    case = writer.case(**low)
    outcome = case.outcomes["short_md"]
    assert (outcome.judgement.verdict, outcome.judgement.goes_on) == ("undecided", False)
    assert state(case) == "short_undecided"
    assert standing(case, enabled_stages(case.screening)).passages["short_md"] == "undecided"
