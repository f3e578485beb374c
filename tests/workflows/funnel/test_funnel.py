"""The whole funnel through the command line: real flows, real store, the mocked VASP."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.store.opening import open_job_store

MOTHERS = Path(__file__).parents[3] / "workflows" / "data" / "mothers"

#: One mother, two compositions, the shortest runs that still diffuse.
SETTINGS = {
    "name": "tiny",
    "mobile_ion": "Na+",
    "mothers": {"files": [str(MOTHERS / "Na3SbS4-cubic.cif")]},
    "doping": {
        "levels": ["1/8", "1/4"],
        "rules": [{"host": "Sb5+", "dopants": ["W6+"]}],
    },
    "supercell": {"n_ions": 64},
    "ewald": {"keep": 2, "seconds": 20},
    "relax": {"double_relax": False},
    "hull": {"max_e_hull_ev_atom": 5.0},
    "short_md": {
        "temperature_k": 900,
        "length_ps": 6,
        "equilibration_ps": 1,
        "segment_ps": 3,
        # A look at every segment, and runs that are extended.
        "look_ps": 2,
        "max_length_ps": 9,
        "min_sigma_s_cm": 1e-9,
    },
    "long_md": {
        "temperature_k": 900,
        "timestep_fs": 2,
        "length_ps": 4,
        "equilibration_ps": 1,
        "segment_ps": 2,
        "look_ps": 1,
        "min_sigma_s_cm": 1e-9,
        "max_relative_error": 10,
    },
    "compute": {"workers": 2},
}
GOOD, BAD = "Na3SbS4-cubic_W6+_1-8", "Na3SbS4-cubic_W6+_1-4"

#: Every calculation of the composition BAD dies.
ENVIRONMENT = {**os.environ, "IONSIEVE_MOCK_VASP_FAULT": "crash;formula=Na11Sb3WS16"}


def ionsieve(*arguments, check=True):
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "ionsieve", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=check,
        env=ENVIRONMENT,
    )


def write_settings(folder):
    path = folder / "screening.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def documents(settings):
    """Return identity and kind of every stored document that holds a result."""
    store = open_job_store(read_screening(settings))
    found = store.query({"metadata.document": {"$nin": [None, ""]}}, ["uuid", "index", "metadata"])
    return [(d["uuid"], d["index"], d["metadata"]["document"]) for d in found]


def numbers(settings):
    """Return the results people read, by composition."""
    rows = json.loads(ionsieve("query", settings, "--json").stdout)
    keys = ("e_hull_ev_atom", "sigma_short_s_cm", "sigma_long_s_cm")
    return {row["composition_id"]: [row[key] for key in keys] for row in rows}


def calculations(settings):
    """Return the folders in which VASP finished."""
    return sorted(str(path.parent) for path in (settings.parent / "work").rglob("vasprun.xml*"))


def processes_below(folder):
    """Return the processes that work in a folder: orphans, once the driver is dead."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            cwd = (process / "cwd").resolve(strict=True)
        except OSError:
            continue
        if folder in cwd.parents:
            found.append(process.name)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the settings of a screening that ran to its end."""
    settings = write_settings(tmp_path_factory.mktemp("finished"))
    done = ionsieve("run", settings, "--json", check=False)
    assert done.returncode == 1, done.stderr  # something failed
    outcome = json.loads(done.stdout)
    assert outcome["n_compositions"] == 2
    # Both arrangements of one composition.
    assert outcome["n_failed"] == 2
    return settings


@pytest.mark.slow
def test_a_composition_goes_from_cif_to_conductivity(finished):
    ((name, (e_hull, sigma_short, sigma_long)),) = numbers(finished).items()
    assert name == GOOD
    assert -1 < e_hull < 1
    assert sigma_short > 0
    assert sigma_long > 0


@pytest.mark.slow
def test_one_failure_stays_one_failure(finished):
    answer = json.loads(ionsieve("status", finished, "--json").stdout)
    states = {row["composition_id"]: row["state"] for row in answer["compositions"]}
    assert states[BAD] == "failed"
    assert states[GOOD] in ("long_failed", "long_undecided", "conductor")
    failed = [row for row in answer["flows"] if row["state"] == "failed"]
    assert {row["label"] for row in failed} == {BAD}
    assert all(row["error"] for row in failed)
    assert all(Path(row["failed_folder"]).is_dir() for row in failed)


@pytest.mark.slow
def test_every_number_leads_to_the_jobs_that_made_it(finished):
    (row,) = json.loads(ionsieve("query", finished, "--json").stdout)
    stored = {uuid for uuid, _, _ in documents(finished)}
    for stage in ("rank", "relax", "hull", "short_md", "long_md"):
        assert row["provenance"][stage]["uuid"] in stored


@pytest.mark.slow
def test_query_understands_the_documented_expression(finished):
    where = "sigma_long_s_cm > 0 and e_hull_ev_atom < 5"
    query = ("query", finished, "--where", where, "--json")
    (row,) = json.loads(ionsieve(*query, "--bounds").stdout)
    assert row["composition_id"] == GOOD


@pytest.mark.slow
def test_report_is_one_page_with_all_of_it(finished):
    page = finished.parent / "page.html"
    ionsieve("report", finished, "-o", page)
    text = page.read_text()
    assert "Na3SbS4" in text
    assert BAD in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_running_again_repeats_nothing(finished):
    before, folders = documents(finished), calculations(finished)
    ionsieve("run", finished, check=False)
    assert sorted(documents(finished)) == sorted(before)
    assert calculations(finished) == folders


@pytest.mark.slow
def test_killed_runs_lose_nothing_and_end_with_the_same_numbers(finished, tmp_path):
    settings = write_settings(tmp_path)
    draw = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "ionsieve", "run", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        time.sleep(draw.uniform(12, 24))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while processes_below(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes_below(tmp_path) == []
    survived = set(documents(settings))
    done = ionsieve("run", settings, check=False)
    assert done.returncode == 1, done.stderr
    stored = documents(settings)
    assert survived <= set(stored)
    assert len(set(stored)) == len(stored)
    kinds = sorted(kind for _, _, kind in stored)
    assert kinds == sorted(kind for _, _, kind in documents(finished))
    for name, expected in numbers(finished).items():
        assert numbers(settings)[name] == pytest.approx(expected, rel=1e-6)
