"""Probability density of the mobile ions on a grid, for pictures and for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.displacement import drift
from ionsieve.md_analysis.trajectory import Trajectory

_BOHR_ANGSTROM = 0.529177210544


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Time-averaged density of one species.

    Attributes
    ----------
    values : (n_a, n_b, n_c) float64, 1/Angstrom^3
        At the middles of the grid's boxes; their sum times the box is the number of ions.
    cell : (3, 3) float64, Angstrom
    """

    species: str
    values: NDArray[np.float64]
    cell: NDArray[np.float64]

    def slice_through(self, axis: int, fraction: float) -> NDArray[np.float64]:
        """Return the layer at a fraction of one cell axis."""
        n = self.values.shape[axis]
        return np.take(self.values, int(fraction % 1.0 * n), axis=axis)

    def write_cube(self, path: str | Path) -> None:
        """Write a Gaussian cube file (Bohr, 1/Bohr^3)."""
        lines = [f"density of {self.species}", "IonSieve"]
        origin = (0.5 / np.array(self.values.shape)) @ self.cell / _BOHR_ANGSTROM
        lines.append(f"{1:5d}" + "".join(f"{x:12.6f}" for x in origin))
        for n, vector in zip(self.values.shape, self.cell, strict=True):
            lines.append(f"{n:5d}" + "".join(f"{x / n / _BOHR_ANGSTROM:12.6f}" for x in vector))
        lines.append(f"{0:5d}{0:12.6f}{0:12.6f}{0:12.6f}{0:12.6f}")
        rows = (self.values * _BOHR_ANGSTROM**3).reshape(-1, self.values.shape[2])
        for row in rows:
            lines += _wrapped(row, 6, "{:13.5e}")
        Path(path).write_text("\n".join(lines) + "\n")

    def write_chgcar(self, path: str | Path) -> None:
        """Write VASP's CHGCAR (density times volume), readable by VESTA and pymatgen.

        The values are those at the middles of the boxes; CHGCAR has them at the corners, so the
        picture is shifted by half a box.
        """
        lines = [f"density of {self.species}", "  1.0"]
        lines += ["".join(f"{x:14.8f}" for x in row) for row in self.cell]
        lines += [f"  {self.species}", "  1", "Direct", "  0.0 0.0 0.0", ""]
        lines.append("".join(f"{n:5d}" for n in self.values.shape))
        volume = abs(np.linalg.det(self.cell))
        lines += _wrapped((self.values * volume).ravel(order="F"), 5, "{:18.10E}")
        Path(path).write_text("\n".join(lines) + "\n")


def _wrapped(numbers: NDArray[np.float64], per_line: int, form: str) -> list[str]:
    text = [form.format(x) for x in numbers]
    return ["".join(text[i : i + per_line]) for i in range(0, len(text), per_line)]


def probability_density(
    trajectory: Trajectory, species: str, spacing_angstrom: float = 0.2, blur_angstrom: float = 0.0
) -> DensityGrid:
    """Return where a species spent its time, in the framework's frame.

    Parameters
    ----------
    spacing_angstrom : float
        About the edge of a box.
    blur_angstrom : float
        Width of a Gaussian that smooths short runs; 0 for none.

    Raises
    ------
    InputError
        On an unknown species, or a grid of more than 1e8 boxes.
    """
    ions = trajectory.indices(species)
    cell = trajectory.mean_cell
    lengths = np.linalg.norm(cell, axis=1)
    shape = np.maximum(1, np.ceil(lengths / spacing_angstrom)).astype(int)
    if not spacing_angstrom > 0 or shape.prod() > 1e8:
        raise InputError(f"a spacing of {spacing_angstrom} Angstrom is too fine; give 0.1 or more")
    moving, _ = drift(trajectory, ions)
    counts = np.zeros(shape.prod())
    for ion in ions:
        fractional = (trajectory.fractional[ion] - moving) % 1.0
        boxes = np.minimum((fractional * shape[:, None]).astype(int), shape[:, None] - 1)
        counts += np.bincount(
            np.ravel_multi_index(tuple(boxes), tuple(shape)), minlength=len(counts)
        )
    box = trajectory.volume_angstrom3 / shape.prod()
    values = counts.reshape(shape) / (trajectory.n_frames * box)
    if blur_angstrom > 0:
        values = scipy.ndimage.gaussian_filter(
            values, blur_angstrom / (lengths / shape), mode="wrap"
        )
    return DensityGrid(species, values, cell)
