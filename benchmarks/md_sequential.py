"""What the funnel's looks at a run cost and save, against one look at the set length.

Each material conducts at a known rate. The long gate asks for a conductivity; with the funnel's own
rule (``workflows/funnel/schedule.py``) a run ends once the whole 95 % interval lies on one side
of the limit, and is extended to twice its set length while the gate is undecided. Wrong answers are
counted on materials whose true conductivity is at least 1.5 times off the limit, among runs that
got an answer: an undecided run does not pass, and says so.

Run: python benchmarks/md_sequential.py [--seeds 40]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import synthetic

from ionsieve.md_analysis import Trajectory, TransportResult, analyze
from ionsieve.workflows.funnel.gates import LongGate, Measured, is_settled
from ionsieve.workflows.funnel.schedule import Schedule, end_reason
from ionsieve.workflows.settings.schema import LongMD

LIMIT = 0.02  # Angstrom^2/ps
SETTINGS = LongMD(equilibration_ps=0.0)
FRAME_FS = 50.0

Make = Callable[[synthetic.Run], synthetic.Known]

CASES: tuple[tuple[str, float, Make], ...] = (
    ("two-site rattling", 0.0, lambda run: synthetic.two_site(run, 0.05)),
    *(
        (f"hopping, {ratio:g}", ratio, lambda run, d=ratio * LIMIT: synthetic.hopping(run, d))
        for ratio in (0.1, 0.3, 0.66, 1.5, 3.0, 7.5)
    ),
    *(
        (
            f"back-hopping, {ratio:g}",
            ratio,
            lambda run, d=ratio * LIMIT: synthetic.back_hopping(run, d),
        )
        for ratio in (0.3, 0.66, 1.5, 3.0)
    ),
)


@dataclass(frozen=True)
class Ended:
    """One run: how long, what the gate said, and whether the interval holds the truth."""

    length_ps: float
    passed: bool
    decided: bool
    holds: bool


class Material:
    """A synthetic run of the greatest length, analysed as far as somebody looks."""

    def __init__(self, known: synthetic.Known) -> None:
        self._truth_cm2_s = known.diffusivity_cm2_s
        self._whole = Trajectory.from_arrays(
            known.positions.astype(np.float32), known.cell, known.species, known.timestep_fs
        )
        self._seen: dict[float, TransportResult] = {}

    def follow(self, schedule: Schedule) -> Ended:
        """Look at the run as the funnel does, until it ends."""
        n_done, reason = 0, None
        while reason is None:
            n_done = schedule.next_look(n_done)
            length_ps = n_done / schedule.n_set * SETTINGS.length_ps
            if length_ps not in self._seen:
                self._seen[length_ps] = analyze(self._whole.between_ps(0, length_ps), "Na", 600.0)
            result = self._seen[length_ps]
            low, high = result.diffusivity_ci95_cm2_s
            sigma_per_d = result.sigma_ne_ci95_s_cm[1] / high
            gate = LongGate(LIMIT * 1e-4 * sigma_per_d, SETTINGS.max_relative_error)
            measured = _measured(result)
            decision = gate.decide(measured)
            reason = end_reason(schedule, n_done, decision, is_settled(measured, decision, gate))
        holds = low <= self._truth_cm2_s <= high
        return Ended(length_ps, decision.passed, decision.action != "extend", holds)


def _measured(result: TransportResult) -> Measured:
    return Measured(
        verdict=result.verdict,
        reasons=tuple(result.reasons),
        temperature_k=600.0,
        length_ps=result.n_frames * result.timestep_fs / 1e3,
        sigma_ne_s_cm=result.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=result.sigma_ne_ci95_s_cm,
        relative_error=result.relative_error,
    )


def row(name: str, ratio: float, make: Make, seeds: int) -> tuple[list[Ended], str]:
    """Return the runs with looks, and one line of the table."""
    once = Schedule.of(SETTINGS.model_copy(update={"max_length_ps": SETTINGS.length_ps}), False)
    often = Schedule.of(SETTINGS)
    longest_ps = SETTINGS.length_ps * often.n_longest / often.n_set
    at_end, looked = [], []
    for seed in range(seeds):
        run = synthetic.Run(seed, 50, 20, length_ps=longest_ps, timestep_fs=FRAME_FS)
        material = Material(make(run))
        at_end.append(material.follow(once))
        looked.append(material.follow(often))
    cells = [f"{name} x limit" if ratio else name]
    for runs in (at_end, looked):
        wrong = sum(e.decided and e.passed != (ratio > 1) for e in runs)
        undecided = sum(not e.decided for e in runs)
        held = np.mean([e.holds for e in runs])
        cells += [f"{wrong}", f"{undecided}", f"{held:.2f}"]
    cells.append(f"{np.mean([e.length_ps for e in looked]):.0f}")
    return looked, "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print one row per material."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    print(
        "| | at 250 ps: wrong | undecided | 95 % holds | with looks: wrong | undecided | "
        "95 % holds | mean length ps |"
    )
    print("|---|---|---|---|---|---|---|---|")
    lengths: list[float] = []
    for name, ratio, make in CASES:
        looked, line = row(name, ratio, make, seeds)
        lengths += [ended.length_ps for ended in looked]
        print(line, flush=True)
    saved = 1 - np.mean(lengths) / SETTINGS.length_ps
    print(f"\n{saved:.0%} of the MD steps saved")


if __name__ == "__main__":
    main()
