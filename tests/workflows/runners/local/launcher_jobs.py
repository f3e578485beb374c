"""Jobs for the launcher's tests; in a module of their own, so that workers can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobflow import CURRENT_JOB, Flow, JobConfig, OnMissing, Response, job

TOLERANT = JobConfig(on_missing_references=OnMissing.NONE)


# `after` only makes a job depend on others.


def leave_trace(trace_dir: str, name: str) -> None:
    """Record one execution as one line of a file: the job's uuid and index."""
    job = CURRENT_JOB.job
    with open(Path(trace_dir, name), "a") as trace:
        trace.write(f"{job.uuid} {job.index}\n")


@job
def number(
    trace_dir: str, name: str, value: int, seconds: float = 0.0, after: object = None
) -> int:
    leave_trace(trace_dir, name)
    time.sleep(seconds)
    return value


@job
def add(trace_dir: str, name: str, *values: int | None) -> int:
    leave_trace(trace_dir, name)
    return sum(value or 0 for value in values)


@job(data="big")
def with_blob(trace_dir: str, name: str, n_numbers: int) -> dict:
    leave_trace(trace_dir, name)
    return {"big": list(range(n_numbers)), "small": n_numbers}


@job
def fail(trace_dir: str, name: str, value: int = 0, after: object = None) -> int:
    leave_trace(trace_dir, name)
    print("about to fail")
    raise ValueError(f"{name} went wrong\nfor good")


@job
def fail_unless(path: str, value: int) -> int:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} is missing")
    return value


@job
def quit_python() -> None:
    raise SystemExit(3)


@job
def die(trace_dir: str, name: str, n_times: int) -> int:
    """Kill the own process the first n times."""
    leave_trace(trace_dir, name)
    n_runs = len(Path(trace_dir, name).read_text().splitlines())
    if n_runs <= n_times:
        os.kill(os.getpid(), signal.SIGKILL)
    return n_runs


@job
def replace_by_job(trace_dir: str, name: str, value: int, after: object = None) -> Response:
    leave_trace(trace_dir, name)
    return Response(output="old", replace=number(trace_dir, f"{name}-new", value))


@job
def replace_by_flow(trace_dir: str, name: str, value: int, after: object = None) -> Response:
    leave_trace(trace_dir, name)
    first = number(trace_dir, f"{name}-a", value)
    second = add(trace_dir, f"{name}-b", first.output, 1)
    return Response(replace=Flow([first, second], output=second.output))


@job
def replace_by_failure(trace_dir: str, name: str, after: object = None) -> Response:
    leave_trace(trace_dir, name)
    return Response(replace=fail(trace_dir, f"{name}-new"))


@job
def make_detour(
    trace_dir: str, name: str, value: int, fails: bool = False, after: object = None
) -> Response:
    leave_trace(trace_dir, name)
    detour = (fail if fails else number)(trace_dir, f"{name}-detour", 7)
    return Response(output=value, detour=detour)


@job
def make_addition(
    trace_dir: str, name: str, value: int, depth: int = 1, after: object = None
) -> Response:
    leave_trace(trace_dir, name)
    if depth == 0:
        return Response(output=value)
    return Response(
        output=value,
        addition=make_addition(trace_dir, f"{name}+", value, depth - 1),
    )


@job
def stop_children(trace_dir: str, name: str, after: object = None) -> Response:
    leave_trace(trace_dir, name)
    return Response(output=1, stop_children=True)


@job
def stop_flow(trace_dir: str, name: str) -> Response:
    leave_trace(trace_dir, name)
    return Response(output=1, stop_jobflow=True)


@job
def seen(trace_dir: str, name: str, value: object) -> list[str]:
    """Return which jobs had run before this one."""
    before = sorted(path.name for path in Path(trace_dir).iterdir())
    leave_trace(trace_dir, name)
    return before


@job(config=JobConfig(expose_store=True))
def count_outputs(value: int) -> int:
    return CURRENT_JOB.store.count({})
