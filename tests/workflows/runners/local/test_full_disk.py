"""A disk without room: one line, nothing failed, and the next run goes on."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import launcher_jobs as jobs
import pytest
from jobflow import Flow

from ionsieve.errors import DiskFullError, IonSieveError, OutsideFailure, disk_is_full
from ionsieve.workflows.cli import cli
from ionsieve.workflows.cli import main as command_line
from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.runners.local import JobQueue
from ionsieve.workflows.store.sqlite.store import SQLiteStore

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def write_on_a_full_disk(*_: Any, **__: Any) -> None:
    with open("/dev/full", "w", buffering=1) as file:
        file.write("no room for this\n")


def fill_database(*_: Any, **__: Any) -> None:
    """Raise what SQLite really raises."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE big (content)")
    connection.execute("INSERT INTO big VALUES (zeroblob(1000000))")


def flows(place: Place) -> list[NewFlow]:
    return [NewFlow(f"{i}", Flow([jobs.with_blob(place.traces, f"{i}", 10)])) for i in range(4)]


@pytest.mark.parametrize("fault", [write_on_a_full_disk, fill_database])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(JobQueue, "claim"), (JobQueue, "complete"), (SQLiteStore, "update")],
    ids=["claim", "complete", "store"],
)
def test_full_disk_stops_the_run_in_one_line(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    owner: type,
    name: str,
    fault: Any,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault)
        with pytest.raises(DiskFullError, match=r"is full; make room and run again to resume"):
            place.run(flows(place))
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert not [flow for flow in place.queue.flows() if flow.state == "failed"]
    assert {flow.state for flow in place.run(flows(place)).values()} == {"completed"}


def test_full_disk_is_recognised_behind_other_errors() -> None:
    def wrapped(fault: Any) -> None:
        try:
            fault()
        except Exception as error:
            raise IonSieveError("job queue: something is wrong") from error

    for fault in (write_on_a_full_disk, fill_database):
        with pytest.raises(IonSieveError) as found:
            wrapped(fault)
        assert disk_is_full(found.value)
    assert not disk_is_full(OSError(2, os.strerror(2)))
    assert not disk_is_full(OutsideFailure("VASP was killed by SIGKILL"))


@pytest.mark.parametrize("fault", [write_on_a_full_disk, fill_database])
def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Any
) -> None:
    monkeypatch.setattr(cli, "main", fault)
    with pytest.raises(SystemExit) as end:
        command_line()
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the disk is full")
    assert "make room" in line
