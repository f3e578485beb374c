"""All methods against brute force."""

import doctest

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

import ionsieve.ewald
import naive
from ionsieve.errors import InputError
from ionsieve.ewald import SolidSolution, rank
from ionsieve.ewald.levels import Nodes, Tree
from sulfide import case_a, cubic_sulfide

METHODS = ("exhaustive", "bound", "anneal", "auto")


@st.composite
def small_spaces(draw):
    """A random small crystal with one to three sublattices, at most a few hundred arrangements."""
    system = draw(st.sampled_from(["cubic", "tetragonal", "orthorhombic", "triclinic"]))
    a, b, c = 4.0, draw(st.floats(3.5, 6)), draw(st.floats(3.5, 6))
    lattice = {
        "cubic": Lattice.cubic(a),
        "tetragonal": Lattice.tetragonal(a, c),
        "orthorhombic": Lattice.orthorhombic(a, b, c),
        "triclinic": Lattice.from_parameters(a, b, c, 80, 95, 105),
    }[system]
    mother = Structure(
        lattice,
        ["Na+", "Ca2+", "F-", "O2-"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0.5]],
    )
    supercell = draw(st.sampled_from([(2, 2, 1), (4, 1, 1), (1, 2, 2), (5, 1, 1), (2, 1, 3)]))
    n_cells = int(np.prod(supercell))
    pairs = draw(st.integers(0, min(2, n_cells // 2)))
    swaps = draw(st.integers(0 if pairs else 1, min(2, n_cells - pairs)))
    replace = {"Na": {"Mg2+": pairs, "Li+": swaps}, "Ca": {"K+": pairs}}
    vacate = {}
    if pairs + swaps < n_cells and draw(st.booleans()):
        vacate = {"Na": 1, "F": 1}
    return SolidSolution.from_structure(mother, supercell, replace=replace, vacate=vacate)


def assert_ranking_is_right(ranking, space, orbits, keep):
    expected = [energy for energy, _ in orbits[:keep]]
    np.testing.assert_allclose([e.energy_ev for e in ranking.entries], expected, atol=2e-6)
    found = set()
    for entry in ranking.entries:
        members = next(m for _, m in orbits if tuple(int(x) for x in entry.labels) in m)
        assert entry.degeneracy == len(members)
        found.add(frozenset(members))
    assert len(found) == len(ranking.entries)


@given(small_spaces(), st.integers(1, 6))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_method_agrees_with_brute_force(space, keep):
    orbits = naive.orbits_by_energy(space)
    assert space.n_arrangements == sum(len(members) for _, members in orbits)
    results = {method: rank(space, keep, method) for method in METHODS}
    for method, ranking in results.items():
        assert ranking.n_arrangements == space.n_arrangements
        assert len(ranking.entries) == min(keep, len(orbits))
        assert_ranking_is_right(ranking, space, orbits, keep)
        assert ranking.lower_bound_ev <= orbits[0][0] + 2e-6
        if method in ("exhaustive", "bound"):
            assert ranking.certified
            assert ranking.n_covered == space.n_arrangements
            assert ranking.lower_bound_ev == ranking.entries[0].energy_ev
    labels = [[e.labels.tobytes() for e in r.entries] for r in results.values()]
    assert all(row == labels[0] for row in labels)


@given(small_spaces())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_degeneracies_add_up_and_structures_have_the_stated_energy(space):
    ranking = rank(space, keep=20_000, method="exhaustive")
    assert sum(e.degeneracy for e in ranking.entries) == space.n_arrangements
    for entry in (ranking.entries[0], ranking.entries[-1]):
        assert EwaldSummation(entry.structure).total_energy == pytest.approx(
            entry.energy_ev, abs=1e-6
        )
        assert entry.structure.charge == 0
        assert len(entry.structure) == space.n_ions


def test_published_ranking_d2():
    space = case_a(2)
    assert space.n_arrangements == 135_360
    assert space.model.permutations.shape[0] == 384
    ranking = rank(space, 5, "exhaustive")
    energies = [-3139.777973, -3137.900596, -3137.851671, -3137.780345, -3137.428602]
    assert [e.energy_ev for e in ranking.entries] == pytest.approx(energies, abs=1e-6)
    assert [e.degeneracy for e in ranking.entries] == [24, 192, 192, 384, 96]
    assert ranking.certified


@pytest.mark.parametrize("method", ["exhaustive", "bound", "auto"])
def test_published_ranking_d4(method):
    space = case_a(4)
    assert space.n_arrangements == 354_135_600
    ranking = rank(space, 5, method)
    energies = [-3210.986001, -3210.540365, -3210.531922, -3210.429099, -3210.279131]
    assert [e.energy_ev for e in ranking.entries] == pytest.approx(energies, abs=1e-6)
    assert [e.degeneracy for e in ranking.entries] == [48, 48, 12, 24, 96]
    assert ranking.certified


def test_published_ranking_d8_with_an_accidental_degeneracy():
    space = case_a(8)
    assert space.n_arrangements == 4_856_481_552_780
    ranking = rank(space, 5, "bound")
    energies = [-3353.812001, -3353.709178, -3353.606355, -3353.606355, -3353.152276]
    assert [e.energy_ev for e in ranking.entries] == pytest.approx(energies, abs=1e-6)
    assert [e.degeneracy for e in ranking.entries] == [12, 48, 24, 24, 96]
    assert ranking.certified
    assert ranking.n_covered == space.n_arrangements


def test_accidental_degeneracies_are_kept_apart():
    ranking = rank(case_a(3), keep=40_000, method="exhaustive")
    energies = np.array([e.energy_ev for e in ranking.entries])
    assert len(energies) == 26_125
    assert 1 + np.count_nonzero(np.diff(energies) > 1e-5) == 3_523


def test_orbits_of_outer_choices_add_up():
    tree = Tree.of(case_a(8))
    nodes = Nodes.join(list(tree.nodes()))
    assert len(nodes) == 79
    assert nodes.weights.sum() == tree.n_outer == 12_870
    everything = Nodes.join(list(tree.nodes(use_symmetry=False)))
    assert len(everything) == 12_870


def test_prefixes_of_the_inner_choice_lose_nothing():
    """Nodes with picks made in advance are cut by symmetry too, and still meet every orbit."""
    tree = Tree.of(case_a(2))
    nodes = Nodes.join(list(tree.nodes(prefix=1)))
    assert len(nodes) < 4 * 48


@pytest.mark.parametrize("seed", range(3))
def test_invariance(seed):
    """Rotating, shifting and reordering the mother changes nothing."""
    random = np.random.default_rng(seed)
    mother = cubic_sulfide()
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    order = random.permutation(len(mother))
    moved = Structure(
        mother.lattice.matrix @ rotation,
        [mother[int(i)].species for i in order],
        (mother.frac_coords + random.random(3))[order],
    )
    rules = {"replace": {"Sb5+": {"W6+": 1, "Ta5+": 1}}, "vacate": {"Na+": 1}}
    first = rank(SolidSolution.from_structure(mother, (2, 1, 1), **rules), 8)
    other = rank(SolidSolution.from_structure(moved, (2, 1, 1), **rules), 8)
    assert [e.degeneracy for e in other.entries] == [e.degeneracy for e in first.entries]
    assert [e.energy_ev for e in other.entries] == pytest.approx(
        [e.energy_ev for e in first.entries], abs=1e-6
    )


def test_budget_returns_what_is_proven():
    ranking = rank(case_a(8), 5, "exhaustive", seconds=0.3)
    assert not ranking.certified
    assert 0 < ranking.n_covered < ranking.n_arrangements
    assert len(ranking.entries) == 5


def test_lower_bound_of_unfinished_searches_is_close():
    """Published minimum: -3353.812001 eV; the relaxation is a few eV below it."""
    ranking = rank(case_a(8), 5, "anneal", seconds=0.2)
    assert not ranking.certified
    assert ranking.n_covered == 0
    assert -3353.812001 - 10 < ranking.lower_bound_ev <= -3353.812001 + 1e-5


def test_example_of_the_package():
    results = doctest.testmod(ionsieve.ewald)
    assert results.attempted > 0
    assert results.failed == 0


def test_bad_arguments():
    space = case_a(2)
    for arguments, message in [
        ({"keep": 0}, "keep = 0"),
        ({"seconds": -1.0}, "seconds = -1"),
        ({"method": "guess"}, "choose from"),
    ]:
        with pytest.raises(InputError, match=message):
            rank(space, **arguments)
