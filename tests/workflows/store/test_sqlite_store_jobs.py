"""SQLiteStore under jobflow, several writers, and kill -9."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from jobflow import Flow, JobStore, Response, job, run_locally
from maggma.stores import MemoryStore

from ionsieve.workflows.store.sqlite.store import SQLiteStore

WRITER = """
import sys
from ionsieve.workflows.store.sqlite.store import SQLiteStore
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SQLiteStore(path, "things", key=["a", "b"]) as store:
    for number in range(count):
        store.update([{"a": "shared", "b": number}, {"a": name, "b": number, "text": "x" * 500}])
        print(number, flush=True)
"""


def start_writer(path, name, count):
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@job(data="big")
def add(a, b):
    return {"sum": a + b, "big": list(range(50))}


@job
def replace_once(value):
    return Response(replace=Flow([second := add(value, 1)], output=second.output["sum"]))


def run_example(store):
    first = add(1, 2)
    replaced = replace_once(first.output["sum"])
    last = add(replaced.output, first.output["sum"])
    run_locally(Flow([first, replaced, last]), store=store, ensure_success=True, log=False)
    return first, replaced, last


@pytest.fixture
def job_store(tmp_path):
    path = tmp_path / "store.sqlite"
    store = JobStore(
        SQLiteStore(path, "outputs"), additional_stores={"data": SQLiteStore(path, "blobs")}
    )
    store.connect()
    yield store
    store.close()


def test_jobflow_gives_the_same_as_in_memory(job_store):
    memory = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    memory.connect()
    results = []
    for store in (job_store, memory):
        first, replaced, last = run_example(store)
        results.append(
            [
                store.get_output(first.uuid, load=True),
                store.get_output(replaced.uuid),
                store.get_output(replaced.uuid, which="first"),
                store.get_output(replaced.uuid, which="all"),
                store.get_output(last.uuid)["sum"],
                sorted(each["index"] for each in store.query({"uuid": replaced.uuid})),
                store.count({"output.big.store": "data"}),
                store.query_one({"uuid": first.uuid}, properties=["output.sum"])["output"],
                store.query_one({"uuid": first.uuid}, load=True)["output"]["big"],
                len(list(store.additional_stores["data"].query())),
            ]
        )
    assert results[0] == results[1]
    assert results[0][1] == 4
    assert results[0][4] == 7


def test_removed_jobs_take_their_blobs_along(job_store):
    first, _, _ = run_example(job_store)
    before = job_store.additional_stores["data"].count()
    job_store.remove_docs({"uuid": first.uuid})
    assert job_store.count({"uuid": first.uuid}) == 0
    assert job_store.additional_stores["data"].count() == before - 1


def test_two_writers_lose_and_double_nothing(tmp_path):
    path = tmp_path / "store.sqlite"
    writers = [start_writer(path, name, 150) for name in ("first", "second")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdout.close()
    with SQLiteStore(path, "things") as store:
        for name in ("first", "second", "shared"):
            numbers = sorted(each["b"] for each in store.query({"a": name}))
            assert numbers == list(range(150))


@pytest.mark.parametrize("after", [1, 20, 60])
def test_kill_in_the_middle_of_writing(tmp_path, after):
    path = tmp_path / "store.sqlite"
    writer = start_writer(path, "victim", 10**6)
    for _ in range(after):
        committed = int(writer.stdout.readline())
    time.sleep(0.003)
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().split("\n")
    writer.wait()
    writer.stdout.close()
    committed = max([committed, *(int(line) for line in rest[:-1])])
    with SQLiteStore(path, "things", key=["a", "b"]) as store:
        numbers = sorted(each["b"] for each in store.query({"a": "victim"}))
        assert numbers[: committed + 1] == list(range(committed + 1))
        assert len(numbers) <= committed + 2
        # an update is written whole or not at all
        assert numbers == sorted(each["b"] for each in store.query({"a": "shared"}))
        store.update({"a": "after", "b": 1})
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
