"""Real-space lattice sum."""

from __future__ import annotations

import math

from ionsieve.ewald.kernels import entry


@entry()
def real_space_rows(lattice, frac_coords, rows, images, cutoff, alpha, out):  # type: ignore[no-untyped-def]
    """Add sum_T erfc(alpha |r_ij + T|) / |r_ij + T| to rows of the Ewald matrix.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
    frac_coords : (n_sites, 3) float64, in [0, 1)
    rows : (n_rows,) int64
    images : (3,) int64
        Largest image index needed along each axis.
    cutoff : float, Angstrom
    alpha : float, 1/Angstrom
    out : (n_rows, n_sites) float64, 1/Angstrom
        Added to in place.

    Returns
    -------
    float
        Shortest distance seen, Angstrom.
    """
    closest = math.inf
    for row in range(rows.size):
        i = rows[row]
        for j in range(frac_coords.shape[0]):
            total = 0.0
            d0 = frac_coords[j, 0] - frac_coords[i, 0]
            d1 = frac_coords[j, 1] - frac_coords[i, 1]
            d2 = frac_coords[j, 2] - frac_coords[i, 2]
            for n0 in range(-images[0], images[0] + 1):
                for n1 in range(-images[1], images[1] + 1):
                    for n2 in range(-images[2], images[2] + 1):
                        if i == j and n0 == 0 and n1 == 0 and n2 == 0:
                            continue
                        a, b, c = d0 + n0, d1 + n1, d2 + n2
                        x = a * lattice[0, 0] + b * lattice[1, 0] + c * lattice[2, 0]
                        y = a * lattice[0, 1] + b * lattice[1, 1] + c * lattice[2, 1]
                        z = a * lattice[0, 2] + b * lattice[1, 2] + c * lattice[2, 2]
                        squared = x * x + y * y + z * z
                        if squared < cutoff * cutoff:
                            distance = math.sqrt(squared)
                            closest = distance if distance < closest else closest
                            if distance > 0.0:
                                total += math.erfc(alpha * distance) / distance
            out[row, j] += total
    return closest
