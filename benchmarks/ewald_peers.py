"""Configurations per CPU second of IonSieve and of pymatgen on case A, d = 4, in one run."""

from __future__ import annotations

import time

import numpy as np
from ewald_cases import doped
from pymatgen.analysis.ewald import EwaldSummation

from ionsieve.ewald.kernels.arrangements import new_pool
from ionsieve.ewald.kernels.enumeration import search_nodes
from ionsieve.ewald.kernels.work import new_work
from ionsieve.ewald.levels import Nodes, Tree

N_PEER = 20


def main() -> None:
    space = doped(4)
    tree = Tree.of(space)
    nodes = Nodes.join(list(tree.nodes(use_symmetry=False)))
    pool = new_pool(5, len(tree.start))
    work = new_work(len(tree.inner.sites), tree.inner.count, prune=False)
    rates = []
    for _ in range(4):
        start = time.process_time()
        n_evaluated = search_nodes(
            nodes.labels, nodes.first, tree.inner.count, None, tree.level, tree.model, pool, work
        )
        rates.append(n_evaluated / (time.process_time() - start))
    ours = max(rates)

    random = np.random.default_rng(0)
    parts = [np.repeat(range(len(s.counts)), s.counts) for s in space.sublattices]
    structures = [
        space.structure(np.concatenate([random.permutation(p) for p in parts]).astype(np.uint8))
        for _ in range(N_PEER)
    ]
    start = time.process_time()
    for structure in structures:
        _ = EwaldSummation(structure).total_energy
    pymatgen = N_PEER / (time.process_time() - start)
    print(f"IonSieve {ours:.3g} per CPU second, all evaluated")
    print(f"pymatgen EwaldSummation {pymatgen:.3g} per CPU second: ratio {ours / pymatgen:.2g}")


if __name__ == "__main__":
    main()
