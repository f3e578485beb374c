"""A solid solution as a sequence of choices, the outer ones reduced by symmetry.

A sublattice starts full of its most frequent species; every other species is one *level*: a
subset of the sites still on background. The level with the most subsets comes last and is
enumerated by the kernels; the levels before it make *nodes*, one per symmetry orbit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionsieve.ewald.kernels.arrangements import Model
from ionsieve.ewald.kernels.subsets import next_canonical_subsets
from ionsieve.ewald.kernels.work import Level
from ionsieve.ewald.solid_solution import SolidSolution

Int = NDArray[np.int64]
Labels = NDArray[np.uint8]

#: Nodes generated at once.
_CHUNK = 4096


@dataclass(frozen=True)
class Choice:
    """One level: ``count`` of the sites still on ``background`` change to ``label``."""

    sites: Int
    background: int
    label: int
    count: int
    n_open: int

    @property
    def n_subsets(self) -> int:
        """Number of ways to choose."""
        return math.comb(self.n_open, self.count)


@dataclass(frozen=True)
class Nodes:
    """Arrangements with the innermost choice open.

    Attributes
    ----------
    labels : (n_nodes, n_variable_sites) uint8
    first : (n_nodes,) int64
        Position in the innermost sublattice where further picks start.
    weights : (n_nodes,) int64
        Orbit size: choices of the outer levels, and of picks made, each node stands for.
    n_arrangements : (n_nodes,) object
        Arrangements accounted for when the node is finished, as Python integers. Over all nodes
        they add up to the full space.
    """

    labels: Labels
    first: Int
    weights: Int
    n_arrangements: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int | slice) -> Nodes:
        """Return some of the nodes."""
        return Nodes(
            self.labels[index], self.first[index], self.weights[index], self.n_arrangements[index]
        )

    @staticmethod
    def join(parts: list[Nodes]) -> Nodes:
        """Return several groups of nodes as one."""
        return Nodes(
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.first for p in parts]),
            np.concatenate([p.weights for p in parts]),
            np.concatenate([p.n_arrangements for p in parts]),
        )


@dataclass(frozen=True)
class Tree:
    """The choices of a solid solution, outermost first.

    Attributes
    ----------
    model : Model
    outer : tuple of Choice
    inner : Choice
    start : (n_variable_sites,) uint8
        All sublattices on background.
    """

    model: Model
    outer: tuple[Choice, ...]
    inner: Choice
    start: Labels

    @staticmethod
    def of(space: SolidSolution) -> Tree:
        """Order the choices of a solid solution."""
        start = np.zeros(len(space.variable_sites), dtype=np.uint8)
        groups = []
        row = 0
        for sublattice in space.sublattices:
            sites = np.arange(row, row + len(sublattice.sites), dtype=np.int64)
            row += len(sites)
            by_count = sorted(range(len(sublattice.counts)), key=lambda k: -sublattice.counts[k])
            background, others = by_count[0], by_count[:0:-1]
            start[sites] = background
            n_open = len(sites)
            group = []
            for label in others:
                group.append(Choice(sites, background, label, sublattice.counts[label], n_open))
                n_open -= sublattice.counts[label]
            if group:
                groups.append(group)
        groups.sort(key=lambda group: group[-1].n_subsets)
        choices = [choice for group in groups for choice in group]
        if not choices:
            choices = [Choice(np.arange(1, dtype=np.int64), int(start[0]), int(start[0]), 1, 1)]
        return Tree(space.model, tuple(choices[:-1]), choices[-1], start)

    @property
    def n_outer(self) -> int:
        """Arrangements of the outer levels, symmetry copies included."""
        return math.prod(choice.n_subsets for choice in self.outer)

    @property
    def level(self) -> Level:
        """The innermost choice as the kernels take it."""
        inner = self.inner
        codes = np.array([inner.background, inner.label, inner.count], dtype=np.int64)
        return Level(inner.sites, codes)

    def nodes(
        self, prefix: int = 0, use_symmetry: bool = True, in_order: bool = True
    ) -> Iterator[Nodes]:
        """Generate the nodes in a fixed order, in chunks.

        Parameters
        ----------
        prefix : int
            Picks of the innermost level made already in each node; the others come after them on
            the sublattice, so some symmetry copies remain.
        use_symmetry : bool
            One node per orbit, or all of them with weight 1.
        in_order : bool
            Nodes will be finished in the order they come in. Only then may all arrangements that
            start with a copy of a prefix count with it: each has an image that starts with this
            prefix, or with one that came earlier. Else only those that start with the prefix
            itself count, less than the full space.
        """
        permutations = self.model.permutations
        if not use_symmetry:
            permutations = np.arange(len(self.start), dtype=np.int32)[None, :]
        choices = list(self.outer)
        if prefix:
            inner = self.inner
            choices.append(Choice(inner.sites, inner.background, inner.label, prefix, inner.n_open))
        pending: list[Nodes] = []
        n_left = self.inner.count - prefix
        for part in self._expand(choices, self.start, permutations, 1, n_left, in_order):
            pending.append(part)
            if sum(map(len, pending)) >= _CHUNK:
                yield Nodes.join(pending)
                pending = []
        if pending:
            yield Nodes.join(pending)

    def _expand(
        self,
        choices: list[Choice],
        labels: Labels,
        permutations: NDArray[np.int32],
        weight: int,
        n_left: int,
        in_order: bool,
    ) -> Iterator[Nodes]:
        """Make the first choice in every distinct way, and the others below each."""
        if not choices:
            one = np.ones(1, np.int64)
            yield self._complete(labels[None, :], one * 0, one * weight, n_left)
            return
        choice, rest = choices[0], choices[1:]
        sites = choice.sites[labels[choice.sites] == choice.background]
        images = _images(permutations, sites)
        for subsets, orbit_sizes in _distinct_subsets(images, choice.count):
            made = np.repeat(labels[None, :], len(subsets), axis=0)
            made[np.arange(len(subsets))[:, None], sites[subsets]] = choice.label
            if rest:
                for row, size in zip(made, orbit_sizes, strict=True):
                    kept = permutations[np.all(row[permutations] == row, axis=1)]
                    yield from self._expand(rest, row, kept, weight * int(size), n_left, in_order)
            elif n_left == self.inner.count:
                yield self._complete(made, 0 * orbit_sizes, weight * orbit_sizes, n_left)
            else:
                first = np.searchsorted(choice.sites, sites[subsets[:, -1]]) + 1
                counts = weight * _n_starting_with(subsets, images, n_left, in_order)
                yield Nodes(made, first, weight * orbit_sizes, counts)

    def _complete(self, labels: Labels, first: Int, weights: Int, n_left: int) -> Nodes:
        """Return nodes without a prefix."""
        n_completions = math.comb(self.inner.n_open, n_left)
        return Nodes(labels, first, weights, weights.astype(object) * n_completions)


def _images(permutations: NDArray[np.int32], sites: Int) -> NDArray[np.int32]:
    """Return where operations that keep a set of sites take each of them, as positions in it."""
    position = np.full(permutations.shape[1], -1, dtype=np.int32)
    position[sites] = np.arange(len(sites))
    return np.ascontiguousarray(position[permutations[:, sites]])


def _distinct_subsets(
    images: NDArray[np.int32], size: int
) -> Iterator[tuple[NDArray[np.int32], Int]]:
    """Generate one subset of each orbit in lexicographic order, with the orbit's size."""
    if size == 0:
        yield np.empty((1, 0), np.int32), np.ones(1, np.int64)
        return
    state = np.zeros(size + 1, dtype=np.int64)
    indicator = np.zeros(images.shape[1], dtype=np.bool_)
    while True:
        out = np.empty((_CHUNK, size), dtype=np.int32)
        n_equal = np.empty(_CHUNK, dtype=np.int64)
        written = next_canonical_subsets(images, state, indicator, out, n_equal)
        if written:
            yield out[:written], len(images) // n_equal[:written]
        if written < _CHUNK:
            return


def _n_starting_with(
    prefixes: NDArray[np.int32], images: NDArray[np.int32], n_left: int, with_copies: bool
) -> NDArray[np.object_]:
    """Return how many subsets start with each prefix, or with any of its symmetry copies.

    A subset starts with its first positions; ``n_left`` more come after them.
    """
    n_sites = images.shape[1]
    ways = [math.comb(n_sites - 1 - last, n_left) for last in range(n_sites)]
    if not with_copies:
        return np.array([ways[last] for last in prefixes[:, -1]], dtype=object)
    counts = []
    for prefix in prefixes:
        copies = np.unique(np.sort(images[:, prefix], axis=1), axis=0)
        by_last = np.bincount(copies[:, -1], minlength=n_sites)
        counts.append(sum(int(n) * way for n, way in zip(by_last, ways, strict=True)))
    return np.array(counts, dtype=object)
