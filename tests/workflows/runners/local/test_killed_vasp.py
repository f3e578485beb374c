"""VASP that is really killed in the middle of a run, through custodian and real workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jobflow import Flow
from pymatgen.core import Structure

from ionsieve.workflows.backends.mock_vasp.backend import SHORT_RUNS, MockVaspBackend
from ionsieve.workflows.backends.mock_vasp.faults import VARIABLE
from ionsieve.workflows.backends.protocol import MDSpec
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow

if TYPE_CHECKING:
    from conftest import Place

SALT = Structure.from_spacegroup(
    "Fm-3m", np.eye(3) * 5.7, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
FAST = replace(SHORT_RUNS, custodian={"polling_time_step": 0.05, "monitor_freq": 4})
SEGMENT = MDSpec(temperature_k=300, timestep_fs=2, n_steps=30, frame_interval=2, seed=4)


def run_segment(place: Place, key: str) -> tuple[FlowStatus, Any]:
    """Run molecular dynamics; return its flow's status and its last structure."""
    segment = MockVaspBackend(execution=FAST).md(SEGMENT, SALT)
    status = place.run([NewFlow(key, Flow(list(segment.jobs)))], n_workers=1)[key]
    documents = [doc for doc in place.documents() if doc["uuid"] == segment.uuid]
    return status, documents[0]["output"]["structure"] if documents else None


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    return tmp_path / "attempts"


def test_killed_once_ends_with_the_same_result(
    place: Place, monkeypatch: pytest.MonkeyPatch, attempts: Path
) -> None:
    _, undisturbed = run_segment(place, "undisturbed")
    monkeypatch.setenv(VARIABLE, f"kill@17;first=1;counter={attempts}")
    status, structure = run_segment(place, "killed once")
    assert (status.state, status.error, attempts.read_text()) == ("completed", "", "2")
    assert structure == undisturbed
    # The second try had a folder of its own; what the first left is still there.
    folder = Path(status.run_dirs[-1])
    assert folder.name.endswith("-2")
    assert "SIGKILL" in folder.with_name(folder.name[:-2]).joinpath("traceback.txt").read_text()


def test_killed_each_time_fails_with_signal_and_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch, attempts: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"kill@17;first=9;counter={attempts}")
    status, structure = run_segment(place, "killed")
    assert (status.state, attempts.read_text(), structure) == ("failed", "2", None)
    assert status.error.startswith("VASP was killed by SIGKILL twice; ")
    assert status.retriable
    assert Path(status.failed_folder, "OSZICAR").stat().st_size > 0
    # Somebody asks for it again: two more tries.
    assert place.queue.reset_failed() == 1
    status = place.run([])["killed"]
    assert (status.state, attempts.read_text()) == ("failed", "4")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash@3", "VASP crashed with SIGSEGV"),
        ("exit@3", "VASP ended with exit code 3, the last it printed is '2 T="),
        ("truncate@3", "VASP ended by itself, but vasprun.xml or another output is cut short"),
    ],
)
def test_what_would_come_back_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, attempts: Path, fault: str, reason: str
) -> None:
    monkeypatch.setenv(VARIABLE, f"{fault};first=9;counter={attempts}")
    status, _ = run_segment(place, "faulty")
    assert (status.state, attempts.read_text()) == ("failed", "1")
    assert status.error.startswith(reason)
    assert not status.retriable
    assert Path(status.failed_folder).is_dir()


def test_disk_that_is_full_for_vasp_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, attempts: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"full@3;first=1;counter={attempts}")
    status, structure = run_segment(place, "full once")
    assert (status.state, attempts.read_text()) == ("completed", "2")
    assert structure is not None
