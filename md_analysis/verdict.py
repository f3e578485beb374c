"""The verdicts on a run."""

from typing import Literal

Verdict = Literal[
    "diffusing", "upper_bound", "not_converged", "framework_unstable", "timestep_too_long"
]
