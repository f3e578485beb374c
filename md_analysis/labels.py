"""Elements behind the labels that programs give to ions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pymatgen.core.periodic_table import Element

_LETTERS = re.compile(r"[A-Za-z]+")


def is_element(symbol: str) -> bool:
    """Return whether a label is an element's symbol (or D, T)."""
    return bool(Element.is_valid_symbol(symbol))


def element_of(label: str) -> str:
    """Return the element that a label starts with, or the label if it starts with none.

    >>> [element_of(label) for label in ("Na", "Na1", "S2-", "Fe_hs", "Ow", "CL", "xyz")]
    ['Na', 'Na', 'S', 'Fe', 'O', 'Cl', 'xyz']
    """
    if is_element(label):
        return label
    found = _LETTERS.match(label)
    letters = found.group() if found else ""
    for candidate in (letters[:2].capitalize(), letters[:1]):
        if len(letters) <= 3 and candidate and is_element(candidate):
            return candidate
    return label


def elements_of(labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the elements of all ions, and a note on labels that are none.

    >>> elements_of(["Na1", "S"])
    (('Na', 'S'), ('the labels Na1 are taken as Na',))
    """
    known = {label: element_of(label) for label in dict.fromkeys(labels)}
    changed = [label for label, element in known.items() if label != element]
    species = tuple(known[label] for label in labels)
    if not changed:
        return species, ()
    return species, (
        f"the labels {', '.join(changed)} are taken as "
        f"{', '.join(dict.fromkeys(known[label] for label in changed))}",
    )


def symbol_of(species: object) -> str:
    """Return the symbol of an element given as text or as pymatgen's Element or Species."""
    return element_of(str(getattr(species, "symbol", species)))


def formula(species: Sequence[str]) -> str:
    """Return numbers of ions in the order they come: ``Na12 S12``."""
    return " ".join(f"{symbol}{count}" for symbol, count in Counter(species).items())
