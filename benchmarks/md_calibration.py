"""Are the intervals right? Known-answer trajectories, many seeds, one row per case.

Run: python benchmarks/md_calibration.py [--seeds 200] [--only hopping] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import md_motions
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

#: Motions made to mislead, from other kinds of generator (``md_motions``).
MISLEADING: dict[str, Callable[[Run], Known]] = {
    **{
        f"cage: {cage}, {rate:g}/ps": partial(md_motions.caged_hopping, cage=cage, rate=rate)
        for cage in md_motions.CAGES
        for rate in (0.01, 0.03, 0.1)
    },
    "channel of 5 sites, 0.2/ps": partial(md_motions.blocked_channel, n_sites=5, rate=0.2),
    "channel of 12 sites, 0.2/ps": partial(md_motions.blocked_channel, rate=0.2),
    "channel of 12 sites, 0.5/ps": md_motions.blocked_channel,
    "soft cage, 5 ps": md_motions.soft_cage,
    "soft cage, 50 ps": partial(md_motions.soft_cage, relaxation_ps=50.0),
    "subdiffusion, H = 0.35": md_motions.fractional_brownian,
    "subdiffusion, H = 0.42": partial(md_motions.fractional_brownian, hurst=0.42),
    "rate falls by 4": md_motions.ageing,
    "rate falls by 3": partial(md_motions.ageing, factor=3.0),
    "rate falls by 4, D 0.03": partial(md_motions.ageing, diffusivity=0.03),
    "rate drops to a fifth": md_motions.stalling,
    "on 5 ps, off 15 ps": md_motions.on_off,
    "avalanches, 30 ps": md_motions.avalanches,
    "single file, 8 of 10": partial(md_motions.single_file, rate=1.5),
    "cage to cage 0.05": md_motions.cage_to_cage,
    "corrugated potential 0.1": md_motions.corrugated,
    "half-way stops 0.05, triclinic": md_motions.stop_at_the_middle,
    "traps 0.1": md_motions.disordered,
    "persistent 0.5": md_motions.persistent,
    "two populations": md_motions.populations,
    "a quarter mobile": md_motions.partly_mobile,
}

CASES = [
    *(Case(name, motion, n_mobile=48) for name, motion in MISLEADING.items()),
    Case("one vacancy in 64 sites", md_motions.vacancies, n_mobile=63),
    Case("6 vacancies in 64 sites", partial(md_motions.vacancies, n_vacant=6, rate=0.3), 58),
    Case("single file, 5 of 10", partial(md_motions.single_file, filled=5, rate=1.0), 50),
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
        "called_percent": 100 * len(settled) / n_seeds,
        "coverage95_all": float(table[:, 3].mean()),
    }
    if len(settled):
        row["coverage95"] = float(settled[:, 3].mean())
    if len(settled) >= 0.05 * n_seeds and settled[0, 2] > 0:
        truth = settled[:, 2]
        row |= {
            "bias_percent": float(100 * (settled[:, 1] / truth - 1).mean()),
            "scatter_percent": float(100 * (settled[:, 1] / truth).std()),
            "coverage68": float(settled[:, 4].mean()),
            "haven_coverage95": float(settled[:, 5].mean()),
            "haven_median": float(np.nanmedian(settled[:, 6])),
        }
    return row


def as_markdown(rows: list[dict[str, object]]) -> str:
    """Return the table.

    "Called" are the runs called diffusing, "conditional coverage" is how often their 95 % interval
    holds, "all runs" the same of every run with the interval its verdict gives; bias, scatter and
    the rest are of the runs called.
    """
    lines = [
        "| case | seeds | called (%) | conditional coverage | all runs | bias % | scatter % | 68 % "
        "| Haven ratio (median, 95 %) | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = " | ".join(
            f"{row[key]:.{digits}f}" if key in row else "-"
            for key, digits in (
                ("called_percent", 0),
                ("coverage95", 3),
                ("coverage95_all", 3),
                ("bias_percent", 1),
                ("scatter_percent", 1),
                ("coverage68", 2),
            )
        )
        haven = (
            f"{row['haven_median']:.2f}, {row['haven_coverage95']:.2f}"
            if "haven_median" in row
            else "-"
        )
        lines.append(
            f"| {row['case']} | {row['seeds']} | {figures} | {haven} | {row['cpu_s']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--timestep-fs", type=float, default=20.0, help="between frames")
    parser.add_argument("--only", help="cases whose name matches this regular expression")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        if options.only and not re.search(options.only, case.label):
            continue
        rows.append(measure(case, options.seeds, options.timestep_fs))
        print(as_markdown(rows[-1:]).splitlines()[-1], flush=True)
    print("\n" + as_markdown(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
