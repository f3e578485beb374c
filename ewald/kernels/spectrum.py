"""Density of states and Boltzmann sums over every completion of a node."""

from __future__ import annotations

import math

import numpy as np

from ionsieve.ewald.kernels import entry, inner
from ionsieve.ewald.kernels.arrangements import arrangement_energy
from ionsieve.ewald.kernels.enumeration import open_fields, open_sites, pair_terms


@inner()
def begin(node, n_picks, level, model, sites, pairs, stack, energies):  # type: ignore[no-untyped-def]
    """Fill the arrays for walking through a node; return the number of open sites."""
    n = open_sites(node, 0, level, sites)
    pair_terms(sites, n, level, model, pairs)
    open_fields(node, sites, n, level, model, stack[0])
    energies[0] = arrangement_energy(node, model)
    return n


@inner()
def advance(depth, n, n_picks, picks, pairs, stack, energies):  # type: ignore[no-untyped-def]
    """Go to the next choice of all but the last pick; return the new depth, -1 at the end."""
    while depth >= 0:
        picks[depth] += 1
        pick = picks[depth]
        if pick > n - (n_picks - depth):
            depth -= 1
            continue
        energies[depth + 1] = energies[depth] + stack[depth, pick]
        for k in range(pick + 1, n):
            stack[depth + 1, k] = stack[depth, k] + pairs[pick, k]
        depth += 1
        if depth == n_picks - 1:
            return depth
        picks[depth] = pick
    return -1


@entry()
def bin_node(node, weight, n_picks, level, model, lowest_ev, width_ev, counts):  # type: ignore[no-untyped-def]
    """Add every completion of a node to a histogram.

    Parameters
    ----------
    node : (n_variable_sites,) uint8
    weight : int
        Added for each arrangement.
    n_picks, level, model
    lowest_ev, width_ev : float
        Lower edge and width of the bins; what falls outside counts in the first or last.
    counts : (n_bins,) int64
        Added to in place.
    """
    n_sites = level.sites.size
    sites = np.empty(n_sites, dtype=np.int64)
    pairs = np.empty((n_sites, n_sites))
    stack = np.empty((n_picks + 1, n_sites))
    energies = np.empty(n_picks + 1)
    picks = np.empty(n_picks + 1, dtype=np.int64)
    n = begin(node, n_picks, level, model, sites, pairs, stack, energies)
    last = counts.size - 1
    inverse = 1.0 / width_ev
    picks[0] = -1
    depth = 0
    if n_picks > 1:
        depth = advance(0, n, n_picks, picks, pairs, stack, energies)
    while depth >= 0:
        offset = energies[depth] - lowest_ev
        for k in range(picks[depth - 1] + 1 if depth > 0 else 0, n):
            slot = int((offset + stack[depth, k]) * inverse)
            counts[min(max(slot, 0), last)] += weight
        depth = advance(depth - 1, n, n_picks, picks, pairs, stack, energies)


@entry()
def boltzmann_node(node, n_picks, level, model, lowest_ev, thermal_ev, target, out):  # type: ignore[no-untyped-def]
    """Return a node's sum of exp(-(E - lowest) / kT); stop where it passes ``target``.

    Parameters
    ----------
    node : (n_variable_sites,) uint8
    n_picks, level, model
    lowest_ev, thermal_ev : float
        Reference energy and k_B T.
    target : float
        Infinite to sum everything.
    out : (n_variable_sites,) uint8
        The arrangement whose weight passes the target.
    """
    n_sites = level.sites.size
    sites = np.empty(n_sites, dtype=np.int64)
    pairs = np.empty((n_sites, n_sites))
    stack = np.empty((n_picks + 1, n_sites))
    energies = np.empty(n_picks + 1)
    picks = np.empty(n_picks + 1, dtype=np.int64)
    n = begin(node, n_picks, level, model, sites, pairs, stack, energies)
    for i in range(node.size):
        out[i] = node[i]
    picks[0] = -1
    depth = 0
    total = 0.0
    if n_picks > 1:
        depth = advance(0, n, n_picks, picks, pairs, stack, energies)
    while depth >= 0:
        for k in range(picks[depth - 1] + 1 if depth > 0 else 0, n):
            total += math.exp((lowest_ev - energies[depth] - stack[depth, k]) / thermal_ev)
            if total >= target:
                for pick in range(depth):
                    out[sites[picks[pick]]] = level.codes[1]
                out[sites[k]] = level.codes[1]
                return total
        depth = advance(depth - 1, n, n_picks, picks, pairs, stack, energies)
    return total
