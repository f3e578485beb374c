"""Real workers on a real store."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import launcher_jobs as jobs
import pytest
from jobflow import Flow

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.runners.local import JobQueue, RunInterruptedError, run_queue

if TYPE_CHECKING:
    from conftest import Place


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def sleeper(place: Place, key: str, seconds: float = 60.0) -> NewFlow:
    return NewFlow(key, Flow([jobs.number(place.traces, key, 1, seconds)]))


def test_flows_that_follow_from_others_are_asked_for(place: Place) -> None:
    seen: list[dict[str, str]] = []

    def next_flows(flows: list[FlowStatus]) -> list[NewFlow]:
        seen.append({flow.key: flow.state for flow in flows})
        new = [NewFlow(f"{i}", Flow([jobs.number(place.traces, f"{i}", i)])) for i in range(5)]
        done = [flow for flow in flows if flow.state == "completed" and "-" not in flow.key]
        for flow in done:
            first = jobs.with_blob(place.traces, f"{flow.key}-next", 1000)
            new.append(NewFlow(f"{flow.key}-next", Flow([first]), stage="later"))
        return new

    reports: list[list[FlowStatus]] = []
    run_queue(place.queue, place.store, 2, place.work_dir, next_flows, reports.append)
    assert seen[0] == {}
    assert len(seen[-1]) == 10
    assert set(seen[-1].values()) == {"completed"}
    assert reports[-1] == place.queue.flows()
    assert place.executions() == {f"{i}{end}": 1 for i in range(5) for end in ("", "-next")}
    outputs = [document["output"] for document in place.documents()]
    assert sorted(out for out in outputs if isinstance(out, int)) == list(range(5))
    blobs = [
        out["big"]["data"] if "data" in out["big"] else out["big"]
        for out in outputs
        if isinstance(out, dict)
    ]
    assert blobs == [list(range(1000))] * 5

    # Again: nothing is left to do.
    run_queue(place.queue, place.store, 2, place.work_dir, next_flows)
    assert place.executions().total() == 10


def test_outputs_of_other_flows_may_be_used(place: Place) -> None:
    first = jobs.number(place.traces, "first", 20)
    following = Flow([jobs.add(place.traces, "second", first.output, 1)])

    def next_flows(flows: list[FlowStatus]) -> list[NewFlow]:
        return [NewFlow("second", following)] if flows else [NewFlow("first", Flow([first]))]

    assert place.run([], next_flows=next_flows)["second"].state == "completed"
    assert sorted(document["output"] for document in place.documents()) == [20, 21]


def test_one_failure_stays_one_failure(place: Place) -> None:
    flows = [NewFlow(f"{i}", Flow([jobs.number(place.traces, f"{i}", i)])) for i in range(6)]
    flows.insert(2, NewFlow("bad", Flow([jobs.fail(place.traces, "bad")]), priority=1))
    statuses = place.run(flows)
    assert {key for key, flow in statuses.items() if flow.state == "failed"} == {"bad"}
    assert statuses["bad"].error == "ValueError: bad went wrong for good"
    (run_dir,) = statuses["bad"].run_dirs
    assert "\nabout to fail\n" in Path(run_dir, "job.log").read_text()
    assert len(place.documents()) == 6
    # A known failure is not tried again by itself.
    place.run(flows)
    assert place.executions()["bad"] == 1


def test_the_job_store_is_exposed_to_jobs_that_want_it(place: Place) -> None:
    first = jobs.number(place.traces, "first", 1)
    place.run([NewFlow("key", Flow([first, jobs.count_outputs(first.output)]))])
    (count,) = [doc["output"] for doc in place.documents() if doc["name"] == "count_outputs"]
    assert count == 1


@pytest.mark.parametrize(("n_deaths", "state"), [(1, "completed"), (2, "failed")])
def test_a_job_whose_worker_dies_is_tried_once_more(
    place: Place, n_deaths: int, state: str
) -> None:
    flows = [
        NewFlow("deadly", Flow([jobs.die(place.traces, "deadly", n_deaths)]), priority=1),
        *(NewFlow(f"{i}", Flow([jobs.number(place.traces, f"{i}", i)])) for i in range(5)),
    ]
    statuses = place.run(flows)
    assert statuses.pop("deadly").state == state
    assert {flow.state for flow in statuses.values()} == {"completed"}
    assert place.executions().pop("deadly") == 2
    if state == "failed":
        (failed,) = [flow for flow in place.queue.flows() if flow.state == "failed"]
        assert failed.error == "its worker process died twice: killed by SIGKILL (out of memory?)"


def test_a_second_driver_is_refused(place: Place) -> None:
    driver = place.start_driver([sleeper(place, "long")])
    wait_for(place.executions, "the job to start")
    try:
        with pytest.raises(InputError, match=f"worked on by process {driver.pid} on "):
            place.run([sleeper(place, "other")])
        assert [flow.key for flow in place.queue.flows()] == ["long"]
    finally:
        driver.terminate()
        driver.join()


def run_and_tell(place: Place, flows: list[NewFlow]) -> None:
    """Run flows; write what ended the run to a file."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        place.run(flows)
    except RunInterruptedError as error:
        assert signal.getsignal(signal.SIGTERM) == before
        (place.root / "message").write_text(str(error))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_once_and_leaves_all_to_be_resumed(
    place: Place, number: signal.Signals
) -> None:
    flows = [NewFlow("quick", Flow([jobs.number(place.traces, "quick", 1)]), priority=1)]
    flows += [sleeper(place, key) for key in "abc"]
    driver = multiprocessing.get_context("fork").Process(target=run_and_tell, args=(place, flows))
    driver.start()
    assert driver.pid is not None
    wait_for(lambda: len(place.executions()) == 3, "both workers to be busy")
    workers = [job.worker for job in place.queue.running_jobs()]
    os.kill(driver.pid, number)
    driver.join(30)
    assert driver.exitcode == 0
    message = (place.root / "message").read_text()
    assert message == f"interrupted by {number.name}; run again to resume"
    assert len(workers) == 2
    assert not any(alive(pid) for pid in workers)
    assert place.queue.running_jobs() == []
    states = {flow.key: flow.state for flow in place.queue.flows()}
    assert states.pop("quick") == "completed"
    assert set(states.values()) <= {"waiting", "running"}


def test_an_error_of_the_caller_stops_the_workers(place: Place) -> None:
    def next_flows(flows: list[FlowStatus]) -> list[NewFlow]:
        if flows:
            raise RuntimeError("no idea what comes next")
        return [sleeper(place, "long"), NewFlow("quick", Flow([jobs.number(place.traces, "q", 1)]))]

    with pytest.raises(RuntimeError, match="no idea"):
        place.run([], next_flows=next_flows)
    assert multiprocessing.active_children() == []
    assert place.queue.running_jobs() == []


def test_bad_input_is_told_before_anything_runs(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 workers"):
        place.run([], n_workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make the work folder"):
        run_queue(place.queue, place.store, 1, tmp_path / "file" / "work", lambda _: [])


def test_workers_that_cannot_work_are_not_replaced_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: JobQueue, worker: int, work_dir: Path) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(JobQueue, "claim", broken)
    with pytest.raises(IonSieveError, match="workers die without a job"):
        place.run([sleeper(place, "never")])


def test_paths_may_be_relative(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.root)
    flows = [NewFlow(f"{i}", Flow([jobs.number(place.traces, f"{i}", i)])) for i in range(3)]
    queue = JobQueue("relative.sqlite")
    run_queue(queue, place.store, 2, "here", lambda _: flows)
    assert [flow.state for flow in queue.flows()] == ["completed"] * 3
    assert (place.root / "here" / "0" / "01_number").is_dir()
