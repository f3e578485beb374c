"""The rules between the stages, without running DFT."""

import math
import re

import numpy as np
import pytest
from jobflow import CURRENT_JOB
from pymatgen.core import Lattice
from pymatgen.phonon.bandstructure import PhononBandStructureSymmLine

from ionsieve.errors import IonSieveError
from ionsieve.workflows.documents.raw import Provenance, RelaxedArrangement, TransportDocument
from ionsieve.workflows.funnel.arrhenius import conclude
from ionsieve.workflows.funnel.phonons import phonon_gate
from ionsieve.workflows.funnel.relaxation import select_lowest

BOLTZMANN_EV_K = 8.617333262e-5


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
        end_reason="length",
        looks=[],
        verdict=verdict,
        reasons=[],
        diffusivity_cm2_s=diffusivity,
        diffusivity_ci95_cm2_s=(0.9 * diffusivity, 1.1 * diffusivity),
        sigma_ne_s_cm=sigma,
        sigma_ne_ci95_s_cm=(0.9 * sigma, 1.1 * sigma),
        analysis={},
        passed=True,
        gate_reasons=[],
        segment_uuids=[],
        provenance=Provenance(input_uuids=[f"run at {temperature_k}"]),
    )


def test_conclusion_extrapolates_a_known_law(candidate):
    runs = [run_at(temperature) for temperature in (600, 700, 800)]
    conductor = conclude.original(candidate, runs[0], runs[1:])
    assert conductor.activation_energy_ev == pytest.approx(0.25, abs=0.01)
    assert conductor.sigma_300k_s_cm == pytest.approx(run_at(300).sigma_ne_s_cm, rel=0.15)
    low, high = conductor.sigma_300k_ci95_s_cm
    assert low < run_at(300).sigma_ne_s_cm < high
    assert conductor.sigma_300k_is_extrapolated
    assert len(conductor.provenance.input_uuids) == 3


def test_conclusion_takes_room_temperature_as_measured(candidate):
    conductor = conclude.original(candidate, run_at(300), [])
    assert conductor.sigma_300k_s_cm == run_at(300).sigma_ne_s_cm
    assert not conductor.sigma_300k_is_extrapolated
    assert conductor.activation_energy_ev is None


def test_conclusion_never_extrapolates_from_one_temperature(candidate):
    conductor = conclude.original(candidate, run_at(600), [None])
    assert conductor.sigma_300k_s_cm is None


def relaxed(count):
    return [
        RelaxedArrangement(rank=n + 1, ewald_energy_ev=-n, static_uuid=f"s{n}")
        for n in range(count)
    ]


def test_lowest_relaxed_energy_wins_and_failures_are_recorded(candidate, structure):
    material = select_lowest.original(
        candidate,
        relaxed(3),
        [-1.0, None, -1.5],
        [structure, None, structure],
        [structure.volume] * 3,
        "ranking",
    )
    assert material.ewald_rank == 3
    assert material.energy_ev_atom == -1.5
    assert material.volume_change == pytest.approx(0)
    assert [bool(entry.reason) for entry in material.candidates] == [False, True, False]


def test_all_relaxations_failed_is_an_error(candidate):
    with pytest.raises(IonSieveError, match="all 2 relaxations of NaCl_none failed"):
        select_lowest.original(candidate, relaxed(2), [None, None], [None, None], [1, 1], "r")


@pytest.fixture
def running(candidate, structure):
    """Pretend to be inside a job, as the launcher does."""
    CURRENT_JOB.job = phonon_gate(candidate, structure, None, "uuid")
    yield
    CURRENT_JOB.reset()


def bands(lowest_thz, highest_thz):
    lattice = Lattice.cubic(2 * math.pi)
    frequencies = np.array([[lowest_thz, lowest_thz], [highest_thz, highest_thz]])
    return PhononBandStructureSymmLine(
        [[0, 0, 0], [0.5, 0, 0]],
        frequencies,
        lattice,
        labels_dict={"G": [0, 0, 0], "X": [0.5, 0, 0]},
    )


@pytest.mark.usefixtures("running")
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
def test_phonon_gate_refuses(candidate, structure, lowest, highest, word):
    response = phonon_gate.original(candidate, structure, bands(lowest, highest), "uuid")
    assert not response.output.passed
    assert re.search(word, response.output.reasons[0])
    assert response.addition is None


@pytest.mark.usefixtures("running")
def test_phonon_gate_lets_a_stable_material_on(candidate, structure):
    response = phonon_gate.original(candidate, structure, bands(-0.1, 19.4), "uuid")
    assert response.output.passed
    # The runs that follow are checked against the phonons, too.
    runs = [job.function_args[0] for job in response.addition.jobs if "store" in job.name]
    assert {run.fastest_phonon_thz for run in runs} == {19.4}
