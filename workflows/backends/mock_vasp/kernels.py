"""Inner loops: the neighbour list and the tabulated pair sum. Arrays in, arrays out."""

from __future__ import annotations

from math import ceil, floor, sqrt

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@numba.njit(cache=True)
def count_or_fill_pairs(
    fractional: Array,
    cell: Array,
    heights: Array,
    reach: float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    images: Array,
) -> int:
    """Find all pairs closer than ``reach``, each once, self-images included.

    Parameters
    ----------
    fractional : (n_ions, 3) float64
    cell : (3, 3) float64, Angstrom
    heights : (3,) float64, Angstrom; distance between opposite faces of the cell
    first, second : (capacity,) int64, out; ions of the pair, ordered by ``first``
    images : (capacity, 3) float64, out; lattice translation added to ``second``

    Returns
    -------
    int
        Number of pairs, counted on even when the arrays are full.
    """
    n_ions = fractional.shape[0]
    capacity = first.shape[0]
    reach_squared = reach * reach
    base = np.empty(3)
    low = np.empty(3, dtype=np.int64)
    high = np.empty(3, dtype=np.int64)
    n_pairs = 0
    for i in range(n_ions):
        for j in range(i, n_ions):
            for k in range(3):
                difference = fractional[j, k] - fractional[i, k]
                base[k] = -floor(difference + 0.5)
                near = difference + base[k]
                low[k] = ceil(-reach / heights[k] - near)
                high[k] = floor(reach / heights[k] - near)
            for a in range(low[0], high[0] + 1):
                for b in range(low[1], high[1] + 1):
                    for c in range(low[2], high[2] + 1):
                        sa, sb, sc = a + base[0], b + base[1], c + base[2]
                        if i == j and (sa < 0 or (sa == 0 and (sb < 0 or (sb == 0 and sc <= 0)))):
                            continue
                        fa = fractional[j, 0] - fractional[i, 0] + sa
                        fb = fractional[j, 1] - fractional[i, 1] + sb
                        fc = fractional[j, 2] - fractional[i, 2] + sc
                        squared = 0.0
                        for k in range(3):
                            d = fa * cell[0, k] + fb * cell[1, k] + fc * cell[2, k]
                            squared += d * d
                        if squared < reach_squared:
                            if n_pairs < capacity:
                                first[n_pairs] = i
                                second[n_pairs] = j
                                images[n_pairs, 0] = sa
                                images[n_pairs, 1] = sb
                                images[n_pairs, 2] = sc
                            n_pairs += 1
    return n_pairs


@numba.njit(cache=True, error_model="numpy")
def pair_sum(
    positions: Array,
    kinds: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    shifts: Array,
    table_of_kinds: NDArray[np.int64],
    tables: Array,
    grid: tuple[float, float, float],
    forces: Array,
    virial: Array,
) -> float:
    """Add up a tabulated pair potential: energy, forces and virial.

    Parameters
    ----------
    positions : (n_ions, 3) float64, Angstrom
    kinds : (n_ions,) int64
    first, second : (n_pairs,) int64
    shifts : (n_pairs, 3) float64, Angstrom; lattice translation added to ``second``
    table_of_kinds : (n_kinds, n_kinds) int64
    tables : (n_tables, n_bins, 4) float64, eV; cubic in the place within a bin of equal width
        in the squared distance
    grid
        Start, 1 / bin width and end of the squared distance (A^2); below the start the energy
        goes on as a straight line in the squared distance, beyond the end it is zero.
    forces : (n_ions, 3) float64, eV/A, out
    virial : (3, 3) float64, eV, out; derivative of the energy with respect to strain

    Returns
    -------
    float
        Energy, eV.
    """
    start, inverse_width, end = grid
    forces[:] = 0.0
    xx = yy = zz = xy = xz = yz = 0.0
    energy = 0.0
    for p in range(first.shape[0]):
        i = first[p]
        j = second[p]
        dx = positions[j, 0] - positions[i, 0] + shifts[p, 0]
        dy = positions[j, 1] - positions[i, 1] + shifts[p, 1]
        dz = positions[j, 2] - positions[i, 2] + shifts[p, 2]
        squared = dx * dx + dy * dy + dz * dz
        if squared >= end:
            continue
        table = tables[table_of_kinds[kinds[i], kinds[j]]]
        place = (squared - start) * inverse_width
        if place > 0.0:
            bin_index = int(place)
            t = place - bin_index
            c = table[bin_index]
            energy += c[0] + t * (c[1] + t * (c[2] + t * c[3]))
            slope = (c[1] + t * (2.0 * c[2] + t * 3.0 * c[3])) * inverse_width
        else:
            energy += table[0, 0] + place * table[0, 1]
            slope = table[0, 1] * inverse_width
        slope *= 2.0
        fx, fy, fz = slope * dx, slope * dy, slope * dz
        forces[i, 0] += fx
        forces[i, 1] += fy
        forces[i, 2] += fz
        forces[j, 0] -= fx
        forces[j, 1] -= fy
        forces[j, 2] -= fz
        xx += fx * dx
        yy += fy * dy
        zz += fz * dz
        xy += fx * dy
        xz += fx * dz
        yz += fy * dz
    virial[0, 0], virial[1, 1], virial[2, 2] = xx, yy, zz
    virial[0, 1] = virial[1, 0] = xy
    virial[0, 2] = virial[2, 0] = xz
    virial[1, 2] = virial[2, 1] = yz
    return energy


@numba.njit(cache=True, error_model="numpy")
def pair_hessian(
    positions: Array,
    kinds: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    shifts: Array,
    table_of_kinds: NDArray[np.int64],
    tables: Array,
    grid: tuple[float, float, float],
    hessian: Array,
) -> None:
    """Add up second derivatives of the pair sum by displacements and strain.

    The parameters are those of ``pair_sum``. The strain (row vectors are multiplied by one plus
    it) has nine components. Terms of the forces, zero at a stationary point, are left out.

    Parameters
    ----------
    hessian : (3 n_ions + 9, 3 n_ions + 9) float64, out; eV, displacements in A
    """
    start, inverse_width, end = grid
    hessian[:] = 0.0
    n = 3 * positions.shape[0]
    d = np.empty(3)
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        squared = 0.0
        for k in range(3):
            d[k] = positions[j, k] - positions[i, k] + shifts[p, k]
            squared += d[k] * d[k]
        if squared >= end:
            continue
        table = tables[table_of_kinds[kinds[i], kinds[j]]]
        place = (squared - start) * inverse_width
        slope, bend = table[0, 1] * inverse_width, 0.0
        if place > 0.0:
            bin_index = int(place)
            t = place - bin_index
            c = table[bin_index]
            slope = (c[1] + t * (2.0 * c[2] + t * 3.0 * c[3])) * inverse_width
            bend = (2.0 * c[2] + t * 6.0 * c[3]) * inverse_width * inverse_width
        for a in range(3):
            for b in range(3):
                stiffness = 4.0 * bend * d[a] * d[b]
                if a == b:
                    stiffness += 2.0 * slope
                hessian[3 * i + a, 3 * i + b] += stiffness
                hessian[3 * j + a, 3 * j + b] += stiffness
                hessian[3 * i + a, 3 * j + b] -= stiffness
                hessian[3 * j + a, 3 * i + b] -= stiffness
                for k in range(3):
                    mixed = stiffness * d[k]
                    hessian[3 * j + a, n + 3 * k + b] += mixed
                    hessian[3 * i + a, n + 3 * k + b] -= mixed
                    hessian[n + 3 * k + b, 3 * j + a] += mixed
                    hessian[n + 3 * k + b, 3 * i + a] -= mixed
                    for m in range(3):
                        hessian[n + 3 * k + a, n + 3 * m + b] += mixed * d[m]


@numba.njit(cache=True)
def largest_displacement(positions: Array, reference: Array) -> float:
    """Return the length (A) of the longest displacement between two (n_ions, 3) arrays."""
    longest = 0.0
    for i in range(positions.shape[0]):
        dx = positions[i, 0] - reference[i, 0]
        dy = positions[i, 1] - reference[i, 1]
        dz = positions[i, 2] - reference[i, 2]
        longest = max(longest, dx * dx + dy * dy + dz * dz)
    return sqrt(longest)
