"""What the potential knows about each element: masses, radii, oxidation states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DATA = Path(__file__).with_name("elements.json")


@dataclass(frozen=True)
class ElementData:
    """Properties of one element.

    Attributes
    ----------
    mass_amu
        Atomic mass.
    electronegativity
        Pauling's; 0 where there is none.
    states
        Oxidation states, the preferred ones first.
    n_preferred
        How many of ``states`` are common.
    ionic_radii_angstrom
        Shannon's effective radii by oxidation state.
    neutral_radius_angstrom
        Metallic radius, or the atomic radius of a non-metal.
    """

    symbol: str
    mass_amu: float
    electronegativity: float
    states: tuple[int, ...]
    n_preferred: int
    ionic_radii_angstrom: dict[int, float]
    neutral_radius_angstrom: float

    def radius_angstrom(self, charge: float) -> float:
        """Return the radius at a charge (e), linear between the known oxidation states.

        The neutral atom counts as one of them only for an element without ionic radii on that
        side; beyond the last known state its radius is kept.
        """
        known = {q: r for q, r in self.ionic_radii_angstrom.items() if q * charge > 0}
        if not known:
            return self.neutral_radius_angstrom
        states = sorted(known)
        below = max((q for q in states if q <= charge), default=states[0])
        above = min((q for q in states if q >= charge), default=states[-1])
        if below == above:
            return known[below]
        weight = (charge - below) / (above - below)
        return (1 - weight) * known[below] + weight * known[above]


@cache
def _table() -> dict[str, dict]:
    return json.loads(_DATA.read_text())["elements"]


@cache
def element(symbol: str) -> ElementData:
    """Return the data of one element.

    Raises
    ------
    KeyError
        The element is not in elements.json (hydrogen to bismuth are).
    """
    entry = _table()[symbol]
    return ElementData(
        symbol=symbol,
        mass_amu=entry["mass_amu"],
        electronegativity=entry["electronegativity"] or 0.0,
        states=tuple(entry["states"]),
        n_preferred=entry["n_preferred"],
        ionic_radii_angstrom={int(q): r for q, r in entry["ionic_radii_angstrom"].items()},
        neutral_radius_angstrom=entry["neutral_radius_angstrom"],
    )


def is_element(symbol: str) -> bool:
    """Tell whether the element is known."""
    return symbol in _table()
