import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from ionsieve.errors import InputError
from ionsieve.ewald import SolidSolution, energy_histogram, rank, sample
from ionsieve.ewald.spectrum import BOLTZMANN_EV_K


@pytest.fixture(scope="module")
def space():
    mother = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    rules = {"replace": {"Na": {"Mg2+": 2}}, "vacate": {"Na": 2}}
    return SolidSolution.from_structure(mother.get_primitive_structure(), (2, 2, 2), **rules)


def test_histogram_counts_every_arrangement(space):
    everything = rank(space, 10_000, "exhaustive").entries
    energies = np.array([e.energy_ev for e in everything])
    degeneracies = np.array([e.degeneracy for e in everything])
    histogram = energy_histogram(space, n_bins=40)
    assert sum(histogram.counts) == space.n_arrangements
    # Edges may cut through an energy's rounding: compare away from them.
    cumulative = np.cumsum(histogram.counts)
    for edge, count in zip(histogram.edges_ev[1:], cumulative, strict=True):
        if np.abs(energies - edge).min() > 1e-6:
            assert count == degeneracies[energies < edge].sum()
    fine = energy_histogram(space, n_bins=4000)
    weights = degeneracies * np.exp((energies[0] - energies) / (BOLTZMANN_EV_K * 2000))
    mean = np.sum(weights * energies) / weights.sum()
    middles = 0.5 * (fine.edges_ev[1:] + fine.edges_ev[:-1])
    assert fine.weights(2000) @ middles == pytest.approx(mean, abs=0.01)


def test_samples_follow_boltzmann(space):
    temperature_k = 30_000.0
    everything = rank(space, 10_000, "exhaustive").entries
    energies = np.array([e.energy_ev for e in everything])
    weights = np.array([e.degeneracy for e in everything]) * np.exp(
        (energies[0] - energies) / (BOLTZMANN_EV_K * temperature_k)
    )
    probabilities = weights / weights.sum()
    number = {e.labels.tobytes(): k for k, e in enumerate(everything)}
    drawn = sample(space, temperature_k, 4000, seed=1)
    counts = np.bincount([number[e.labels.tobytes()] for e in drawn], minlength=len(everything))
    expected = 4000 * probabilities
    chi_squared = np.sum((counts - expected) ** 2 / expected)
    # 99.9 % of a chi-squared distribution, by the Wilson-Hilferty approximation.
    degrees = len(everything) - 1
    assert chi_squared < degrees * (1 - 2 / (9 * degrees) + 3.1 * np.sqrt(2 / (9 * degrees))) ** 3
    again = sample(space, temperature_k, 5, seed=1)
    assert [e.labels.tobytes() for e in again] == [
        e.labels.tobytes() for e in sample(space, temperature_k, 5, seed=1)
    ]


def test_plot_returns_axes(space):
    import matplotlib

    matplotlib.use("Agg")
    axes = energy_histogram(space, n_bins=10).plot()
    assert axes.get_yscale() == "log"


def test_limits(space):
    with pytest.raises(InputError, match="positive"):
        sample(space, 0.0, 1)
    mother = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    huge = SolidSolution.from_structure(mother, (4, 4, 4), vacate={"Na": 20, "Cl": 20})
    with pytest.raises(InputError, match="too many"):
        energy_histogram(huge)
