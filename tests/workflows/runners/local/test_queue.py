"""The queue's file, seen from one process."""

from __future__ import annotations

import os
from pathlib import Path

import launcher_jobs as jobs
import pytest
from jobflow import Flow, JobStore
from maggma.stores import MemoryStore

from ionsieve.errors import InputError
from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.runners.local import JobQueue
from ionsieve.workflows.runners.local.database import set_damaged_aside
from ionsieve.workflows.runners.local.records import Failure
from ionsieve.workflows.runners.local.worker import HeldOutputStore, execute


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "queue.sqlite")


def one_job(name: str) -> Flow:
    return Flow([jobs.number("", name, 1)])


def drain(queue: JobQueue, work_dir: Path, store: JobStore | None = None) -> list[str]:
    """Execute all that is queued in this process; return the folders' names in order."""
    held = HeldOutputStore(store or JobStore(MemoryStore()))
    held.connect()
    folders = []
    while (claimed := queue.claim(os.getpid(), work_dir)) is not None:
        folders.append(claimed.run_dir.removeprefix(f"{work_dir}/"))
        execute(queue, claimed, held)
    return folders


def test_a_known_key_is_not_added_again(queue: JobQueue) -> None:
    assert queue.add_flows([NewFlow("a", one_job("a")), NewFlow("b", one_job("b"))]) == 2
    assert queue.add_flows([NewFlow("b", one_job("b")), NewFlow("c", one_job("c"))]) == 1
    assert queue.add_flows([NewFlow("d", one_job("d")), NewFlow("d", one_job("d"))]) == 1
    assert [flow.key for flow in queue.flows()] == ["a", "b", "c", "d"]


def test_what_cannot_be_queued_is_refused_whole(queue: JobQueue) -> None:
    flow = one_job("a")
    queue.add_flows([NewFlow("a", flow)])
    with pytest.raises(InputError, match="already queued under another key"):
        queue.add_flows([NewFlow("b", flow)])
    with pytest.raises(InputError, match="no jobs"):
        queue.add_flows([NewFlow("empty", Flow([]))])
    assert [(flow.key, flow.n_jobs) for flow in queue.flows()] == [("a", 1)]


def test_a_file_that_is_no_queue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_text("not a database, but long enough to be looked at as one" * 10)
    with pytest.raises(InputError, match=r"cannot open the job queue .*queue\.sqlite"):
        JobQueue(path).flows()


def test_urgent_flows_first_then_those_begun_first(queue: JobQueue, tmp_path: Path) -> None:
    def pair(name: str) -> Flow:
        first = jobs.number(str(tmp_path), f"{name}1", 1)
        return Flow([first, jobs.add(str(tmp_path), f"{name}2", first.output)])

    queue.add_flows(
        [
            NewFlow("late", pair("late"), priority=-1, label="late"),
            NewFlow("a", pair("a"), label="a"),
            NewFlow("b", pair("b"), label="b"),
            NewFlow("urgent", pair("urgent"), priority=5, label="urgent"),
        ]
    )
    folders = drain(queue, tmp_path / "work")
    assert [folder.split("/")[0] for folder in folders] == [
        label for label in ("urgent", "a", "b", "late") for _ in range(2)
    ]


def test_folders_are_readable_new_and_safe(queue: JobQueue, tmp_path: Path) -> None:
    for key in ("x", "y"):
        job = jobs.number(str(tmp_path), key, 1)
        job.name = "relax 1/2 ../é"
        queue.add_flows([NewFlow(key, Flow([job]), label="Na2.875Sb0.875W0.125S4", stage="relax")])
    assert drain(queue, tmp_path / "work") == [
        "relax/Na2.875Sb0.875W0.125S4/01_relax_1_2_.._é",
        "relax/Na2.875Sb0.875W0.125S4/01_relax_1_2_.._é-2",
    ]


def test_changes_are_told_once(queue: JobQueue, tmp_path: Path) -> None:
    queue.add_flows([NewFlow(key, one_job(key)) for key in "abc"])
    changed, latest = queue.changes_since(0)
    assert [flow.key for flow in changed] == ["a", "b", "c"]
    assert queue.changes_since(latest) == ([], latest)
    claimed = queue.claim(os.getpid(), tmp_path)
    assert claimed is not None
    (changed, later) = queue.changes_since(latest)
    assert [(flow.key, flow.state) for flow in changed] == [("a", "running")]
    queue.complete(claimed.job_id)
    ((status,), _) = queue.changes_since(later)
    assert (status.state, status.n_done, status.n_jobs) == ("completed", 1, 1)
    assert status.started_at is not None
    assert status.ended_at is not None
    assert status.started_at <= status.ended_at


def test_running_jobs_are_named(queue: JobQueue, tmp_path: Path) -> None:
    queue.add_flows([NewFlow("key", one_job("a"), label="Na3PS4", stage="relax")])
    assert queue.running_jobs() == []
    claimed = queue.claim(4711, tmp_path)
    assert claimed is not None
    (running,) = queue.running_jobs()
    assert (running.key, running.label, running.stage) == ("key", "Na3PS4", "relax")
    assert (running.name, running.job_index, running.worker) == ("number", 1, 4711)
    assert running.run_dir == claimed.run_dir


def test_a_failure_is_told_in_one_line_with_its_traceback_kept(
    queue: JobQueue, tmp_path: Path
) -> None:
    work_dir = tmp_path / "work"
    first = jobs.fail(str(tmp_path), "sad job")
    after = jobs.add(str(tmp_path), "after", first.output)
    queue.add_flows([NewFlow("bad", Flow([first, after])), NewFlow("good", one_job("good"))])
    queue.add_flows([NewFlow("exit", Flow([jobs.quit_python()]))])
    drain(queue, work_dir)
    bad, good, left = queue.flows()
    assert (bad.state, bad.n_done, bad.n_jobs) == ("failed", 0, 2)
    assert bad.error == "ValueError: sad job went wrong for good"
    assert bad.failed_job == "fail"
    assert 'raise ValueError(f"{name} went wrong' in queue.traceback("bad")
    (run_dir,) = bad.run_dirs
    assert Path(run_dir, "traceback.txt").read_text() == queue.traceback("bad")
    # `one_job` writes its trace to a bare name in the job's own folder.
    assert (good.state, good.error, queue.traceback("good")) == ("completed", "", "")
    assert (work_dir / "good" / "01_number" / "good").exists()
    assert (left.state, left.error) == ("failed", "SystemExit: 3")
    with pytest.raises(InputError, match="no flow 'unknown'"):
        queue.traceback("unknown")


def test_a_long_reason_is_cut() -> None:
    reason = Failure.from_exception(ValueError("x" * 1000)).reason
    assert len(reason) == 300
    assert reason.endswith("…")


def test_a_tolerated_failure_lets_the_flow_complete(queue: JobQueue, tmp_path: Path) -> None:
    first = jobs.fail(str(tmp_path), "first")
    gate = jobs.add(str(tmp_path), "gate", first.output, 5)
    gate.config = jobs.TOLERANT
    queue.add_flows([NewFlow("key", Flow([first, gate]))])
    drain(queue, tmp_path / "work")
    (flow,) = queue.flows()
    assert (flow.state, flow.n_done, flow.n_jobs) == ("completed", 1, 2)
    assert flow.error == "ValueError: first went wrong for good"


def test_reset_runs_only_what_failed(queue: JobQueue, tmp_path: Path) -> None:
    cure = tmp_path / "cure"
    traces = tmp_path / "traces"
    traces.mkdir()
    store = JobStore(MemoryStore())

    def flow(name: str) -> Flow:
        begin = jobs.number(str(traces), f"{name} begin", 1)
        middle = jobs.fail_unless(str(cure), begin.output)
        end = jobs.add(str(traces), f"{name} end", middle.output, begin.output)
        return Flow([begin, middle, end])

    queue.add_flows([NewFlow(key, flow(key)) for key in "ab"])
    drain(queue, tmp_path / "work", store)
    assert [flow.state for flow in queue.flows()] == ["failed", "failed"]
    cure.touch()
    assert queue.reset_failed(["a", "unknown"]) == 1
    assert [flow.state for flow in queue.flows()] == ["running", "failed"]
    drain(queue, tmp_path / "work", store)
    assert [flow.state for flow in queue.flows()] == ["completed", "failed"]
    assert queue.reset_failed() == 1
    drain(queue, tmp_path / "work", store)
    assert [(flow.state, flow.error) for flow in queue.flows()] == [("completed", "")] * 2
    assert queue.reset_failed() == 0
    assert all(len(path.read_text().splitlines()) == 1 for path in traces.iterdir())


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_queue_is_set_aside_and_a_sound_one_left_alone(tmp_path, damage):
    path = tmp_path / "queue.sqlite"
    assert set_damaged_aside(path) is None
    queue = JobQueue(path)
    queue.add_flows([NewFlow(key=f"k{n}", flow=one_job(f"j{n}")) for n in range(60)])
    queue._database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    queue.close()
    assert set_damaged_aside(path) is None
    content = bytearray(path.read_bytes())
    if damage == "torn":
        content[8192:-4096] = b"\x99" * (len(content) - 12288)
    path.write_bytes(b"hello" * 1000 if damage == "no database" else bytes(content))
    aside = set_damaged_aside(path)
    assert aside == tmp_path / "queue.sqlite.damaged-1"
    assert JobQueue(path).flows() == []
