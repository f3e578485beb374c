"""The kernels against plain Python."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

import naive
from ionsieve.ewald import SolidSolution, rank, tree_search
from ionsieve.ewald.kernels.annealing import site_potentials, swap_cost
from ionsieve.ewald.kernels.arrangements import arrangement_energy, new_pool, offer
from ionsieve.ewald.kernels.enumeration import node_bounds, search_nodes
from ionsieve.ewald.kernels.subsets import next_canonical_subsets
from ionsieve.ewald.kernels.work import new_bounds, new_work
from ionsieve.ewald.levels import Nodes, Tree
from ionsieve.ewald.relaxation import relaxed_lower_bound_ev
from ionsieve.ewald.tree_search import convex_shift


def vacant_salt(n_cells, n_vacancies, angle=83.0):
    """A triclinic salt with vacancies on both sublattices; only inversion is left of symmetry."""
    mother = Structure(
        Lattice.from_parameters(3.9, 4.3, 5.1, angle, 95, 101),
        ["Na+", "Cl-"],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
    )
    rules = {"Na": n_vacancies, "Cl": n_vacancies}
    return SolidSolution.from_structure(mother, (n_cells, 2, 1), vacate=rules)


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_energies_and_swaps(seed):
    space = vacant_salt(4, 3)
    model = space.model
    random = np.random.default_rng(seed)
    labels = np.concatenate(
        [random.permutation(np.repeat(range(len(s.counts)), s.counts)) for s in space.sublattices]
    ).astype(np.uint8)
    matrix = naive.ewald_matrix(space.lattice, space.frac_coords)
    charges = np.array(naive.arrangement_charges(space, labels))
    energy = arrangement_energy(labels, model)
    assert energy == pytest.approx(0.5 * charges @ matrix @ charges, abs=1e-8)
    potentials = np.empty(len(labels))
    site_potentials(labels, model, potentials)
    i, j = random.integers(0, 8, 2)
    cost = swap_cost(i, j, labels, potentials, model)
    labels[[i, j]] = labels[[j, i]]
    assert arrangement_energy(labels, model) == pytest.approx(energy + cost, abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_canonical_subsets(size):
    """One member of every orbit of subsets of a hexagonal prism's corners."""
    turn = [(k + 1) % 6 + 6 * (k // 6) for k in range(6)] + [(k + 1) % 6 + 6 for k in range(6)]
    flip = [(k + 6) % 12 for k in range(12)]
    group = {tuple(range(12))}
    while True:
        larger = group | {tuple(g[k] for k in h) for g in group for h in (turn, flip)}
        if larger == group:
            break
        group = larger
    permutations = np.array(sorted(group), dtype=np.int32)
    orbits = {
        frozenset(frozenset(g[k] for k in subset) for g in group)
        for subset in itertools.combinations(range(12), size)
    }
    state, indicator = np.zeros(size + 1, dtype=np.int64), np.zeros(12, dtype=bool)
    found, n_equal = [], []
    while True:
        out, equal = np.empty((5, size), dtype=np.int32), np.empty(5, dtype=np.int64)
        written = next_canonical_subsets(permutations, state, indicator, out, equal)
        found += [frozenset(row) for row in out[:written].tolist()]
        n_equal += equal[:written].tolist()
        if written < 5:
            break
    assert len(found) == len(orbits)
    for subset, equal in zip(found, n_equal, strict=True):
        (orbit,) = (o for o in orbits if subset in o)
        assert len(group) // equal == len(orbit)


@pytest.mark.parametrize("n_tail", [1, 2, 3, 4])
@pytest.mark.parametrize("prune", [False, True])
def test_every_tail_length_finds_the_lowest(n_tail, prune):
    space = vacant_salt(5, 5)
    tree = Tree.of(space)
    nodes = Nodes.join(list(tree.nodes()))
    work = new_work(10, 5, prune)
    bounds = new_bounds(10, 5, convex_shift(tree)) if prune else None
    work.n_tail[0] = n_tail
    pool = new_pool(8, len(tree.start))
    evaluated = search_nodes(
        nodes.labels, nodes.first, 5, bounds, tree.level, tree.model, pool, work
    )
    if not prune:
        assert evaluated == len(nodes) * math.comb(10, 5)
    expected = new_pool(8, len(tree.start))
    for labels in nodes.labels:
        for picks in itertools.combinations(tree.inner.sites, 5):
            complete = labels.copy()
            complete[list(picks)] = tree.inner.label
            offer(complete, tree.model, expected)
    found, wanted = pool.order[:8], expected.order[:8]
    assert pool.quanta[found].tolist() == expected.quanta[wanted].tolist()
    np.testing.assert_array_equal(pool.labels[found], expected.labels[wanted])


@given(st.floats(70, 110))
@settings(max_examples=5, deadline=None)
def test_bounds_are_below_everything_they_stand_for(angle):
    space = vacant_salt(4, 4, angle)
    tree = Tree.of(space)
    nodes = Nodes.join(list(tree.nodes()))
    bounds = np.empty(len(nodes))
    work, relaxation = new_work(8, 4, True), new_bounds(8, 4, convex_shift(tree))
    node_bounds(nodes.labels, nodes.first, 4, relaxation, tree.level, tree.model, work, bounds)
    lowest = math.inf
    for labels, bound in zip(nodes.labels, bounds, strict=True):
        energies = []
        for picks in itertools.combinations(tree.inner.sites, 4):
            complete = labels.copy()
            complete[list(picks)] = tree.inner.label
            energies.append(arrangement_energy(complete, tree.model))
        assert bound <= min(energies) + 1e-6
        lowest = min(lowest, min(energies))
    assert relaxed_lower_bound_ev(space) <= lowest + 1e-6


@pytest.mark.parametrize("method", ["exhaustive", "bound"])
def test_large_nodes_are_split_without_loss(monkeypatch, method):
    space = vacant_salt(5, 5)
    whole = rank(space, 6, method)
    monkeypatch.setattr(tree_search, "_NODE_COMPLETIONS", 10)
    split = rank(space, 6, method)
    assert split.certified
    assert [(e.labels.tobytes(), e.degeneracy) for e in split.entries] == [
        (e.labels.tobytes(), e.degeneracy) for e in whole.entries
    ]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_coverage_of_unfinished_searches_is_never_too_high(prefix, in_order):
    """Against the orbits that the finished nodes meet; without a prefix the count is exact."""
    mother = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    rules = {"replace": {"Na": {"Mg2+": 1, "Al3+": 1}}, "vacate": {"Na": 3}}
    space = SolidSolution.from_structure(mother.get_primitive_structure(), (4, 2, 1), **rules)
    tree = Tree.of(space)
    assert tree.inner.count == 3
    permutations = tree.model.permutations
    nodes = Nodes.join(list(tree.nodes(prefix, in_order=in_order)))
    if not in_order:
        nodes = nodes.take(np.random.default_rng(prefix).permutation(len(nodes)))
    met, n_counted = set(), 0
    for labels, first, n_arrangements in zip(
        nodes.labels, nodes.first, nodes.n_arrangements, strict=True
    ):
        sites = tree.inner.sites[first:]
        free = sites[labels[sites] == tree.inner.background]
        for picks in itertools.combinations(free, 3 - prefix):
            complete = labels.copy()
            complete[list(picks)] = tree.inner.label
            met |= {row.tobytes() for row in complete[permutations]}
        n_counted += n_arrangements
        assert n_counted <= len(met)
        assert prefix > 0 or n_counted == len(met)
    assert len(met) == space.n_arrangements
    assert n_counted == space.n_arrangements or (prefix > 0 and not in_order)


def test_coverage_grows_to_the_full_space(monkeypatch):
    space = vacant_salt(5, 5)
    monkeypatch.setattr(tree_search, "_NODE_COMPLETIONS", 10)
    monkeypatch.setattr(tree_search, "_UNIT_COMPLETIONS", 1000)
    covered = []
    rank(space, 6, "exhaustive", report=lambda progress: covered.append(progress.n_covered))
    assert len(covered) > 10
    assert covered == sorted(covered)
    assert covered[-1] == space.n_arrangements
