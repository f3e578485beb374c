"""The search behind :func:`rank`: exhaustive, branch and bound, or annealing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ionsieve.errors import InputError
from ionsieve.ewald.annealing import anneal_runs
from ionsieve.ewald.checkpoint import Checkpoint
from ionsieve.ewald.kernels.annealing import anneal, new_swaps, offer_neighbours
from ionsieve.ewald.kernels.arrangements import Model, Pool, new_pool
from ionsieve.ewald.levels import Choice, Tree
from ionsieve.ewald.parallel import Team
from ionsieve.ewald.ranking import Ranking, pool_entries
from ionsieve.ewald.relaxation import relaxed_lower_bound_ev
from ionsieve.ewald.solid_solution import SolidSolution
from ionsieve.ewald.tree_search import Limits, Progress, search_tree

Method = Literal["auto", "exhaustive", "bound", "anneal"]

#: Rates of one core, rough and on the low side; they only steer ``auto``.
_EVALUATIONS_PER_SECOND = 1e9
_NODES_PER_SECOND = 1e5
_OUTER_PER_SECOND = 1e6
#: ``auto`` enumerates everything if that is expected to take less than this.
_EXHAUSTIVE_SECONDS = 2.0
#: Symmetry-distinct arrangements above which ``auto`` does not try to prove anything.
_BOUND_ARRANGEMENTS = 1e15
#: Time ``auto`` gives to a search without a budget of its own.
_DEFAULT_SECONDS = 60.0
#: Annealing runs that give branch and bound its first threshold.
_SEED_RUNS = 2


@dataclass(frozen=True)
class _Task:
    """Everything one search needs."""

    space: SolidSolution
    tree: Tree
    pool: Pool
    seed: int
    team: Team
    limits: Limits


def rank(
    space: SolidSolution,
    keep: int = 5,
    method: Method = "auto",
    seconds: float | None = None,
    seed: int = 0,
    comm: Any = None,
    checkpoint: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Ranking:
    """Find the symmetry-distinct arrangements of lowest point-charge energy.

    Parameters
    ----------
    space : SolidSolution
    keep : int
        How many arrangements to return.
    method : {"auto", "exhaustive", "bound", "anneal"}
        ``exhaustive`` evaluates one arrangement of every orbit of the outer sublattices;
        ``bound`` excludes branches by lower bounds; both prove their result when they finish.
        ``anneal`` is a heuristic. ``auto`` chooses by counted cost.
    seconds : float, optional
        Time budget; what is proven by then is returned. Without one, ``auto`` stops after 60 s,
        ``anneal`` after 16 runs, the others when they have finished.
    seed : int
        Of the annealing.
    comm : mpi4py communicator, optional
        Every rank calls this function and gets the same result; it does not depend on the number
        of ranks unless the time budget ends the search.
    checkpoint : path, optional
        File from which a killed exhaustive or bound search goes on; removed at the end.
    report : callable, optional
        Called on rank 0 with the :class:`Progress` after every piece of work.

    Returns
    -------
    Ranking

    Raises
    ------
    InputError
        ``keep`` or ``seconds`` is not positive, the method is unknown, or the checkpoint belongs to
        another search.
    """
    if keep < 1:
        raise InputError(f"keep = {keep}: ask for 1 arrangement or more")
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds = {seconds}: give a positive time budget, or none")
    if method not in get_args(Method):
        raise InputError(f"method '{method}': choose from {', '.join(get_args(Method))}")
    tree = Tree.of(space)
    chosen = _choose(tree, seconds) if method == "auto" else method
    if method == "auto" and seconds is None:
        seconds = _DEFAULT_SECONDS
    team = Team(comm)
    with team.all_or_none():
        compile_seconds = _compile(chosen)
        start = time.perf_counter()
        deadline = math.inf if seconds is None else start + seconds
        pool = new_pool(keep, len(space.variable_sites))
        filling = [(s.species, s.counts) for s in space.sublattices]
        identity = f"{chosen} {keep} {filling}"
        limits = Limits(deadline, report, Checkpoint(checkpoint, tree.model, identity))
        progress = _search(_Task(space, tree, pool, seed, team, limits), chosen, start)
        pool = team.share(pool)
    seconds_taken = time.perf_counter() - start
    return _ranking(space, pool, progress, chosen, seconds_taken, compile_seconds)


def _search(task: _Task, method: Method, start: float) -> Progress:
    if method == "anneal":
        progress = anneal_runs(task.space, task.tree, task.pool, task.seed, task.team, task.limits)
        return task.team.share(progress)
    tried = 0
    if method == "bound" and task.team.is_root:
        # The threshold decides how much is cut: a good one is worth some annealing.
        alone = replace(task.limits, report=None, deadline=_part(start, task.limits.deadline))
        seeds = anneal_runs(
            task.space, task.tree, task.pool, task.seed, Team(), alone, n_runs=_SEED_RUNS
        )
        tried = seeds.n_evaluated
    progress = search_tree(task.tree, task.pool, method == "bound", task.team, task.limits)
    progress.n_evaluated += task.team.share(tried)
    if progress.finished:
        progress.n_covered = task.space.n_unconstrained
    return progress


def _part(start: float, deadline: float) -> float:
    """Return when the annealing before a bound search has to end."""
    return deadline if deadline == math.inf else start + 0.3 * (deadline - start)


def _ranking(
    space: SolidSolution,
    pool: Pool,
    progress: Progress,
    method: str,
    seconds: float,
    compile_seconds: float,
) -> Ranking:
    entries = pool_entries(pool, space)
    if not entries:
        raise InputError(
            f"no arrangement found that keeps ions {space.min_site_distance:g} A apart: give more "
            "time, or lower min_site_distance"
        )
    lower = entries[0].energy_ev
    n_forbidden = space.n_unconstrained - space.n_arrangements
    if not progress.finished:
        known = -math.inf if progress.lower_bound_ev is None else progress.lower_bound_ev
        lower = min(lower, max(known, relaxed_lower_bound_ev(space)))
    return Ranking(
        n_arrangements=space.n_arrangements,
        # Which of the covered ones are forbidden is not known before the end: at least so many.
        n_covered=max(progress.n_covered - n_forbidden, 0),
        n_evaluated=progress.n_evaluated,
        certified=progress.finished,
        method=method,
        seconds=seconds,
        compile_seconds=compile_seconds,
        lower_bound_ev=lower,
        entries=entries,
        notes=space.remarks,
    )


def _choose(tree: Tree, seconds: float | None) -> Method:
    """Choose the method by counted cost."""
    budget = _DEFAULT_SECONDS if seconds is None else seconds
    outer_seconds = tree.n_outer / _OUTER_PER_SECOND
    n_nodes = max(tree.n_outer / len(tree.model.permutations), 1.0)
    exhaustive_seconds = (
        outer_seconds
        + n_nodes / _NODES_PER_SECOND
        + n_nodes * tree.inner.n_subsets / _EVALUATIONS_PER_SECOND
    )
    if exhaustive_seconds < min(_EXHAUSTIVE_SECONDS, budget / 2):
        return "exhaustive"
    if outer_seconds < budget / 2 and n_nodes * tree.inner.n_subsets < _BOUND_ARRANGEMENTS:
        return "bound"
    return "anneal"


def _compile(method: Method) -> float:
    """Compile the kernels, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    model = Model(
        interaction=np.zeros((6, 6)),
        potential=np.zeros(6),
        charges=np.array([[0.0, 1.0]] * 6),
        permutations=np.arange(6, dtype=np.int32)[None, :],
        constant_ev=np.zeros(1),
    )
    outer = Choice(np.arange(2, dtype=np.int64), 0, 1, 1, 2)
    choice = Choice(np.arange(2, 6, dtype=np.int64), 0, 1, 2, 4)
    tree = Tree(model, (outer,), choice, np.zeros(6, dtype=np.uint8))
    pool = new_pool(1, 6)
    if method != "exhaustive":
        filled = np.array([0, 1, 0, 0, 1, 1], dtype=np.uint8)
        swaps = new_swaps(np.array([0, 2, 6], dtype=np.int64))
        anneal(filled, model, 1.0, 0.1, 1, np.uint64(1), swaps, pool)
        offer_neighbours(filled, model, swaps, pool)
    if method != "anneal":
        limits = Limits(math.inf, None, Checkpoint(None, model, ""))
        search_tree(tree, pool, method == "bound", Team(), limits)
    return time.perf_counter() - start
