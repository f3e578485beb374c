"""Symmetry-distinct subsets of sites by orderly generation.

R. C. Read, doi:10.1016/S0167-5060(08)70325-X: every prefix of a canonical subset is canonical, so a
tree that is cut at the first non-canonical prefix still meets one member of every orbit.
"""

from __future__ import annotations

from ionsieve.ewald.kernels import entry, inner


@inner()
def count_equal_images(indicator, permutations):  # type: ignore[no-untyped-def]
    """Return how many operations keep a subset, or 0 if it is not canonical."""
    n_equal = 0
    for operation in range(permutations.shape[0]):
        smaller = False
        for i in range(indicator.size):
            image = indicator[permutations[operation, i]]
            if image != indicator[i]:
                if image:
                    return 0
                smaller = True
                break
        if not smaller:
            n_equal += 1
    return n_equal


@entry()
def next_canonical_subsets(permutations, state, indicator, out, n_equal_out):  # type: ignore[no-untyped-def]
    """Write the next canonical subsets in lexicographic order; return how many.

    Parameters
    ----------
    permutations : (n_operations, n_sites) int32
    state : (size + 1,) int64
        Last subset written and a flag, 0 at the start; updated in place. Fewer subsets than ``out``
        has rows means that there are no more.
    indicator : (n_sites,) bool
        Scratch that belongs to the state: all False at the start.
    out : (n_rows, size) int32
    n_equal_out : (n_rows,) int64
        Operations that keep each subset.
    """
    size = state.size - 1
    n_sites = permutations.shape[1]
    depth, candidate = 0, 0
    if state[size] == 1:
        depth, candidate = size - 1, state[size - 1] + 1
    written = 0
    while depth >= 0:
        if candidate > n_sites - (size - depth):
            depth -= 1
            if depth >= 0:
                indicator[state[depth]] = False
                candidate = state[depth] + 1
            continue
        indicator[candidate] = True
        n_equal = count_equal_images(indicator, permutations)
        if n_equal > 0:
            state[depth] = candidate
            if depth < size - 1:
                depth += 1
                candidate += 1
                continue
            for i in range(size):
                out[written, i] = state[i]
            n_equal_out[written] = n_equal
            written += 1
        indicator[candidate] = False
        if written == out.shape[0]:
            state[size] = 1
            return written
        candidate += 1
    return written
