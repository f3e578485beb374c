"""Names of crystallographic sites: the file's labels, Wyckoff letters."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import spglib
import spglib.error
from numpy.typing import NDArray
from pymatgen.core.structure import Structure


def site_labels(structure: Structure, orbits: NDArray[np.int64]) -> list[str]:
    """Return one label per crystallographic site, unique to it.

    The file's own labels are kept where they name this site only; otherwise it is the element with
    a number that no site of the file has.
    """
    given = [(site.label or "").split("/") for site in structure]
    names = [
        {part for i in np.flatnonzero(orbits == orbit) for part in given[int(i)] if part}
        for orbit in range(int(orbits.max()) + 1)
    ]
    everywhere = set().union(*names)
    labels: list[str] = []
    taken: dict[str, int] = {}
    for orbit, own in enumerate(names):
        first = int(np.flatnonzero(orbits == orbit)[0])
        written = structure[first].label or ""
        others = set().union(*(n for o, n in enumerate(names) if o != orbit))
        if own & others or not own or not all(map(is_label, own)):
            symbol = structure[first].species.elements[0].symbol
            number = taken.get(symbol, 0) + 1
            while f"{symbol}{number}" in everywhere:
                number += 1
            taken[symbol] = number
            written = f"{symbol}{number}"
        labels.append(written)
    return labels


def is_label(text: str) -> bool:
    """Return whether a name tells a site: not just an element, nor pymatgen's own (a species)."""
    return re.fullmatch(r"[A-Za-z]+[^\s+-]*\d[^\s+-]*", text) is not None


def wyckoff_sites(structure: Structure, orbits: NDArray[np.int64], symprec: float) -> list[str]:
    """Return multiplicity and Wyckoff letter of each crystallographic site, such as ``48h``.

    They count in the standard setting and cell of the space group; empty where none is found.
    """
    kinds = {name: n for n, name in enumerate(sorted({str(s.species) for s in structure}))}
    cell = (
        structure.lattice.matrix.tolist(),
        structure.frac_coords.tolist(),
        [kinds[str(site.species)] for site in structure],
    )
    data = None
    with contextlib.suppress(spglib.error.SpglibError):
        data = spglib.get_symmetry_dataset(cell, symprec=symprec)
    n_orbits = int(orbits.max()) + 1
    if data is None:
        return [""] * n_orbits
    copies = len(data.std_types) / len(structure)
    return [
        f"{round(int((orbits == orbit).sum()) * copies)}"
        f"{data.wyckoffs[int(np.flatnonzero(orbits == orbit)[0])]}"
        for orbit in range(n_orbits)
    ]
