"""Stores, folders and a driver in a process of its own for the launcher's tests."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from jobflow import JobStore

from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.runners.local import JobQueue, run_queue
from ionsieve.workflows.store.sqlite.store import SQLiteStore

# Jobs are stored by import path: workers import `launcher_jobs` from here.
sys.path.insert(0, str(Path(__file__).parent))
os.environ["IONSIEVE_ALLOWED_MODULES"] = "launcher_jobs"


@dataclass(frozen=True)
class Place:
    """A folder with a queue, a store, and a trace file for every job that ran."""

    root: Path

    @property
    def traces(self) -> str:
        folder = self.root / "traces"
        folder.mkdir(exist_ok=True)
        return str(folder)

    @property
    def work_dir(self) -> Path:
        return self.root / "work"

    @property
    def queue(self) -> JobQueue:
        return JobQueue(self.root / "queue.sqlite")

    @property
    def store(self) -> JobStore:
        path = self.root / "store.sqlite"
        return JobStore(
            SQLiteStore(path, "outputs", key="uuid"),
            additional_stores={"data": SQLiteStore(path, "blobs", key="blob_uuid")},
        )

    def executions(self) -> Counter[str]:
        """Return how many times each job ran."""
        return Counter(
            {path.name: len(path.read_text().splitlines()) for path in Path(self.traces).iterdir()}
        )

    def executions_by_id(self) -> Counter[tuple[str, int]]:
        """Return how many times each job ran, by uuid and index."""
        lines = [
            line.split()
            for path in Path(self.traces).iterdir()
            for line in path.read_text().splitlines()
        ]
        return Counter((uuid, int(index)) for uuid, index in lines)

    def documents(self) -> list[dict]:
        store = self.store
        store.connect()
        documents = list(store.query(load=True))
        store.close()
        return documents

    def run(
        self,
        flows: list[NewFlow],
        n_workers: int = 2,
        next_flows: Callable[[list[FlowStatus]], list[NewFlow]] | None = None,
    ) -> dict[str, FlowStatus]:
        """Run flows to the end with real workers; return the statuses by key."""
        run_queue(self.queue, self.store, n_workers, self.work_dir, next_flows or (lambda _: flows))
        return {flow.key: flow for flow in self.queue.flows()}

    def start_driver(self, flows: list[NewFlow], n_workers: int = 2) -> BaseProcess:
        """Start a driver in its own process."""
        process = multiprocessing.get_context("fork").Process(
            target=self.run, args=(flows, n_workers)
        )
        process.start()
        return process


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
