"""SIGKILL at any moment; then the same documents, no job lost, none repeated."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import launcher_jobs as jobs
import pytest
from jobflow import Flow

from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.runners.local import JobQueue
from ionsieve.workflows.runners.local.worker import HeldOutputStore
from ionsieve.workflows.store.sqlite.store import SQLiteStore

if TYPE_CHECKING:
    from conftest import Place

N_FLOWS = 4
# Names of the documents that one candidate leaves, and of the jobs that run for it.
DOCUMENTS = Counter(
    {"number": 3, "make_addition": 3, "replace_by_flow": 1, "store_inputs": 1, "add": 2,
     "with_blob": 1, "make_detour": 1}
)  # fmt: skip
JOBS = ("a", "b", "b+", "b++", "c", "c-a", "c-b", "d", "e", "f", "f-detour")


def candidate(traces: str, i: int) -> NewFlow:
    """Make a flow with every kind of response."""
    first = jobs.number(traces, f"{i}a", 1, 0.005)
    adding = jobs.make_addition(traces, f"{i}b", first.output, 2)
    replaced = jobs.replace_by_flow(traces, f"{i}c", first.output)
    blob = jobs.with_blob(traces, f"{i}d", 50)
    detoured = jobs.make_detour(traces, f"{i}f", first.output)
    last = jobs.add(traces, f"{i}e", adding.output, replaced.output, blob.output["small"],
                    detoured.output)  # fmt: skip
    flow = Flow([first, adding, replaced, blob, detoured, last])
    return NewFlow(f"{i}", flow, label=f"candidate {i}", stage="test")


def candidates(place: Place) -> list[NewFlow]:
    return [candidate(place.traces, i) for i in range(N_FLOWS)]


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def kill(driver: BaseProcess) -> None:
    """Kill a driver; its workers must be gone at once."""
    assert driver.pid is not None
    workers = children(driver.pid)
    driver.kill()
    driver.join()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.005)


class Ledger:
    """Remembers what was stored when something was killed: none of it may run again."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.n_finished: Counter[tuple[str, int]] = Counter()

    def note(self) -> None:
        store = self.place.store
        store.connect()
        n_executions = self.place.executions_by_id()
        for document in list(store.query(properties=["uuid", "index", "name"])):
            identity = {"uuid": document["uuid"], "index": document["index"]}
            try:
                store.query_one(identity, load=True)
            except KeyError:
                continue  # killed before the blob was written
            key = (document["uuid"], document["index"])
            self.n_finished[key] = n_executions[key]
        store.close()

    def check(self) -> None:
        n_executions = self.place.executions_by_id()
        assert self.n_finished
        assert {key: n_executions[key] for key in self.n_finished} == self.n_finished


def check_complete(place: Place) -> None:
    """Assert that every candidate ended with all its documents, each of them once."""
    flows = place.queue.flows()
    assert [(flow.key, flow.state) for flow in flows] == [
        (f"{i}", "completed") for i in range(N_FLOWS)
    ]
    assert {(flow.n_done, flow.n_jobs) for flow in flows} == {(12, 12)}
    documents = place.documents()
    assert Counter(doc["name"] for doc in documents) == Counter(
        {name: N_FLOWS * count for name, count in DOCUMENTS.items()}
    )
    assert len({(doc["uuid"], doc["index"]) for doc in documents}) == len(documents)
    sums = [doc["output"] for doc in documents if doc["name"] == "add"]
    assert Counter(sums) == {2: N_FLOWS, 1 + 2 + 50 + 1: N_FLOWS}
    blobs = [doc["output"]["big"] for doc in documents if doc["name"] == "with_blob"]
    assert blobs == [list(range(50))] * N_FLOWS
    store = place.store
    store.connect()
    assert store.additional_stores["data"].count() == N_FLOWS
    store.close()
    assert set(place.executions()) == {f"{i}{job}" for i in range(N_FLOWS) for job in JOBS}


@pytest.mark.parametrize("seed", range(2))
def test_killing_the_driver_again_and_again(place: Place, seed: int) -> None:
    moment = random.Random(seed)
    ledger = Ledger(place)
    n_kills = 0
    while True:
        driver = place.start_driver(candidates(place))
        # So many jobs later, however fast the machine is; the last run may finish.
        wanted = place.executions().total() + moment.randint(1, 4)
        while n_kills < 8 and driver.exitcode is None and place.executions().total() < wanted:
            driver.join(0.002)
        driver.join(moment.uniform(0, 0.02) if n_kills < 8 else 120)
        if driver.exitcode is not None:
            break
        kill(driver)
        ledger.note()
        n_kills += 1
    assert driver.exitcode == 0
    assert n_kills > 0
    check_complete(place)
    ledger.check()
    # Only what was running when the driver was killed ran twice.
    assert place.executions().total() <= N_FLOWS * len(JOBS) + 2 * n_kills


def test_killing_a_worker_again_and_again(place: Place) -> None:
    moment = random.Random(7)
    driver = place.start_driver(candidates(place))
    assert driver.pid is not None
    n_kills = 0
    victims: set[str] = set()
    while driver.exitcode is None:
        driver.join(moment.uniform(0.005, 0.05))
        for worker in {running.worker for running in place.queue.running_jobs()}:
            with contextlib.suppress(ProcessLookupError):
                # Held, so that it can't go on to another job before it dies.
                os.kill(worker, signal.SIGSTOP)
                held = [job.uuid for job in place.queue.running_jobs() if job.worker == worker]
                # Twice on the same job would fail it, rightly.
                if victims & set(held):
                    os.kill(worker, signal.SIGCONT)
                    continue
                victims.update(held)
                os.kill(worker, signal.SIGKILL)
                n_kills += 1
                break
    assert driver.exitcode == 0
    assert n_kills > 0
    check_complete(place)
    assert place.executions().total() <= N_FLOWS * len(JOBS) + n_kills


class Trap:
    """Kills driver or worker just before or after the n-th call of a function in any worker."""

    def __init__(self, place: Place, victim: str, when: str, n_calls: int) -> None:
        self.counter = place.root / "calls"
        self.counter.touch()
        self.victim = victim
        self.when = when
        self.n_calls = n_calls

    def set(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def trapped(*args: Any, **kwargs: Any) -> Any:
            with open(self.counter, "ab") as calls:
                calls.write(b".")
            due = self.counter.stat().st_size == self.n_calls
            if due and self.when == "before":
                self.spring()
            result = original(*args, **kwargs)
            if due and self.when == "after":
                self.spring()
            return result

        monkeypatch.setattr(owner, name, trapped)

    def spring(self) -> None:
        if self.victim == "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)  # the driver's death is ours


POINTS = [
    (JobQueue, "keep_outcome"),
    (HeldOutputStore, "release"),
    (SQLiteStore, "update"),
    (JobQueue, "complete"),
]


@pytest.mark.parametrize("victim", ["driver", "worker"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), POINTS, ids=[name for _, name in POINTS])
def test_killed_at_each_step_of_ending_a_job(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    when: str,
    victim: str,
) -> None:
    """Every step is met at several calls, so that it hits plain jobs, blobs and responses."""
    ledger = Ledger(place)
    for n_calls in (2, 9, 23):
        with monkeypatch.context() as patch:
            trap = Trap(place, victim, when, n_calls)
            trap.set(patch, owner, name)
            driver = place.start_driver(candidates(place))
        driver.join(60)
        ledger.note()
        if victim == "worker":
            assert driver.exitcode == 0
            break
        if driver.exitcode == 0:  # the later calls were fewer than that
            break
        assert driver.exitcode == -signal.SIGKILL
        trap.counter.unlink()
    place.run(candidates(place))
    check_complete(place)
    ledger.check()


def test_killed_between_a_document_and_its_blob(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SQLiteStore.update

    def update(self: SQLiteStore, *args: Any, **kwargs: Any) -> None:
        if self.collection_name == "blobs":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStore, "update", update)
        driver = place.start_driver(candidates(place))
    driver.join(60)
    store = place.store
    store.connect()
    dangling = list(store.query({"name": "with_blob"}))
    assert dangling
    assert store.additional_stores["data"].count() == 0
    store.close()
    place.run(candidates(place))
    check_complete(place)
