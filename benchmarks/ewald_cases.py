"""The cases of the Ewald engine, timed: ``python benchmarks/ewald_cases.py [CASE ...]``.

Compilation is done before the clock starts. CPU time is printed beside wall time, as it is the one
that means something on a machine with other work.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from pymatgen.core import Lattice, Structure

from ionsieve.ewald import Ranking, SolidSolution, rank
from ionsieve.ewald.interactions import interaction_matrix
from ionsieve.ewald.kernels.arrangements import new_pool
from ionsieve.ewald.kernels.enumeration import search_nodes
from ionsieve.ewald.kernels.work import new_work
from ionsieve.ewald.levels import Nodes, Tree


def sulfide() -> Structure:
    """Case A: cubic Na3SbS4."""
    return Structure.from_spacegroup(
        "I-43m",
        Lattice.cubic(7.1910),
        ["Na+", "Sb5+", "S2-"],
        [[0.5, 0.5, 0], [0, 0, 0], [0.185, 0.185, 0.185]],
    )


def doped(d: int) -> SolidSolution:
    """Case A with d dopants and d vacancies."""
    rules = {"replace": {"Sb": {"W6+": d}}, "vacate": {"Na": d}}
    return SolidSolution.from_structure(sulfide(), (2, 2, 2), **rules)


def lgps() -> SolidSolution:
    """Case L: Li10GeP2S12 1x1x2, 3.6e13 arrangements."""
    mother = Structure.from_spacegroup(
        "P4_2/nmc",
        Lattice.tetragonal(8.71771, 12.63452),
        [
            {"Ge4+": 0.5, "P5+": 0.5},
            "P5+",
            "S2-",
            "S2-",
            "S2-",
            {"Li+": 11 / 16},
            "Li+",
            {"Li+": 5 / 8},
        ],
        [
            [0, 0.5, 0.69],
            [0, 0, 0.5],
            [0, 0.184, 0.416],
            [0, 0.296, 0.097],
            [0, 0.7, 0.793],
            [0.279, 0.263, 0.199],
            [0, 0.5, 0.945],
            [0.246, 0.246, 0],
        ],
    )
    return SolidSolution.from_structure(mother, (1, 1, 2))


def nasicon() -> SolidSolution:
    """Na3Zr2Si2PO12 on 8 formula units of R-3c Na4Zr2Si3O12: C(32, 8) C(24, 16) arrangements.

    The parent at 573 K, every site full: Tran Qui, Capponi, Joubert and Shannon, J. Solid State
    Chem. 39, 219 (1981). Taken from a public copy of ICSD 15546, but for the sign of y of the last
    oxygen: with it Si-O is 1.61 and 1.63 A and Zr-O 2.04 and 2.11 A, without 1.73 and 1.87 A.
    """
    mother = Structure.from_spacegroup(
        "R-3c",
        Lattice.hexagonal(9.1863, 22.181),
        ["Na+", "Na+", "Zr4+", "Si4+", "O2-", "O2-"],
        [
            [0, 0, 0],
            [-0.36033, 0, 0.25],
            [0, 0, 0.14719],
            [0.29544, 0, 0.25],
            [0.18534, 0.16651, 0.08652],
            [0.18214, -0.02102, 0.19199],
        ],
    )
    rules = {"replace": {"Si": {"P5+": 8}}, "vacate": {"Na": 8}}
    return SolidSolution.from_structure(mother.get_primitive_structure(), (2, 2, 1), **rules)


def timed(label: str, action: Callable[[], str]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    text = action()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{label}: {text}; wall {wall:.2f} s, CPU {cpu:.2f} s, peak {memory:.2f} GB", flush=True)


def describe(ranking: Ranking) -> str:
    kind = "certified" if ranking.certified else f"{100 * ranking.coverage:.4g} % covered"
    first = ranking.entries[0]
    return (
        f"{ranking.n_arrangements:.4g} arrangements, {ranking.method}, {kind}, lowest "
        f"{first.energy_ev:.6f} eV ({first.degeneracy}), search {ranking.seconds:.3f} s"
    )


def throughput() -> None:
    """Every single configuration of case A, d = 4, without symmetry or pruning."""
    tree = Tree.of(doped(4))
    nodes = Nodes.join(list(tree.nodes(use_symmetry=False)))
    pool = new_pool(5, len(tree.start))
    work = new_work(len(tree.inner.sites), tree.inner.count, prune=False)

    def evaluate() -> int:
        return int(
            search_nodes(
                nodes.labels,
                nodes.first,
                tree.inner.count,
                None,
                tree.level,
                tree.model,
                pool,
                work,
            )
        )

    evaluate()
    for _ in range(3):
        cpu = time.process_time()
        n_evaluated = evaluate()
        cpu = time.process_time() - cpu
        print(f"A, d = 4: {n_evaluated} evaluated, {n_evaluated / cpu / 1e9:.2f}e9 per CPU second")


def best_bound() -> None:
    for keep in (5, 100):
        space = doped(8)
        rank(space, keep, "bound")
        timed(f"A, d = 8, k = {keep}", lambda s=space, k=keep: describe(rank(s, k, "bound")))


def annealing() -> None:
    space = lgps()
    rank(space, 1, "anneal", seconds=0.1)
    lowest = [rank(space, 1, "anneal", 1.0, seed).entries[0].energy_ev for seed in range(10)]
    hits = sum(e < min(lowest) + 1e-6 for e in lowest)
    print(f"L, annealing 1 s: {min(lowest):.6f} eV reached by {hits} of 10 seeds")


def paper_job() -> None:
    """170 solid solutions of about 200 ions, 1e8 arrangements in total, matrices included."""
    rank(doped(2), 5, "exhaustive")
    supercells = [(3, 2, 2), (2, 3, 2), (2, 2, 3)]
    species = ["W6+", "Mo6+", "Se6+", "Te6+"]

    def job() -> str:
        total = 0
        for number in range(170):
            rules = {"replace": {"Sb": {species[number % 4]: 2}}, "vacate": {"Na": 2}}
            space = SolidSolution.from_structure(sulfide(), supercells[number % 3], **rules)
            ranking = rank(space, 5, "exhaustive")
            assert ranking.certified
            total += space.n_arrangements
        return f"{total:.4g} arrangements in 170 cells of {space.n_ions} ions"

    timed("paper-size job", job)


def matrices() -> None:
    random = np.random.default_rng(0)
    for n_ions, edge in ((200, 16.0), (2000, 34.0)):
        grid = np.stack(np.meshgrid(*[np.arange(13)] * 3), axis=-1).reshape(-1, 3)[:n_ions] / 13
        coords = grid + random.uniform(-0.01, 0.01, grid.shape)
        timed(
            f"matrix of {n_ions} ions without symmetry",
            lambda c=coords, a=edge: str(interaction_matrix(np.eye(3) * a, c).shape),
        )


CASES = {
    "throughput": throughput,
    "A8": best_bound,
    "nasicon": lambda: timed("NASICON", lambda: describe(rank(nasicon(), 5, "bound"))),
    "anneal": annealing,
    "paper": paper_job,
    "matrices": matrices,
    "L": lambda: timed("L", lambda: describe(rank(lgps(), 5, "bound"))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="default: all")
    for name in parser.parse_args().cases or CASES:
        CASES[name]()


if __name__ == "__main__":
    main()
