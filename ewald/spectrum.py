"""The energies of all arrangements: histogram, Boltzmann weights, weighted samples.

These need every arrangement, so they are for spaces that can be enumerated; the symmetry of the
outer sublattices is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from ionsieve.errors import InputError
from ionsieve.ewald.annealing import anneal_runs
from ionsieve.ewald.checkpoint import Checkpoint
from ionsieve.ewald.kernels.arrangements import Pool, arrangement_energy, new_pool, offer
from ionsieve.ewald.kernels.spectrum import bin_node, boltzmann_node
from ionsieve.ewald.kernels.work import new_work
from ionsieve.ewald.levels import Nodes, Tree
from ionsieve.ewald.parallel import Team
from ionsieve.ewald.ranking import RankedArrangement, pool_entries
from ionsieve.ewald.search import rank
from ionsieve.ewald.solid_solution import SolidSolution
from ionsieve.ewald.tree_search import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOLTZMANN_EV_K = constants.k / constants.e
#: Arrangements, after reduction by symmetry, that can be enumerated in minutes.
MAX_ENUMERATED = 100_000_000_000
#: Arrangements in one work unit; limits its duration.
_UNIT_COMPLETIONS = 100_000_000
#: Margin of the histogram's range above the highest energy found.
_MARGIN_EV = 1e-3


@dataclass(frozen=True)
class EnergyHistogram:
    """How many arrangements there are at each energy.

    Attributes
    ----------
    edges_ev : (n_bins + 1,) float64
        Bin edges; the first is the lowest energy.
    counts : tuple of int
        Arrangements per bin, symmetry copies included; they add up to the full space.
    """

    edges_ev: NDArray[np.float64]
    counts: tuple[int, ...]

    def weights(self, temperature_k: float) -> NDArray[np.float64]:
        """Return the Boltzmann probability of each bin.

        Parameters
        ----------
        temperature_k : float

        Returns
        -------
        (n_bins,) float64
            Adds up to 1; energies are taken at the middle of the bins.
        """
        middles = 0.5 * (self.edges_ev[:-1] + self.edges_ev[1:])
        thermal_ev = _thermal_ev(temperature_k)
        weights = np.array(
            [
                n * math.exp((middles[0] - e) / thermal_ev)
                for n, e in zip(self.counts, middles, strict=True)
            ]
        )
        return weights / weights.sum()

    def to_dict(self) -> dict[str, Any]:
        """Return the histogram as JSON-serialisable data."""
        return {"edges_ev": self.edges_ev.tolist(), "counts": list(self.counts)}

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the histogram with logarithmic counts; return the axes."""
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        relative = self.edges_ev - self.edges_ev[0]
        axes.stairs([float(n) for n in self.counts], relative, fill=True)
        axes.set_yscale("log")
        axes.set_xlabel("energy above the lowest arrangement (eV)")
        axes.set_ylabel(f"arrangements per {relative[1]:.3g} eV")
        axes.set_title(f"{sum(self.counts):.4g} arrangements from {self.edges_ev[0]:.4f} eV")
        return axes


def energy_histogram(space: SolidSolution, n_bins: int = 500, comm: Any = None) -> EnergyHistogram:
    """Count every arrangement of a solid solution by energy.

    Parameters
    ----------
    space : SolidSolution
    n_bins : int
        Bins between the lowest energy and the highest one found by annealing; the few that may
        be higher count in the last bin.
    comm : mpi4py communicator, optional
        Every rank calls this function and gets the same result, whatever their number.

    Raises
    ------
    InputError
        The space is too large to enumerate.
    """
    tree, nodes = _enumerable(space)
    team = Team(comm)
    lowest_ev = rank(space, 1, comm=comm).entries[0].energy_ev
    units = _units(tree, nodes)
    work = new_work(len(tree.inner.sites), tree.inner.count, prune=False)
    with team.all_or_none():
        width_ev = (_highest_ev(space, tree, team) - lowest_ev + _MARGIN_EV) / n_bins

        def count(unit: int) -> NDArray[np.int64]:
            totals = np.zeros(n_bins, dtype=np.int64)
            part = nodes.take(units[unit])
            for labels, weight in zip(part.labels, part.weights, strict=True):
                counts = np.zeros(n_bins, dtype=np.int64)
                n_picks = tree.inner.count
                bin_node(labels, n_picks, tree.level, tree.model, work, lowest_ev, width_ev, counts)
                totals += weight * counts
            return totals

        totals = np.sum(team.map(count, len(units)), axis=0)
        # Forbidden arrangements lie far above the last edge, so the last bin has them.
        totals[-1] -= space.n_unconstrained - space.n_arrangements
    edges_ev = np.asarray(lowest_ev + width_ev * np.arange(n_bins + 1), dtype=np.float64)
    return EnergyHistogram(edges_ev, tuple(totals.tolist()))


def sample(
    space: SolidSolution, temperature_k: float, n_samples: int, seed: int = 0, comm: Any = None
) -> list[RankedArrangement]:
    """Draw arrangements with their exact Boltzmann probabilities.

    Parameters
    ----------
    space : SolidSolution
    temperature_k : float
        For example that of the synthesis.
    n_samples : int
    seed : int
    comm : mpi4py communicator, optional
        Every rank calls this function and gets the same result, whatever their number.

    Returns
    -------
    list of RankedArrangement
        In random order, repeats included; labels are the canonical ones of each orbit.

    Raises
    ------
    InputError
        The space is too large to enumerate, or the temperature is not positive.
    """
    tree, nodes = _enumerable(space)
    team = Team(comm)
    thermal_ev = _thermal_ev(temperature_k)
    lowest_ev = rank(space, 1, comm=comm).entries[0].energy_ev
    labels = np.empty(len(tree.start), dtype=np.uint8)
    work = new_work(len(tree.inner.sites), tree.inner.count, prune=False)
    units = _units(tree, nodes)

    def walk(node: NDArray[np.uint8], target: float) -> float:
        return boltzmann_node(
            node,
            tree.inner.count,
            tree.level,
            tree.model,
            work,
            lowest_ev,
            thermal_ev,
            target,
            labels,
        )

    with team.all_or_none():
        parts = team.map(
            lambda unit: [walk(node, math.inf) for node in nodes.labels[units[unit]]], len(units)
        )
        sums = np.concatenate(parts)
        generator = np.random.default_rng(seed)
        probabilities = sums * nodes.weights / np.sum(sums * nodes.weights)
        chosen = generator.choice(len(nodes), size=n_samples, p=probabilities)
        targets = (1 - generator.random(n_samples)) * sums[chosen] * (1 - 1e-12)

        def draw(number: int) -> Pool:
            walk(nodes.labels[chosen[number]], targets[number])
            pool = new_pool(1, len(labels))
            offer(labels, tree.model, pool)
            return pool

        pools = team.map(draw, n_samples)
    return [entry for pool in pools for entry in pool_entries(pool, space)]


def _units(tree: Tree, nodes: Nodes) -> list[slice]:
    """Cut the nodes into work units: the same for every number of ranks."""
    size = max(_UNIT_COMPLETIONS // tree.inner.n_subsets, 1)
    return [slice(first, first + size) for first in range(0, len(nodes), size)]


def _thermal_ev(temperature_k: float) -> float:
    if not temperature_k > 0:
        raise InputError(f"temperature {temperature_k} K: give a positive one")
    return BOLTZMANN_EV_K * temperature_k


def _enumerable(space: SolidSolution) -> tuple[Tree, Nodes]:
    tree = Tree.of(space)
    reduced = tree.n_outer * tree.inner.n_subsets // len(tree.model.permutations)
    if reduced > MAX_ENUMERATED:
        raise InputError(
            f"{space.n_arrangements} arrangements, about {reduced} after symmetry, are too many to "
            f"enumerate (at most {MAX_ENUMERATED}): take a smaller supercell"
        )
    return tree, Nodes.join(list(tree.nodes()))


def _highest_ev(space: SolidSolution, tree: Tree, team: Team) -> float:
    """Return the highest energy found by annealing the negative of the energy."""
    model = space.bare_model
    negative = model._replace(
        interaction=-model.interaction,
        potential=-model.potential,
        constant_ev=-model.constant_ev,
    )
    pool = new_pool(1, len(tree.start))
    limits = Limits(math.inf, None, Checkpoint(None, model, ""))
    anneal_runs(space, replace(tree, model=negative), pool, 0, team, limits, n_runs=2)
    pool = team.share(pool)
    return float(arrangement_energy(pool.labels[pool.order[0]], model))
