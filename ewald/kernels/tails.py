"""The last picks of many parents at once, one parent per vector lane.

A tail is the last two, three or four picks. Adding one pick to all lanes costs one vector operation
per site left, so that nearly all the time goes into one addition and one minimum per arrangement.
"""

from __future__ import annotations

import numpy as np

from ionsieve.ewald.kernels import inner, part


@inner()
def pair_minima(fields, pairs, start, n, n_lanes, best, row):  # type: ignore[no-untyped-def]
    """Write, for every lane, the least cost of two more picks at positions >= start.

    Parameters
    ----------
    fields : (n_sites, n_lanes) float64, eV
    pairs : (n_sites, n_sites) float64, eV
    start, n, n_lanes : int
        First and last + 1 position, lanes in use.
    best, row : (n_lanes,) float64, eV
        Result and scratch.
    """
    for lane in range(n_lanes):
        best[lane] = np.inf
    for i in range(start, n - 1):
        for lane in range(n_lanes):
            row[lane] = np.inf
        j = i + 1
        while j + 3 < n:
            c0, c1, c2, c3 = pairs[i, j], pairs[i, j + 1], pairs[i, j + 2], pairs[i, j + 3]
            for lane in range(n_lanes):
                v0 = fields[j, lane] + c0
                v1 = fields[j + 1, lane] + c1
                v2 = fields[j + 2, lane] + c2
                v3 = fields[j + 3, lane] + c3
                v0 = v1 if v1 < v0 else v0
                v2 = v3 if v3 < v2 else v2
                v0 = v2 if v2 < v0 else v0
                row[lane] = v0 if v0 < row[lane] else row[lane]
            j += 4
        while j < n:
            c0 = pairs[i, j]
            for lane in range(n_lanes):
                v0 = fields[j, lane] + c0
                row[lane] = v0 if v0 < row[lane] else row[lane]
            j += 1
        for lane in range(n_lanes):
            v0 = row[lane] + fields[i, lane]
            best[lane] = v0 if v0 < best[lane] else best[lane]


@part()
def add_pick(fields, pairs, pick, n, n_lanes, shifted):  # type: ignore[no-untyped-def]
    """Write the costs of further picks after one pick in all lanes."""
    for j in range(pick + 1, n):
        cost = pairs[pick, j]
        for lane in range(n_lanes):
            shifted[j, lane] = fields[j, lane] + cost


@part()
def keep_least(best, candidate, fields, pick, n_lanes):  # type: ignore[no-untyped-def]
    """Lower ``best`` to the candidate's cost with the pick that led to it."""
    for lane in range(n_lanes):
        value = candidate[lane] + fields[pick, lane]
        best[lane] = value if value < best[lane] else best[lane]


@part()
def triple_minima(fields, pairs, start, n, n_lanes, scratch, shifted):  # type: ignore[no-untyped-def]
    """Write, for every lane, the least cost of three more picks to ``scratch[2]``."""
    for lane in range(n_lanes):
        scratch[2, lane] = np.inf
    for pick in range(start, n - 2):
        add_pick(fields, pairs, pick, n, n_lanes, shifted[0])
        pair_minima(shifted[0], pairs, pick + 1, n, n_lanes, scratch[1], scratch[0])
        keep_least(scratch[2], scratch[1], fields, pick, n_lanes)


@inner()
def tail_minima(fields, pairs, start, n, n_lanes, n_tail, scratch, shifted):  # type: ignore[no-untyped-def]
    """Write the least cost of ``n_tail`` more picks at positions >= start.

    Parameters
    ----------
    fields : (n_sites, n_lanes) float64, eV
    pairs : (n_sites, n_sites) float64, eV
    start, n, n_lanes : int
    n_tail : int
        1 to 4.
    scratch : (4, n_lanes) float64
    shifted : (2, n_sites, n_lanes) float64
    """
    if n_tail == 1:
        for lane in range(n_lanes):
            scratch[0, lane] = np.inf
        for pick in range(start, n):
            for lane in range(n_lanes):
                value = fields[pick, lane]
                scratch[0, lane] = value if value < scratch[0, lane] else scratch[0, lane]
        return 0
    if n_tail == 2:
        pair_minima(fields, pairs, start, n, n_lanes, scratch[1], scratch[0])
        return 1
    for lane in range(n_lanes):
        scratch[3, lane] = np.inf
    # Three picks are one turn of the loop over the first of four.
    for first in range(start, n - 3 if n_tail == 4 else start + 1):
        three = fields
        if n_tail == 4:
            three = shifted[1]
            add_pick(fields, pairs, first, n, n_lanes, three)
        triple_minima(three, pairs, first + n_tail - 3, n, n_lanes, scratch, shifted)
        if n_tail == 3:
            return 2
        keep_least(scratch[3], scratch[2], fields, first, n_lanes)
    return 3
