"""Site-site Ewald matrices of periodic cells.

The point-charge energy of fixed sites is a quadratic form, ``E = 1/2 q^T A q``; this module makes
``A`` (eV/e^2). It holds real-space, reciprocal-space, self and uniform-background terms, so it is
independent of the splitting parameter and exact for charged cells too (P. P. Ewald,
doi:10.1002/andp.19213690304; background: doi:10.1063/1.1314862).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from ionsieve.errors import InputError
from ionsieve.ewald.kernels.lattice_sums import real_space_rows

#: Coulomb constant e^2 / (4 pi epsilon_0), eV Angstrom.
COULOMB_EV_ANGSTROM = constants.e / (4e-10 * math.pi * constants.epsilon_0)
#: Both sums are cut where their Gaussian falls below exp(-CUTOFF**2), 4e-16.
CUTOFF = 5.95
#: Sites closer than this overlap.
OVERLAP_ANGSTROM = 1e-3
#: A real-space term costs about this many terms of the reciprocal matrix product.
_REAL_SPACE_COST = 60.0
#: Wave vectors treated at once; bounds the memory of the reciprocal sum.
_WAVE_VECTOR_BLOCK = 512

Float = NDArray[np.float64]


def splitting_parameter(lattice: Float) -> float:
    """Return the Ewald splitting parameter that balances the two sums.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
        Lattice vectors as rows.

    Returns
    -------
    float
        alpha in erfc(alpha r), 1/Angstrom.
    """
    volume = abs(float(np.linalg.det(lattice)))
    return math.sqrt(math.pi) * (_REAL_SPACE_COST / volume**2) ** (1 / 6)


def interaction_rows(
    lattice: Float, frac_coords: Float, rows: NDArray[np.int64], alpha: float | None = None
) -> Float:
    """Return some rows of the site-site Ewald matrix.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
        Lattice vectors as rows; any cell: triclinic, small, elongated.
    frac_coords : (n_sites, 3) float64
        Fractional coordinates.
    rows : (n_rows,) int64
        Sites whose rows are wanted.
    alpha : float, optional
        Splitting parameter, 1/Angstrom; the result does not depend on it.

    Returns
    -------
    (n_rows, n_sites) float64, eV/e^2

    Raises
    ------
    InputError
        Two sites overlap, or the cell has no volume.
    """
    volume = abs(float(np.linalg.det(lattice)))
    if volume < 1e-6:
        raise InputError(f"the cell's volume is {volume:.2g} A^3: check the lattice vectors")
    alpha = splitting_parameter(lattice) if alpha is None else alpha
    frac_coords = np.ascontiguousarray(frac_coords % 1.0)
    out = np.zeros((len(rows), len(frac_coords)))
    cutoff = CUTOFF / alpha
    images = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(np.int64) + 1
    closest = real_space_rows(
        np.ascontiguousarray(lattice), frac_coords, rows, images, cutoff, alpha, out
    )
    if closest < OVERLAP_ANGSTROM:
        raise InputError(
            f"two sites are {closest:.1e} A apart (at least {OVERLAP_ANGSTROM} A needed): remove "
            "the duplicate, or describe the shared site by partial occupancies"
        )
    _add_reciprocal(lattice, frac_coords, rows, alpha, out)
    out -= math.pi / (volume * alpha**2)
    out[np.arange(len(rows)), rows] -= 2 * alpha / math.sqrt(math.pi)
    out *= COULOMB_EV_ANGSTROM
    return out


def interaction_matrix(lattice: Float, frac_coords: Float, alpha: float | None = None) -> Float:
    """Return the full site-site Ewald matrix.

    Parameters as in :func:`interaction_rows`.

    Returns
    -------
    (n_sites, n_sites) float64, eV/e^2
        Symmetric; the energy of charges q (e) is ``q @ A @ q / 2`` (eV).
    """
    rows = np.arange(len(frac_coords), dtype=np.int64)
    matrix = interaction_rows(lattice, frac_coords, rows, alpha)
    return 0.5 * (matrix + matrix.T)


def translated_interaction_matrix(
    lattice: Float, frac_coords: Float, translations: NDArray[np.int64]
) -> Float:
    """Return the full matrix of a supercell from the rows of one primitive cell.

    Parameters
    ----------
    lattice, frac_coords
        As in :func:`interaction_rows`.
    translations : (n_translations, n_sites) int64
        Where each translation of the supercell takes each site.

    Returns
    -------
    (n_sites, n_sites) float64, eV/e^2
    """
    rows = np.unique(translations.min(axis=0))
    basis = interaction_rows(lattice, frac_coords, rows)
    matrix = np.empty((len(frac_coords), len(frac_coords)))
    for translation in translations:
        matrix[np.ix_(translation[rows], translation)] = basis
    return 0.5 * (matrix + matrix.T)


def _add_reciprocal(
    lattice: Float, frac_coords: Float, rows: NDArray[np.int64], alpha: float, out: Float
) -> None:
    """Add (4 pi / V) sum_G exp(-G^2 / 4 alpha^2) / G^2 cos(G r_ij) to the rows."""
    volume = abs(float(np.linalg.det(lattice)))
    reciprocal = 2 * math.pi * np.linalg.inv(lattice).T
    cutoff = 2 * alpha * CUTOFF
    limits = np.ceil(cutoff * np.linalg.norm(lattice, axis=1) / (2 * math.pi)).astype(int)
    axes = [np.arange(-limit, limit + 1) for limit in limits]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # G and -G give the same cosine: keep the half after the origin.
    indices = indices[len(indices) // 2 + 1 :]
    squared = np.sum((indices @ reciprocal) ** 2, axis=1)
    kept = squared <= cutoff**2
    indices, squared = indices[kept], squared[kept]
    weights = 8 * math.pi / volume * np.exp(-squared / (4 * alpha**2)) / squared
    for start in range(0, len(indices), _WAVE_VECTOR_BLOCK):
        block = slice(start, start + _WAVE_VECTOR_BLOCK)
        phases = 2 * math.pi * (frac_coords @ indices[block].T)
        cosines, sines = np.cos(phases), np.sin(phases)
        out += (cosines[rows] * weights[block]) @ cosines.T
        out += (sines[rows] * weights[block]) @ sines.T
