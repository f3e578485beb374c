"""Runs with the mocked VASP: looked at, ended, extended, continued from what is stored."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from jobflow import run_locally

from ionsieve.workflows.documents.raw import SegmentDocument, TransportDocument
from ionsieve.workflows.funnel.asked import open_records
from ionsieve.workflows.funnel.progress import follow
from ionsieve.workflows.funnel.segments import joined, stored_chain
from ionsieve.workflows.funnel.table import enabled_stages
from ionsieve.workflows.runners.reanalysis import reanalyse_look
from store_writer import StoreWriter

RUN = {
    "temperature_k": 500,
    "timestep_fs": 2,
    "length_ps": 0.8,
    "equilibration_ps": 0.1,
    "segment_ps": 0.4,
    "look_ps": 0.3,
}
HIGH = (0.9, 1.0, 1.1)
#: Whether the salt's ions move or not, its conductivity is surely below this.
UNREACHABLE = {"min_sigma_s_cm": 1e3}


@pytest.fixture
def writer(candidate):
    writer = StoreWriter(candidate)
    writer.write_ranking(1)
    writer.write_relaxed([-1.0])
    writer.write_phases()
    writer.write_hull(0.05)
    writer.write_look("short_md", HIGH)
    return writer


@pytest.fixture
def execute(writer, tmp_path):
    """Run the long stage of a salt that does not conduct, look by look, to its end.

    Gives its segments as one trajectory, the number of looks computed, and the last case.
    """

    def run(**settings):
        sections = {"long_md": {**RUN, **settings}}
        n_looks = 0
        while True:
            case = writer.case(**sections)
            outcome = case.outcomes["long_md"]
            if outcome.state == "done":
                break
            (request,) = outcome.requests
            run_locally(
                request.make(),
                store=writer.job_store,
                create_folders=True,
                root_dir=tmp_path,
                log=False,
                ensure_success=True,
            )
            n_looks += 1
        stored = case.records.outputs([outcome.result], ["segment_uuids", "run_length_ps"])
        document = stored[outcome.result]
        return joined(writer.job_store, document["segment_uuids"]), n_looks, case

    return run


def long_row(case):
    (stage,) = (s for s in enabled_stages(case.screening) if s.name == "long_md")
    return stage.row(case, case.outcomes["long_md"])


def test_run_ends_once_it_is_decided_and_goes_on_when_asked_for_more(execute):
    part, n_looks, case = execute(**UNREACHABLE)
    row = long_row(case)
    assert (row["end_reason_long"], row["gate_long"]) == ("decided", "failed")
    assert (n_looks, row["n_looks_long"]) == (1, 1)
    assert part.n_frames * 0.01 == pytest.approx(0.4)

    # Only the rest is computed, and the same run as at once comes out.
    whole, n_looks, case = execute(**UNREACHABLE, stop_early=False)
    assert (long_row(case)["end_reason_long"], n_looks) == ("length", 1)
    assert whole.n_frames * 0.01 == pytest.approx(0.8)
    segments = stored_chain(case.records.all(SegmentDocument, _run_key(case)))
    assert [segment["n_frames"] for segment in segments] == [40, 40]
    assert np.array_equal(whole.fractional[:, :, : part.n_frames], part.fractional)


def _run_key(case):
    (stage,) = (s for s in enabled_stages(case.screening) if s.name == "long_md")
    return stage.course(case)[0].key


def test_undecided_run_is_extended_and_chains_exactly(execute, writer, tmp_path):
    extended, n_looks, case = execute(min_sigma_s_cm=1e-9, max_length_ps=1.2)
    row = long_row(case)
    assert (row["end_reason_long"], row["gate_long"]) == ("max_length", "undecided")
    assert n_looks == row["n_looks_long"] == 3

    # From scratch, with another cut: the folders and the segments are gone.
    writer.job_store.remove_docs({"metadata.document": "SegmentDocument"})
    writer.job_store.remove_docs({"metadata.key": case.outcomes["long_md"].result.key})
    at_once, _, _ = execute(min_sigma_s_cm=1e-9, length_ps=1.2, max_length_ps=1.2, segment_ps=1.2)
    assert np.abs(extended.fractional - at_once.fractional).max() < 1e-4


def test_a_run_goes_on_from_the_store_when_its_folders_are_gone(execute, tmp_path):
    execute(**UNREACHABLE)
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    continued, n_looks, _ = execute(**UNREACHABLE, stop_early=False)
    assert n_looks == 1
    assert continued.n_frames == 80
    step = np.diff(continued.fractional, axis=2)
    # No jump where the second segment begins.
    assert np.abs(step[:, :, 39]).max() < 2 * np.abs(step).max(axis=2).mean()


def test_a_stored_trajectory_is_analysed_again_without_new_dynamics(writer, execute):
    _, _, case = execute(**UNREACHABLE)
    before = case.outcomes["long_md"].result
    (stage,) = (s for s in enabled_stages(case.screening) if s.name == "long_md")
    ((run, course),) = stage.runs(case)
    assert [look.entry for look in course.looks] == [before]
    n_segments = writer.job_store.count({"metadata.document": "SegmentDocument"})
    session = SimpleNamespace(
        screening=case.screening,
        job_store=writer.job_store,
        funnel=SimpleNamespace(records=case.records),
    )
    found = reanalyse_look(session, run, before)
    assert found.verdict_before == found.verdict_after == before["verdict"]
    assert found.diffusivity_after_cm2_s == pytest.approx(before["diffusivity_cm2_s"])
    assert writer.job_store.count({"metadata.document": "SegmentDocument"}) == n_segments
    newest = open_records(writer.job_store).newest(TransportDocument, before.key)
    assert newest.uuid != before.uuid


def test_concurrent_segments_of_one_run_never_mix(writer):
    case = writer.case()
    follow(case, enabled_stages(case.screening))

    class Stored(dict):
        def __init__(self, uuid, previous, n_frames):
            super().__init__(previous_uuid=previous, n_frames=n_frames)
            self.uuid = uuid

    chain = stored_chain(
        [Stored("a1", "", 10), Stored("b1", "", 4), Stored("b2", "b1", 4), Stored("a2", "a1", 10)]
    )
    assert [segment.uuid for segment in chain] == ["a1", "a2"]
