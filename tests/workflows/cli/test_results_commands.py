"""``status``, ``list``, ``report`` and ``clean`` on the results of an imagined screening."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from jobflow import Flow, job

from ionsieve.errors import InputError
from ionsieve.workflows.cli import clean, list, report, status
from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.runners.cleaning import clean as clean_folders
from ionsieve.workflows.runners.local.lock import sole_driver
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.runners.work import queue_path
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, compositions, screening

SETTINGS = {
    "name": "imagined",
    "mothers": {"files": ["*.cif"]},
    "doping": {"rules": [{"host": "Sb5+", "dopants": ["W6+"]}]},
    "phonons": {"enabled": True},
}


@job
def nothing():
    """Do nothing; only its folder counts."""


def write_settings(folder, **changes):
    path = folder / f"{changes.get('name', 'screening')}{len(changes)}.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, **changes}))
    return path


def run(command, path, *arguments):
    result = CliRunner().invoke(command, [str(path), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def path(tmp_path):
    """Return the settings of a screening with a failure, a refusal and a run that goes on."""
    screening(tmp_path)  # writes the mothers
    path = write_settings(tmp_path)
    settings = read_screening(path)
    refused, failed, going = compositions()[4:7]
    with open_job_store(settings) as job_store:
        imagined = Imagined(settings, job_store)
        imagined.plan()
        imagined.phases(fail=("Sn-element",))
        for composition in (refused, failed, going):
            imagined.rank(composition)
        imagined.relax(refused)
        imagined.hull(refused, 0.02)
        imagined.phonons(refused, -4.2)
        imagined.fail_stage(failed, "relax", "SCF [diverged]")
    return path


def completed(queue, work_dir, key, label, folder_text="output"):
    """Take a flow of one job through the queue; return the job's folder."""
    queue.add_flows([NewFlow(key, Flow([nothing()]), label=label, stage="relax")])
    claimed = queue.claim(1, work_dir)
    folder = work_dir.__class__(claimed.run_dir)
    (folder / "OUTCAR").write_text(folder_text)
    queue.complete(claimed.job_id)
    return folder


def test_status_says_where_each_stands_and_why(path):
    answer = json.loads(run(status.command, path, "--json"))
    rows = {row["composition_id"]: row for row in answer["compositions"]}
    refused, failed, going = (c.composition_id for c in compositions()[4:7])
    assert rows[refused]["state"] == "phonons_failed"
    assert "imaginary mode at -4.20 THz" in rows[refused]["reason"]
    assert rows[failed]["state"] == "failed"
    assert "SCF [diverged]" in rows[failed]["failure"]
    assert rows[going]["state"] == "ranked"
    stages = {row["stage"]: row for row in answer["stages"]}
    assert stages["phonons"]["stopped"] == 1
    assert stages["relax"]["failed"] == 1
    assert answer["newer_settings"] == []
    text = run(status.command, path)
    assert "SCF [diverged]" in text
    assert "competing phase Sn-element failed: static: no energy" in text
    assert "newer than the last run" not in text


def test_status_and_list_tell_settings_apart(path, tmp_path):
    changed = write_settings(tmp_path, short_md={"temperature_k": 900.0})
    (change,) = json.loads(run(status.command, changed, "--json"))["newer_settings"]
    assert (change["name"], change["was"], change["now"]) == (
        "short_md.temperature_k",
        300.0,
        900.0,
    )
    assert "newer than the last run: short_md.temperature_k" in run(status.command, changed)
    text = run(list.command, changed)
    assert "short_md.temperature_k 300.0 (now 900.0)" in text
    assert "the present settings" in run(list.command, path)
    other = write_settings(tmp_path, name="another")
    assert "another screening" in run(list.command, other)
    assert json.loads(run(list.command, path, "--json"))[0]["settings"]["name"] == "imagined"


def test_report_prints_its_path_and_counts(path, tmp_path):
    answer = json.loads(run(report.command, path, "-o", str(tmp_path / "r.html"), "--json"))
    assert answer["report"] == str(tmp_path / "r.html")
    stages = {row["stage"]: row for row in answer["stages"]}
    assert stages["phonons"]["stopped"] == 1
    assert "imaginary mode" in (tmp_path / "r.html").read_text()


def test_clean_deletes_what_is_stored_and_nothing_else(path):
    settings = read_screening(path)
    work_dir = queue_path(settings).parent
    work_dir.mkdir()
    results = Results.open(settings)
    cases = results.funnel.cases
    refused, failed, going = (c.composition_id for c in compositions()[4:7])
    stored = cases[refused].outcomes["relax"].entry.key
    needed = cases[going].outcomes["relax"].requests[0].key
    queue = JobQueue(queue_path(settings))
    gone = completed(queue, work_dir, stored, refused)
    # The store lost what this one made: its folder may be all that is left.
    lost = completed(queue, work_dir, needed, going)
    # Another screening's, of which the store has nothing.
    foreign = completed(queue, work_dir, "foreign", "someone's")
    queue.add_flows([NewFlow("fails", Flow([nothing()]), label=failed, stage="relax")])
    broken = work_dir.__class__(queue.claim(1, work_dir).run_dir)
    outside = work_dir.parent / "elsewhere"
    outside.mkdir()
    queue.close()
    answer = json.loads(run(clean.command, path, "--dry-run", "--json"))
    assert answer["folders"] == [str(gone)]
    assert answer["n_bytes"] == len("output")
    assert gone.exists()
    assert json.loads(run(status.command, path, "--json"))["removable_bytes"] == len("output")
    with sole_driver(queue_path(settings)), pytest.raises(InputError, match="a run is going on"):
        clean_folders(settings, Results.open(settings))
    assert run(clean.command, path).startswith("Deleted 1 folders")
    assert not gone.exists()
    assert not gone.parent.exists()
    assert lost.exists()
    assert foreign.exists()
    assert broken.exists()
    assert json.loads(run(clean.command, path, "--json"))["folders"] == []
    # Nothing is computed again for it.
    keys = {request.key for request in Results.open(settings).funnel.requests()}
    assert stored not in keys


def test_without_a_work_folder_there_is_nothing_to_delete(path):
    assert run(clean.command, path).startswith("Deleted 0 folders")
