"""Runs that end early, at the set length, or are extended: rules, and with the mocked VASP."""

from dataclasses import replace

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pydantic import ValidationError

from ionsieve.md_analysis import Trajectory, analyze
from ionsieve.md_analysis.diagnosis import LongGate, ShortGate
from ionsieve.workflows.documents.raw import TransportDocument
from ionsieve.workflows.funnel import dynamics as molecular_dynamics
from ionsieve.workflows.funnel.run_length import Schedule, end_reason, is_settled
from ionsieve.workflows.settings.schema import LongMD, ShortMD


def looks(schedule):
    """Return after how many segments the gate looks at a run that is never decided."""
    found = [schedule.next_look(0)]
    while found[-1] < schedule.n_longest:
        found.append(schedule.next_look(found[-1]))
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 5 ps equilibration + 25 ps, in segments of 25 ps; twice the 100 ps at most.
        (ShortMD(), [2, 3, 4, 5, 6, 7, 8]),
        (LongMD(), [6, 11, 16, 21, 25, 30, 35, 40, 45, 50]),
        (LongMD(max_length_ps=250), [6, 11, 16, 21, 25]),
        (LongMD(max_length_ps=300, stop_early=False), [25, 30]),
        # Shorter than the first look would be.
        (LongMD(length_ps=40, segment_ps=20), [2, 4]),
        (ShortMD(length_ps=100, segment_ps=30, max_length_ps=130), [2, 3, 4, 5]),
    ],
)
def test_looks_fall_on_whole_segments_and_on_the_set_length(settings, expected):
    assert looks(Schedule.of(settings, settings.stop_early)) == expected


def test_segments_add_up_to_the_set_length():
    schedule = Schedule.of(ShortMD(length_ps=100, segment_ps=30))
    assert (schedule.n_set, schedule.n_frames) == (4, 2500)


def test_longest_run_is_not_below_the_set_length():
    with pytest.raises(ValidationError, match="max_length_ps 50 is below length_ps 100"):
        ShortMD(max_length_ps=50)


@pytest.fixture(scope="module")
def moving():
    """Return the analysis of a random walk; the tests put their own numbers in."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 0.05, (2000, 8, 3)), axis=0)
    walk[:, 4:] = 3.0 * np.arange(4)[:, None] + rng.normal(0, 0.1, (2000, 4, 3))
    run = Trajectory.from_arrays(walk, 12 * np.eye(3), ["Na"] * 4 + ["S"] * 4, 10.0)
    return analyze(run, species="Na", temperature_k=300)


LONG, SHORT = LongGate(1e-3), ShortGate(1e-3)


@pytest.mark.parametrize(
    ("gate", "verdict", "sigma", "settled"),
    [
        (LONG, "diffusing", (1.2e-3, 2e-3, 2.8e-3), True),  # surely above
        (LONG, "diffusing", (0.8e-3, 1.2e-3, 1.6e-3), False),  # passes by its value only
        (LONG, "diffusing", (0.6e-3, 0.9e-3, 1.2e-3), False),  # fails by its value only
        (LONG, "diffusing", (0.2e-3, 0.3e-3, 0.4e-3), True),  # surely below
        (LONG, "upper_bound", (0.0, 0.1e-3, 0.2e-3), True),
        (LONG, "upper_bound", (0.0, 0.1e-3, 3e-3), False),
        (LONG, "not_converged", (2e-3, 4e-3, 9e-3), False),
        (LONG, "framework_unstable", (2e-3, 4e-3, 9e-3), True),
        (LONG, "timestep_too_long", (0.5e-3, 1e-3, 2e-3), True),
        (SHORT, "diffusing", (1.2e-3, 2e-3, 2.8e-3), True),
        (SHORT, "diffusing", (0.5e-3, 2e-3, 2.8e-3), False),
        (SHORT, "not_converged", (1.2e-3, 2e-3, 2.8e-3), False),  # enough, but D is unknown
        (SHORT, "not_converged", (0.0, 0.2e-3, 0.9e-3), True),
        (SHORT, "upper_bound", (0.0, 0.0, 2e-3), False),
    ],
)
def test_only_whole_intervals_settle_an_answer(moving, gate, verdict, sigma, settled):
    low, value, high = sigma
    result = replace(
        moving,
        verdict=verdict,
        sigma_ne_s_cm=value,
        sigma_ne_ci95_s_cm=(low, high),
        relative_error=(high - low) / 2 / value if value else None,
    )
    assert is_settled(result, gate.decide(result), gate) is settled


def test_reasons_to_end(moving):
    schedule = Schedule.of(LongMD())
    extend = LONG.decide(replace(moving, verdict="not_converged"))
    stop = LONG.decide(replace(moving, verdict="framework_unstable"))
    assert (extend.action, stop.action) == ("extend", "stop")
    assert end_reason(schedule, 6, stop, True) == "decided"
    assert end_reason(schedule, 6, stop, False) is None
    assert end_reason(schedule, 25, stop, False) == "length"
    assert end_reason(schedule, 25, extend, False) is None
    assert end_reason(schedule, 30, stop, False) == "decided"
    assert end_reason(schedule, 50, extend, False) == "max_length"


RUN = {
    "temperature_k": 500,
    "timestep_fs": 2,
    "length_ps": 0.8,
    "equilibration_ps": 0.1,
    "segment_ps": 0.4,
    "look_ps": 0.3,
}


@pytest.fixture
def execute(candidate, structure, tmp_path):
    """Run the long stage of a salt that does not conduct.

    Gives all its segments as one trajectory, its looks, and the document at the end.
    """

    def run(**settings):
        long = LongMD(**{**RUN, **settings})
        screening = candidate.screening.model_copy(update={"long_md": long})
        known = candidate.model_copy(update={"screening": screening})
        flow = molecular_dynamics.molecular_dynamics_flow(known, structure, "long_md")
        last = flow.jobs[-1]
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        run_locally(flow, store=store, create_folders=True, root_dir=tmp_path, log=False)
        stored = list(store.query({"uuid": last.uuid}, sort={"index": 1}))
        *earlier, label = [document["metadata"]["document"] for document in stored]
        assert set(earlier) <= {"Look"}
        assert label == "TransportDocument"
        document = last.output.resolve(store)
        assert isinstance(document, TransportDocument)
        trajectory = molecular_dynamics._joined(store, document.segment_uuids)
        return trajectory, len(earlier) + 1, document

    return run


#: Whether the salt's ions move or not, its conductivity is surely below this.
UNREACHABLE = {"min_sigma_s_cm": 1e6}


def test_run_ends_once_it_is_decided(execute):
    part, n_looks, document = execute(**UNREACHABLE)
    assert (document.end_reason, document.passed) == ("decided", False)
    assert n_looks == len(document.looks) == 1
    assert len(document.segment_uuids) == 1
    assert document.looks[0].settled
    assert document.run_length_ps == pytest.approx(part.n_frames * 0.01) == pytest.approx(0.4)

    whole, n_looks, document = execute(**UNREACHABLE, stop_early=False)
    assert (document.end_reason, n_looks) == ("length", 1)
    assert document.run_length_ps == pytest.approx(0.8)
    assert np.array_equal(whole.fractional[:, :, : part.n_frames], part.fractional)


def test_undecided_run_is_extended_and_chains_exactly(execute, monkeypatch):
    asked, outside = [], set()

    def note(*arguments):
        jobs = next_jobs(*arguments)
        asked.append({job.uuid for job in jobs})
        outside.update(uuid for job in jobs for uuid in job.input_uuids if uuid not in asked[-1])
        return jobs

    next_jobs = molecular_dynamics._next_jobs
    monkeypatch.setattr(molecular_dynamics, "_next_jobs", note)
    extended, n_looks, document = execute(min_sigma_s_cm=1e-9, max_length_ps=1.2)
    assert (document.end_reason, document.passed) == ("max_length", False)
    assert n_looks == len(document.looks) == 3
    lengths = [look.run_length_ps for look in document.looks]
    assert lengths == pytest.approx([0.4, 0.8, 1.2])
    assert {look.action for look in document.looks} == {"extend"}
    # A calculation and its storage per segment, and a look.
    assert [len(jobs) for jobs in asked] == [3, 3, 3]
    assert outside == set(), "FireWorks refuses references to jobs outside of a new flow"

    at_once, n_looks, _ = execute(
        min_sigma_s_cm=1e-9, length_ps=1.2, max_length_ps=1.2, segment_ps=1.2
    )
    assert n_looks == 1
    assert np.abs(extended.fractional - at_once.fractional).max() < 1e-6


def test_a_step_that_custodian_halved_is_that_of_the_files(tmp_path):
    frames = np.random.default_rng(0).random((40, 2, 3))
    lines = ["test", "1.0", "9 0 0", "0 9 0", "0 0 9", "Na Cl", "1 1"]
    for number, frame in enumerate(frames):
        lines.append(f"Direct configuration= {number + 1}")
        # Little steps: the ions must not cross half the cell.
        lines += [" ".join(f"{0.5 + 0.01 * x:.8f}" for x in row) for row in frame]
    (tmp_path / "XDATCAR").write_text("\n".join(lines) + "\n")
    (tmp_path / "INCAR").write_text("POTIM = 5.0\n")
    rows = "".join(
        f"{n} T= 300. E= {-9 + 1e-4 * n:.8E} F= -9 E0= -9 EK= 0.1 SP= 0.2E-01 SK= 0.0\n"
        for n in range(400)
    )
    (tmp_path / "OSZICAR").write_text(rows)
    settings = ShortMD(timestep_fs=10.0, frame_fs=100.0)
    segment = molecular_dynamics._read_segment(tmp_path, settings)
    assert (segment.timestep_fs, segment.md_timestep_fs, segment.n_frames) == (100.0, 5.0, 20)
    # 1e-4 eV per step of 5 fs in two atoms.
    assert segment.energy_drift.mev_atom_ps == pytest.approx(1e-1 / 5e-3 / 2)
