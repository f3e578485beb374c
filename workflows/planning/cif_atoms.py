"""The atom rows of a CIF block: labels, elements, charges, coordinates and occupancies."""

from __future__ import annotations

import re
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from ionsieve.workflows.planning.cif_symmetry import ContradictionError

Float = NDArray[np.float64]

#: Refined occupancies of one site may add up to this; they are then scaled to 1.
OCCUPANCY_LIMIT = 1.02

_ISOTOPES = {"D": "H", "T": "H"}
_SYMBOL = re.compile(r"([A-Za-z]{1,2})\s*(?:(\d*\.?\d*)([+-])|([+-])(\d*\.?\d*)|(0))?")


@dataclass(frozen=True)
class AtomRow:
    """One row of the atom-site loop.

    Attributes
    ----------
    label : str
        As in the file.
    symbol : str
        Of the element; isotopes are hydrogen.
    charge : float or None, e
    position : (3,) float64
        Fractional coordinates.
    occupancy : float
    multiplicity : int or None
        Number the file gives for the site.
    """

    label: str
    symbol: str
    charge: float | None
    position: Float
    occupancy: float
    multiplicity: int | None


def read_atoms(tags: dict[str, list[str]]) -> tuple[list[AtomRow], list[str]]:
    """Read the rows of ``_atom_site``.

    Parameters
    ----------
    tags
        Lower-case tag -> values.

    Returns
    -------
    rows, notes
        Notes tell what was taken for what.

    Raises
    ------
    ContradictionError
        A row lacks coordinates, names no element, or two places give it different charges.
    """
    axes = [tags.get(f"_atom_site_fract_{axis}") for axis in "xyz"]
    for axis, values in zip("xyz", axes, strict=True):
        if values is None:
            raise ContradictionError(f"'_atom_site_fract_{axis}' is missing")
    n_rows = len(axes[0] or [])
    labels = tags.get("_atom_site_label") or [""] * n_rows
    symbols = tags.get("_atom_site_type_symbol") or [""] * n_rows
    occupancies = tags.get("_atom_site_occupancy") or ["1"] * n_rows
    multiplicities = (
        tags.get("_atom_site_symmetry_multiplicity")
        or tags.get("_atom_site_site_symmetry_multiplicity")
        or ["?"] * n_rows
    )
    dummies = tags.get("_atom_site_calc_flag") or [""] * n_rows
    for column in (*axes, labels, symbols, occupancies, multiplicities, dummies):
        if len(column or []) != n_rows:
            raise ContradictionError(
                f"its atom loop gives {n_rows} x coordinates and {len(column or [])} values of "
                "another tag: the file has several atom loops, keep one"
            )
    charges = _written_charges(tags)
    elements = _known_elements(tags)
    rows: list[AtomRow] = []
    isotopes: set[str] = set()
    for i in range(n_rows):
        if dummies[i].lower() in ("dum", "dummy"):
            continue
        label = labels[i] if labels[i] not in ("?", ".") else ""
        written = symbols[i] if symbols[i] not in ("?", ".", "") else ""
        name = label or written or f"row {i + 1}"
        coordinates = [_number(values[i]) for values in axes if values is not None]
        if any(value is None for value in coordinates):
            raise ContradictionError(f"atom {name} has no coordinates: atoms are missing")
        symbol, own_charge = _element(written, label, elements)
        if symbol in _ISOTOPES:
            isotopes.add(symbol)
            symbol = _ISOTOPES[symbol]
        rows.append(
            AtomRow(
                label=label or f"{symbol}{i + 1}",
                symbol=symbol,
                charge=_charge(name, written, label, symbol, own_charge, charges),
                position=np.array(coordinates, dtype=float),
                occupancy=_occupancy(occupancies[i], name),
                multiplicity=_multiplicity(multiplicities[i]),
            )
        )
    rows = [row for row in rows if row.occupancy > 0]
    if not rows:
        raise ContradictionError("the atom loop has no atoms")
    notes = [f"{', '.join(sorted(isotopes))} read as H"] if isotopes else []
    return rows, notes


def _number(text: str) -> float | None:
    value = float(gemmi.cif.as_number(text))
    return value if np.isfinite(value) else None


def _occupancy(text: str, name: str) -> float:
    if text in ("?", ".", ""):
        return 1.0  # the CIF dictionary's default
    value = _number(text)
    if value is None or not 0 <= value <= OCCUPANCY_LIMIT:
        raise ContradictionError(f"atom {name}: occupancy {text} is not between 0 and 1")
    return value


def _multiplicity(text: str) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value >= 1 and value == int(value) else None


def _known_elements(tags: dict[str, list[str]]) -> set[str]:
    """Return the elements that the formula and the type loop name, to read labels by."""
    text = " ".join([*tags.get("_chemical_formula_sum", []), *tags.get("_atom_type_symbol", [])])
    found = re.findall(r"[A-Z][a-z]?", text)
    return {symbol for symbol in found if symbol in ("D", "T") or Element.is_valid_symbol(symbol)}


def split_symbol(text: str) -> tuple[str, float | None] | None:
    """Return element and charge of a type symbol such as ``Na1+``, ``O-2`` or ``Fe``."""
    match = _SYMBOL.fullmatch(text.strip())
    if match is None:
        return None
    symbol = match[1].capitalize()
    if symbol not in _ISOTOPES and not Element.is_valid_symbol(symbol):
        return None
    size, sign = match[2] or match[5], match[3] or match[4]
    if match[6]:
        return symbol, 0.0
    if not sign:
        return symbol, None
    return symbol, float(size or 1) * (1 if sign == "+" else -1)


def _element(written: str, label: str, elements: set[str]) -> tuple[str, float | None]:
    if written:
        found = split_symbol(written)
        if found is None:
            # X-ray form factors add things ('Sival', 'Cval'); nothing else is guessed.
            raise ContradictionError(
                f"'{written}' of atom {label or written} is no element: write its symbol"
            )
        return found
    letters = (re.match(r"[A-Za-z]+", label) or [""])[0]
    candidates = [letters[:n].capitalize() for n in (2, 1) if len(letters) >= n]
    valid = [c for c in candidates if c in _ISOTOPES or Element.is_valid_symbol(c)]
    listed = [c for c in valid if c in elements]
    if len(listed) == 1 or (listed and letters[1:2].islower()):
        return listed[0], None
    if valid and not elements and (letters[1:2].islower() or len(valid) == 1):
        return valid[0], None
    raise ContradictionError(
        f"label '{label}' does not tell the element: write _atom_site_type_symbol"
    )


def _written_charges(tags: dict[str, list[str]]) -> dict[str, float]:
    """Return the loop of oxidation numbers, keyed by type symbol or label as in the file."""
    names = tags.get("_atom_type_symbol") or []
    numbers = tags.get("_atom_type_oxidation_number") or []
    values = {
        name: value
        for name, text in zip(names, numbers, strict=False)
        if (value := _number(text)) is not None
    }
    return values if any(values.values()) else {}  # all zero is how a file without numbers looks


def _charge(
    name: str,
    written: str,
    label: str,
    symbol: str,
    own: float | None,
    charges: dict[str, float],
) -> float | None:
    """Return the charge of one atom; the loop says more than a symbol, and both must agree."""
    by_symbol = {split[0]: q for key, q in charges.items() if (split := split_symbol(key))}
    listed = next((charges[key] for key in (written, label) if key in charges), None)
    if (
        listed is None
        and sum(1 for key in charges if (split := split_symbol(key)) and split[0] == symbol) == 1
    ):
        listed = by_symbol[symbol]
    if listed is not None and own not in (None, 0.0) and abs(listed - float(own or 0)) > 1e-6:
        raise ContradictionError(
            f"atom {name} is '{written}', its oxidation number is {listed:+g}: correct one of them"
        )
    return listed if listed is not None else own
