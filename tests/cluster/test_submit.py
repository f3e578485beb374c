"""``ionsieve submit`` with FireWorks against a server of the MongoDB protocol, with a password."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bson
import pytest
import yaml
from click.testing import CliRunner
from fireworks import LaunchPad
from fireworks.core.fworker import FWorker
from fireworks.core.rocket_launcher import rapidfire
from jobflow import Flow, job
from pymongo import MongoClient

from ionsieve.errors import InputError, OutsideFailure
from ionsieve.workflows.cli import cli
from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad
from ionsieve.workflows.runners.fireworks.submit import Submitter
from ionsieve.workflows.runners.work import stored_flows
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.store.opening import open_collection, open_job_store
from mongo_server import MongoServer

MOTHERS = Path(__file__).parents[2] / "workflows" / "data" / "mothers"
PASSWORD = "s3cr-et/word"
SETTINGS = {
    "name": "tiny",
    "mobile_ion": "Na+",
    "doping": {"levels": ["1/8"], "rules": [{"host": "Sb5+", "dopants": ["W6+"]}]},
    "supercell": {"n_ions": 64},
    "store": "jobflow.yaml",
    "compute": {
        "launchpad": "my_launchpad.yaml",
        "resources": {
            "ranking": {"ranks": 2, "walltime": "00:10:00"},
            "relaxation": {"nodes": 2, "ranks": 96, "walltime": "12:00:00", "account": "lab7"},
        },
    },
}


@pytest.fixture(scope="module")
def server():
    with MongoServer(user="ion", password=PASSWORD) as running:
        yield running


@pytest.fixture
def login(server):
    return {
        "host": server.host,
        "port": server.port,
        "username": "ion",
        "password": PASSWORD,
    }


@pytest.fixture
def folder(tmp_path, login, server):
    settings = {**SETTINGS, "mothers": {"files": [str(MOTHERS / "Na3SbS4-cubic.cif")]}}
    (tmp_path / "screening.yaml").write_text(yaml.safe_dump(settings))
    launchpad = {**login, "name": "fireworks", "authsource": "admin"}
    (tmp_path / "my_launchpad.yaml").write_text(yaml.safe_dump(launchpad))

    def store(kind, name):
        database = {"database": "results", "auth_source": "admin", "collection_name": name}
        return {"type": kind, **login, **database}

    stores = {
        "docs_store": store("MongoStore", "jobs"),
        "additional_stores": {"data": store("GridFSStore", "blobs")},
    }
    (tmp_path / "jobflow.yaml").write_text(yaml.safe_dump({"JOB_STORE": stores}))
    yield tmp_path
    client = MongoClient(server.address)
    client.drop_database("fireworks")
    client.drop_database("results")
    client.close()


@pytest.fixture
def launchpad(folder):
    return open_launchpad(folder / "my_launchpad.yaml")


@pytest.fixture
def queue(launchpad):
    return WorkflowQueue(launchpad, "here")


@pytest.fixture
def job_store(folder):
    return open_job_store(read_screening(folder / "screening.yaml"))


@job
def add(a, b):
    return a + b


@job
def fail(_):
    raise ValueError("too many electrons")


@job
def be_killed(counter, n_times):
    """Fail as VASP does when something outside kills it, the first times."""
    runs = Path(counter)
    n_runs = int(runs.read_text()) + 1 if runs.exists() else 1
    runs.write_text(str(n_runs))
    if n_runs <= n_times:
        raise OutsideFailure("VASP was killed by SIGKILL; did memory or time run out?")
    return n_runs


def new_flow(key, *jobs):
    for job_ in jobs:
        job_.update_metadata({"flow_key": key})
    return NewFlow(key=key, flow=Flow(list(jobs)), label=f"label of {key}", stage="phase")


def run_all(launchpad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rapidfire(launchpad, FWorker(), strm_lvl="ERROR")


def test_flow_is_added_once_and_runs(queue, launchpad, job_store, tmp_path, monkeypatch):
    first = add(1, 2)
    assert queue.add(new_flow("k1", first, add(first.output, 10)), job_store)
    assert not queue.add(new_flow("k1", add(5, 5)), job_store)
    (status,) = queue.flows()
    assert (status.key, status.state, status.n_jobs, status.n_done) == ("k1", "waiting", 2, 0)
    assert WorkflowQueue(launchpad, "another store").flows() == []
    run_all(launchpad, tmp_path, monkeypatch)
    (status,) = queue.flows()
    assert (status.state, status.n_done, status.label) == ("completed", 2, "label of k1")
    assert sorted(d["output"] for d in job_store.query(properties=["output"])) == [3, 13]


def test_failure_is_told_in_one_line_and_can_be_retried(
    queue, launchpad, job_store, tmp_path, monkeypatch
):
    first = fail(0)
    first.name = "count electrons"
    queue.add(new_flow("k2", first, add(first.output, 1)), job_store)
    run_all(launchpad, tmp_path, monkeypatch)
    (status,) = queue.flows()
    assert (status.state, status.failed_job) == ("failed", "count electrons")
    assert status.error == "ValueError: too many electrons"
    assert Path(status.failed_folder).is_dir()
    assert not status.retriable
    assert queue.rerun_outside() == []
    assert len(queue.rerun_failed()) == 1
    assert queue.flows()[0].state == "waiting"


@pytest.mark.parametrize(("n_times", "state"), [(1, "completed"), (2, "failed")])
def test_job_that_something_outside_ended_runs_once_more(
    queue, launchpad, job_store, tmp_path, monkeypatch, n_times, state
):
    counter = tmp_path / "runs"
    queue.add(new_flow("k7", be_killed(str(counter), n_times)), job_store)
    run_all(launchpad, tmp_path, monkeypatch)
    # Not failed yet: who watches goes on, and the next submission runs it again.
    (status,) = queue.flows()
    assert (status.state, status.error) == ("waiting", "")
    assert len(queue.rerun_outside()) == 1
    assert queue.rerun_outside() == []
    run_all(launchpad, tmp_path, monkeypatch)
    (status,) = queue.flows()
    assert (status.state, counter.read_text()) == (state, "2")
    assert queue.rerun_outside() == []
    if state == "failed":
        assert status.error.startswith("VASP was killed by SIGKILL twice; ")
        assert status.retriable
        assert Path(status.failed_folder).is_dir()
        assert len(queue.rerun_failed()) == 1
        run_all(launchpad, tmp_path, monkeypatch)
        assert queue.flows()[0].state == "completed"


def test_racing_submissions_add_every_flow_once(folder, job_store):
    queues = [WorkflowQueue(open_launchpad(folder / "my_launchpad.yaml"), "here") for _ in range(4)]
    counts = []

    def submit(queue):
        counts.append(sum(queue.add(new_flow(f"r{n}", add(n, 1)), job_store) for n in range(10)))

    threads = [threading.Thread(target=submit, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 10
    assert sorted(s.key for s in queues[0].flows()) == sorted(f"r{n}" for n in range(10))


def test_submission_that_died_is_taken_over(queue, launchpad, job_store, monkeypatch):
    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    # Fireworks in, workflow not: the worst moment.
    monkeypatch.setattr(launchpad.workflows, "insert_one", die, raising=False)
    with pytest.raises(KeyboardInterrupt):
        queue.add(new_flow("k3", add(1, 1)), job_store)
    monkeypatch.undo()
    assert launchpad.fireworks.count_documents({}) == 1
    assert not queue.add(new_flow("k3", add(1, 1)), job_store)
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    launchpad.db["ionsieve_flows"].update_many({}, {"$set": {"at": old}})
    assert queue.add(new_flow("k3", add(1, 1)), job_store)
    assert launchpad.fireworks.count_documents({}) == 1
    assert [s.key for s in queue.flows()] == ["k3"]


def test_lost_job_is_rerun(queue, launchpad, job_store, tmp_path):
    queue.add(new_flow("k4", add(1, 1)), job_store)
    launchpad.checkout_fw(FWorker(), str(tmp_path))
    assert queue.flows()[0].state == "running"
    assert queue.rerun_lost(expiration_seconds=3600) == []
    (number,) = queue.rerun_lost(expiration_seconds=-1)
    assert queue.flows()[0].state == "waiting"
    assert launchpad.get_fw_by_id(number).state == "READY"


def test_job_deleted_from_the_batch_queue_is_handed_out_again(queue, launchpad, job_store):
    queue.add(new_flow("k6", add(1, 1)), job_store)
    _, launch_id = launchpad.reserve_fw(FWorker(), "/nowhere")
    launchpad.set_reservation_id(launch_id, "123")
    assert queue.flows()[0].state == "waiting"
    assert queue.cancel_old_reservations(3600) == []
    (number,) = queue.cancel_old_reservations(-1)
    assert launchpad.fireworks.find_one({"fw_id": number})["state"] == "READY"


def test_submit_sends_the_funnels_flows_with_their_resources(folder, launchpad):
    run = CliRunner().invoke
    path = str(folder / "screening.yaml")
    dry = json.loads(run(cli, ["submit", path, "--dry-run", "--json"]).stdout)
    assert launchpad.workflows.count_documents({}) == 0
    result = run(cli, ["submit", path, "--json"], catch_exceptions=False)
    answer = json.loads(result.stdout)
    assert dry["dry_run"]
    assert {row["key"] for row in dry["added"]} == {row["key"] for row in answer["added"]}
    assert {row["stage"] for row in answer["added"]} == {"phase", "rank"}
    again = json.loads(run(cli, ["submit", path, "--json"]).stdout)
    assert again["added"] == []
    assert again["flows"] == {"waiting": len(answer["added"])}
    keys = launchpad.workflows.distinct("metadata.flow_key")
    assert len(keys) == launchpad.workflows.count_documents({}) == len(answer["added"])
    sizes = {"ranking": [], "relaxation": [], "small": []}
    for firework in launchpad.fireworks.find({}):
        spec = firework["spec"]
        sizes[spec["_category"]].append(spec["_queueadapter"])
    assert sizes["ranking"] == [
        {"nodes": 1, "ntasks": 2, "ntasks_per_node": 2, "walltime": "00:10:00"}
    ]
    assert sizes["relaxation"][0] == {
        "nodes": 2,
        "ntasks": 96,
        "ntasks_per_node": 48,
        "walltime": "12:00:00",
        "account": "lab7",
    }
    assert sizes["small"][0] == {"nodes": 1, "ntasks": 1, "ntasks_per_node": 1}
    assert {status.state for status in stored_flows(read_screening(path))} == {"waiting"}
    shown = run(cli, ["status", path])
    assert f"{len(answer['added'])} flows: 0 completed, 0 running" in shown.output


def test_password_stays_in_its_files(folder, server):
    path = folder / "screening.yaml"
    run = CliRunner().invoke
    outputs = [
        run(cli, [command, str(path), "--json"]).output
        for command in ("plan", "submit", "status", "query")
    ]
    outputs.append(run(cli, ["report", str(path)]).output)
    client = MongoClient(server.address)
    names = [n for n in client.list_database_names() if n in ("fireworks", "results")]
    assert "fireworks" in names
    for name in names:
        for collection in client[name].list_collection_names():
            outputs += [bson.encode(d).decode("latin-1") for d in client[name][collection].find({})]
    client.close()
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".html", ".log", ".json")]
    assert len(texts) == 1
    for text in [*outputs, *texts]:
        assert PASSWORD not in text
        assert "s3cr-et%2Fword" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compute": {}}, "compute.launchpad is not set"),
        ({"compute": {"launchpad": "absent.yaml"}}, "hpc-init"),
        ({"compute": {"launchpad": "screening.yaml"}}, "LaunchPad's MongoDB doesn't answer"),
        ({"store": "mongodb://ion:s3cr-et@localhost/results"}, "write it into a jobflow.yaml"),
        ({"store": "absent.yaml"}, "hpc-init"),
        ({"store": "screening.yaml"}, "no JOB_STORE"),
        ({"compute": {"resources": {"relaxation": {"nodes": 3, "ranks": 4}}}}, "evenly"),
        ({"compute": {"resources": {"relaxation": {"walltime": "2 days"}}}}, "'12:00:00'"),
        ({"compute": {"resources": {"relaxation": {"walltime": "00:04:00"}}}}, "300 s"),
    ],
)
def test_bad_settings_are_one_line_each_and_submit_nothing(folder, launchpad, changes, words):
    path = folder / "screening.yaml"
    settings = yaml.safe_load(path.read_text())
    if "resources" in changes.get("compute", {}):
        changes = {"compute": {**settings["compute"], **changes["compute"]}}
    path.write_text(yaml.safe_dump({**settings, **changes}))
    with pytest.raises(InputError, match=words) as caught:
        Submitter(read_screening(path))
    assert "\n" not in str(caught.value)
    assert "s3cr-et" not in str(caught.value)
    assert launchpad.workflows.count_documents({}) == 0


def test_wrong_password_is_told_without_it(folder):
    path = folder / "my_launchpad.yaml"
    path.write_text(path.read_text().replace(PASSWORD, "wr0ng-word"))
    with pytest.raises(InputError, match="correct host, port and login") as caught:
        open_launchpad(path)
    assert "wr0ng-word" not in str(caught.value)


def test_collections_are_in_the_database_of_the_jobflow_file(folder, server):
    screening = read_screening(folder / "screening.yaml")
    with open_collection(screening, "conductors") as store:
        store.update([{"document_id": "a", "sigma": 1.0}])
    client = MongoClient(server.address)
    assert client["results"]["conductors"].find_one({})["sigma"] == 1.0
    client.close()


def test_unquoted_walltime_is_understood(folder):
    path = folder / "screening.yaml"
    path.write_text(path.read_text().replace("'12:00:00'", "12:00:00").replace('"', ""))
    resources = read_screening(path).compute.resources
    assert resources.relaxation.walltime == "12:00:00"
    assert resources.relaxation.walltime_seconds == 43200


def test_launchpad_of_others_is_left_alone(launchpad, queue, job_store, folder):
    queue.add(new_flow("k5", add(1, 1)), job_store)
    again = open_launchpad(folder / "my_launchpad.yaml")
    assert isinstance(again, LaunchPad)
    assert again.workflows.count_documents({}) == 1
