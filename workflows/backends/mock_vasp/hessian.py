"""Force constants by finite differences (IBRION = 5 and 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.mock_vasp.inputs import Crystal

Array = NDArray[np.float64]


def finite_differences(force_field: ForceField, crystal: Crystal, step_angstrom: float) -> Array:
    """Return minus the second derivatives of the energy by central differences.

    Parameters
    ----------
    step_angstrom
        POTIM; VASP takes 0.015 if it is larger than 0.1.

    Returns
    -------
    (3 n_ions, 3 n_ions) float64, eV/A^2, symmetric
    """
    step = step_angstrom if 0 < step_angstrom <= 0.1 else 0.015
    inverse = np.linalg.inv(crystal.cell)
    hessian = np.empty((3 * crystal.n_ions, 3 * crystal.n_ions))
    for row in range(3 * crystal.n_ions):
        move = np.zeros(3 * crystal.n_ions)
        move[row] = step
        shift = move.reshape(-1, 3) @ inverse
        plus = force_field.evaluate(crystal.fractional + shift, crystal.cell).forces
        minus = force_field.evaluate(crystal.fractional - shift, crystal.cell).forces
        hessian[row] = ((plus - minus) / (2 * step)).ravel()
    return (hessian + hessian.T) / 2


#: The unit of dynmat since VASP 6: eV/(A^2 amu) in THz^2.
_THZ_SQUARED = 15.633302**2


def hessian_xml(hessian: Array, masses_amu: Array) -> str:
    """Return the dynmat element of vasprun.xml: mass-weighted Hessian and its modes (THz^2).

    As in VASP, stable modes have negative eigenvalues.
    """
    weights = np.repeat(1 / np.sqrt(masses_amu), 3)
    weighted = hessian * np.outer(weights, weights) * _THZ_SQUARED
    squares, vectors = np.linalg.eigh(weighted)

    def varray(name: str, matrix: Array) -> str:
        lines = "".join(f"   <v> {' '.join(f'{x:.10g}' for x in row)} </v>\n" for row in matrix)
        return f'  <varray name="{name}" >\n{lines}  </varray>\n'

    eigenvalues = " ".join(f"{x:.10g}" for x in squares)
    unit = '  <i name="unit" type="string"> THz^2 </i>\n'
    values = f'  <v name="eigenvalues"> {eigenvalues} </v>\n'
    modes = varray("eigenvectors", vectors.T)
    return f" <dynmat>\n{unit}{varray('hessian', weighted)}{values}{modes} </dynmat>\n"
