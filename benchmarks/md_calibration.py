"""Are the intervals right? Known-answer trajectories, many seeds, one row per case.

Run: python benchmarks/md_calibration.py [--seeds 200] [--only hopping] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import synthetic
from synthetic import Known, Run

from ionsieve.md_analysis import Trajectory, TransportResult, analyze
from ionsieve.md_analysis.diffusivity import CM2_S_PER_ANGSTROM2_PS, fit_diffusion
from ionsieve.md_analysis.displacement import drift, paths


@dataclass(frozen=True)
class Case:
    """A kind of motion at one size of run."""

    name: str
    generate: Callable[[Run], Known]
    n_mobile: int = 100
    length_ps: float = 100.0

    @property
    def label(self) -> str:
        """Name with the size of the run."""
        return f"{self.name}, {self.n_mobile} ions, {self.length_ps:g} ps"


MOTIONS: dict[str, Callable[[Run], Known]] = {
    "Brownian": synthetic.brownian,
    "hopping 0.1": synthetic.hopping,
    "hopping 0.02": partial(synthetic.hopping, diffusivity=0.02),
    "rare hops 0.003": partial(synthetic.hopping, diffusivity=0.003),
    "back-hopping 0.1": synthetic.back_hopping,
    "back-hopping 0.02, slow": partial(synthetic.back_hopping, diffusivity=0.02, dwell_ps=5.0),
    "groups of 4": synthetic.grouped,
    "half the hops in groups of 4": partial(synthetic.grouped, share=0.5),
    "bursts": synthetic.bursts,
    "anisotropic": synthetic.anisotropic,
    "drifting frame": synthetic.drifting,
    "two-site 0.1/ps": synthetic.two_site,
    "two-site 0.02/ps": partial(synthetic.two_site, rate=0.02),
    "caged": synthetic.caged,
    "two hops": synthetic.few_hops,
}

CASES = [
    *(Case(name, motion) for name, motion in MOTIONS.items()),
    *(
        Case(name, MOTIONS[name], n_mobile=20)
        for name in (
            "Brownian",
            "hopping 0.1",
            "back-hopping 0.1",
            "groups of 4",
            "half the hops in groups of 4",
            "two-site 0.02/ps",
        )
    ),
    *(Case(name, motion, length_ps=250.0) for name, motion in MOTIONS.items()),
    Case("groups of 4", MOTIONS["groups of 4"], n_mobile=20, length_ps=250.0),
]


def analyse(known: Known) -> tuple[TransportResult, tuple[float, float]]:
    """Analyse wrapped positions as any user would; also return the 68 % interval, cm2/s."""
    wrapped = known.positions % np.diag(known.cell)
    run = Trajectory.from_arrays(
        wrapped.astype(np.float32), known.cell, known.species, known.timestep_fs
    )
    mobile = run.indices("Na")
    fit = fit_diffusion(paths(run, mobile, drift(run, mobile)[0]), run.timestep_fs)
    low, high = fit.diffusivity.interval(0.68)
    return analyze(run, "Na", 600.0, 1), (
        low * CM2_S_PER_ANGSTROM2_PS,
        high * CM2_S_PER_ANGSTROM2_PS,
    )


def measure(case: Case, n_seeds: int, timestep_fs: float) -> dict[str, object]:
    """Return one row of the table."""
    rows, verdicts, seconds = [], Counter[str](), 0.0
    for seed in range(n_seeds):
        run = Run(seed, case.n_mobile, 20, length_ps=case.length_ps, timestep_fs=timestep_fs)
        known = case.generate(run)
        start = time.process_time()
        result, (low68, high68) = analyse(known)
        seconds += time.process_time() - start
        verdicts[result.verdict] += 1
        truth, value = known.diffusivity_cm2_s, result.diffusivity_cm2_s
        low, high = result.diffusivity_ci95_cm2_s
        haven = result.haven_ratio_ci95 or (0.0, np.inf)
        rows.append(
            (
                result.verdict == "diffusing",
                value,
                truth,
                low <= truth <= high,
                low68 <= truth <= high68,
                haven[0] <= known.haven_ratio <= haven[1],
                result.haven_ratio or np.nan,
            )
        )
    table = np.array(rows, dtype=float)
    settled = table[table[:, 0] == 1]
    row: dict[str, object] = {
        "case": case.label,
        "seeds": n_seeds,
        "verdicts": dict(verdicts),
        "cpu_s": seconds / n_seeds,
        "coverage95_all": float(table[:, 3].mean()),
    }
    if len(settled) >= 0.05 * n_seeds and settled[0, 2] > 0:
        truth = settled[:, 2]
        row |= {
            "bias_percent": float(100 * (settled[:, 1] / truth - 1).mean()),
            "scatter_percent": float(100 * (settled[:, 1] / truth).std()),
            "coverage68": float(settled[:, 4].mean()),
            "coverage95": float(settled[:, 3].mean()),
            "haven_coverage95": float(settled[:, 5].mean()),
            "haven_median": float(np.nanmedian(settled[:, 6])),
        }
    return row


def as_markdown(rows: list[dict[str, object]]) -> str:
    """Return the table; figures are of the runs called diffusing."""
    lines = [
        "| case | seeds | verdicts (%) | bias % | scatter % | 68 % | 95 % | 95 % of all runs | "
        "Haven ratio (median, 95 %) | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdicts = row["verdicts"]
        assert isinstance(verdicts, dict)
        total = sum(verdicts.values())
        shares = ", ".join(f"{k} {100 * v / total:.3g}" for k, v in sorted(verdicts.items()))
        figures = " | ".join(
            f"{row[key]:.{digits}f}" if key in row else "-"
            for key, digits in (
                ("bias_percent", 1),
                ("scatter_percent", 1),
                ("coverage68", 2),
                ("coverage95", 3),
                ("coverage95_all", 3),
            )
        )
        haven = (
            f"{row['haven_median']:.2f}, {row['haven_coverage95']:.2f}"
            if "haven_median" in row
            else "-"
        )
        lines.append(
            f"| {row['case']} | {row['seeds']} | {shares} | {figures} | {haven} | "
            f"{row['cpu_s']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--timestep-fs", type=float, default=20.0, help="between frames")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        if options.only and options.only not in case.label:
            continue
        rows.append(measure(case, options.seeds, options.timestep_fs))
        print(as_markdown(rows[-1:]).splitlines()[-1], flush=True)
    print("\n" + as_markdown(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
