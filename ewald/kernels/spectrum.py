"""Density of states and Boltzmann sums over every completion of a node."""

from __future__ import annotations

import math

import numpy as np

from ionsieve.ewald.kernels import entry, inner
from ionsieve.ewald.kernels.arrangements import arrangement_energy
from ionsieve.ewald.kernels.enumeration import open_fields, open_sites, pair_terms


@inner()
def begin(node, n_picks, level, model, work):  # type: ignore[no-untyped-def]
    """Get ready to walk through a node; return the number of open sites."""
    n = open_sites(node, np.int64(0), level, work.sites)
    pair_terms(work.sites, n, level, model, work.pairs)
    open_fields(node, work.sites, n, level, model, work.stack[0])
    work.stack_energies[0] = arrangement_energy(node, model)
    work.stack_picks[0] = -1
    return n


@inner()
def advance(depth, n, n_picks, work):  # type: ignore[no-untyped-def]
    """Go to the next choice of all but the last pick; return its depth, or -1 after the last."""
    stack, energies, picks = work.stack, work.stack_energies, work.stack_picks
    while depth >= 0:
        picks[depth] += 1
        pick = picks[depth]
        if pick > n - (n_picks - depth):
            depth -= 1
            continue
        energies[depth + 1] = energies[depth] + stack[depth, pick]
        for k in range(pick + 1, n):
            stack[depth + 1, k] = stack[depth, k] + work.pairs[pick, k]
        depth += 1
        if depth == n_picks - 1:
            return depth
        picks[depth] = pick
    return depth


@entry()
def bin_node(node, n_picks, level, model, work, lowest_ev, width_ev, counts):  # type: ignore[no-untyped-def]
    """Add every completion of a node to a histogram.

    Parameters
    ----------
    node : (n_variable_sites,) uint8
    n_picks, level, model, work
    lowest_ev, width_ev : float
        Lower edge and width of the bins; what falls outside counts in the first or last.
    counts : (n_bins,) int64
        Added to in place.
    """
    n = begin(node, n_picks, level, model, work)
    last = counts.size - 1
    inverse = 1.0 / width_ev
    depth = np.int64(0)
    if n_picks > 1:
        depth = advance(depth, n, n_picks, work)
    while depth >= 0:
        offset = work.stack_energies[depth] - lowest_ev
        for k in range(work.stack_picks[depth - 1] + 1 if depth > 0 else 0, n):
            slot = int((offset + work.stack[depth, k]) * inverse)
            slot = slot if slot < last else last
            counts[slot if slot > 0 else 0] += 1
        depth = advance(depth - 1, n, n_picks, work)


@entry()
def boltzmann_node(node, n_picks, level, model, work, lowest_ev, thermal_ev, target, out):  # type: ignore[no-untyped-def]
    """Return a node's sum of exp(-(E - lowest) / kT); stop where it passes ``target``.

    Parameters
    ----------
    node : (n_variable_sites,) uint8
    n_picks, level, model, work
    lowest_ev, thermal_ev : float
        Reference energy and k_B T.
    target : float
        Infinite to sum everything.
    out : (n_variable_sites,) uint8
        The arrangement whose weight passes the target.
    """
    n = begin(node, n_picks, level, model, work)
    for i in range(node.size):
        out[i] = node[i]
    depth = np.int64(0)
    total = 0.0
    if n_picks > 1:
        depth = advance(depth, n, n_picks, work)
    while depth >= 0:
        offset = lowest_ev - work.stack_energies[depth]
        for k in range(work.stack_picks[depth - 1] + 1 if depth > 0 else 0, n):
            total += math.exp((offset - work.stack[depth, k]) / thermal_ev)
            if total >= target:
                for pick in range(depth):
                    out[work.sites[work.stack_picks[pick]]] = level.codes[1]
                out[work.sites[k]] = level.codes[1]
                return total
        depth = advance(depth - 1, n, n_picks, work)
    return total
