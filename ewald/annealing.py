"""Annealing runs: seeded, and independent of the order they are made in."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.kernels.annealing import anneal, offer_neighbours, site_potentials, swap_cost
from ionsieve.ewald.kernels.arrangements import Pool
from ionsieve.ewald.levels import Tree
from ionsieve.ewald.solid_solution import SolidSolution

#: Swaps tried per variable site in one run.
_STEPS_PER_SITE = 20_000
#: Runs made without a time budget.
_RUNS = 16
#: Rounds of replacing the pool by its own neighbours.
_POLISH_ROUNDS = 20


def anneal_runs(
    space: SolidSolution, tree: Tree, pool: Pool, seed: int, deadline: float, n_runs: int = 0
) -> int:
    """Anneal from random arrangements, then search the neighbours of the best.

    Parameters
    ----------
    space, tree, pool
        The pool receives what is found.
    seed : int
        Run ``i`` uses its own stream, so the runs do not depend on each other.
    deadline : float
        On :func:`time.perf_counter`'s clock.
    n_runs : int, optional
        Number of runs; without it, until the deadline, or 16 if that is infinite.

    Returns
    -------
    int
        Swaps tried.
    """
    starts = _movable(space)
    labels = _filled(space)
    if len(starts) < 2:
        anneal(labels, starts, tree.model, 1.0, 0.1, 0, 0, pool)
        return 1
    hot_ev = _swap_scale(labels, starts, tree, seed)
    n_steps = _STEPS_PER_SITE * len(labels)
    if not n_runs:
        n_runs = _RUNS if deadline == float("inf") else 10**9
    seeds = np.random.SeedSequence(seed)
    tried = 0
    for _ in range(n_runs):
        run_seed = int(seeds.spawn(1)[0].generate_state(1)[0])
        anneal(labels, starts, tree.model, hot_ev, hot_ev / 300, n_steps, run_seed, pool)
        tried += n_steps
        if time.perf_counter() > deadline:
            break
    _polish(starts, tree, pool)
    return tried


def _polish(starts: NDArray[np.int64], tree: Tree, pool: Pool) -> None:
    """Offer the neighbours of everything in the pool until nothing new enters."""
    seen: set[bytes] = set()
    for _ in range(_POLISH_ROUNDS):
        rows = pool.labels[: pool.size[0]]
        fresh = [row.copy() for row in rows if row.tobytes() not in seen]
        if not fresh:
            return
        for labels in fresh:
            seen.add(labels.tobytes())
            offer_neighbours(labels, starts, tree.model, pool)


def _movable(space: SolidSolution) -> NDArray[np.int64]:
    """Return the bounds of the sublattices' rows in the labels."""
    sizes = [len(s.sites) for s in space.sublattices]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _filled(space: SolidSolution) -> NDArray[np.uint8]:
    """Return an arrangement with the right counts."""
    parts = [np.repeat(np.arange(len(s.counts)), s.counts) for s in space.sublattices]
    return np.concatenate(parts).astype(np.uint8)


def _swap_scale(
    labels: NDArray[np.uint8], starts: NDArray[np.int64], tree: Tree, seed: int
) -> float:
    """Return half the mean cost of random swaps, eV: a temperature at which most are accepted."""
    generator = np.random.default_rng(seed)
    labels = labels.copy()
    for first, last in pairwise(starts):
        generator.shuffle(labels[first:last])
    potentials = np.empty(len(labels))
    site_potentials(labels, tree.model, potentials)
    costs = []
    for first, last in pairwise(starts):
        for i, j in generator.integers(first, last, size=(100, 2)):
            if labels[i] != labels[j]:
                costs.append(abs(swap_cost(i, j, labels, potentials, tree.model)))
    return max(0.5 * float(np.mean(costs)), 1e-3) if costs else 1e-3
