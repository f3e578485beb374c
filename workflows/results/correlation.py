"""Whether structures that conduct in the short run also conduct in the long one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ionsieve.workflows.results.collections import collection_model
from ionsieve.workflows.results.presentation import is_measured

#: Fewest compositions for which an interval exists.
_FEWEST = 4
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Correlation:
    """Correlation of log10 conductivities over compositions, with 95 % intervals."""

    n: int
    pearson: float
    pearson_ci95: tuple[float, float]
    spearman: float
    spearman_ci95: tuple[float, float]


def measured_pairs(conductors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the compositions with a measurement from both runs: no bounds, nothing unsound."""
    return [
        document
        for document in conductors
        if all(is_measured_run(document, run) for run in ("short", "long"))
    ]


def is_measured_run(conductor: Mapping[str, Any], run: str) -> bool:
    """Return whether the conductivity of a composition's short or long run is a measurement."""
    name = f"sigma_{run}_s_cm"
    model = collection_model("conductors")
    return (conductor.get(name) or 0.0) > 0.0 and is_measured(conductor, model, name)


def correlate(conductors: Iterable[Mapping[str, Any]]) -> Correlation | None:
    """Return the short-against-long correlation; None with fewer than 4 pairs or no spread.

    The intervals use Fisher's transformation; for Spearman's coefficient with the variance of
    Bonett and Wright (doi:10.1007/BF02294183). Only survivors of the short gate have a long run,
    so the range is restricted and the coefficients are, if anything, too low.
    """
    pairs = measured_pairs(conductors)
    short = np.log10([document["sigma_short_s_cm"] for document in pairs])
    long = np.log10([document["sigma_long_s_cm"] for document in pairs])
    if len(pairs) < _FEWEST or np.ptp(short) == 0.0 or np.ptp(long) == 0.0:
        return None
    pearson = float(stats.pearsonr(short, long).statistic)
    spearman = float(stats.spearmanr(short, long).statistic)
    return Correlation(
        n=len(pairs),
        pearson=pearson,
        pearson_ci95=_interval(pearson, len(pairs), 1.0),
        spearman=spearman,
        spearman_ci95=_interval(spearman, len(pairs), 1.0 + spearman**2 / 2.0),
    )


def _interval(coefficient: float, n: int, variance_factor: float) -> tuple[float, float]:
    if abs(coefficient) >= 1.0:
        return (coefficient, coefficient)
    centre = math.atanh(coefficient)
    half = _Z95 * math.sqrt(variance_factor / (n - 3))
    return (math.tanh(centre - half), math.tanh(centre + half))
