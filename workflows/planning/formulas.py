"""Formulas of doped compositions, written as those of their mothers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Species

from ionsieve.workflows.documents.raw import MotherDocument


def by_element(ions: Mapping[str, float]) -> dict[str, float]:
    """Return the ions of each element."""
    counts: dict[str, float] = {}
    for name, count in ions.items():
        symbol = Species.from_str(name).symbol
        counts[symbol] = counts.get(symbol, 0) + count
    return counts


def host_formula(
    mother: MotherDocument,
    amounts: dict[str, float],
    host: Species,
    dopants: Sequence[Species],
    ions: Mapping[str, float],
    n_cells: int,
) -> str:
    """Return the formula per formula unit of the mother: mobile ion, cations, anions."""
    cell = Composition({Species.from_str(name): amount for name, amount in amounts.items()})
    units = cell.num_atoms / Composition(mother.formula).num_atoms * n_cells
    order = [mother.mobile_ion]
    for name in sorted(amounts, key=lambda n: Species.from_str(n).X):
        order += [name, *map(str, dopants)] if name == str(host) else [name]
    counts = by_element({name: ions.get(name, 0) for name in dict.fromkeys(order)})
    parts = []
    for symbol, count in counts.items():
        if count > 1e-6:
            number = f"{count / units:.4f}".rstrip("0").rstrip(".")
            parts.append(symbol if number == "1" else f"{symbol}{number}")
    return "".join(parts)


def vacancies(count: int) -> str:
    """Return a number of vacancies in words."""
    return "1 vacancy" if count == 1 else f"{count} vacancies"
