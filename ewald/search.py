"""The search behind :func:`rank`: exhaustive, branch and bound, or annealing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.ewald.annealing import anneal_runs
from ionsieve.ewald.kernels.annealing import anneal, offer_neighbours
from ionsieve.ewald.kernels.arrangements import (
    Model,
    Pool,
    arrangement_energy,
    new_pool,
    pool_threshold,
)
from ionsieve.ewald.kernels.enumeration import new_work, node_bounds, search_nodes
from ionsieve.ewald.levels import Choice, Nodes, Tree
from ionsieve.ewald.ranking import RankedArrangement, Ranking
from ionsieve.ewald.solid_solution import SolidSolution

logger = logging.getLogger(__name__)

Method = Literal["auto", "exhaustive", "bound", "anneal"]

#: Rates of one core, rough and on the low side; they only steer ``auto``.
_EVALUATIONS_PER_SECOND = 1e9
_NODES_PER_SECOND = 1e5
_OUTER_PER_SECOND = 1e6
#: ``auto`` enumerates everything if that is expected to take less than this.
_EXHAUSTIVE_SECONDS = 2.0
#: Symmetry-distinct arrangements above which ``auto`` does not try to prove anything.
_BOUND_ARRANGEMENTS = 1e15
#: Time ``auto`` gives to a search without a budget of its own.
_DEFAULT_SECONDS = 60.0
#: Wanted duration of one kernel call; between calls time is checked.
_CALL_SECONDS = 0.1
#: Nodes sorted by their bound at once; limits memory.
_SORTED_NODES = 1_000_000
#: Completions one node may have before part of the innermost choice is made outside the kernel.
_NODE_COMPLETIONS = 2_000_000_000


@dataclass
class Progress:
    """What a search has done so far."""

    n_covered: int = 0
    n_evaluated: int = 0
    finished: bool = False
    lower_bound_ev: float | None = None


def rank(
    space: SolidSolution,
    keep: int = 5,
    method: Method = "auto",
    seconds: float | None = None,
    seed: int = 0,
) -> Ranking:
    """Find the symmetry-distinct arrangements of lowest point-charge energy.

    Parameters
    ----------
    space : SolidSolution
    keep : int
        How many arrangements to return.
    method : {"auto", "exhaustive", "bound", "anneal"}
        ``exhaustive`` evaluates one arrangement of every orbit of the outer sublattices;
        ``bound`` excludes branches by lower bounds; both prove their result when they finish.
        ``anneal`` is a heuristic. ``auto`` chooses by counted cost.
    seconds : float, optional
        Time budget; what is proven by then is returned.
    seed : int
        Of the annealing.

    Returns
    -------
    Ranking

    Raises
    ------
    InputError
        ``keep`` or ``seconds`` is not positive, or the method is unknown.
    """
    if keep < 1:
        raise InputError(f"keep = {keep}: ask for 1 arrangement or more")
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds = {seconds}: give a positive time budget, or none")
    if method not in get_args(Method):
        raise InputError(f"method '{method}': choose from {', '.join(get_args(Method))}")
    tree = Tree.of(space)
    chosen = _choose(tree, seconds) if method == "auto" else method
    compile_seconds = _compile(chosen)
    if method == "auto" and seconds is None:
        seconds = _DEFAULT_SECONDS
    start = time.perf_counter()
    deadline = math.inf if seconds is None else start + seconds
    pool = new_pool(keep, len(space.variable_sites))
    if chosen == "anneal":
        progress = Progress(n_evaluated=anneal_runs(space, tree, pool, seed, deadline))
    elif chosen == "bound":
        progress = _bound(space, tree, pool, seed, start, deadline)
    else:
        progress = _exhaustive(tree, pool, deadline)
    if progress.finished:
        progress.n_covered = space.n_arrangements
    return _ranking(
        space, tree, pool, progress, chosen, time.perf_counter() - start, compile_seconds
    )


def _ranking(
    space: SolidSolution,
    tree: Tree,
    pool: Pool,
    progress: Progress,
    method: str,
    seconds: float,
    compile_seconds: float,
) -> Ranking:
    entries = []
    for slot in pool.order[: pool.size[0]]:
        labels = pool.labels[slot]
        energy = float(arrangement_energy(labels, tree.model))
        entries.append(RankedArrangement(energy, int(pool.degeneracies[slot]), labels, space))
    lower = entries[0].energy_ev if progress.finished else progress.lower_bound_ev
    return Ranking(
        n_arrangements=space.n_arrangements,
        n_covered=progress.n_covered,
        n_evaluated=progress.n_evaluated,
        certified=progress.finished,
        method=method,
        seconds=seconds,
        compile_seconds=compile_seconds,
        lower_bound_ev=lower,
        entries=tuple(entries),
    )


def _choose(tree: Tree, seconds: float | None) -> Method:
    """Choose the method by counted cost."""
    budget = _DEFAULT_SECONDS if seconds is None else seconds
    outer_seconds = tree.n_outer / _OUTER_PER_SECOND
    n_nodes = max(tree.n_outer / len(tree.model.permutations), 1.0)
    exhaustive_seconds = (
        outer_seconds
        + n_nodes / _NODES_PER_SECOND
        + n_nodes * tree.inner.n_subsets / _EVALUATIONS_PER_SECOND
    )
    if exhaustive_seconds < min(_EXHAUSTIVE_SECONDS, budget / 2):
        return "exhaustive"
    if outer_seconds < budget / 2 and n_nodes * tree.inner.n_subsets < _BOUND_ARRANGEMENTS:
        return "bound"
    return "anneal"


def _prefix(tree: Tree) -> int:
    """Return how many innermost picks to make outside the kernel."""
    prefix = 0
    inner = tree.inner
    while (
        prefix < inner.count - 2
        and inner.n_subsets / math.comb(inner.n_open, prefix) > _NODE_COMPLETIONS
    ):
        prefix += 1
    return prefix


def _batches(n_nodes: int) -> Iterator[slice]:
    """Cut nodes into kernel calls of about the wanted duration."""
    size, done = 1, 0
    while done < n_nodes:
        start = time.perf_counter()
        batch = slice(done, min(done + size, n_nodes))
        yield batch
        done = batch.stop
        elapsed = time.perf_counter() - start
        size = int(min(max(size * min(_CALL_SECONDS / max(elapsed, 1e-6), 4.0), 1), 100_000))


def _completions(tree: Tree, nodes: Nodes, prefix: int) -> int:
    """Return how many arrangements some nodes stand for."""
    left = tree.inner.count - prefix
    if prefix == 0:
        return int(nodes.weights.sum()) * math.comb(tree.inner.n_open, left)
    open_after = [
        int(np.sum(labels[tree.inner.sites[first:]] == tree.inner.background))
        for labels, first in zip(nodes.labels, nodes.first, strict=True)
    ]
    return sum(int(w) * math.comb(n, left) for w, n in zip(nodes.weights, open_after, strict=True))


def _exhaustive(tree: Tree, pool: Pool, deadline: float) -> Progress:
    progress = Progress()
    prefix = _prefix(tree)
    n_picks = tree.inner.count - prefix
    work = new_work(len(tree.inner.sites), n_picks)
    for nodes in tree.nodes(prefix):
        for batch in _batches(len(nodes)):
            part = nodes.take(batch)
            progress.n_evaluated += search_nodes(
                part.labels, part.first, n_picks, False, tree.level, tree.model, pool, work
            )
            progress.n_covered += _completions(tree, part, prefix)
            if time.perf_counter() > deadline:
                return progress
    progress.finished = True
    return progress


def _bound(
    space: SolidSolution, tree: Tree, pool: Pool, seed: int, start: float, deadline: float
) -> Progress:
    """Branch and bound with a threshold seeded by annealing."""
    seed_deadline = deadline if deadline == math.inf else start + 0.3 * (deadline - start)
    tried = anneal_runs(space, tree, pool, seed, seed_deadline, n_runs=2)
    progress = _best_first(tree, pool, deadline)
    progress.n_evaluated += tried
    return progress


def _best_first(tree: Tree, pool: Pool, deadline: float) -> Progress:
    """Search the nodes in the order of their lower bounds."""
    progress = Progress()
    prefix = _prefix(tree)
    n_picks = tree.inner.count - prefix
    work = new_work(len(tree.inner.sites), n_picks)
    source = tree.nodes(prefix)
    while parts := _bounded_nodes(source, tree, n_picks, deadline):
        nodes = Nodes.join([part for part, _ in parts])
        bounds = np.concatenate([bound for _, bound in parts])
        order = np.argsort(bounds, kind="stable")
        nodes, bounds = nodes.take(order), bounds[order]
        for batch in _batches(len(nodes)):
            if bounds[batch.start] > pool_threshold(pool):
                rest = nodes.take(slice(batch.start, None))
                progress.n_covered += _completions(tree, rest, prefix)
                break
            if time.perf_counter() > deadline:
                if len(nodes) < _SORTED_NODES and next(source, None) is None:
                    progress.lower_bound_ev = float(bounds[batch.start])
                return progress
            part = nodes.take(batch)
            progress.n_evaluated += search_nodes(
                part.labels, part.first, n_picks, True, tree.level, tree.model, pool, work
            )
            progress.n_covered += _completions(tree, part, prefix)
        if time.perf_counter() > deadline:
            return progress
    progress.finished = True
    return progress


def _bounded_nodes(
    source: Iterator[Nodes], tree: Tree, n_picks: int, deadline: float
) -> list[tuple[Nodes, NDArray[np.float64]]]:
    """Take as many nodes as are sorted at once, with their lower bounds."""
    parts: list[tuple[Nodes, NDArray[np.float64]]] = []
    n_nodes = 0
    while n_nodes < _SORTED_NODES and (not parts or time.perf_counter() < deadline):
        nodes = next(source, None)
        if nodes is None:
            break
        bounds = np.empty(len(nodes))
        node_bounds(nodes.labels, nodes.first, n_picks, tree.level, tree.model, bounds)
        parts.append((nodes, bounds))
        n_nodes += len(nodes)
    return parts


def _compile(method: Method) -> float:
    """Compile the kernels, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    model = Model(
        interaction=np.zeros((4, 4)),
        potential=np.zeros(4),
        charges=np.array([[0.0, 1.0]] * 4),
        permutations=np.arange(4, dtype=np.int32)[None, :],
        constant_ev=np.zeros(1),
    )
    choice = Choice(np.arange(4, dtype=np.int64), 0, 1, 2, 4)
    tree = Tree(model, (), choice, np.zeros(4, dtype=np.uint8))
    pool = new_pool(1, 4)
    if method == "exhaustive":
        _exhaustive(tree, pool, math.inf)
        return time.perf_counter() - start
    filled = np.array([0, 0, 1, 1], dtype=np.uint8)
    starts = np.array([0, 4], dtype=np.int64)
    anneal(filled, starts, model, 1.0, 0.1, 1, 0, pool)
    offer_neighbours(filled, starts, model, pool)
    if method == "bound":
        _best_first(tree, pool, math.inf)
    return time.perf_counter() - start
