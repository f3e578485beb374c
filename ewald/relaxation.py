"""A lower bound of the energy of every arrangement, from a convex relaxation.

Each site holds a mixture of its sublattice's species. Adding d (q^2 - <q^2>) per site changes no
arrangement's energy and, with d large enough, makes the energy convex in the mixtures; the minimum
is then below every arrangement (Hammer & Rubin, doi:10.1051/ro/197004V300671). It is
approached by the Frank-Wolfe method (doi:10.1002/nav.3800030109), whose every step gives a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ionsieve.ewald.solid_solution import SolidSolution

Float = NDArray[np.float64]

_STEPS = 400


@dataclass(frozen=True)
class _Part:
    """One sublattice: its rows, the charge of every ion, and the spread of self terms."""

    rows: slice
    charges: Float
    is_uniform: bool


def relaxed_lower_bound_ev(space: SolidSolution) -> float:
    """Return an energy (eV) that no arrangement of a solid solution is below."""
    model = space.bare_model
    pairs = model.interaction - np.diag(np.diag(model.interaction))
    shift = _convex_shift(space, pairs)
    own = 0.5 * (np.diag(model.interaction) - shift)
    parts = _parts(space, own)
    mixed = np.concatenate([np.full(len(p.charges), p.charges.mean()) for p in parts])
    # Mixtures enter through their mean charge and mean squared charge only.
    squares = np.concatenate([np.full(len(p.charges), np.mean(p.charges**2)) for p in parts])
    best = -np.inf
    for _ in range(_STEPS):
        field = model.potential + pairs @ mixed + shift * mixed
        value = (
            model.potential @ mixed
            + 0.5 * mixed @ (pairs @ mixed)
            + 0.5 * shift * mixed @ mixed
            + own @ squares
        )
        corner = np.concatenate([_cheapest(p, field[p.rows], own[p.rows]) for p in parts])
        step, step_squares = corner - mixed, corner**2 - squares
        slope = field @ step + own @ step_squares
        best = max(best, value + slope)
        curvature = step @ (pairs @ step) + shift * step @ step
        if slope > -1e-6:
            break
        length = 1.0 if curvature <= 0 else min(1.0, -slope / curvature)
        mixed = mixed + length * step
        squares = squares + length * step_squares
    return float(best + model.constant_ev[0])


def _parts(space: SolidSolution, own: Float) -> list[_Part]:
    parts = []
    first = 0
    for sublattice in space.sublattices:
        rows = slice(first, first + len(sublattice.sites))
        first = rows.stop
        charges = np.sort(np.repeat(sublattice.charges, sublattice.counts))
        parts.append(_Part(rows, charges, bool(np.ptp(own[rows]) < 1e-9)))
    return parts


def _convex_shift(space: SolidSolution, pairs: Float) -> float:
    """Return the least d that makes the pair energy convex at fixed sublattice charges."""
    keep = np.eye(len(pairs))
    first = 0
    for sublattice in space.sublattices:
        n = len(sublattice.sites)
        keep[first : first + n, first : first + n] -= 1.0 / n
        first += n
    return max(0.0, -float(np.linalg.eigvalsh(keep @ pairs @ keep)[0]))


def _cheapest(part: _Part, field: Float, own: Float) -> Float:
    """Return the charges of the sublattice's ions in their cheapest order."""
    if part.is_uniform:
        out = np.empty(len(field))
        out[np.argsort(-field)] = part.charges
        return out
    cost = np.outer(field, part.charges) + np.outer(own, part.charges**2)
    rows, columns = linear_sum_assignment(cost)
    out = np.empty(len(field))
    out[rows] = part.charges[columns]
    return out
