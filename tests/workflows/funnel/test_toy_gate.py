"""A gate added in one module and one row is everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jobflow.managers.fireworks import flow_to_workflow

import sodium_sulfide
import toy_gate
from ionsieve.workflows.funnel import table
from store_writer import StoreWriter

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    sodium_sulfide.write_mother(folder)
    settings = {**sodium_sulfide.SETTINGS, "hull": {"max_e_hull_ev_atom": 5.0}}
    (folder / "screening.yaml").write_text(yaml.safe_dump(settings))
    return folder


def toy(folder, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "IONSIEVE_ALLOWED_MODULES": "toy_gate",
    }
    done = subprocess.run(
        [sys.executable, str(TESTS / "toy_gate.py"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_gate_of_one_module_and_one_row_goes_to_a_cluster(candidate, monkeypatch):
    monkeypatch.setattr(table, "FUNNEL", table.FUNNEL)
    toy_gate.add_row()
    writer = StoreWriter(candidate)
    writer.write_ranking(1)
    writer.write_relaxed([-1.0])
    writer.write_phases()
    writer.write_hull(0.05)
    (request,) = writer.case().outcomes["density"].requests
    workflow = flow_to_workflow(request.make(), writer.job_store)
    (firework,) = workflow.fws
    assert firework.spec["_category"] == "small"
    assert firework.spec["_priority"] == request.priority == 31
    assert firework.spec["flow_key"] == request.key


@pytest.mark.slow
def test_a_gate_of_one_module_and_one_row_is_everywhere(folder):
    plan = json.loads(toy(folder, "plan", "screening.yaml", "--json"))
    assert "density" in [stage["stage"] for stage in plan["stages"]]

    outcome = json.loads(toy(folder, "run", "screening.yaml", "--json"))
    assert outcome["n_failed"] == 0

    status = json.loads(toy(folder, "status", "screening.yaml", "--json"))
    stages = {stage["stage"]: stage for stage in status["stages"]}
    assert list(stages)[2:4] == ["hull", "density"]
    assert (stages["density"]["entered"], stages["density"]["stopped"]) == (1, 1)
    (composition,) = status["compositions"]
    assert composition["state"] == "density_failed"
    assert "the limit is 0.5" in composition["reason"]

    (row,) = json.loads(toy(folder, "query", "screening.yaml", "--json"))
    assert row["gate_density_g_cm3"] > 0.5
    assert row["state"] == "density_failed"
    where = "gate_density_g_cm3 > 0.5"
    assert len(json.loads(toy(folder, "query", "screening.yaml", "--where", where, "--json"))) == 1

    toy(folder, "report", "screening.yaml", "-o", "page.html")
    assert "Density gate" in (folder / "page.html").read_text()
