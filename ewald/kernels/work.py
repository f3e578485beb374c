"""The arrays an enumeration works on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Parents evaluated side by side; a multiple of the widest vector.
_MAX_LANES = 128
#: Most picks left to the lanes without pruning, and picks left to them with pruning.
_TAIL, _PRUNED_TAIL = 4, 3
#: Wanted arrangements for each parent.
_PER_PARENT = 1000
#: Memory the waiting parents may take, bytes.
_LANE_BYTES = 40_000_000


class Level(NamedTuple):
    """The innermost choice.

    Attributes
    ----------
    sites : (n_sites,) int64
        Variable sites of the sublattice.
    codes : (3,) int64
        Label of the background, label picked, number of picks in a complete arrangement.
    """

    sites: NDArray[np.int64]
    codes: NDArray[np.int64]


class Bounds(NamedTuple):
    """What branch and bound needs besides.

    Attributes
    ----------
    half_sums : (n_picks, n_sites + 1, n_sites) float64, eV
    root_sums : (n_picks, 1, n_sites) float64, eV
        The first of the half sums.
    shift : (1,) float64, eV
        Makes the pair costs convex; see :func:`relaxed_choice_bound`.
    fractions : (4, n_sites) float64
        Scratch of the relaxation.
    """

    half_sums: NDArray[np.float64]
    root_sums: NDArray[np.float64]
    shift: NDArray[np.float64]
    fractions: NDArray[np.float64]


class Work(NamedTuple):
    """Parents waiting for evaluation, one block per last pick, and the node in hand.

    Attributes
    ----------
    fields : (n_sites + 1, n_sites, n_lanes) float64, eV
    energies : (n_sites + 1, n_lanes) float64, eV
    nodes : (n_sites + 1, n_lanes) int64
    picks : (n_sites + 1, n_lanes, n_picks) int64
    filled : (n_sites + 1,) int64
    sites : (n_sites,) int64
        Open sites in the order of picking; the first ``n_open[0]`` count.
    wanted : (n_sites,) int64
        Those of the node taken last.
    n_open : (1,) int64
    depth : (1,) int64
        Picks made so far in the node in hand.
    pairs : (n_sites, n_sites) float64, eV
    stack : (n_picks + 1, n_sites) float64, eV
        Cost of each further pick at each depth.
    stack_energies : (n_picks + 1,) float64, eV
    stack_picks : (n_picks + 1,) int64
    scratch : (4, max(n_lanes, n_picks)) float64
    shifted : (2, n_sites, n_lanes) float64, eV
    n_tail : (1,) int64
        Picks of a tail.
    """

    fields: NDArray[np.float64]
    energies: NDArray[np.float64]
    nodes: NDArray[np.int64]
    picks: NDArray[np.int64]
    filled: NDArray[np.int64]
    sites: NDArray[np.int64]
    wanted: NDArray[np.int64]
    n_open: NDArray[np.int64]
    depth: NDArray[np.int64]
    pairs: NDArray[np.float64]
    stack: NDArray[np.float64]
    stack_energies: NDArray[np.float64]
    stack_picks: NDArray[np.int64]
    scratch: NDArray[np.float64]
    shifted: NDArray[np.float64]
    n_tail: NDArray[np.int64]


def tail_length(n_sites: int, n_picks: int, prune: bool) -> int:
    """Return how many picks to leave to the vector lanes.

    Parents have to be few against what they stand for; but a parent that holds something low is
    gone through one by one, and nothing is cut inside a tail.
    """
    if prune:
        return min(n_picks, _PRUNED_TAIL)
    tail = 2
    while tail < min(n_picks, _TAIL) and (
        math.comb(n_sites, n_picks) < _PER_PARENT * math.comb(n_sites - tail, n_picks - tail)
    ):
        tail += 1
    return min(n_picks, tail)


def new_work(n_sites: int, n_picks: int, prune: bool) -> Work:
    """Return empty work arrays for nodes with ``n_picks`` picks left."""
    n_lanes = int(min(max(_LANE_BYTES // (8 * n_sites**2) // 8 * 8, 8), _MAX_LANES))
    return Work(
        fields=np.zeros((n_sites + 1, n_sites, n_lanes)),
        energies=np.zeros((n_sites + 1, n_lanes)),
        nodes=np.zeros((n_sites + 1, n_lanes), dtype=np.int64),
        picks=np.zeros((n_sites + 1, n_lanes, n_picks), dtype=np.int64),
        filled=np.zeros(n_sites + 1, dtype=np.int64),
        sites=np.zeros(n_sites, dtype=np.int64),
        wanted=np.zeros(n_sites, dtype=np.int64),
        n_open=np.zeros(1, dtype=np.int64),
        depth=np.zeros(1, dtype=np.int64),
        pairs=np.zeros((n_sites, n_sites)),
        stack=np.zeros((n_picks + 1, n_sites)),
        stack_energies=np.zeros(n_picks + 1),
        stack_picks=np.zeros(n_picks + 1, dtype=np.int64),
        scratch=np.zeros((4, max(n_lanes, n_picks))),
        shifted=np.zeros((2, n_sites, n_lanes)),
        n_tail=np.array([tail_length(n_sites, n_picks, prune)]),
    )


def new_bounds(n_sites: int, n_picks: int, shift: float) -> Bounds:
    """Return what branch and bound needs for nodes with ``n_picks`` picks left."""
    return Bounds(
        half_sums=np.zeros((n_picks, n_sites + 1, n_sites)),
        root_sums=np.zeros((n_picks, 1, n_sites)),
        shift=np.array([shift]),
        fractions=np.zeros((4, n_sites)),
    )
