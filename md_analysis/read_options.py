"""What the caller tells of a trajectory file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReadOptions:
    """What a file may not tell; None leaves it to the file.

    What both tell must agree.

    Attributes
    ----------
    timestep_fs : float, optional
        Time between frames.
    temperature_k : float, optional
    species : tuple of str, optional
        Elements of a LAMMPS dump's types 1, 2, ...
    cell : 3 x 3 float, optional
        Cell of an xyz file without one, Angstrom.
    md_timestep_fs : float, optional
        Time step of the integrator; it turns step numbers in the file into times.
    topology : Path, optional
        File with the elements of a binary trajectory (XTC, DCD, ...).
    """

    timestep_fs: float | None = None
    temperature_k: float | None = None
    species: tuple[str, ...] | None = None
    cell: tuple[tuple[float, ...], ...] | None = None
    md_timestep_fs: float | None = None
    topology: Path | None = None
