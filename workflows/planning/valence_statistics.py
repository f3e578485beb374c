"""Oxidation states that make a formula neutral, ranked by how common they are in ICSD.

The counts are those that pymatgen ships with its bond valences. Amounts may be fractions.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.bond_valence import PRIOR_PROB
from pymatgen.core.periodic_table import Element, Species

#: Net charge per ion that rounded partial occupancies may leave, e.
CHARGE_TOLERANCE = 0.01
#: Logarithm of how much rarer than the most common states a guess may be; peroxides are near it.
_MAX_RARITY = 6.5
#: Besides metals with d or f electrons, elements that are found with two states in one crystal.
_MIXED = frozenset({"Ge", "As", "Se", "In", "Sn", "Sb", "Te", "Tl", "Pb", "Bi", "S"})
#: An element that has its most common state so often hardly ever has two in one crystal.
_SINGLE_SHARE = 0.75
#: States rarer than this in ICSD are no guess.
_MIN_SHARE = 1e-3

States = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Guess:
    """One state per element.

    Attributes
    ----------
    states : tuple of (symbol, state)
    confidence : float
        Share of the evidence among all neutral guesses, 0 to 1.
    """

    states: States
    confidence: float

    def __str__(self) -> str:
        return " ".join(species_name(symbol, state) for symbol, state in self.states)


def species_name(symbol: str, state: float) -> str:
    """Return a species as this package writes it, for example ``Na+`` or ``S2-``."""
    return str(Species(symbol, state))


@functools.cache
def _log_shares(symbol: str) -> dict[int, float]:
    """Return the logarithm of the share of each whole, non-zero state of an element in ICSD."""
    counts: dict[int, float] = {}
    for species, count in PRIOR_PROB.items():
        state = float(species.oxi_state or 0)
        if species.symbol == symbol and state.is_integer():
            counts[int(state)] = counts.get(int(state), 0) + count
    element = Element(symbol)
    known = {*element.oxidation_states, *element.icsd_oxidation_states} - {0}
    counts = {q: n for q, n in counts.items() if q in known}  # La4+ is an entry's mistake
    # A few elements have hardly any entry; the textbook states then count a little.
    for state in element.common_oxidation_states:
        counts[state] = counts.get(state, 0) + 2
    total = sum(counts.values())
    return {q: math.log(n / total) for q, n in counts.items() if n / total >= _MIN_SHARE}


def guesses(amounts: Mapping[str, float], tolerance: float = CHARGE_TOLERANCE) -> list[Guess]:
    """Return every set of one state per element that is neutral, the most common first.

    Parameters
    ----------
    amounts
        Element -> atoms in the cell; fractions are allowed.
    tolerance
        Net charge per ion that still counts as neutral, e.
    """
    symbols = sorted(amounts, key=lambda s: (Element(s).X, s))
    allowed = tolerance * sum(amounts.values())
    best = _best_score(symbols)
    scored = [
        (score - (net / allowed) ** 2 / 2, states)
        for states, score, net in _combinations(symbols, amounts, allowed)
        if abs(net) <= allowed and score >= best - _MAX_RARITY
    ]
    if not scored:
        return []
    scored.sort(key=lambda item: (-item[0], item[1]))
    weights = np.exp([score - scored[0][0] for score, _ in scored])
    return [
        Guess(states, float(weight))
        for (_, states), weight in zip(scored, weights / weights.sum(), strict=True)
    ]


def _best_score(symbols: Sequence[str]) -> float:
    """Return the log probability of the most common state of every element, neutral or not."""
    return sum(max(_log_shares(symbol).values(), default=-math.inf) for symbol in symbols)


def _combinations(
    symbols: list[str], amounts: Mapping[str, float], slack: float
) -> Iterator[tuple[States, float, float]]:
    """Yield states, log probability and net charge, without branches that can't be neutral."""
    options = [_log_shares(symbol) for symbol in symbols]
    low = [min(o, default=0) * amounts[s] for o, s in zip(options, symbols, strict=True)]
    high = [max(o, default=0) * amounts[s] for o, s in zip(options, symbols, strict=True)]

    def extend(
        i: int, states: States, score: float, net: float
    ) -> Iterator[tuple[States, float, float]]:
        if net + sum(low[i:]) > slack or net + sum(high[i:]) < -slack:
            return
        if i == len(symbols):
            yield states, score, net
            return
        for state, share in options[i].items():
            yield from extend(
                i + 1,
                (*states, (symbols[i], state)),
                score + share,
                net + state * amounts[symbols[i]],
            )

    yield from extend(0, (), 0.0, 0.0)


def common_states(symbols: Iterable[str]) -> dict[str, int]:
    """Return the most common state of each element."""
    return {
        symbol: max(shares.items(), key=lambda item: item[1])[0]
        for symbol in symbols
        if (shares := _log_shares(symbol))
    }


def mixed_valences(
    amounts: Mapping[str, float],
) -> list[tuple[float, str, tuple[int, int], States]]:
    """Return what is neutral with two states of one element, the most common first.

    Returns
    -------
    list of (score, element, its two states, states of the others)
    """
    found = []
    for symbol in amounts:
        element = Element(symbol)
        if not (element.is_transition_metal or element.is_rare_earth or symbol in _MIXED):
            continue
        others = {s: n for s, n in amounts.items() if s != symbol}
        names = sorted(others, key=lambda s: (Element(s).X, s))
        shares = _log_shares(symbol)
        pairs = [(a, b) for a, b in itertools.combinations(sorted(shares), 2) if a * b > 0]
        top = list(common_states(names).values())
        net = math.fsum(q * others[s] for s, q in zip(names, top, strict=True))
        wanted = -net / amounts[symbol]
        for a, b in pairs:
            if a < wanted < b and b - a <= 3:
                score = shares[a] + shares[b] - (b - a)
                score += sum(_log_shares(s)[q] for s, q in zip(names, top, strict=True))
                if score >= _best_score(list(amounts)) - _MAX_RARITY:
                    found.append((score, symbol, (a, b), tuple(zip(names, top, strict=True))))
    return sorted(found, key=lambda item: -item[0])


def has_plausible_mixture(amounts: Mapping[str, float]) -> bool:
    """Return whether two states of one element are a better reading than rounded occupancies."""
    found = mixed_valences(amounts)
    if not found or found[0][1] in ("S", "Se", "Te"):
        return False
    return max(_log_shares(found[0][1]).values()) < math.log(_SINGLE_SHARE)
