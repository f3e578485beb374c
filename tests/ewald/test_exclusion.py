"""Sites that exclude each other, against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

import naive
from ionsieve.errors import InputError
from ionsieve.ewald import SolidSolution, energy_histogram, rank, sample
from ionsieve.ewald.exclusion import count_fillings

METHODS = ("exhaustive", "bound", "anneal", "auto")


def split_crystal(shift, occupancy=0.5, other=None):
    """A sodium site split into two halves along x, ``2 * shift`` of 4 A apart."""
    return Structure(
        Lattice.orthorhombic(4.0, 4.6, 5.3),
        [{"Na+": occupancy}, {"Na+": other or occupancy}, "Cl-"],
        [[-shift, 0, 0], [shift, 0, 0], [0.5, 0.5, 0.5]],
    )


def allowed_orbits(space, min_distance):
    """Brute force: all arrangements, those with ions too close to each other left out."""
    lattice = Lattice(space.lattice)

    def keeps_apart(labels):
        structure = space.structure(np.array(labels, dtype=np.uint8))
        cations = [i for i, s in enumerate(structure.species) if s.symbol == "Na"]
        coords = structure.frac_coords[cations]
        distances = lattice.get_all_distances(coords, coords) + 9 * np.eye(len(coords))
        return distances.min() >= min_distance

    return [
        (energy, members)
        for energy, members in naive.orbits_by_energy(space)
        if keeps_apart(next(iter(members)))
    ]


@given(
    st.sampled_from([(4, 1, 1), (2, 2, 1), (3, 1, 1), (1, 2, 2)]),
    st.floats(0.03, 0.12),
    st.integers(1, 6),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_method_agrees_with_brute_force(supercell, shift, keep):
    space = SolidSolution.from_structure(split_crystal(shift), supercell)
    n_cells = int(np.prod(supercell))
    assert len(space.close_pairs) == n_cells
    orbits = allowed_orbits(space, 1.0)
    assert space.n_arrangements == sum(len(members) for _, members in orbits) == 2**n_cells
    for method in METHODS:
        ranking = rank(space, keep, method)
        expected = [energy for energy, _ in orbits[:keep]]
        np.testing.assert_allclose([e.energy_ev for e in ranking.entries], expected, atol=2e-6)
        assert ranking.lower_bound_ev <= orbits[0][0] + 2e-6
        assert all(space.is_allowed(entry.labels) for entry in ranking.entries)
        if method in ("exhaustive", "bound"):
            assert ranking.certified
            assert ranking.n_covered == space.n_arrangements
            for entry, (_, members) in zip(ranking.entries, orbits, strict=False):
                assert entry.degeneracy in {len(m) for _, m in orbits}
                assert len(members)
    assert "exclude each other" in rank(space, 1).notes[-1]


def test_two_sublattices_exclude_each_other():
    space = SolidSolution.from_structure(split_crystal(0.1, 0.75, 0.25), (4, 1, 1))
    assert [len(s.sites) for s in space.sublattices] == [4, 4]
    assert space.n_unconstrained == 16
    orbits = allowed_orbits(space, 1.0)
    assert space.n_arrangements == sum(len(members) for _, members in orbits) == 4
    assert rank(space, 1).entries[0].energy_ev == pytest.approx(orbits[0][0], abs=2e-6)


def test_histogram_and_samples_have_allowed_ones_only():
    space = SolidSolution.from_structure(split_crystal(0.1), (4, 1, 1))
    assert sum(energy_histogram(space, 50).counts) == space.n_arrangements == 16
    assert all(space.is_allowed(e.labels) for e in sample(space, 1e6, 30))


def test_distance_zero_lets_all_be():
    space = SolidSolution.from_structure(split_crystal(0.1), (4, 1, 1), min_site_distance=0.0)
    assert space.n_arrangements == space.n_unconstrained == 70
    assert not rank(space, 1).notes


def test_more_ions_than_fit_are_refused():
    with pytest.raises(InputError, match="no arrangement keeps all ions 1 A apart"):
        SolidSolution.from_structure(
            split_crystal(0.1), (2, 1, 1), arrange={"Na1": {"Na+": 3}}, replace={"Cl": {"O2-": 1}}
        )


@given(
    st.integers(2, 9),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=14),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_brute_force(n_sites, edges, data):
    groups = np.array(
        sorted(data.draw(st.lists(st.integers(0, 1), min_size=n_sites, max_size=n_sites)))
    )
    pairs = np.array(
        sorted({(min(e), max(e)) for e in edges if e[0] != e[1] and max(e) < n_sites})
    ).reshape(-1, 2)
    sizes = np.bincount(groups, minlength=2)
    filled = [data.draw(st.integers(0, int(size))) for size in sizes]
    brute = 0
    for chosen in itertools.product((0, 1), repeat=n_sites):
        mask = np.array(chosen)
        if all(mask[groups == g].sum() == filled[g] for g in (0, 1)):
            brute += not any(mask[i] and mask[j] for i, j in pairs)
    assert count_fillings(groups, pairs, filled) == brute
