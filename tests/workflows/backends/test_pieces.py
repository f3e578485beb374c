"""Calculations that the batch system's signal cuts short and that go on in the next job."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.io import zopen
from pymatgen.core import Lattice, Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.mock_vasp.backend import SHORT_RUNS, MockVaspBackend
from ionsieve.workflows.backends.protocol import Checkpoint, MDSpec
from ionsieve.workflows.backends.vasp.continuation import BatchLimitHandler, _check_progress
from ionsieve.workflows.backends.vasp.reading import earlier_pieces, local_path
from ionsieve.workflows.settings.schema import Relax

_FRAME_INTERVAL = 7


def backend():
    looks = {"polling_time_step": 0.05, "monitor_freq": 2}
    execution = replace(SHORT_RUNS, custodian=looks)
    return MockVaspBackend(relax=Relax(double_relax=False), execution=execution)


def salt(repeat):
    structure = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    return structure.make_supercell(repeat)


@contextlib.contextmanager
def signal_after_steps(folder, n_steps, n_signals):
    """Send SIGUSR1 each time a new calculation below a folder has made some ionic steps.

    After no steps: when it has its inputs. Relaxations may be over before any step can be seen.
    """
    stop = threading.Event()

    def watch():
        done = set()
        while not stop.is_set() and len(done) < n_signals:
            for path in Path(folder).glob("*/OSZICAR" if n_steps else "*/INCAR"):
                with contextlib.suppress(OSError):
                    steps = sum(" F= " in line for line in path.read_text().splitlines())
                    if path not in done and steps >= n_steps:
                        done.add(path)
                        os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a job in a folder of its own, with signals, and return outputs by index."""

    def run_job(calculation, n_steps=0, n_signals=0):
        (job,) = calculation.jobs
        folder = tmp_path / f"{n_signals}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        before = signal.getsignal(signal.SIGUSR1)
        try:
            with signal_after_steps(folder, n_steps, n_signals):
                answers = run_locally(
                    job, store=store, create_folders=True, ensure_success=True, log=False
                )
        finally:
            signal.signal(signal.SIGUSR1, before)
        return {index: answer.output for index, answer in answers[job.uuid].items()}

    return run_job


def folder_of(output):
    return local_path(output.dir_name)


def has_converged(output):
    (outcar,) = folder_of(output).glob("OUTCAR*")
    with zopen(outcar, "rt", encoding="utf-8") as file:
        return "reached required accuracy" in file.read()


def test_md_in_pieces_is_the_uninterrupted_run(run):
    spec = MDSpec(600, 2.0, 6_000, frame_interval=_FRAME_INTERVAL)

    def job():
        return backend().md(spec, salt(3))

    whole = run(job())
    pieces = run(job(), n_steps=100, n_signals=2)
    assert list(whole) == [1]
    assert list(pieces) == [1, 2, 3]
    reference, joined = (
        backend().read_segment(Checkpoint(folder=outputs[max(outputs)].dir_name), spec)
        for outputs in (whole, pieces)
    )
    assert joined.n_frames == reference.n_frames == 6_000 // _FRAME_INTERVAL
    assert joined.timestep_fs == reference.timestep_fs == 14.0
    # The last digits of CONTCAR grow exponentially with time: it takes longer until that shows.
    (_, n_steps), _ = earlier_pieces(folder_of(pieces[3]))
    early = slice(0, n_steps // _FRAME_INTERVAL + 300)
    np.testing.assert_allclose(
        joined.fractional[..., early], reference.fractional[..., early], atol=1e-6
    )
    largest = [np.abs(np.diff(t.fractional)).max() for t in (reference, joined)]
    assert largest[1] < 1.5 * largest[0]


def test_relaxation_in_pieces_ends_where_the_uninterrupted_one_does(run):
    structure = salt(3)
    structure.perturb(0.3)

    def job():
        return backend().relax(structure)

    whole = run(job())
    pieces = run(job(), n_steps=0, n_signals=1)
    assert list(whole) == [1]
    assert list(pieces) == [1, 2]
    energies = [o[max(o)].output.energy_per_atom for o in (whole, pieces)]
    assert energies[0] == pytest.approx(energies[1], abs=2e-4)
    # The first was cut before its end, wherever the signal met it.
    ended = [has_converged(pieces[number]) for number in (1, 2)]
    assert ended == [False, True]
    assert pieces[1].output.energy_per_atom > energies[1]
    # Counted, or many short pieces would look like no progress.
    ((_, n_steps),) = earlier_pieces(folder_of(pieces[2]))
    assert n_steps >= 1


def test_no_progress_is_an_error_with_the_remedy():
    _check_progress([("a", 1), ("b", 1), ("c", 2)])
    with pytest.raises(IonSieveError, match=r"raise the wall time under compute\.resources"):
        _check_progress([("a", 500), ("b", 1), ("c", 1), ("d", 1)])


def test_limit_counts_from_the_job_unless_the_batch_script_says_otherwise(monkeypatch):
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START", raising=False)
    BatchLimitHandler(100)
    assert "CUSTODIAN_WALLTIME_START" not in os.environ
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "Mon Nov 02 06:00:00 UTC 2026")
    assert BatchLimitHandler(100).start_time.day == 2
