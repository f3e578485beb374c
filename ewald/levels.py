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
        Orbit size: arrangements of the outer levels each node stands for.
    """

    labels: Labels
    first: Int
    weights: Int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int | slice) -> Nodes:
        """Return some of the nodes."""
        return Nodes(self.labels[index], self.first[index], self.weights[index])

    @staticmethod
    def join(parts: list[Nodes]) -> Nodes:
        """Return several groups of nodes as one."""
        return Nodes(
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.first for p in parts]),
            np.concatenate([p.weights for p in parts]),
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

    def nodes(self, prefix: int = 0, use_symmetry: bool = True) -> Iterator[Nodes]:
        """Generate the nodes in a fixed order, in chunks.

        Parameters
        ----------
        prefix : int
            Picks of the innermost level made already in each node. Then some symmetry copies
            remain and weights do not add up to the count.
        use_symmetry : bool
            One node per orbit, or all of them with weight 1.
        """
        permutations = self.model.permutations
        if not use_symmetry:
            permutations = np.arange(len(self.start), dtype=np.int32)[None, :]
        choices = list(self.outer)
        if prefix:
            inner = self.inner
            choices.append(Choice(inner.sites, inner.background, inner.label, prefix, inner.n_open))
        pending: list[Nodes] = []
        for part in self._expand(choices, self.start, permutations, 1, prefix > 0):
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
        has_prefix: bool,
    ) -> Iterator[Nodes]:
        """Make the first choice in every distinct way, and the others below each."""
        if not choices:
            yield Nodes(labels[None, :], np.zeros(1, np.int64), np.array([weight]))
            return
        choice, rest = choices[0], choices[1:]
        sites = choice.sites[labels[choice.sites] == choice.background]
        for subsets, orbit_sizes in _distinct_subsets(permutations, sites, choice.count):
            made = np.repeat(labels[None, :], len(subsets), axis=0)
            made[np.arange(len(subsets))[:, None], sites[subsets]] = choice.label
            if not rest:
                first = np.zeros(len(subsets), dtype=np.int64)
                if has_prefix:
                    first = np.searchsorted(choice.sites, sites[subsets[:, -1]]) + 1
                yield Nodes(made, first, weight * orbit_sizes)
                continue
            for row, size in zip(made, orbit_sizes, strict=True):
                kept = permutations[np.all(row[permutations] == row, axis=1)]
                yield from self._expand(rest, row, kept, weight * int(size), has_prefix)


def _distinct_subsets(
    permutations: NDArray[np.int32], sites: Int, size: int
) -> Iterator[tuple[NDArray[np.int32], Int]]:
    """Generate one subset of each orbit, with the orbit's size."""
    if size == 0:
        yield np.empty((1, 0), np.int32), np.ones(1, np.int64)
        return
    position = np.full(permutations.shape[1], -1, dtype=np.int32)
    position[sites] = np.arange(len(sites))
    local = np.ascontiguousarray(position[permutations[:, sites]])
    state = np.zeros(size + 1, dtype=np.int64)
    indicator = np.zeros(len(sites), dtype=np.bool_)
    while True:
        out = np.empty((_CHUNK, size), dtype=np.int32)
        n_equal = np.empty(_CHUNK, dtype=np.int64)
        written = next_canonical_subsets(local, state, indicator, out, n_equal)
        if written:
            yield out[:written], len(local) // n_equal[:written]
        if written < _CHUNK:
            return
