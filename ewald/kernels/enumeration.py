"""Enumeration of the innermost sublattice: every choice evaluated, or cut by a lower bound.

A *node* is an arrangement whose last choice is open: some of the innermost sublattice's free
sites still have to change from the background to the picked species. With the others fixed, a
choice costs ``E + sum F_i + sum J_ij`` over the picked sites. All but the last few picks, the
tail, are made one by one (a *parent*); the tails of parents with the same last pick are evaluated
together, one parent per vector lane.

Compile time: loops are written out, scratch arrays come from outside, and a kernel called at one
place is compiled as part of its caller; else numba optimises it again in every kernel above it. A
literal 0 as an argument would compile a kernel once more; hence ``np.int64(0)``.
"""

from __future__ import annotations

import numpy as np

from ionsieve.ewald.kernels import entry, inner, part
from ionsieve.ewald.kernels.arrangements import arrangement_energy, offer, pool_threshold
from ionsieve.ewald.kernels.bounds import (
    choice_bound,
    half_pair_sums,
    insertion_order,
    relaxed_choice_bound,
)
from ionsieve.ewald.kernels.tails import tail_minima

#: Frank-Wolfe steps for the bound of a node, and of a branch in it with so many picks left that
#: the bound costs less than what it may cut.
_RELAXATION_STEPS, _INNER_STEPS, _RELAXED_PICKS = 60, 10, 6


@inner()
def open_sites(labels, first, level, out):  # type: ignore[no-untyped-def]
    """Write the free sites of a node at and after position ``first``; return how many."""
    n_open = 0
    for position in range(first, level.sites.size):
        if labels[level.sites[position]] == level.codes[0]:
            out[n_open] = level.sites[position]
            n_open += 1
    return n_open


@inner()
def open_fields(labels, sites, n_open, level, model, out):  # type: ignore[no-untyped-def]
    """Write the cost of picking each open site alone, eV."""
    for k in range(n_open):
        site = sites[k]
        step = model.charges[site, level.codes[1]] - model.charges[site, level.codes[0]]
        total = model.potential[site] + 0.5 * step * model.interaction[site, site]
        for i in range(labels.size):
            total += model.interaction[site, i] * model.charges[i, labels[i]]
        out[k] = step * total


@inner()
def pair_terms(sites, n_open, level, model, out):  # type: ignore[no-untyped-def]
    """Write the pair costs of the open sites, eV."""
    for a in range(n_open):
        i = sites[a]
        step = model.charges[i, level.codes[1]] - model.charges[i, level.codes[0]]
        for b in range(n_open):
            out[a, b] = step * step * model.interaction[i, sites[b]]


@part()
def offer_tails(block, lane, nodes, n_picks, level, model, pool, work):  # type: ignore[no-untyped-def]
    """Offer every tail that brings one parent below the threshold.

    The tail goes onto the stack above the depth of parents, which is free.
    """
    n, depth_parent = work.n_open[0], n_picks - work.n_tail[0]
    sites, stack, energies, picks = work.sites, work.stack, work.stack_energies, work.stack_picks
    # Changed in place, and put back.
    labels = nodes[work.nodes[block, lane]]
    for depth in range(depth_parent):
        labels[sites[work.picks[block, lane, depth]]] = level.codes[1]
    depth = depth_parent + 1
    for k in range(block, n):
        stack[depth, k] = work.fields[block, k, lane]
    energies[depth] = work.energies[block, lane]
    picks[depth] = block - 1
    while depth > depth_parent:
        if depth < n_picks:
            pick = picks[depth] + 1
            picks[depth] = pick
            if pick < n - (n_picks - depth):
                energies[depth + 1] = energies[depth] + stack[depth, pick]
                for k in range(pick + 1, n):
                    stack[depth + 1, k] = stack[depth, k] + work.pairs[pick, k]
                depth += 1
                picks[depth] = pick
                continue
        else:
            for pick in range(picks[depth] + 1, n):
                if energies[depth] + stack[depth, pick] <= pool_threshold(pool):
                    for lower in range(depth_parent + 1, depth):
                        labels[sites[picks[lower]]] = level.codes[1]
                    labels[sites[pick]] = level.codes[1]
                    offer(labels, model, pool)
                    labels[sites[pick]] = level.codes[0]
                    for lower in range(depth_parent + 1, depth):
                        labels[sites[picks[lower]]] = level.codes[0]
        depth -= 1
    for depth in range(depth_parent):
        labels[sites[work.picks[block, lane, depth]]] = level.codes[0]


@part()
def complete_blocks(first, last, nodes, n_picks, level, model, pool, work):  # type: ignore[no-untyped-def]
    """Evaluate the parents of blocks first ... last - 1; return the number of arrangements."""
    n, n_tail = work.n_open[0], work.n_tail[0]
    evaluated = 0
    for block in range(first, last):
        filled = work.filled[block]
        if filled == 0:
            continue
        # Whole vectors: the surplus lanes hold old numbers and are not looked at.
        n_lanes = (filled + 7) // 8 * 8
        row = tail_minima(
            work.fields[block], work.pairs, block, n, n_lanes, n_tail, work.scratch, work.shifted
        )
        for lane in range(filled):
            if work.energies[block, lane] + work.scratch[row, lane] <= pool_threshold(pool):
                offer_tails(block, lane, nodes, n_picks, level, model, pool, work)
        work.filled[block] = 0
        n_tails = 1
        for pick in range(n_tail):
            n_tails = n_tails * (n - block - pick) // (pick + 1)
        evaluated += filled * n_tails
    return evaluated


@part()
def add_parent(number, depth, work):  # type: ignore[no-untyped-def]
    """Put the parent on top of the stack into its block; return the block."""
    block = work.stack_picks[depth - 1] + 1 if depth > 0 else 0
    lane = work.filled[block]
    work.energies[block, lane] = work.stack_energies[depth]
    work.nodes[block, lane] = number
    for pick in range(depth):
        work.picks[block, lane, pick] = work.stack_picks[pick]
    for k in range(block, work.n_open[0]):
        work.fields[block, k, lane] = work.stack[depth, k]
    work.filled[block] = lane + 1
    return block


@part()
def is_excluded(depth, pick, left, energy, bounds, pool, work):  # type: ignore[no-untyped-def]
    """Return whether a lower bound excludes the picks made so far and ``left`` more."""
    n, fields = work.n_open[0], work.stack[depth]
    threshold = pool_threshold(pool)
    bound = choice_bound(fields, bounds.half_sums, pick + 1, n, left, work.scratch[0])
    if energy + bound > threshold:
        return True
    if left < _RELAXED_PICKS:
        return False
    bound = relaxed_choice_bound(
        fields, work.pairs, bounds.shift[0], pick + 1, n, left, _INNER_STEPS, bounds.fractions
    )
    return energy + bound > threshold


@part()
def walk_node(number, n_picks, bounds, pool, work):  # type: ignore[no-untyped-def]
    """Make all picks before the tails of the node in hand, until a block of parents is full.

    Return the block, or -1 at the end of the node. ``work.depth`` keeps the place.
    """
    n = work.n_open[0]
    n_lanes = work.energies.shape[1]
    depth_end = n_picks - work.n_tail[0]
    depth = work.depth[0]
    picks = work.stack_picks
    while depth >= 0:
        if depth == depth_end:
            block = add_parent(number, depth, work)
            depth -= 1
            if work.filled[block] == n_lanes:
                work.depth[0] = depth
                return block
            continue
        picks[depth] += 1
        pick = picks[depth]
        left = n_picks - depth - 1
        if pick > n - left - 1:
            depth -= 1
            continue
        energy = work.stack_energies[depth] + work.stack[depth, pick]
        for k in range(pick + 1, n):
            work.stack[depth + 1, k] = work.stack[depth, k] + work.pairs[pick, k]
        if (
            bounds is not None
            and left >= 2
            and is_excluded(depth + 1, pick, left, energy, bounds, pool, work)
        ):
            continue
        depth += 1
        work.stack_energies[depth] = energy
        picks[depth] = pick
    return -1


@part()
def take_node(labels, first, n_picks, bounds, level, model, pool, work):  # type: ignore[no-untyped-def]
    """Write a node's open sites, in the order of picking, to ``work.wanted``; return how many.

    -1 if the node's lower bound excludes it.
    """
    n = open_sites(labels, first, level, work.wanted)
    fields = work.stack[0]
    open_fields(labels, work.wanted, n, level, model, fields)
    work.stack_energies[0] = arrangement_energy(labels, model)
    if bounds is not None and n >= n_picks:
        pair_terms(work.wanted, n, level, model, work.pairs)
        half_pair_sums(work.pairs, n, n_picks, work.scratch[0], bounds.half_sums)
        bound = choice_bound(fields, bounds.half_sums, np.int64(0), n, n_picks, work.scratch[0])
        if work.stack_energies[0] + bound > pool_threshold(pool):
            return -1
        order_costs = bounds.half_sums[n_picks - 1, 0]
        insertion_order(work.wanted, fields, order_costs, n, bounds.fractions[0])
    return n


@part()
def take_over_sites(n, level, model, work):  # type: ignore[no-untyped-def]
    """Make the open sites of the node taken last those of the node in hand."""
    work.n_open[0] = n
    for k in range(n):
        work.sites[k] = work.wanted[k]
    pair_terms(work.sites, n, level, model, work.pairs)


@part()
def has_same_sites(n, work):  # type: ignore[no-untyped-def]
    """Return whether the node taken last has the open sites of the one before."""
    same = n == work.n_open[0]
    for k in range(n):
        same = same and work.wanted[k] == work.sites[k]
    return same


@entry()
def search_nodes(nodes, first, n_picks, bounds, level, model, pool, work):  # type: ignore[no-untyped-def]
    """Evaluate or exclude every completion of some nodes; the lowest go into the pool.

    Parameters
    ----------
    nodes : (n_nodes, n_variable_sites) uint8
        Labels with the open sites on background.
    first : (n_nodes,) int64
        Position in the innermost sublattice after which picks are made.
    n_picks : int
        Picks left, the same for all nodes.
    bounds : Bounds or None
        Cut branches whose lower bound is above the pool's threshold, or evaluate everything.

    Returns
    -------
    int
        Arrangements evaluated one by one.
    """
    evaluated = 0
    number, n = -1, 0
    work.n_open[0] = 0
    walking, starting = False, False
    # Every turn ends with the evaluation of some blocks: written once, it is compiled once.
    while number < nodes.shape[0]:
        block, last = 0, work.n_open[0] + 1
        if walking:
            if starting:
                take_over_sites(n, level, model, work)
                if bounds is not None:
                    half_pair_sums(work.pairs, n, n_picks, work.scratch[0], bounds.half_sums)
                starting = False
            block = walk_node(number, n_picks, bounds, pool, work)
            walking = block >= 0
            if walking:
                last = block + 1
            elif bounds is None:
                # Parents wait in the lanes as long as the open sites stay the same.
                block, last = 0, 0
            else:
                block = 0
        else:
            number += 1
            if number < nodes.shape[0]:
                n = take_node(
                    nodes[number], first[number], n_picks, bounds, level, model, pool, work
                )
                walking = n >= n_picks
                starting = walking and (bounds is not None or not has_same_sites(n, work))
                if not starting:
                    last = 0
                work.depth[0] = 0
                work.stack_picks[0] = -1
        evaluated += complete_blocks(block, last, nodes, n_picks, level, model, pool, work)
    return evaluated


@entry()
def node_bounds(nodes, first, n_picks, bounds, level, model, work, out):  # type: ignore[no-untyped-def]
    """Write a lower bound of every completion of each node, eV; infinite if there is none."""
    work.n_open[0] = 0
    fields = work.stack[0]
    for number in range(nodes.shape[0]):
        n = open_sites(nodes[number], first[number], level, work.wanted)
        if n < n_picks:
            out[number] = np.inf
            continue
        if not has_same_sites(n, work):
            take_over_sites(n, level, model, work)
            half_pair_sums(work.pairs, n, n_picks, work.scratch[0], bounds.root_sums)
        open_fields(nodes[number], work.sites, n, level, model, fields)
        simple = choice_bound(fields, bounds.root_sums, np.int64(0), n, n_picks, work.scratch[0])
        relaxed = relaxed_choice_bound(
            fields,
            work.pairs,
            bounds.shift[0],
            np.int64(0),
            n,
            n_picks,
            _RELAXATION_STEPS,
            bounds.fractions,
        )
        out[number] = arrangement_energy(nodes[number], model)
        out[number] += relaxed if relaxed > simple else simple
