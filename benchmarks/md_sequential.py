"""How many MD steps a gate saves that looks at the run every 50 ps instead of only at its end.

Each material hops at a known rate. The long gate asks for a conductivity; a run ends early when
the whole 95 % interval lies on one side of the limit. Errors are counted on materials whose true
conductivity is at least 1.5 times off the limit.

Run: python benchmarks/md_sequential.py [--seeds 40]
"""

from __future__ import annotations

import argparse

import numpy as np
import synthetic

from ionsieve.md_analysis import Trajectory, TransportResult, analyze
from ionsieve.md_analysis.diagnosis import LongGate

LOOKS_PS = (50.0, 100.0, 150.0, 200.0, 250.0)
LIMIT = 0.02  # Angstrom^2/ps
DIFFUSIVITIES = (0.0, 0.002, 0.006, 0.0133, 0.03, 0.06, 0.15)


def decided(result: TransportResult, gate: LongGate) -> bool:
    """Return whether no more data can change the answer but by chance."""
    decision = gate.decide(result)
    certain = result.sigma_ne_ci95_s_cm[0] >= gate.sigma_min_s_cm
    return decision.action == "stop" or (decision.passed and certain)


def main() -> None:
    """Print one row per diffusivity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    print("| D / limit | passed at the end | passed with looks | mean length ps |")
    print("|---|---|---|---|")
    lengths = []
    for diffusivity in DIFFUSIVITIES:
        end, early, used = 0, 0, []
        for seed in range(seeds):
            run = synthetic.Run(seed, 50, 20, length_ps=250.0, timestep_fs=50.0)
            known = (
                synthetic.hopping(run, diffusivity)
                if diffusivity
                else synthetic.two_site(run, 0.05)
            )
            whole = Trajectory.from_arrays(
                known.positions.astype(np.float32), known.cell, known.species, known.timestep_fs
            )
            results = [analyze(whole.between_ps(0, look), "Na", 600.0) for look in LOOKS_PS]
            per_d = results[-1].sigma_ne_ci95_s_cm[1] / results[-1].diffusivity_ci95_cm2_s[1]
            gate = LongGate(LIMIT * 1e-4 * per_d)
            stop = next((i for i, r in enumerate(results) if decided(r, gate)), len(LOOKS_PS) - 1)
            end += gate.decide(results[-1]).passed
            early += gate.decide(results[stop]).passed
            used.append(LOOKS_PS[stop])
        lengths += used
        print(
            f"| {diffusivity / LIMIT:.2f} | {end}/{seeds} | {early}/{seeds} | "
            f"{np.mean(used):.0f} |",
            flush=True,
        )
    saved = 1 - np.mean(lengths) / LOOKS_PS[-1]
    print(f"\n{saved:.0%} of the MD steps saved")


if __name__ == "__main__":
    main()
