"""Configurations per CPU second of IonSieve and its peers on case A, in one run.

Most peers want other versions of numpy and pymatgen than IonSieve: make an environment for them and
name its interpreter,

    python -m venv peers && peers/bin/pip install smol SHRY
    python benchmarks/ewald_peers.py --peer-python peers/bin/python

A peer that is not installed there is skipped by name. IonSieve evaluates all of d = 4, without
symmetry or bounds; the peers work on d = 2, the largest that each of them gets through.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from ewald_cases import doped, sulfide

from ionsieve.ewald import rank
from ionsieve.ewald.kernels.arrangements import new_pool
from ionsieve.ewald.kernels.enumeration import search_nodes
from ionsieve.ewald.kernels.work import new_work
from ionsieve.ewald.levels import Nodes, Tree


def own_rate() -> float:
    """Return our evaluations per CPU second."""
    tree = Tree.of(doped(4))
    nodes = Nodes.join(list(tree.nodes(use_symmetry=False)))
    pool = new_pool(5, len(tree.start))
    n_picks = tree.inner.count
    work = new_work(len(tree.inner.sites), n_picks, prune=False)
    rates = []
    for _ in range(4):
        start = time.process_time()
        n_evaluated = search_nodes(
            nodes.labels, nodes.first, n_picks, None, tree.level, tree.model, pool, work
        )
        rates.append(n_evaluated / (time.process_time() - start))
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has the peers")
    interpreter = parser.parse_args().peer_python
    ours = own_rate()
    ranking = rank(doped(2), 100_000, "exhaustive")
    print(
        f"IonSieve: {ours:.3g} per CPU second; certifies the lowest, here all "
        f"{len(ranking.entries)} distinct structures of {ranking.n_arrangements}"
    )
    given = {"mother": sulfide().as_dict(), "ordered": ranking.entries[0].structure.as_dict()}
    done = subprocess.run(
        [interpreter, Path(__file__).with_name("ewald_peer_rates.py")],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        peer = json.loads(line)
        if "missing" in peer:
            print(f"{peer['peer']}: skipped, {peer['missing']} adds it")
        elif "failed" in peer:
            print(f"{peer['peer']}: failed, {peer['failed']}")
        else:
            ratio = ours / peer["rate"]
            print(
                f"{peer['peer']}: {peer['rate']:.3g} per CPU second, ratio {ratio:.2g}; certifies "
                f"{peer['certifies']}"
            )


if __name__ == "__main__":
    main()
