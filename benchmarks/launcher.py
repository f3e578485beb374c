"""Time the local launcher adds to many small flows: ``python benchmarks/launcher.py 100 1000``.

Each flow is a candidate of three trivial jobs, the second of which adds the third as a passed gate
does. Prints one line of a Markdown table per number of flows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from jobflow import Flow, JobStore, Response, job

from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.runners.local import JobQueue, run_queue
from ionsieve.workflows.store.sqlite.store import SQLiteStore


@job
def double(value: int) -> int:
    return 2 * value


@job
def gate(value: int) -> Response:
    return Response(output=value, addition=double(value))


def candidate(number: int) -> NewFlow:
    first = double(number)
    flow = Flow([first, gate(first.output)])
    return NewFlow(key=str(number), flow=flow, label=f"candidate-{number}", stage="benchmark")


def measure(n_flows: int, n_workers: int) -> str:
    """Run the flows, every tenth of them added only when others ended."""
    later = list(range(0, n_flows, 10))

    def next_flows(flows: list[FlowStatus]) -> list[NewFlow]:
        if not flows:
            return [candidate(number) for number in range(n_flows) if number % 10]
        n_ended = sum(flow.ended for flow in flows)
        n_due = n_ended // 9 - (len(flows) - (n_flows - n_flows // 10))
        if n_ended == len(flows):
            n_due = len(later)
        return [candidate(later.pop()) for _ in range(min(max(n_due, 0), len(later)))]

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = JobStore(SQLiteStore(root / "store.sqlite", "outputs", key="uuid"))
        queue = JobQueue(root / "queue.sqlite")
        begin = time.perf_counter()
        run_queue(queue, store, n_workers, root / "work", next_flows)
        seconds = time.perf_counter() - begin
        flows = queue.flows()
        assert len(flows) == n_flows
        assert all(flow.state == "completed" and flow.n_done == 3 for flow in flows)
        store.connect()
        assert store.count() == 3 * n_flows
        megabytes = (root / "queue.sqlite").stat().st_size / 1e6
    per_job_ms = 1000 * seconds / (3 * n_flows)
    return f"| {n_flows} | {3 * n_flows} | {seconds:.1f} | {per_job_ms:.1f} | {megabytes:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_flows", type=int, nargs="*", default=[100, 1000, 3000])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print("| flows | jobs | seconds | ms per job | queue MB |\n|---|---|---|---|---|")
    for n_flows in arguments.n_flows:
        print(measure(n_flows, arguments.workers), flush=True)


if __name__ == "__main__":
    main()
