"""Oxidation states from the composition alone: VASP's inputs carry none.

One oxidation state per element that makes the cell neutral, the usual ones preferred; failing
that, one element takes an average (mixed valence, polysulfides); failing that, or with one element
only, all charges are zero and the solid counts as metallic.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from ionsieve.workflows.backends.mock_vasp.elements import element

#: Penalties of a guess: an uncommon state, its place among the states of its element, a unit of
#: electronegativity by which an anion is less electronegative than a cation, an average state,
#: an average of an anion (polysulfides), one that leaves the span of the element's own states.
_UNCOMMON, _PLACE, _DISORDER, _AVERAGE, _ANION, _OUTSIDE = 2.0, 0.1, 20.0, 2.0, 1.0, 3.0
_ROUNDING = 1e-9


def _disorder(states: Mapping[str, float]) -> float:
    """Return by how much the signs of the states go against the electronegativities."""
    anions = [element(s).electronegativity for s, q in states.items() if q < 0]
    cations = [element(s).electronegativity for s, q in states.items() if q > 0]
    if not anions or not cations:
        return 0.0
    return max(0.0, max(cations) - min(anions))


def _cost(states: Mapping[str, int]) -> float:
    cost = _DISORDER * _disorder(states)
    for symbol, state in states.items():
        data = element(symbol)
        place = data.states.index(state)
        cost += _PLACE * place + (_UNCOMMON if place >= data.n_preferred else 0.0)
    return cost


def _assignments(symbols: list[str]) -> Iterator[dict[str, int]]:
    for states in itertools.product(*(element(s).states for s in symbols)):
        yield dict(zip(symbols, states, strict=True))


def _average_cost(symbol: str, average: float) -> float | None:
    """Return what an average state of one element costs; None if it can't have it."""
    states = element(symbol).states
    same_sign = [q for q in states if q * average >= 0] or [0]
    if not min((*states, 0)) - _ROUNDING <= average <= max((*states, 0)) + _ROUNDING:
        return None
    cost = _AVERAGE + min(abs(average - q) for q in states)
    if average < 0:
        return cost + _ANION
    outside = not min(same_sign) - _ROUNDING <= average <= max(same_sign) + _ROUNDING
    return cost + (_OUTSIDE if outside else 0.0)


def _averaged(counts: Mapping[str, int]) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield the assignments, with their costs, in which one element takes the average needed."""
    for free in sorted(counts):
        for states in _assignments([s for s in sorted(counts) if s != free]):
            average = -sum(counts[s] * q for s, q in states.items()) / counts[free]
            extra = _average_cost(free, average)
            if extra is not None:
                full: dict[str, float] = {**states, free: average}
                yield _cost(states) + _DISORDER * _disorder(full) + extra, full


def guess_oxidation_states(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the oxidation state of each element of a neutral cell.

    Parameters
    ----------
    counts
        Number of atoms of each element in the cell.

    Returns
    -------
    dict
        Element to charge in e; all zero for a metal, an element or an unsolvable composition.
        The same for all multiples of a formula.
    """
    symbols = sorted(counts)
    neutral = dict.fromkeys(symbols, 0.0)
    if len(symbols) < 2 or not all(element(s).states for s in symbols):
        return neutral
    guesses: list[tuple[float, dict[str, float]]] = [
        (_cost(states), {s: float(q) for s, q in states.items()})
        for states in _assignments(symbols)
        if sum(counts[s] * q for s, q in states.items()) == 0
    ]
    guesses += _averaged(counts)
    return min(guesses, key=lambda guess: round(guess[0], 6))[1] if guesses else neutral
