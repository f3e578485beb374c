"""Simulated annealing of arrangements by swaps within sublattices, with maintained potentials."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.kernels import entry, inner, part
from ionsieve.ewald.kernels.arrangements import arrangement_energy, offer, pool_threshold


class Swaps(NamedTuple):
    """What may swap, and the arrangement in hand.

    Attributes
    ----------
    starts : (n_sublattices + 1,) int64
        First variable site of each sublattice, and the end of the last.
    sublattices : (n,) int64
        Sublattice of each site.
    potentials : (n,) float64, eV/e
        Of all other ions at each site.
    best : (n,) uint8
        Lowest arrangement met.
    state : (1,) uint64
        Of the random numbers; never 0.
    """

    starts: NDArray[np.int64]
    sublattices: NDArray[np.int64]
    potentials: NDArray[np.float64]
    best: NDArray[np.uint8]
    state: NDArray[np.uint64]


def new_swaps(starts: NDArray[np.int64]) -> Swaps:
    """Return empty arrays for sublattices that begin at some sites."""
    n = int(starts[-1])
    sublattices = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return Swaps(
        starts=starts,
        sublattices=sublattices.astype(np.int64),
        potentials=np.zeros(n),
        best=np.zeros(n, dtype=np.uint8),
        state=np.ones(1, dtype=np.uint64),
    )


@inner()
def random_below(limit, state):  # type: ignore[no-untyped-def]
    """Return a random float64 in [0, limit); xorshift64*, doi:10.1145/2845077.

    Parameters
    ----------
    limit : float
    state : (1,) uint64
        Not zero; updated in place.
    """
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return limit * ((x * np.uint64(2685821657736338717)) >> np.uint64(11)) * 2.0**-53


@entry()
def site_potentials(labels, model, out):  # type: ignore[no-untyped-def]
    """Write the potential of all other ions at each variable site, eV/e."""
    n = labels.size
    for i in range(n):
        total = model.potential[i]
        for j in range(n):
            if j != i:
                total += model.interaction[i, j] * model.charges[j, labels[j]]
        out[i] = total


@entry()
def swap_cost(i, j, labels, potentials, model):  # type: ignore[no-untyped-def]
    """Return the energy change of swapping two sites' labels, eV."""
    a, b = labels[i], labels[j]
    old_i, new_i = model.charges[i, a], model.charges[i, b]
    old_j, new_j = model.charges[j, b], model.charges[j, a]
    step_i, step_j = new_i - old_i, new_j - old_j
    cost = step_i * potentials[i] + step_j * potentials[j]
    cost += step_i * step_j * model.interaction[i, j]
    cost += 0.5 * (new_i * new_i - old_i * old_i) * model.interaction[i, i]
    return cost + 0.5 * (new_j * new_j - old_j * old_j) * model.interaction[j, j]


@part()
def apply_swap(i, j, labels, potentials, model):  # type: ignore[no-untyped-def]
    """Swap two sites' labels and update the potentials."""
    step_i = model.charges[i, labels[j]] - model.charges[i, labels[i]]
    step_j = model.charges[j, labels[i]] - model.charges[j, labels[j]]
    labels[i], labels[j] = labels[j], labels[i]
    if step_i == 0.0 and step_j == 0.0:
        return
    row_i, row_j = model.interaction[i], model.interaction[j]
    for k in range(labels.size):
        potentials[k] += step_i * row_i[k] + step_j * row_j[k]
    potentials[i] -= step_i * row_i[i]
    potentials[j] -= step_j * row_j[j]


@entry()
def anneal(labels, model, hot_ev, cold_ev, n_steps, seed, swaps, pool):  # type: ignore[no-untyped-def]
    """Cool one arrangement geometrically; offer the low ones met. Return the final energy (eV).

    Parameters
    ----------
    labels : (n,) uint8
        Start; overwritten by the lowest arrangement met.
    hot_ev, cold_ev : float
        k_B T at the start and the end.
    n_steps : int
        Swaps tried.
    seed : int
    swaps : Swaps
    pool : Pool
    """
    starts, potentials, best_labels, state = swaps.starts, swaps.potentials, swaps.best, swaps.state
    state[0] = np.uint64(seed) * np.uint64(2) + np.uint64(1)
    for _ in range(16):
        random_below(1.0, state)
    n = labels.size
    for sublattice in range(starts.size - 1):
        first = starts[sublattice]
        for i in range(starts[sublattice + 1] - 1, first, -1):
            j = first + int(random_below(i - first + 1, state))
            labels[i], labels[j] = labels[j], labels[i]
    site_potentials(labels, model, potentials)
    energy = arrangement_energy(labels, model)
    best = energy
    for k in range(n):
        best_labels[k] = labels[k]
    cooling = (cold_ev / hot_ev) ** (64.0 / (n_steps + 64))
    temperature = hot_ev
    for step in range(n_steps):
        if step % 64 == 63:
            temperature *= cooling
        i = int(random_below(n, state))
        first = starts[swaps.sublattices[i]]
        j = first + int(random_below(starts[swaps.sublattices[i] + 1] - first, state))
        if labels[i] == labels[j]:
            continue
        cost = swap_cost(i, j, labels, potentials, model)
        if cost > 0.0 and random_below(1.0, state) >= math.exp(-cost / temperature):
            continue
        apply_swap(i, j, labels, potentials, model)
        energy += cost
        if energy < best - 1e-9:
            best = energy
            for k in range(n):
                best_labels[k] = labels[k]
        if energy <= pool_threshold(pool) and cost != 0.0:
            offer(labels, model, pool)
    offer(best_labels, model, pool)
    for k in range(n):
        labels[k] = best_labels[k]
    return best


@entry()
def offer_neighbours(labels, model, swaps, pool):  # type: ignore[no-untyped-def]
    """Offer every arrangement one swap away that is low enough; return how many entered."""
    starts, potentials = swaps.starts, swaps.potentials
    site_potentials(labels, model, potentials)
    energy = arrangement_energy(labels, model)
    entered = 0
    for sublattice in range(starts.size - 1):
        for i in range(starts[sublattice], starts[sublattice + 1]):
            for j in range(i):
                if j < starts[sublattice] or labels[i] == labels[j]:
                    continue
                cost = swap_cost(i, j, labels, potentials, model)
                if energy + cost <= pool_threshold(pool):
                    labels[i], labels[j] = labels[j], labels[i]
                    if offer(labels, model, pool):
                        entered += 1
                    labels[i], labels[j] = labels[j], labels[i]
    return entered
