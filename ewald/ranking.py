"""The result of a search: the lowest arrangements, and how sure we are."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from ionsieve.ewald.kernels.arrangements import Pool, arrangement_energy
from ionsieve.ewald.solid_solution import SolidSolution


@dataclass(frozen=True)
class RankedArrangement:
    """One symmetry-distinct arrangement.

    Attributes
    ----------
    energy_ev : float
        Point-charge energy of the supercell.
    degeneracy : int
        Symmetry copies among all arrangements.
    labels : (n_variable_sites,) uint8
        Canonical labels; see :meth:`SolidSolution.structure`.
    space : SolidSolution
    """

    energy_ev: float
    degeneracy: int
    labels: NDArray[np.uint8] = field(repr=False)
    space: SolidSolution = field(repr=False)

    @functools.cached_property
    def structure(self) -> Structure:
        """The supercell as a pymatgen Structure with oxidation states."""
        return self.space.structure(self.labels)


def pool_entries(pool: Pool, space: SolidSolution) -> tuple[RankedArrangement, ...]:
    """Return the allowed arrangements of a pool, lowest first."""
    entries = []
    for slot in pool.order[: pool.size[0]]:
        labels = pool.labels[slot]
        if not space.is_allowed(labels):
            continue  # all allowed ones come before it
        energy = float(arrangement_energy(labels, space.model))
        entries.append(RankedArrangement(energy, int(pool.degeneracies[slot]), labels, space))
    return tuple(entries)


@dataclass(frozen=True)
class Ranking:
    """The lowest symmetry-distinct arrangements, ascending, with the proof's extent.

    Attributes
    ----------
    n_arrangements : int
        The full space, symmetry copies included.
    n_covered : int
        Arrangements evaluated or excluded by proof, or symmetry copies of such; 0 for annealing,
        which proves nothing. Exact, except in an unfinished search of a space whose innermost
        sublattice alone has more than 2e9 choices: there it is at least so many.
    n_evaluated : int
        Arrangements whose energy was computed.
    certified : bool
        Everything was covered: no other arrangement belongs among the entries.
    method : str
        ``exhaustive``, ``bound`` or ``anneal``.
    seconds : float
        Search alone, without compilation.
    compile_seconds : float
        Compilation, or loading from the cache.
    lower_bound_ev : float
        No arrangement is lower. Equals the first entry's energy when certified.
    entries : tuple of RankedArrangement
    notes : tuple of str
        What the space takes for granted: changed occupancies, sites that exclude each other.
    """

    n_arrangements: int
    n_covered: int
    n_evaluated: int
    certified: bool
    method: str
    seconds: float
    compile_seconds: float
    lower_bound_ev: float
    entries: tuple[RankedArrangement, ...]
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Covered fraction of the space."""
        return self.n_covered / self.n_arrangements

    def to_dict(self) -> dict[str, Any]:
        """Return the ranking as JSON-serialisable data, with pymatgen structure dictionaries."""
        return {
            "n_arrangements": self.n_arrangements,
            "n_covered": self.n_covered,
            "n_evaluated": self.n_evaluated,
            "certified": self.certified,
            "method": self.method,
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "lower_bound_ev": self.lower_bound_ev,
            "notes": list(self.notes),
            "ranking": [
                {
                    "energy_ev": entry.energy_ev,
                    "degeneracy": entry.degeneracy,
                    "structure": entry.structure.as_dict(),
                }
                for entry in self.entries
            ],
        }
