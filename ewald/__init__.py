"""The point-charge engine: every arrangement of dopants and vacancies, ranked by Ewald energy.

>>> from pymatgen.core import Lattice, Structure
>>> rock_salt = Structure.from_spacegroup(
...     "Fm-3m", Lattice.cubic(5.64), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
... )
>>> space = SolidSolution.from_structure(rock_salt, vacate={"Na": 1, "Cl": 1})
>>> space.n_arrangements
16
>>> [entry.degeneracy for entry in rank(space, keep=2).entries]
[12, 4]
"""

from ionsieve.ewald.ranking import RankedArrangement, Ranking
from ionsieve.ewald.search import rank
from ionsieve.ewald.solid_solution import SolidSolution, Sublattice
from ionsieve.ewald.spectrum import EnergyHistogram, energy_histogram, sample
from ionsieve.ewald.voids import find_voids

__all__ = [
    "EnergyHistogram",
    "RankedArrangement",
    "Ranking",
    "SolidSolution",
    "Sublattice",
    "energy_histogram",
    "find_voids",
    "rank",
    "sample",
]
