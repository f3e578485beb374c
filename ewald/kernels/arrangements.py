"""Energy, canonical form and top-k pool of arrangements."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.kernels import entry, part

#: Energies are compared in whole multiples of this (eV); below it arrangements tie, and their
#: canonical labels decide the order.
QUANTUM_EV = 1e-6
#: A limit that excludes nothing.
NO_LIMIT = np.iinfo(np.int64).max


class Model(NamedTuple):
    """Energy and symmetry of the variable sites of a supercell.

    Attributes
    ----------
    interaction : (n, n) float64, eV/e^2
        Ewald matrix among variable sites.
    potential : (n,) float64, eV/e
        Potential of the fixed ions at the variable sites.
    charges : (n, n_labels) float64, e
        Charge of each label on each site.
    permutations : (n_operations, n) int32
        The space group; the image of labels x is ``x[permutation]``.
    constant_ev : (1,) float64
        Energy of the fixed ions.
    """

    interaction: NDArray[np.float64]
    potential: NDArray[np.float64]
    charges: NDArray[np.float64]
    permutations: NDArray[np.int32]
    constant_ev: NDArray[np.float64]


class Pool(NamedTuple):
    """The lowest symmetry-distinct arrangements met so far.

    Attributes
    ----------
    order : (k + 1,) int64
        Slots by ascending energy, then descending labels; after those in use the free ones.
    quanta : (k + 1,) int64
        Energies in multiples of :data:`QUANTUM_EV`.
    labels : (k + 1, n) uint8
        Canonical labels.
    degeneracies : (k + 1,) int64
    size : (1,) int64
        Slots in use.
    limit : (1,) int64
        Energy, in quanta, above which nothing is wanted whatever the pool holds.
    """

    order: NDArray[np.int64]
    quanta: NDArray[np.int64]
    labels: NDArray[np.uint8]
    degeneracies: NDArray[np.int64]
    size: NDArray[np.int64]
    limit: NDArray[np.int64]


def new_pool(capacity: int, n_sites: int) -> Pool:
    """Return an empty pool."""
    return Pool(
        np.arange(capacity + 1, dtype=np.int64),
        np.zeros(capacity + 1, dtype=np.int64),
        np.zeros((capacity + 1, n_sites), dtype=np.uint8),
        np.zeros(capacity + 1, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.full(1, NO_LIMIT, dtype=np.int64),
    )


@entry()
def arrangement_energy(labels, model):  # type: ignore[no-untyped-def]
    """Return the energy of an arrangement, eV."""
    n = labels.size
    total = model.constant_ev[0]
    for i in range(n):
        charge = model.charges[i, labels[i]]
        if charge == 0.0:
            continue
        inner = model.potential[i] + 0.5 * charge * model.interaction[i, i]
        for j in range(i):
            inner += model.charges[j, labels[j]] * model.interaction[i, j]
        total += charge * inner
    return total


@part()
def canonicalise(labels, permutations, out):  # type: ignore[no-untyped-def]
    """Write the lexicographically largest symmetry image; return the degeneracy."""
    n = labels.size
    for i in range(n):
        out[i] = labels[i]
    n_equal = 0
    for operation in range(permutations.shape[0]):
        sign = 0
        for i in range(n):
            image = labels[permutations[operation, i]]
            if image != out[i]:
                sign = 1 if image > out[i] else -1
                break
        if sign == 0:
            n_equal += 1
        elif sign == 1:
            n_equal = 1
            for i in range(n):
                out[i] = labels[permutations[operation, i]]
    return permutations.shape[0] // n_equal


@entry()
def pool_threshold(pool):  # type: ignore[no-untyped-def]
    """Return the energy (eV) above which nothing can enter the pool."""
    worst = pool.limit[0]
    size = pool.size[0]
    if size == pool.order.size - 1:
        last = pool.quanta[pool.order[size - 1]]
        worst = last if last < worst else worst
    return np.inf if worst == NO_LIMIT else (worst + 2) * QUANTUM_EV


@part()
def compare(slot, other, pool):  # type: ignore[no-untyped-def]
    """Return 1 if a slot's arrangement comes after the other's, -1 if before, 0 if it is it."""
    if pool.quanta[slot] != pool.quanta[other]:
        return 1 if pool.quanta[slot] > pool.quanta[other] else -1
    for i in range(pool.labels.shape[1]):
        if pool.labels[slot, i] != pool.labels[other, i]:
            return 1 if pool.labels[slot, i] < pool.labels[other, i] else -1
    return 0


@entry()
def offer(labels, model, pool):  # type: ignore[no-untyped-def]
    """Put an arrangement into the pool if it is among the lowest and new.

    The order is by energy in quanta, then by canonical labels, so the pool's final content depends
    neither on the order of offers nor on which symmetry copies were offered.
    """
    size = pool.size[0]
    # There is always one slot more than may be in use.
    slot = pool.order[size]
    canonical = pool.labels[slot]
    pool.degeneracies[slot] = canonicalise(labels, model.permutations, canonical)
    pool.quanta[slot] = np.int64(np.floor(arrangement_energy(canonical, model) / QUANTUM_EV + 0.5))
    # Binary search for the first row that comes after the new arrangement.
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        order = compare(slot, pool.order[middle], pool)
        if order == 0:
            return False
        if order > 0:
            low = middle + 1
        else:
            high = middle
    if low == pool.order.size - 1:
        return False
    for row in range(size, low, -1):
        pool.order[row] = pool.order[row - 1]
    pool.order[low] = slot
    if size < pool.order.size - 1:
        pool.size[0] = size + 1
    return True
