"""Known-answer trajectories shared with the benchmarks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import synthetic

from ionsieve.md_analysis import Trajectory


def as_trajectory(known):
    return Trajectory.from_arrays(known.positions, known.cell, known.species, known.timestep_fs)


@pytest.fixture(scope="session")
def reference():
    """A short hopping run that every reader must give back."""
    known = synthetic.hopping(
        synthetic.Run(seed=7, n_mobile=6, n_framework=6, length_ps=0.6, timestep_fs=2.0), 1.0
    )
    return known


@pytest.fixture(scope="session")
def hopping_result():
    from ionsieve.md_analysis import analyze

    run = synthetic.Run(seed=1, n_mobile=60, n_framework=30, length_ps=60, timestep_fs=20.0)
    known = synthetic.hopping(run)
    return analyze(as_trajectory(known), "Na", 600.0, 1)
