"""The competing phases of a chemical system: shipped prototypes and the user's own files.

The shipped structures are starting points: the backend of the screening relaxes them and computes
their energies, so nothing of one code's energy scale enters another's hull. Where each comes from
is in its ``source``; what is known to exist and not shipped is listed by :func:`known_missing`.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pymatgen.core.composition import Composition
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from pymatgen.symmetry.groups import SpaceGroup

from ionsieve.errors import InputError
from ionsieve.workflows.planning.cif_layout import overlap_problem
from ionsieve.workflows.planning.crystal_file import read_entries

Accuracy = Literal["published", "prototype", "user"]

#: Begins the entry of :func:`known_missing` that names a system the library does not cover.
NOT_COVERED = "not covered:"

_LIBRARY = ("elements", "binaries", "ternaries")
#: The data give coordinates to five decimals.
_SITE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class CompetingPhase:
    """One phase a composition may decompose into.

    Attributes
    ----------
    phase_id
        Unique name: the formula, with the polymorph where there are several.
    formula
        Reduced formula.
    structure
        Primitive cell, without oxidation states, to be relaxed by the backend.
    source
        Where the structure comes from.
    accuracy
        ``published``: published lattice and coordinates. ``prototype``: a structure type with the
        lattice set to the compound, or estimated; the backend relaxes it, the real structure may
        lie lower. ``user``: from a file of the user.
    """

    phase_id: str
    formula: str
    structure: Structure
    source: str
    accuracy: Accuracy


@cache
def _records() -> tuple[dict[str, Any], ...]:
    folder = files("ionsieve.workflows") / "data" / "phases"
    return tuple(
        record
        for name in _LIBRARY
        for record in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    )


@cache
def _missing_records() -> tuple[dict[str, str], ...]:
    path = files("ionsieve.workflows") / "data" / "phases" / "missing.json"
    return tuple(json.loads(path.read_text(encoding="utf-8")))


@cache
def _covered() -> tuple[frozenset[str], ...]:
    """Return the families of elements whose phases are all shipped or listed as missing."""
    path = files("ionsieve.workflows") / "data" / "phases" / "covered.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    return tuple(frozenset(record["elements"]) for record in records)


def uncovered_system(elements: Iterable[str]) -> str | None:
    """Return a chemical system, such as ``Li-Mg-O-Cl``, if the library does not cover it.

    A covered system is one whose phases were gone through one by one: they are shipped, or named by
    :func:`known_missing`. In any other there may be phases that nobody thought of, so a distance to
    its hull is a lower bound and the gate's verdict is not known.
    """
    system = frozenset(elements)
    if any(system <= family for family in _covered()):
        return None
    return "-".join(sorted(system, key=lambda symbol: (Element(symbol).X, symbol)))


@cache
def elements_of(formula: str) -> frozenset[str]:
    """Return the symbols of the elements in a formula."""
    return frozenset(element.symbol for element in Composition(formula).elements)


def lacking_elements(system: Iterable[str], contents: Iterable[frozenset[str]]) -> list[str]:
    """Return the elements of a chemical system that no phase consists of: it has no hull then.

    Parameters
    ----------
    system
        Symbols of the chemical system.
    contents
        Symbols of the elements in each phase.
    """
    present = frozenset[str]().union(*(content for content in contents if len(content) == 1))
    return sorted(set(system) - present)


@cache
def _space_group(symbol: str) -> SpaceGroup:
    """Return a space group; making its operations takes more than a second for some."""
    return SpaceGroup(symbol)


@cache
def _built(index: int) -> CompetingPhase:
    record = _records()[index]
    group = _space_group(record["space_group"])
    symbols, coordinates = [], []
    for symbol, *point in record["sites"]:
        orbit = group.get_orbit(point, tol=_SITE_TOLERANCE)
        symbols += [symbol] * len(orbit)
        coordinates += orbit
    lattice = Lattice.from_parameters(*record["lattice_angstrom_degree"])
    structure = Structure(lattice, symbols, coordinates)
    return CompetingPhase(
        phase_id=record["phase_id"],
        formula=record["formula"],
        structure=structure.get_primitive_structure(),
        source=record["source"],
        accuracy=record["accuracy"],
    )


def _shipped(system: frozenset[str]) -> list[CompetingPhase]:
    """Return the library's phases within a system, as copies: structures are mutable."""
    built = (_built(i) for i, r in enumerate(_records()) if elements_of(r["formula"]) <= system)
    return [replace(phase, structure=phase.structure.copy()) for phase in built]


def read_phase(path: Path) -> CompetingPhase:
    """Read one competing phase from a file of the user, as every crystal is read.

    Raises
    ------
    InputError
        The file can't be read, holds no or several structures, or is disordered.
    """
    try:
        entries = read_entries(path)
    except InputError as error:
        raise InputError(f"hull.phases: {error}") from error
    if len(entries) != 1:
        raise InputError(
            f"hull.phases: {path}: {len(entries)} structures; split the file, one phase each"
        )
    structure = entries[0].structure
    assert structure is not None  # a file without any was refused
    if not structure.is_ordered:
        raise InputError(
            f"hull.phases: {path}: partially occupied sites; give an ordered model of the phase"
        )
    if problem := overlap_problem(structure):
        raise InputError(f"hull.phases: {path}: {problem}; correct it")
    structure = structure.get_primitive_structure()
    structure.remove_oxidation_states()
    return CompetingPhase(
        phase_id=f"user-{path.stem}",
        formula=structure.composition.reduced_formula,
        structure=structure,
        source=f"file of the user: {path.name}",
        accuracy="user",
    )


def _matching(paths: Sequence[Path]) -> list[Path]:
    """Return the files that paths or glob patterns name, each once."""
    found: list[Path] = []
    for path in paths:
        names = [path] if path.is_file() else [Path(p) for p in sorted(glob.glob(str(path)))]
        if not names:
            raise InputError(f"hull.phases: nothing matches '{path}'; give the path of a CIF file")
        found += [name for name in names if name not in found]
    return found


def _read_all(paths: Sequence[Path]) -> list[CompetingPhase]:
    paths = _matching(paths)
    phases = [read_phase(path) for path in paths]
    seen: dict[str, Path] = {}
    for phase, path in zip(phases, paths, strict=True):
        if phase.phase_id in seen:
            raise InputError(
                f"hull.phases: {path} and {seen[phase.phase_id]} have the same name; rename one"
            )
        seen[phase.phase_id] = path
    return phases


def library_elements() -> frozenset[str]:
    """Return the symbols of all elements the shipped phases are made of."""
    return frozenset().union(*(elements_of(record["formula"]) for record in _records()))


def phases_for(elements: Collection[str], extra: Sequence[Path] = ()) -> list[CompetingPhase]:
    """Return the competing phases made of some of the given elements.

    Parameters
    ----------
    elements
        Symbols of the chemical system, for example ``{"Na", "W", "Sb", "S"}``.
    extra
        CIF files of the user; those with other elements are left out.

    Returns
    -------
    list of CompetingPhase
        Elements, binaries, ternaries, then the user's, in a fixed order.

    Raises
    ------
    InputError
        An element is not in the library, or a file of the user is unfit.

    Examples
    --------
    >>> [phase.phase_id for phase in phases_for({"Na", "S"})]
    ['Na', 'S-alpha', 'Na2S', 'Na2S2']
    """
    system = frozenset(elements)
    own = [phase for phase in _read_all(extra) if elements_of(phase.formula) <= system]
    shipped = _shipped(system)
    if lacking := lacking_elements(system, [elements_of(p.formula) for p in (*shipped, *own)]):
        raise InputError(
            f"no structure of the element {', '.join(lacking)} is shipped; "
            "add its CIF file to hull.phases"
        )
    return shipped + own


def known_missing(elements: Iterable[str], phases: Iterable[CompetingPhase] = ()) -> list[str]:
    """Return phases known to exist in the chemical system that are not in the library.

    A hull without them gives a lower bound of the distance.

    Parameters
    ----------
    elements
        Symbols of the chemical system.
    phases
        What :func:`phases_for` gave; a phase supplied by the user is no longer missing.

    Returns
    -------
    list of str
        Formula, with a note on which form or what it is; at last the system itself, as ``not
        covered: Li-Mg-O-Cl (...)``, if the library does not cover it.
    """
    system = frozenset(elements)
    phases = list(phases)
    supplied = {phase.formula for phase in phases if phase.accuracy == "user"}
    missing = [
        f"{record['formula']} ({record['note']})" if record["note"] else record["formula"]
        for record in _missing_records()
        if elements_of(record["formula"]) <= system
        and Composition(record["formula"]).reduced_formula not in supplied
    ]
    if (uncovered := uncovered_system(system)) is not None:
        within = [p for p in phases if elements_of(p.formula) <= system]
        n = len(within) or len(_shipped(system))
        missing.append(
            f"{NOT_COVERED} {uncovered} ({n} of its phases are used, there may be others)"
        )
    return missing
