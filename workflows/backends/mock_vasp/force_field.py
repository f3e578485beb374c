"""Energy, forces and stress of a periodic crystal from the tabulated pair potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.charges import guess_oxidation_states
from ionsieve.workflows.backends.mock_vasp.kernels import (
    count_or_fill_pairs,
    largest_displacement,
    pair_hessian,
    pair_sum,
)
from ionsieve.workflows.backends.mock_vasp.potential import (
    DEFAULT,
    Ion,
    Parameters,
    pair_energy,
    self_energy,
    site_energy,
)

Array = NDArray[np.float64]

#: Bins of a table, and where it starts; nearer than that no two ions ever come.
_N_BINS, _START_ANGSTROM = 2048, 0.5
#: Extra reach of the neighbour list.
_SKIN_ANGSTROM = 1.2


@dataclass(frozen=True)
class Evaluation:
    """Energy, forces and virial of one configuration.

    Attributes
    ----------
    energy_ev
    forces : (n_ions, 3) float64, eV/A
    virial : (3, 3) float64, eV; derivative of the energy with respect to strain
    """

    energy_ev: float
    forces: Array
    virial: Array

    def stress_kbar(self, cell: Array) -> Array:
        """Return VASP's stress tensor: positive under compression, kB."""
        return -self.virial / abs(np.linalg.det(cell)) * EV_PER_A3_IN_KBAR


#: 1 eV/A^3 in kB.
EV_PER_A3_IN_KBAR = 1602.1766208


def _hermite_table(energy: Array, slope: Array, width: float) -> Array:
    """Return cubics, in the place within a bin, through values and slopes at the bins' ends."""
    e0, e1 = energy[:-1], energy[1:]
    d0, d1 = slope[:-1] * width, slope[1:] * width
    return np.stack([e0, d0, 3 * (e1 - e0) - 2 * d0 - d1, 2 * (e0 - e1) + d0 + d1], axis=1)


def oxidation_states(symbols: Sequence[str]) -> dict[str, float]:
    """Return the oxidation states guessed from the ions of a cell."""
    return guess_oxidation_states({s: symbols.count(s) for s in set(symbols)})


class ForceField:
    """The potential made ready for one set of ions.

    Parameters
    ----------
    symbols
        Element of each ion.
    charges
        Formal charge (e) of each element; guessed from the composition by default.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        charges: Mapping[str, float] | None = None,
        parameters: Parameters = DEFAULT,
    ) -> None:
        self.charges = dict(charges) if charges is not None else oxidation_states(symbols)
        kinds = sorted(set(symbols))
        ions = [Ion(s, self.charges[s]) for s in kinds]
        self.kinds = np.array([kinds.index(s) for s in symbols], dtype=np.int64)
        self._cutoff = parameters.cutoff_angstrom
        self._make_tables(ions, parameters)
        constants = {
            s: self_energy(i, parameters) + site_energy(i) for s, i in zip(kinds, ions, strict=True)
        }
        self._constant = float(sum(constants[s] for s in symbols))
        self._reference: Array | None = None
        self._reference_cell = np.zeros((3, 3))
        self._first = self._second = np.zeros(0, dtype=np.int64)
        self._images = np.zeros((0, 3))

    @property
    def is_ionic(self) -> bool:
        """Whether the ions carry charges."""
        return any(self.charges.values())

    def _make_tables(self, ions: list[Ion], parameters: Parameters) -> None:
        start, end = _START_ANGSTROM**2, parameters.cutoff_angstrom**2
        width = (end - start) / _N_BINS
        r = np.sqrt(start + width * np.arange(_N_BINS + 1))
        tables: list[Array] = []
        self._table_of_kinds = np.zeros((len(ions), len(ions)), dtype=np.int64)
        for i, one in enumerate(ions):
            for j, other in enumerate(ions[: i + 1]):
                energy, slope = pair_energy(one, other, r, parameters)
                self._table_of_kinds[i, j] = self._table_of_kinds[j, i] = len(tables)
                tables.append(_hermite_table(energy, slope / (2 * r), width))
        self._tables = np.array(tables)
        self._grid = (start, 1 / width, end)

    def _build_list(self, fractional: Array, cell: Array) -> None:
        volume = abs(np.linalg.det(cell))
        crosses = np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]])
        heights = volume / np.linalg.norm(crosses, axis=1)
        reach = self._cutoff + _SKIN_ANGSTROM
        capacity = max(len(self._first), 64)
        while True:
            first = np.empty(capacity, dtype=np.int64)
            second = np.empty(capacity, dtype=np.int64)
            images = np.empty((capacity, 3))
            n = count_or_fill_pairs(fractional, cell, heights, reach, first, second, images)
            if n <= capacity:
                break
            capacity = int(n * 1.1)
        self._first, self._second, self._images = first[:n], second[:n], images[:n]
        self._reference, self._reference_cell = fractional.copy(), cell.copy()
        self._shifts = self._images @ cell

    def _update_list(self, fractional: Array, cell: Array) -> None:
        if self._reference is None:
            self._build_list(fractional, cell)
            return
        same_cell = np.array_equal(cell, self._reference_cell)
        moved = 2 * largest_displacement(fractional @ cell, self._reference @ cell)
        if not same_cell:
            strain = np.linalg.solve(self._reference_cell, cell) - np.eye(3)
            moved += float(np.linalg.norm(strain)) * (self._cutoff + _SKIN_ANGSTROM) * 1.1
        if moved > _SKIN_ANGSTROM:
            self._build_list(fractional, cell)
        else:
            self._shifts = self._images @ cell

    def evaluate(self, fractional: Array, cell: Array) -> Evaluation:
        """Return energy, forces and virial.

        Parameters
        ----------
        fractional : (n_ions, 3) float64
            May lie outside [0, 1), but must be continuous from call to call.
        cell : (3, 3) float64, Angstrom
        """
        forces = np.empty_like(fractional)
        virial = np.empty((3, 3))
        energy = pair_sum(*(*self._pairs(fractional, cell), forces, virial))
        return Evaluation(energy + self._constant, forces, virial)

    def hessian(self, fractional: Array, cell: Array) -> Array:
        """Return the second derivatives by displacements (A) and the nine strains.

        Exact at a stationary point; elsewhere terms of the forces are missing.

        Returns
        -------
        (3 n_ions + 9, 3 n_ions + 9) float64, eV
        """
        size = 3 * len(fractional) + 9
        hessian = np.empty((size, size))
        pair_hessian(*(*self._pairs(fractional, cell), hessian))
        return hessian

    def _pairs(self, fractional: Array, cell: Array) -> tuple[Any, ...]:
        """Return what the pair sums are called with."""
        self._update_list(fractional, cell)
        return (
            fractional @ cell,
            self.kinds,
            self._first,
            self._second,
            self._shifts,
            self._table_of_kinds,
            self._tables,
            self._grid,
        )
