"""Compare the stand-in's relaxed energies between kinds of arithmetic and with noise on its input.

``python benchmarks/mock_vasp_digits.py`` relaxes all shipped competing phases in a process of its
own for each setting (instruction sets of NumPy, its BLAS and numba; threads) and each seed of
1e-9 noise on the fractional coordinates, and refits the site energies each time. It prints by how
much energies per atom and site energies differ; figures stand in RESULTS-mock-vasp.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import numpy as np
from fit_site_energies import Model, fit, relaxed

from ionsieve.workflows.thermodynamics.competing_phases import library_elements, phases_for

NOISE = 1e-9
N_SEEDS = 8
#: Whatever the processor has: less of it.
ARITHMETIC: dict[str, dict[str, str]] = {
    "as it comes": {},
    "BLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "BLAS for Nehalem, one thread": {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
    "BLAS for Skylake X, two threads": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "OPENBLAS_NUM_THREADS": "2",
    },
    "numba for any x86-64": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "NumPy without AVX-512 and AVX2": {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
        "AVX512_SPR AVX2 FMA3"
    },
    "all of these": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
        "AVX512_SPR AVX2 FMA3",
    },
}


def energies(seed: int, only: list[str]) -> dict[str, dict[str, float]]:
    """Relax the phases; seed 0 leaves their coordinates as they are."""
    random = np.random.default_rng(seed)
    phases = {}
    for phase in phases_for(library_elements()):
        if only and phase.phase_id not in only:
            continue
        structure = phase.structure
        if seed:
            noise = random.normal(scale=NOISE, size=(len(structure), 3))
            for i, shift in enumerate(noise):
                structure.translate_sites([i], shift, to_unit_cell=False)
        phases[phase.phase_id] = relaxed(structure)
    result = {"energies": {i: phase.bare_energy_ev_atom for i, phase in phases.items()}}
    if not only:
        model = Model(phases.values())
        solution, _ = fit(model)
        sites = zip(model.keys, solution.tolist(), strict=True)
        result["sites"] = {f"{symbol}{state:+d}": x for (symbol, state), x in sites}
    return result


def compare(runs: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the spread of each run against the first, and over all."""
    first = next(iter(runs.values()))
    for name, run in runs.items():
        off = {i: abs(e - first["energies"][i]) for i, e in run["energies"].items()}
        worst = max(off, key=lambda i: off[i])
        sites = {i: abs(e - first["sites"][i]) for i, e in run["sites"].items()}
        site = max(sites, key=lambda i: sites[i])
        print(
            f"{name:34s} {1e3 * off[worst]:10.6f} meV/atom ({worst}) "
            f"{1e3 * sites[site]:10.6f} meV per ion ({site})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="relax once in this process and print JSON")
    parser.add_argument("--only", nargs="*", default=[], help="phases, with --seed")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        print(json.dumps(energies(arguments.seed, arguments.only)))
        return

    def child(seed: int, settings: dict[str, str]) -> dict[str, dict[str, float]]:
        command = [sys.executable, "-W", "ignore", __file__, "--seed", str(seed)]
        done = subprocess.run(
            command, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True
        )
        return json.loads(done.stdout)

    runs = {name: child(0, settings) for name, settings in ARITHMETIC.items()}
    runs |= {f"noise, seed {seed}": child(seed, {}) for seed in range(1, N_SEEDS + 1)}
    compare(runs)


if __name__ == "__main__":
    main()
