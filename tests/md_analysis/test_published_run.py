"""A real run of Li6PS5Cl that kinisi publishes (tests/data/trajectories/README.md)."""

from pathlib import Path

import numpy as np
import pytest

import naive
from ionsieve.md_analysis import ReadOptions, analyze, read_trajectory
from ionsieve.md_analysis.displacement import atomic_masses, mean_squared_displacement, paths

FILE = Path(__file__).parents[1] / "data/trajectories/Li6PS5Cl_XDATCAR.gz"

#: kinisi 2.1.0, DiffusionAnalyzer.from_xdatcar, all lags of 0.1 ps, diffusive from 1 ps on,
#: random_state 0: median and 95 % of the samples of D, cm2/s.
KINISI_D, KINISI_CI95 = 1.390e-5, (1.246e-5, 1.535e-5)


@pytest.fixture(scope="module")
def run():
    # The temperature is not known; neither paths nor D depend on it.
    return read_trajectory(FILE, ReadOptions(timestep_fs=100.0, temperature_k=600.0))


def test_paths_and_msd_are_those_of_pymatgen(run):
    from pymatgen.io.vasp import Xdatcar

    structures = Xdatcar(str(FILE)).structures
    assert run.species == tuple(site.specie.symbol for site in structures[0])
    wrapped = np.array([structure.frac_coords for structure in structures])
    steps = np.diff(wrapped, axis=0)
    walk = np.concatenate([wrapped[:1], wrapped[:1] + np.cumsum(steps - np.rint(steps), axis=0)])
    np.testing.assert_allclose(run.fractional, np.moveaxis(walk, 0, 2), atol=1e-6)
    lithium = run.indices("Li")
    rest = np.setdiff1d(np.arange(run.n_ions), lithium)
    weights = atomic_masses(run.species)[rest]
    drift = np.average(walk[:, rest], axis=1, weights=weights)
    inside = (walk[:, lithium] - (drift - drift[0])[:, None]) @ structures[0].lattice.matrix
    plain = naive.msd_tensor(np.moveaxis(inside[:, :20], 0, 2), lags=[0, 1, 10, 50])
    mine = paths(run, lithium[:20], (drift - drift[0]).T)
    found = mean_squared_displacement(mine, run.timestep_fs).tensor_angstrom2
    np.testing.assert_allclose(found[[0, 1, 10, 50]], plain, atol=1e-4)


def test_diffusivity_agrees_with_another_package(run):
    result = analyze(run, "Li")
    assert result.verdict == "diffusing"
    assert result.escape.n_escaped > 10  # ions do leave their cages
    assert not any(species.failures for species in result.framework)
    low, high = result.diffusivity_ci95_cm2_s
    assert low < KINISI_D < high
    assert KINISI_CI95[0] < result.diffusivity_cm2_s < KINISI_CI95[1]
