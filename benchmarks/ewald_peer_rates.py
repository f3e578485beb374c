"""What the peers do on case A, d = 2: run by ewald_peers.py with the Python that has them.

Reads {"mother": ..., "ordered": ...} (pymatgen dictionaries) and writes one JSON line per peer.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Structure

D = 2
SUPERCELL = np.diag([2, 2, 2])
SECONDS = 5.0


def timed(evaluations: Iterator[int]) -> float:
    """Return evaluations per CPU second over some seconds."""
    total, start = 0, time.process_time()
    for n in evaluations:
        total += n
        if time.process_time() - start > SECONDS:
            break
    return total / (time.process_time() - start)


def ewald_summation(mother: Structure, ordered: Structure) -> dict[str, Any]:
    """One structure at a time, from scratch."""

    def energies() -> Iterator[int]:
        while True:
            _ = EwaldSummation(ordered).total_energy
            yield 1

    return {"rate": timed(energies()), "certifies": "nothing: evaluates what it is given"}


def smol(mother: Structure, ordered: Structure) -> dict[str, Any]:
    """Energy changes of swaps, as in smol's canonical Monte Carlo."""
    from smol.cofe import ClusterSubspace
    from smol.cofe.extern import EwaldTerm
    from smol.moca.processor import EwaldProcessor

    disordered = mother.copy()
    disordered.replace_species({"Sb5+": {"Sb5+": 0.875, "W6+": 0.125}, "Na+": {"Na+": 23 / 24}})
    subspace = ClusterSubspace.from_cutoffs(disordered, {2: 3.0}, supercell_size="volume")
    term = EwaldTerm()
    subspace.add_external_term(term)
    processor = EwaldProcessor(subspace, SUPERCELL, term)
    occupancy = subspace.occupancy_from_structure(ordered, scmatrix=SUPERCELL, encode=True)
    occupancy = np.asarray(occupancy, dtype=np.int64)
    kinds = [len(space) for space in processor.allowed_species]
    active = np.array([k for k, n in enumerate(kinds) if n > 1])
    sodium = [k for k in active if "Na+" in map(str, processor.allowed_species[k])]
    random = np.random.default_rng(0)

    def swaps() -> Iterator[int]:
        while True:
            i, j = random.choice(sodium, 2, replace=False)
            flips = [(int(i), int(occupancy[j])), (int(j), int(occupancy[i]))]
            processor.compute_property_change(occupancy, flips)
            yield 1

    return {"rate": timed(swaps()), "certifies": "nothing: Monte Carlo"}


def shry(mother: Structure, ordered: Structure) -> dict[str, Any]:
    """Symmetry-distinct structures with their Ewald energies; merged copies are counted too."""
    from shry.core import Substitutor

    disordered = mother * (2, 2, 2)
    disordered.replace_species(
        {"Sb5+": {"Sb5+": 0.875, "W6+": 0.125}, "Na+": {"Na+": 23 / 24, "X0+": 1 / 24}}
    )
    substitutor = Substitutor(disordered)
    n_distinct, n_all = substitutor.count(), substitutor.total_count()
    rate = timed(1 for _ in substitutor.ewalds())
    return {
        "rate": rate * n_all / n_distinct,
        "certifies": f"all {n_distinct} distinct structures of {n_all}",
    }


PEERS: dict[str, tuple[str, Callable[[Structure, Structure], dict[str, Any]]]] = {
    "pymatgen EwaldSummation": ("pymatgen", ewald_summation),
    "smol EwaldProcessor": ("smol", smol),
    "SHRY": ("SHRY", shry),
}


def main() -> None:
    warnings.simplefilter("ignore")
    given = json.load(sys.stdin)
    mother, ordered = (Structure.from_dict(given[name]) for name in ("mother", "ordered"))
    for name, (package, measure) in PEERS.items():
        try:
            found = measure(mother, ordered)
        except ImportError:
            found = {"missing": f"pip install {package}"}
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({"peer": name, **found}), flush=True)


if __name__ == "__main__":
    main()
