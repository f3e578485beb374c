"""What every store does alike: bytes stay bytes, order needs no clocks, times are in UTC."""

import textwrap
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from jobflow import OutputReference, job, run_locally

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import Trajectory
from ionsieve.workflows.store.blobs import stored_bytes
from ionsieve.workflows.store.configured import ConfiguredJobStore
from ionsieve.workflows.store.opening import NEWEST_FIRST, open_collection, open_job_store
from synthetic_results import screening

YAML = """
JOB_STORE:
  docs_store: {type: %(docs)s, %(place)s, collection_name: outputs}
  additional_stores:
    data: {type: %(blobs)s, %(place)s, collection_name: blobs}
"""
KINDS = ["file", "mongodb", "yaml of a file", "yaml of mongodb"]


@pytest.fixture(params=KINDS)
def settings(request, tmp_path, mongo):
    """Settings with each kind of store."""
    if request.param == "file":
        return screening(tmp_path)
    if request.param == "mongodb":
        return screening(tmp_path, store="mongodb://localhost/results")
    if request.param == "yaml of a file":
        kinds = {"docs": "SQLiteStore", "blobs": "SQLiteStore", "place": f"path: {tmp_path}/s.db"}
    else:
        kinds = {"docs": "MongoStore", "blobs": "GridFSStore", "place": "database: lab"}
    (tmp_path / "jobflow.yaml").write_text(textwrap.dedent(YAML % kinds))
    return screening(tmp_path, store="jobflow.yaml")


def trajectory():
    walk = np.cumsum(np.random.default_rng(1).normal(0, 0.1, (50, 4, 3)), axis=0)
    return Trajectory.from_arrays(walk, 10 * np.eye(3), ["Na"] * 4, 10.0)


@job(data="trajectory")
def store_segment():
    return {"index": 1, "trajectory": trajectory().to_bytes()}


@job
def n_frames(document):
    return Trajectory.from_bytes(stored_bytes(document["trajectory"])).n_frames


def test_a_job_stores_bytes_and_another_one_gets_them(settings):
    first = store_segment()
    second = n_frames(first.output)
    packed = trajectory().to_bytes()
    with open_job_store(settings) as store:
        run_locally([first, second], store=store, ensure_success=True, log=False)
        assert store.get_output(second.uuid) == 50
        assert OutputReference(first.uuid).trajectory.resolve(store) == packed
        assert store.query_one({"uuid": first.uuid}, load=True)["output"]["trajectory"] == packed
        blobs = store.additional_stores["data"]
        (blob,) = blobs.query({"job_uuid": first.uuid})
        assert blob["data"] == packed
        assert "data" not in blobs.query_one({"job_uuid": first.uuid}, ["job_uuid", "job_index"])
        store.remove_docs({"uuid": first.uuid})
        assert blobs.count() == 0


def test_a_blob_written_again_replaces_the_first(settings):
    with open_job_store(settings) as store:
        blobs = store.additional_stores["data"]
        for data in (b"1", b"not utf-8: \xff", [1, 2], b"[3]"):
            blobs.update({"blob_uuid": "x", "job_uuid": "a", "job_index": 1, "data": data})
            assert blobs.query_one({"blob_uuid": "x"})["data"] == data
            assert blobs.count() == 1


def test_base64_text_of_0_1_0_dev_is_read():
    assert stored_bytes("AAEC/w==") == b"\x00\x01\x02\xff"
    for value in (None, {"blob_uuid": "x"}, "AAEC/w="):
        with pytest.raises(IonSieveError, match="stored blob"):
            stored_bytes(value)


def output(uuid, completed_at, **more):
    return {"uuid": uuid, "index": 1, "completed_at": completed_at, "output": more}


def newest(store):
    return [each["uuid"] for each in store.query({}, ["uuid"], sort=NEWEST_FIRST)]


def test_newest_is_what_was_written_last_whatever_the_clocks_say(settings):
    with open_job_store(settings) as store:
        store.update([output("tokyo", "2026-05-01T21:00:00"), output("b", "2026-05-01T20:00:00")])
        store.update(output("london", "2026-05-01T12:30:00"))
        assert newest(store) == ["london", "b", "tokyo"]
        store.update(output("tokyo", "2026-05-01T12:00:00", again=True))
        assert newest(store) == ["tokyo", "london", "b"]
        store.remove_docs({"uuid": "tokyo"})
        store.update(output("last", "2000-01-01T00:00:00"))
        numbers = {each["uuid"]: each["sequence"] for each in store.query()}
    # Numbers are never given twice, not even the one of the document that was removed.
    assert numbers == {"b": 2, "london": 3, "last": 5}


def test_times_are_written_in_utc_with_zone(settings, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with open_job_store(settings) as store:
        store.update(output("a", "2026-05-01T21:00:00"))
        stored_at = datetime.fromisoformat(store.query_one({"uuid": "a"})["stored_at"])
    assert stored_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - stored_at) < timedelta(minutes=1)


def test_built_collections_are_not_numbered(settings):
    with open_collection(settings, "conductors") as store:
        store.update({"document_id": "x", "value": 1})
        assert set(store.query_one()) == {"_id", "document_id", "value"}


def test_a_configured_store_is_its_path_when_serialised(tmp_path, mongo):
    path = tmp_path / "jobflow.yaml"
    kinds = {"docs": "MongoStore", "blobs": "GridFSStore", "place": "database: lab, password: xyz"}
    path.write_text(YAML % kinds)
    store = ConfiguredJobStore(path, read_only=True)
    assert ConfiguredJobStore.from_dict(store.as_dict()).as_dict() == store.as_dict()
    assert "xyz" not in str(store.as_dict())
