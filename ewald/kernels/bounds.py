"""Lower bounds of choosing the cheapest sites."""

from __future__ import annotations

import numpy as np

from ionsieve.ewald.kernels import inner, part


@inner()
def half_pair_sums(pairs, n, n_picks, smallest, out):  # type: ignore[no-untyped-def]
    """Write half the sum of each site's smallest pair costs with sites after a position.

    Parameters
    ----------
    pairs : (n_sites, n_sites) float64, eV
    n : int
        Sites that count.
    n_picks : int
    smallest : (n_picks,) float64
        Scratch.
    out : (n_picks, n_positions, n_sites) float64, eV
        Indexed by s, position and site; with one position only that of all sites is written.
    """
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


@part()
def insertion_order(sites, fields, extra, n, keys):  # type: ignore[no-untyped-def]
    """Sort sites and fields in place by ascending ``fields + extra``; ``keys`` is scratch."""
    for k in range(n):
        key, site, cost = fields[k] + extra[k], sites[k], fields[k]
        slot = k
        while slot > 0 and keys[slot - 1] > key:
            keys[slot] = keys[slot - 1]
            sites[slot] = sites[slot - 1]
            fields[slot] = fields[slot - 1]
            slot -= 1
        keys[slot], sites[slot], fields[slot] = key, site, cost


@inner()
def relaxed_choice_bound(fields, pairs, shift, start, n, n_left, n_steps, work):  # type: ignore[no-untyped-def]
    """Return a lower bound of ``n_left`` picks at positions >= start by convex relaxation, eV.

    The cost with ``shift (x^2 - x) / 2`` added per site is convex in the fractions x picked of the
    sites; every Frank-Wolfe step gives a bound.

    Parameters
    ----------
    fields : (n_sites,) float64, eV
    pairs : (n_sites, n_sites) float64, eV
    shift : float, eV
        Makes the pair costs convex at a fixed number of picks.
    start, n, n_left, n_steps : int
    work : (4, n_sites) float64
        Scratch: fractions, their pair costs, slopes, the cheapest corner.
    """
    fractions, costs, slopes, corner = work[0], work[1], work[2], work[3]
    part = n_left / (n - start)
    for i in range(start, n):
        fractions[i] = part
        costs[i] = 0.0
        for j in range(start, n):
            costs[i] += pairs[i, j] * part
        costs[i] -= pairs[i, i] * part
    best = -np.inf
    for _ in range(n_steps):
        value = 0.0
        for i in range(start, n):
            linear = fields[i] - 0.5 * shift
            slopes[i] = linear + costs[i] + shift * fractions[i]
            value += fractions[i] * (linear + 0.5 * (costs[i] + shift * fractions[i]))
            corner[i] = 0.0
        slope = 0.0
        for _ in range(n_left):
            least = -1
            for i in range(start, n):
                if corner[i] == 0.0 and (least < 0 or slopes[i] < slopes[least]):
                    least = i
            corner[least] = 1.0
            slope += slopes[least]
        for i in range(start, n):
            slope -= slopes[i] * fractions[i]
        best = value + slope if value + slope > best else best
        if slope > -1e-3:
            break
        curvature = 0.0
        for i in range(start, n):
            total = 0.0
            for j in range(start, n):
                if corner[j] == 1.0 and j != i:
                    total += pairs[i, j]
            # The slopes are spent: keep the step of the pair costs in their place.
            slopes[i] = total - costs[i]
            step = corner[i] - fractions[i]
            curvature += step * (slopes[i] + shift * step)
        length = -slope / curvature if curvature > -slope else 1.0
        for i in range(start, n):
            fractions[i] += length * (corner[i] - fractions[i])
            costs[i] += length * slopes[i]
    return best
