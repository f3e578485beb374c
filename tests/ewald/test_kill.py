"""A search killed with SIGKILL goes on from its checkpoint; a killed rank ends the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ionsieve.ewald import rank
from sulfide import case_a

SEARCH = """
import os, sys
sys.path.insert(0, {folder!r})
from sulfide import case_a
from ionsieve.ewald import checkpoint, rank, tree_search
from ionsieve.ewald.parallel import world

checkpoint._INTERVAL_SECONDS = 0.0
tree_search._UNIT_COMPLETIONS = 500_000
comm = world() if {mpi} else None
open({pids!r} + "/" + str(os.getpid()), "w").close()
rank(case_a(8), 5, "exhaustive", comm=comm, checkpoint={checkpoint!r})
"""


def as_tuples(ranking):
    return [(entry.labels.tobytes(), entry.degeneracy) for entry in ranking.entries]


@pytest.fixture
def search(tmp_path):
    """Return a function that starts the search and waits for its first checkpoint."""
    running = []

    def start(launcher=()):
        (tmp_path / "pids").mkdir()
        script = tmp_path / "search.py"
        script.write_text(
            SEARCH.format(
                folder=str(Path(__file__).parents[1]),
                mpi=bool(launcher),
                pids=str(tmp_path / "pids"),
                checkpoint=str(tmp_path / "search.npz"),
            )
        )
        process = subprocess.Popen(
            [*launcher, sys.executable, script], stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        deadline = time.monotonic() + 300
        while not (tmp_path / "search.npz").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process, [int(path.name) for path in (tmp_path / "pids").iterdir()]

    yield start
    for process in running:
        process.kill()
        process.wait()


def resume(tmp_path):
    """Finish the search here; compare with the proven ranking and count what was left."""
    n_units = 0

    def count(progress):
        nonlocal n_units
        n_units += 1

    resumed = rank(case_a(8), 5, "exhaustive", checkpoint=tmp_path / "search.npz", report=count)
    proven = rank(case_a(8), 5, "bound")
    assert resumed.certified
    assert resumed.n_covered == resumed.n_arrangements
    assert as_tuples(resumed) == as_tuples(proven)
    return n_units


def test_killed_search_resumes(search, tmp_path):
    process, _ = search()
    time.sleep(0.3)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert resume(tmp_path) > 0


@pytest.mark.mpi
def test_killed_rank_ends_the_run_and_leaves_the_checkpoint(search, tmp_path):
    pytest.importorskip("mpi4py")
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.exists():
        pytest.skip("no mpiexec beside this Python")
    process, pids = search((launcher, "-n", "2"))
    os.kill(pids[-1], signal.SIGKILL)
    assert process.wait(timeout=60) != 0
    assert (tmp_path / "search.npz").exists()
    resume(tmp_path)
