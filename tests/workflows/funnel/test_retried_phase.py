"""A competing phase that failed and is retried: the hull energies are computed again."""

import json
import os
import subprocess
import sys

import pytest
import yaml

import sodium_sulfide
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.store.opening import open_job_store

#: Molecular dynamics that ends at the short diagnosis.
SETTINGS = {
    **sodium_sulfide.SETTINGS,
    "name": "retried",
    # Between the hull energies without and with NaCl.
    "hull": {"max_e_hull_ev_atom": 0.0},
    "short_md": {
        "temperature_k": 300,
        "length_ps": 2,
        "max_length_ps": 2,
        "segment_ps": 2,
        "look_ps": 2,
        "equilibration_ps": 0.5,
    },
}
pytestmark = pytest.mark.slow


@pytest.fixture
def screening(tmp_path):
    sodium_sulfide.write_mother(tmp_path)
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def run(screening, *options, fault=""):
    """Return the exit code of `ionsieve run`: 1 with failed calculations."""
    return subprocess.run(
        [sys.executable, "-m", "ionsieve", "run", screening, *options],
        env={**os.environ, "IONSIEVE_MOCK_VASP_FAULT": fault},
        capture_output=True,
    ).returncode


def stored(screening, kind):
    store = open_job_store(read_screening(screening))
    query = {"metadata.document": kind}
    return list(store.query(query, properties=["uuid", "output"], sort={"completed_at": 1}))


def status(screening):
    command = [sys.executable, "-m", "ionsieve", "status", screening, "--json"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return answer["compositions"][0]["state"], [
        flow["label"] for flow in answer["flows"] if flow["state"] == "failed"
    ]


def test_hull_energy_follows_molecular_dynamics_does_not_repeat(screening):
    assert run(screening, fault="crash;formula=NaCl") == 1
    assert status(screening)[0] == "short_undecided"
    runs = stored(screening, "TransportDocument")
    assert len(runs) == 1

    assert run(screening, "--retry-failed") == 0
    lower_bound, renewed = (entry["output"] for entry in stored(screening, "HullDocument"))
    assert "NaCl (calculation failed)" in str(lower_bound["missing_phases"])
    assert "calculation failed" not in str(renewed["missing_phases"])
    assert renewed["n_phases"] == lower_bound["n_phases"] + 1
    assert lower_bound["e_hull_ev_atom"] < 0 < renewed["e_hull_ev_atom"]
    assert status(screening) == ("hull_failed", [])
    assert stored(screening, "TransportDocument") == runs

    assert run(screening) == 0
    assert len(stored(screening, "HullDocument")) == 2


def test_element_that_failed_holds_up_the_hull_until_it_is_there(screening):
    assert run(screening, fault="crash;formula=Na") == 1
    state, (failed,) = status(screening)
    assert state == "relaxed"
    assert failed.startswith("Na")

    assert run(screening, "--retry-failed") == 0
    (document,) = stored(screening, "HullDocument")
    assert "calculation failed" not in str(document["output"]["missing_phases"])
    assert status(screening)[1] == []
