"""The queue does with a flow what jobflow's own local manager does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launcher_jobs as jobs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jobflow import Flow, Job, JobStore, run_locally
from jobflow.core.flow import JobOrder
from maggma.stores import MemoryStore

from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.runners.local import JobQueue
from ionsieve.workflows.runners.local.worker import HeldOutputStore, execute

FlowMaker = Callable[[str], Flow]


def memory_store() -> JobStore:
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


def summary(store: JobStore, traces: str) -> tuple[list[tuple], list[str]]:
    """Return what the jobs gave and which ran, without anything random."""
    outputs = [
        (document["name"], document["index"], repr(store.get_output(document["uuid"])))
        for document in store.query(properties=["name", "index", "uuid"])
    ]
    ran = [f"{path.name} {path.read_text().count(chr(10))}" for path in Path(traces).iterdir()]
    return sorted(outputs), sorted(ran)


def by_jobflow(make: FlowMaker) -> tuple[list[tuple], list[str]]:
    with tempfile.TemporaryDirectory() as traces, tempfile.TemporaryDirectory() as root:
        store = memory_store()
        run_locally(make(traces), store=store, log=False, root_dir=root)
        return summary(store, traces)


def by_queue(make: FlowMaker) -> tuple[tuple[list[tuple], list[str]], str]:
    with tempfile.TemporaryDirectory() as traces, tempfile.TemporaryDirectory() as root:
        store = memory_store()
        queue = JobQueue(Path(root, "queue.sqlite"))
        queue.add_flows([NewFlow("only", make(traces))])
        held = HeldOutputStore(store)
        while (claimed := queue.claim(os.getpid(), Path(root))) is not None:
            execute(queue, claimed, held)
        (status,) = queue.flows()
        queue.close()
        return summary(store, traces), status.state


def chain(first: Callable[..., Job], *arguments: Any) -> FlowMaker:
    """Return a maker of: the job, a child, a grandchild, and one that has nothing to do with it."""

    def make(traces: str) -> Flow:
        head = first(traces, "head", *arguments)
        child = jobs.add(traces, "child", head.output, 10)
        grandchild = jobs.add(traces, "grandchild", child.output, 100)
        return Flow([head, child, grandchild, jobs.number(traces, "apart", 1)])

    return make


# jobflow warns of what is meant.
pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected")

CASES = {
    "plain": (chain(jobs.number, 1), "completed"),
    "failure": (chain(jobs.fail), "failed"),
    "replace by a job": (chain(jobs.replace_by_job, 1), "completed"),
    "replace by a flow": (chain(jobs.replace_by_flow, 1), "completed"),
    "replace by a failure": (chain(jobs.replace_by_failure), "failed"),
    "detour": (chain(jobs.make_detour, 1), "completed"),
    "addition": (chain(jobs.make_addition, 1, 3), "completed"),
    "stop children": (chain(jobs.stop_children), "completed"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_response_has_the_effect_it_has_in_jobflow(name: str) -> None:
    make, expected_state = CASES[name]
    result, state = by_queue(make)
    assert result == by_jobflow(make)
    assert state == expected_state


@pytest.mark.parametrize(
    ("head", "before"),
    [
        (jobs.make_detour, ["head", "head-detour"]),
        (jobs.replace_by_job, ["head", "head-new"]),
        (jobs.replace_by_flow, ["head", "head-a", "head-b"]),
    ],
)
def test_children_wait_for_detours_and_replacements(
    head: Callable[..., Job], before: list[str]
) -> None:
    def make(traces: str) -> Flow:
        first = head(traces, "head", 1)
        return Flow([first, jobs.seen(traces, "child", first.output)])

    result, _ = by_queue(make)
    assert result == by_jobflow(make)
    (seen,) = [output for name, _, output in result[0] if name == "seen"]
    assert seen == repr(before)


def test_stopping_the_flow_leaves_nothing_to_run() -> None:
    def make(traces: str) -> Flow:
        stop = jobs.stop_flow(traces, "stop")
        last = jobs.add(traces, "last", stop.output)
        return Flow([stop, last, jobs.number(traces, "after", 1)], order=JobOrder.LINEAR)

    result, state = by_queue(make)
    assert result == by_jobflow(make)
    assert state == "completed"


def test_a_linear_order_is_kept() -> None:
    def make(traces: str) -> Flow:
        steps = [jobs.seen(traces, f"step {i}", None) for i in range(4)]
        return Flow(steps, order=JobOrder.LINEAR)

    assert by_queue(make)[0] == by_jobflow(make)


KINDS: dict[str, Callable[[str, str, int], Job]] = {
    "number": jobs.number,
    "fail": jobs.fail,
    "replace by a job": jobs.replace_by_job,
    "replace by a flow": jobs.replace_by_flow,
    "replace by a failure": lambda traces, name, _: jobs.replace_by_failure(traces, name),
    "detour": jobs.make_detour,
    "failing detour": lambda traces, name, value: jobs.make_detour(traces, name, value, True),
    "addition": jobs.make_addition,
    "stop children": lambda traces, name, _: jobs.stop_children(traces, name),
}
NODES = st.lists(
    st.tuples(st.sampled_from([*KINDS, "sum", "tolerant sum"]), st.integers(0, 63)),
    min_size=1,
    max_size=7,
)


def build(nodes: list[tuple[str, int]], traces: str) -> Flow:
    """Make a flow: job i depends on the earlier jobs whose bit is set in its mask."""
    made: list[Job] = []
    for i, (kind, mask) in enumerate(nodes):
        parents = [job for j, job in enumerate(made) if mask >> j & 1]
        if kind.endswith("sum"):
            new = jobs.add(traces, f"{i}", i, *(parent.output for parent in parents))
            if kind.startswith("tolerant"):
                new.config = jobs.TOLERANT
        else:
            new = KINDS[kind](traces, f"{i}", i)
            new.function_kwargs["after"] = [parent.output for parent in parents]
        made.append(new)
    return Flow(made)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nodes=NODES)
@example(nodes=[("fail", 0), ("tolerant sum", 1), ("sum", 2)])
@example(nodes=[("failing detour", 0), ("sum", 1)])
@example(nodes=[("stop children", 0), ("fail", 0), ("tolerant sum", 3), ("sum", 4)])
def test_random_flows_end_as_in_jobflow(nodes: list[tuple[str, int]]) -> None:
    def make(traces: str) -> Flow:
        return build(nodes, traces)

    result, state = by_queue(make)
    assert result == by_jobflow(make)
    assert state in ("completed", "failed")
