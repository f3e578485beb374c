"""Exhaustive search and branch and bound over the nodes of a tree."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.checkpoint import Checkpoint
from ionsieve.ewald.kernels.arrangements import QUANTUM_EV, Pool, offer, pool_threshold
from ionsieve.ewald.kernels.enumeration import node_bounds, search_nodes
from ionsieve.ewald.kernels.work import Bounds, Work, new_bounds, new_work
from ionsieve.ewald.levels import Nodes, Tree
from ionsieve.ewald.parallel import Report, Team

#: Nodes treated as one group, sorted by their bounds; limits memory.
_ROUND_NODES = 1_000_000
#: Completions of the nodes in one work unit; limits its duration.
_UNIT_COMPLETIONS = 300_000_000
_UNIT_NODES = 20_000
#: Completions one node may have before part of the innermost choice is made outside the kernel.
_NODE_COMPLETIONS = 2_000_000_000


@dataclass
class Progress:
    """What a search has done so far.

    Attributes
    ----------
    n_covered : int
        Arrangements evaluated or excluded.
    n_evaluated : int
    finished : bool
    lower_bound_ev : float or None
    """

    n_covered: int = 0
    n_evaluated: int = 0
    finished: bool = False
    lower_bound_ev: float | None = None


@dataclass(frozen=True)
class Limits:
    """When to stop, whom to tell, where to write.

    Attributes
    ----------
    deadline : float
        On :func:`time.perf_counter`'s clock.
    report : callable or None
        Called with the progress after each work unit, on rank 0.
    checkpoint : Checkpoint
    """

    deadline: float
    report: Callable[[Progress], None] | None
    checkpoint: Checkpoint


def merge_pools(tree: Tree, pool: Pool, other: Pool) -> None:
    """Offer everything in one pool to another."""
    for slot in other.order[: other.size[0]]:
        offer(other.labels[slot], tree.model, pool)


def search_tree(tree: Tree, pool: Pool, prune: bool, team: Team, limits: Limits) -> Progress:
    """Evaluate or exclude every arrangement, as far as the deadline allows.

    Parameters
    ----------
    tree : Tree
    pool : Pool
        Receives the lowest; complete on rank 0.
    prune : bool
        Branch and bound, best nodes first, instead of evaluating everything.
    team : Team
    limits : Limits

    Returns
    -------
    Progress
        The same on every rank.
    """
    search = _Search(tree, pool, prune, team, limits)
    progress: Progress = team.share(search.run())
    return progress


class _Search:
    """One tree search on one rank."""

    def __init__(self, tree: Tree, pool: Pool, prune: bool, team: Team, limits: Limits) -> None:
        self.tree, self.pool, self.prune = tree, pool, prune
        self.team, self.limits = team, limits
        self.prefix = _prefix(tree)
        self.n_picks = tree.inner.count - self.prefix
        n_sites = len(tree.inner.sites)
        self.work: Work = new_work(n_sites, self.n_picks, prune)
        self.bounds: Bounds | None = None
        if prune:
            self.bounds = new_bounds(n_sites, self.n_picks, convex_shift(tree))
        self.progress = Progress()
        self.stopped = False

    def run(self) -> Progress:
        """Go through all rounds of nodes."""
        checkpoint = self.limits.checkpoint
        if self.team.is_root:
            checkpoint.load(self.tree.model, self.pool)
            self.progress.n_covered = checkpoint.n_covered
            self.progress.n_evaluated = checkpoint.n_evaluated
        source = self._rounds(checkpoint.round) if self.team.is_root else None
        while True:
            group = self.team.share(None if source is None else next(source, None))
            if group is None:
                break
            self._search_round(*group)
            self.stopped = self.team.share(self.stopped)
            if self.stopped:
                return self.progress
            checkpoint.next_round()
        self.progress.finished = True
        if self.team.is_root:
            checkpoint.remove()
        return self.progress

    def _rounds(self, skip: int) -> Iterator[tuple[Nodes, NDArray[np.float64]]]:
        """Generate groups of nodes with their bounds, sorted by these when pruning."""
        parts: list[Nodes] = []
        bounds: list[NDArray[np.float64]] = []
        n_nodes, number = 0, 0
        source = self.tree.nodes(self.prefix, in_order=not self.prune)
        while True:
            nodes = next(source, None)
            if nodes is not None:
                parts.append(nodes)
                n_nodes += len(nodes)
                bounds.append(self._bounds(nodes) if number >= skip else np.empty(len(nodes)))
            late = time.perf_counter() > self.limits.deadline
            if n_nodes >= _ROUND_NODES or (n_nodes and (nodes is None or late)):
                if number >= skip:
                    # A round cut short by the clock is not the round a resumed run would see.
                    self.stopped = late and nodes is not None and n_nodes < _ROUND_NODES
                    yield _sorted(Nodes.join(parts), np.concatenate(bounds), self.prune)
                number += 1
                parts, bounds, n_nodes = [], [], 0
            if nodes is None:
                return

    def _bounds(self, nodes: Nodes) -> NDArray[np.float64]:
        bounds = np.full(len(nodes), -math.inf)
        if self.bounds is not None:
            tree = self.tree
            node_bounds(
                nodes.labels,
                nodes.first,
                self.n_picks,
                self.bounds,
                tree.level,
                tree.model,
                self.work,
                bounds,
            )
        return bounds

    def _search_round(self, nodes: Nodes, bounds: NDArray[np.float64]) -> None:
        units = _units(len(nodes), math.comb(self.tree.inner.n_open, self.n_picks), self.prune)
        checkpoint = self.limits.checkpoint
        if self.stopped:
            return

        def work(unit: int) -> Report:
            part = nodes.take(units[unit])
            n_covered = int(part.n_arrangements.sum())
            if bounds[units[unit].start] > pool_threshold(self.pool):
                return Report(n_covered, 0)
            tree = self.tree
            evaluated = search_nodes(
                part.labels,
                part.first,
                self.n_picks,
                self.bounds,
                tree.level,
                tree.model,
                self.pool,
                self.work,
            )
            return Report(n_covered, evaluated)

        def done(unit: int, report: Report) -> bool:
            self.progress.n_covered += report.n_covered
            self.progress.n_evaluated += report.n_evaluated
            checkpoint.finished.add(unit)
            checkpoint.n_covered = self.progress.n_covered
            checkpoint.n_evaluated = self.progress.n_evaluated
            checkpoint.save(self.pool)
            if self.limits.report:
                self.limits.report(self.progress)
            return time.perf_counter() > self.limits.deadline

        left = [unit for unit in range(len(units)) if unit not in checkpoint.finished]
        self.team.run(
            iter(left),
            work,
            done,
            self.pool,
            lambda other: merge_pools(self.tree, self.pool, other),
        )
        left = [unit for unit in left if unit not in checkpoint.finished]
        if left and self.team.is_root:
            self.stopped = True
            checkpoint.save(self.pool, force=True)
            if self.prune and len(nodes) < _ROUND_NODES and checkpoint.round == 0:
                self.progress.lower_bound_ev = self._lower_bound(bounds[units[left[0]].start])

    def _lower_bound(self, unfinished_ev: float) -> float:
        """Return the energy below which nothing is: the best found, or the best node left."""
        best_ev = self.pool.quanta[self.pool.order[0]] * QUANTUM_EV
        return float(min(unfinished_ev, best_ev)) if self.pool.size[0] else float(unfinished_ev)


def convex_shift(tree: Tree) -> float:
    """Return what makes the innermost pair costs convex at a fixed number of picks, eV."""
    inner, model = tree.inner, tree.model
    steps = model.charges[inner.sites, inner.label] - model.charges[inner.sites, inner.background]
    pairs = model.interaction[np.ix_(inner.sites, inner.sites)] * np.outer(steps, steps)
    np.fill_diagonal(pairs, 0.0)
    keep = np.eye(len(pairs)) - 1.0 / len(pairs)
    return max(0.0, -float(np.linalg.eigvalsh(keep @ pairs @ keep)[0])) + 1e-9


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


def _sorted(
    nodes: Nodes, bounds: NDArray[np.float64], prune: bool
) -> tuple[Nodes, NDArray[np.float64]]:
    if not prune:
        return nodes, bounds
    order = np.argsort(bounds, kind="stable")
    return nodes.take(order), bounds[order]


def _units(n_nodes: int, n_completions: int, prune: bool) -> list[slice]:
    """Cut nodes into work units: the same for every number of ranks.

    With pruning the first nodes, of lowest bound, take the longest; units grow.
    """
    largest = min(max(_UNIT_COMPLETIONS // max(n_completions, 1), 1), _UNIT_NODES)
    if prune:
        largest = _UNIT_NODES
    units: list[slice] = []
    start = 0
    while start < n_nodes:
        size = min(1 + start // 16, largest) if prune else largest
        units.append(slice(start, min(start + size, n_nodes)))
        start += size
    return units
