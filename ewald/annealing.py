"""Annealing runs: seeded, and independent of the order and the ranks they are made on."""

from __future__ import annotations

import itertools
import math
import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.kernels.annealing import (
    Swaps,
    anneal,
    new_swaps,
    offer_neighbours,
    site_potentials,
    swap_cost,
)
from ionsieve.ewald.kernels.arrangements import Pool
from ionsieve.ewald.levels import Tree
from ionsieve.ewald.parallel import Report, Team
from ionsieve.ewald.solid_solution import SolidSolution
from ionsieve.ewald.tree_search import Limits, Progress, merge_pools

#: Swaps tried per variable site in one run.
_STEPS_PER_SITE = 20_000
#: Runs made without a time budget.
_RUNS = 16
#: Start and end temperatures, k_B T as fractions of the mean cost of a random swap.
_HOT, _COLD = 0.5, 1 / 600
#: Rounds of replacing the pool by its own neighbours.
_POLISH_ROUNDS = 20


def anneal_runs(
    space: SolidSolution,
    tree: Tree,
    pool: Pool,
    seed: int,
    team: Team,
    limits: Limits,
    n_runs: int | None = None,
) -> Progress:
    """Anneal from random arrangements, then search the neighbours of the best.

    Parameters
    ----------
    space, tree, pool
        The pool receives what is found; complete on rank 0.
    seed : int
        Run ``i`` uses the ``i``-th stream of this seed.
    team, limits
    n_runs : int, optional
        Number of runs; without it, until the deadline, or 16 if there is none.
    """
    starts = _bounds(space)
    swaps = new_swaps(starts)
    hot_ev = _HOT * _swap_scale(space, starts, seed)
    n_steps = _STEPS_PER_SITE * int(starts[-1])
    if n_runs is None and limits.deadline == math.inf:
        n_runs = _RUNS
    progress = Progress()

    def work(run: int) -> Report:
        stream = np.random.SeedSequence([seed, run]).generate_state(1, np.uint64)[0]
        cold_ev = hot_ev * _COLD / _HOT
        anneal(_filled(space), tree.model, hot_ev, cold_ev, n_steps, stream >> 2, swaps, pool)
        return Report(0, n_steps)

    def done(run: int, report: Report) -> bool:
        progress.n_evaluated += report.n_evaluated
        if limits.report:
            limits.report(progress)
        return time.perf_counter() > limits.deadline

    runs = itertools.count() if n_runs is None else range(n_runs)
    team.run(iter(runs), work, done, pool, lambda other: merge_pools(tree, pool, other))
    if team.is_root:
        _polish(swaps, tree, pool)
    return progress


def _polish(swaps: Swaps, tree: Tree, pool: Pool) -> None:
    """Offer the neighbours of everything in the pool until nothing new enters."""
    seen: set[bytes] = set()
    for _ in range(_POLISH_ROUNDS):
        rows = pool.labels[pool.order[: pool.size[0]]]
        fresh = [row.copy() for row in rows if row.tobytes() not in seen]
        if not fresh:
            return
        for labels in fresh:
            seen.add(labels.tobytes())
            offer_neighbours(labels, tree.model, swaps, pool)


def _bounds(space: SolidSolution) -> NDArray[np.int64]:
    """Return where each sublattice's rows begin in the labels, and where the last ends."""
    sizes = [len(s.sites) for s in space.sublattices]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _filled(space: SolidSolution) -> NDArray[np.uint8]:
    """Return an arrangement with the right counts."""
    parts = [np.repeat(np.arange(len(s.counts)), s.counts) for s in space.sublattices]
    return np.concatenate(parts).astype(np.uint8)


def _swap_scale(space: SolidSolution, starts: NDArray[np.int64], seed: int) -> float:
    """Return the mean cost of swaps in a random arrangement, eV."""
    generator = np.random.default_rng(seed)
    labels = _filled(space)
    for first, last in pairwise(starts):
        generator.shuffle(labels[first:last])
    potentials = np.empty(len(labels))
    model = space.bare_model  # the repulsion of close pairs is no temperature
    site_potentials(labels, model, potentials)
    costs = [0.0]
    for first, last in pairwise(starts):
        for i, j in generator.integers(first, last, size=(100, 2)):
            if labels[i] != labels[j]:
                costs.append(abs(swap_cost(i, j, labels, potentials, model)))
    return max(float(np.mean(costs)), 1e-3)
