"""Lower bounds of choosing the cheapest sites."""

from __future__ import annotations

import numpy as np

from ionsieve.ewald.kernels import inner


@inner()
def half_pair_sums(pairs, n, n_picks, out):  # type: ignore[no-untyped-def]
    """Write half the sum of each site's smallest pair costs with sites after a position.

    Parameters
    ----------
    pairs : (n_sites, n_sites) float64, eV
    n : int
        Sites that count.
    n_picks : int
    out : (n_picks, n_positions, n_sites) float64, eV
        Indexed by s, position and site; with one position only that of all sites is written.
    """
    smallest = np.empty(n_picks)
    for j in range(n):
        for s in range(n_picks):
            smallest[s] = np.inf
        for after in range(n, -1, -1):
            if after < n and after != j:
                value = pairs[j, after]
                if value < smallest[n_picks - 1]:
                    slot = n_picks - 1
                    while slot > 0 and smallest[slot - 1] > value:
                        smallest[slot] = smallest[slot - 1]
                        slot -= 1
                    smallest[slot] = value
            if after < out.shape[1]:
                total = 0.0
                for s in range(n_picks):
                    out[s, after, j] = 0.5 * total
                    total += smallest[s]


@inner()
def choice_bound(fields, half_sums, start, n, n_left, smallest):  # type: ignore[no-untyped-def]
    """Return a lower bound of ``n_left`` more picks at positions start ... n - 1, eV.

    Each pick pays its own cost and half of its cheapest pairs; the cheapest picks are summed.

    Parameters
    ----------
    fields : (n_sites,) float64, eV
    half_sums : as written by :func:`half_pair_sums`
    start, n, n_left : int
    smallest : (n_left,) float64
        Scratch.
    """
    for slot in range(n_left):
        smallest[slot] = np.inf
    top = n_left - 1
    for k in range(start, n):
        value = fields[k] + half_sums[top, start, k]
        if value < smallest[top]:
            slot = top
            while slot > 0 and smallest[slot - 1] > value:
                smallest[slot] = smallest[slot - 1]
                slot -= 1
            smallest[slot] = value
    total = 0.0
    for slot in range(n_left):
        total += smallest[slot]
    return total


@inner()
def insertion_order(sites, fields, extra, n):  # type: ignore[no-untyped-def]
    """Sort sites and fields in place by ascending ``fields + extra``."""
    keys = np.empty(n)
    for k in range(n):
        key, site, cost = fields[k] + extra[k], sites[k], fields[k]
        slot = k
        while slot > 0 and keys[slot - 1] > key:
            keys[slot] = keys[slot - 1]
            sites[slot] = sites[slot - 1]
            fields[slot] = fields[slot - 1]
            slot -= 1
        keys[slot], sites[slot], fields[slot] = key, site, cost
