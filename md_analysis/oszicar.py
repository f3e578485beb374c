"""Energies that VASP writes for each step, in OSZICAR and vasprun.xml."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.conserved_energy import EnergyDrift, energy_drift
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.trajectory import Trajectory

_NUMBER = rb"\s*([-+.\dEe]+)"
#: Total, kinetic, and the thermostat's two energies of a step.
_OSZICAR_STEP = re.compile(
    rb"T=\s*\S+\s+E="
    + rb"\s[^\n]*?".join((_NUMBER, rb"EK=" + _NUMBER, rb"SP=" + _NUMBER, rb"SK=" + _NUMBER))
)
_VASPRUN_STEP = re.compile(
    rb".*?".join(
        rb'<i name="' + name + rb'">' + _NUMBER
        for name in (b"kinetic", b"nosepot", b"nosekinetic", b"total")
    ),
    re.DOTALL,
)


def read_energy_drift(path: str | Path, trajectory: Trajectory) -> EnergyDrift | None:
    """Return the drift of the energy in the OSZICAR (plain or compressed) of a trajectory.

    None also if the file's number of steps doesn't go with the number of frames.

    Raises
    ------
    InputError
        If the file can't be read.
    """
    content, _ = read_bytes(Path(path))
    energies = _energies(content, _OSZICAR_STEP, (0, 1, 2, 3))
    n_steps, n_frames = energies.shape[1], trajectory.n_frames
    per_frame = round(n_steps / n_frames)
    if per_frame < 1 or abs(n_steps - per_frame * n_frames) > per_frame:
        return None
    return energy_drift(energies, trajectory.timestep_fs / per_frame, trajectory.n_ions)


def vasprun_drift(
    content: mmap.mmap, step_fs: float, n_ions: int, n_frames: int | None = None
) -> EnergyDrift | None:
    """Return the drift of the energies in the text of a vasprun.xml.

    None also if they are not as many as the frames.

    Raises
    ------
    InputError
        If an energy can't be read.
    """
    energies = _energies(content, _VASPRUN_STEP, (3, 0, 1, 2))
    if n_frames is not None and abs(energies.shape[1] - n_frames) > 1:
        return None
    return energy_drift(energies, step_fs, n_ions)


def _energies(
    content: mmap.mmap, step: re.Pattern[bytes], order: tuple[int, ...]
) -> NDArray[np.float64]:
    try:
        found = [[float(numbers[i]) for i in order] for numbers in step.findall(content)]
    except ValueError as error:
        raise InputError(f"an energy can't be read ({error})") from error
    return np.array(found).reshape(-1, 4).T
