"""Atoms laid out in a cell by one reading of its symmetry, and checked against the file's facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import Element, Species
from pymatgen.core.structure import Structure

from ionsieve.workflows.planning.cif_atoms import OCCUPANCY_LIMIT, AtomRow
from ionsieve.workflows.planning.cif_facts import Facts, problems
from ionsieve.workflows.planning.cif_symmetry import Setting, metric_problem

Float = NDArray[np.float64]

#: Images of an atom closer than this are one, whatever the tolerance, Angstrom.
_SAME_ANGSTROM = 2e-3
#: Rows closer than this share a site, Angstrom.
_SHARED_ANGSTROM = 1e-2
#: Two atoms closer than this can't both be there, Angstrom.
_OVERLAP_ANGSTROM = 0.5


def lay_out(
    lattice: Lattice,
    rows: list[AtomRow],
    facts: Facts,
    setting: Setting,
    snap: float,
    is_one_of_many: bool,
) -> tuple[str, Structure | None, list[str]]:
    """Return the structure in one setting, or what contradicts it.

    Overlapping atoms tell a wrong origin; in a file without a choice they are not the reading's
    fault, and :func:`overlap_problem` is for those who use the structure.

    Parameters
    ----------
    lattice, rows, facts, setting
    snap : float, Angstrom
        Rows this near to a symmetry element are moved onto it.
    is_one_of_many : bool
        Whether the file leaves the setting open.

    Returns
    -------
    problem, structure, remarks
        The structure is None if there is a problem.
    """
    if problem := metric_problem(lattice.matrix, setting):
        return problem, None, []
    expand = [_orbit(lattice, row, setting, snap) for row in rows]
    orbits = [orbit for orbit, _ in expand]
    moved = max(shift for _, shift in expand)
    if problem := _multiplicity_problem(rows, orbits, setting):
        return problem, None, []
    sites = _shared_sites(lattice, rows, orbits)
    over = [site for site in sites if site.total > OCCUPANCY_LIMIT]
    if over:
        total = f"{over[0].total:.4g}"
        return f"occupancies of site {over[0].label} add up to {total}, more than 1", None, []
    structure, scaled = _structure(lattice, sites)
    found = problems(facts, structure)
    if not found and is_one_of_many and (overlap := overlap_problem(structure)):
        found = [overlap]
    if found:
        return "; ".join(found), None, []
    remarks = []
    if moved > _SAME_ANGSTROM:
        remarks.append(f"atoms moved onto symmetry elements, by up to {moved:.3f} A")
    if scaled:
        remarks.append(f"occupancies of {', '.join(scaled)} scaled down to 1")
    return "", structure, remarks


def _orbit(lattice: Lattice, row: AtomRow, setting: Setting, snap: float) -> tuple[Float, float]:
    """Return the images of one row in the order of the operations, and how far it was moved.

    The row goes to the mean of its images within ``snap``, which lies on all the symmetry elements
    that those images share.
    """
    centre = row.position
    for _ in range(2):
        images = setting.rotations @ centre + setting.translations
        delta = images - centre
        delta -= np.round(delta)
        near = np.linalg.norm(delta @ lattice.matrix, axis=1) < max(snap, _SAME_ANGSTROM)
        centre = centre + delta[near].mean(axis=0)
    images = (setting.rotations @ centre + setting.translations) % 1.0
    images[images > 1 - 1e-9] = 0.0
    kept: list[Float] = []
    for image in images:
        if not kept or _distances(lattice, np.array(kept), image).min() > _SAME_ANGSTROM:
            kept.append(image)
    shift = float(np.linalg.norm((centre - row.position) @ lattice.matrix))
    return np.array(kept), shift


def _distances(lattice: Lattice, points: Float, point: Float) -> Float:
    """Return distances of nearby points, Angstrom; too long only where far."""
    delta = points - point
    delta -= np.round(delta)
    return np.linalg.norm(delta @ lattice.matrix, axis=-1)


def _multiplicity_problem(rows: list[AtomRow], orbits: list[Float], setting: Setting) -> str:
    """Compare with the file's numbers: of images, or (as SHELXL-97 writes) of the site symmetry."""
    n_operations = len(setting.rotations)
    wrong = [
        (row, len(orbit))
        for row, orbit in zip(rows, orbits, strict=True)
        if row.multiplicity is not None and row.multiplicity != len(orbit)
    ]
    if not wrong:
        return ""
    primitive = n_operations / _n_centrings(setting)
    given = [(row, len(o)) for row, o in zip(rows, orbits, strict=True) if row.multiplicity]
    orders = all(
        row.multiplicity in (round(n_operations / size), round(primitive / size))
        for row, size in given
    )
    if orders:
        return ""
    row, size = wrong[0]
    return f"site {row.label} has {size} positions in the cell, the file says {row.multiplicity}"


def _n_centrings(setting: Setting) -> int:
    return int(np.all(setting.rotations == np.eye(3, dtype=np.int64), axis=(1, 2)).sum())


@dataclass
class _Site:
    label: str
    position: Float
    species: dict[tuple[str, float | None], float]

    @property
    def total(self) -> float:
        return sum(self.species.values())


def _shared_sites(lattice: Lattice, rows: list[AtomRow], orbits: list[Float]) -> list[_Site]:
    """Return the sites of the cell; rows at one place share it."""
    sites: list[_Site] = []
    positions = np.empty((0, 3))
    for row, orbit in zip(rows, orbits, strict=True):
        fresh = []
        for point in orbit:
            key = (row.symbol, row.charge)
            distances = _distances(lattice, positions, point)
            if len(positions) and distances.min() < _SHARED_ANGSTROM:
                site = sites[int(distances.argmin())]
                site.species[key] = site.species.get(key, 0.0) + row.occupancy
                if row.label not in site.label.split("/"):
                    site.label += f"/{row.label}"
            else:
                fresh.append(_Site(row.label, point, {key: row.occupancy}))
        sites += fresh
        positions = np.array([site.position for site in sites])
    return sites


def overlap_problem(structure: Structure) -> str:
    """Say so if two sites of a structure at one place together hold more than one atom."""
    distances = structure.distance_matrix
    totals = np.array([site.species.num_atoms for site in structure])
    close = (distances < _OVERLAP_ANGSTROM) & (np.add.outer(totals, totals) > OCCUPANCY_LIMIT)
    np.fill_diagonal(close, False)
    if not close.any():
        return ""
    one, other = (int(i) for i in np.argwhere(close)[0])
    names = " and ".join(
        f"{structure[i].label} ({structure[i].species_string})" for i in (one, other)
    )
    apart = f"{distances[one, other]:.2f} A apart"
    return f"sites {names} are {apart} and together hold more than one atom"


def _structure(lattice: Lattice, sites: list[_Site]) -> tuple[Structure, list[str]]:
    """Return the pymatgen structure, sorted as pymatgen's own reader does, and scaled sites."""
    charged = all(q is not None for site in sites for _, q in site.species)
    charged = charged and any(q for site in sites for _, q in site.species)
    species, scaled = [], []
    for site in sites:
        over = max(site.total, 1.0)
        if over > 1:
            scaled.append(site.label)
        held: dict[Species | Element, float] = {}
        for (symbol, charge), amount in site.species.items():
            one = Species(symbol, charge) if charged else Element(symbol)
            held[one] = held.get(one, 0.0) + amount / over
        species.append(held)
    structure = Structure(
        lattice,
        species,
        [site.position for site in sites],
        labels=[site.label for site in sites],
    )
    return structure.get_sorted_structure(), sorted(set(scaled))
