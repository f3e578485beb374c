"""What a finished calculation left in its folder: positions, time step, energies."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

from monty.io import zopen
from monty.os.path import zpath
from pymatgen.io.vasp import Incar

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import Trajectory, read_xdatcar
from ionsieve.md_analysis.oszicar import read_energy_drift
from ionsieve.workflows.backends.protocol import MDSpec

#: As Fortran prints what is no number, or doesn't fit.
_NO_NUMBER = re.compile(r"nan|inf|\*\*", re.IGNORECASE)
#: In the folder of every piece but the first: folder and number of steps of those before.
EARLIER_PIECES = "earlier_pieces.json"


def local_path(folder: str) -> Path:
    """Return the path of a folder as atomate2 gives it: ``host:path``, or a path."""
    host, colon, path = folder.partition(":")
    return Path(path if colon and "/" not in host else folder)


def earlier_pieces(folder: Path) -> list[tuple[str, int]]:
    """Return folder and number of steps of the pieces before the one in a folder."""
    path = zpath(str(folder / EARLIER_PIECES))
    if not Path(path).exists():
        return []
    with zopen(path, "rt", encoding="utf-8") as file:
        return [(str(name), int(n_steps)) for name, n_steps in json.load(file)]


def read_positions(folder: Path, timestep_fs: float, frame_interval: int) -> Trajectory:
    """Read the positions of one segment, in however many pieces it was computed.

    Parameters
    ----------
    folder
        Of the last piece; it knows those before.
    timestep_fs
        Of the molecular dynamics.
    frame_interval
        Steps between frames.
    """
    n_before = 0
    parts = []
    for piece, n_steps in [*earlier_pieces(folder), (str(folder), 0)]:
        written_every = math.gcd(frame_interval, n_before)
        stride = frame_interval // written_every
        trajectory = read_xdatcar(
            zpath(str(Path(piece) / "XDATCAR")),
            timestep_fs=timestep_fs * written_every,
            md_timestep_fs=timestep_fs,
        )
        first = (-n_before % frame_interval or frame_interval) // written_every - 1
        if first < trajectory.n_frames:
            parts.append(trajectory[first::stride])
        n_before += n_steps
    return Trajectory.join(parts)


def read_segment(folder: Path, spec: MDSpec) -> Trajectory:
    """Read a finished segment: its positions and the drift of its energy.

    Custodian repairs some runs by halving the time step: the step that counts is that of the files,
    and frames that are then too many are left out.

    Raises
    ------
    IonSieveError
        A file is missing or unreadable, or the frames are fewer or more than asked for.
    """
    if not folder.is_dir():
        raise IonSieveError(f"{folder}: the segment's folder is gone; repeat the segment")
    step_fs = _timestep_fs(folder)
    trajectory = read_positions(folder, step_fs, spec.frame_interval)
    if trajectory.n_frames != spec.n_frames:
        raise IonSieveError(
            f"{folder}: {trajectory.n_frames} frames of {spec.n_frames} asked for ({spec.n_steps} "
            f"steps, one frame in {spec.frame_interval}); repeat the segment"
        )
    oszicar = Path(zpath(str(folder / "OSZICAR")))
    for piece, _ in [*earlier_pieces(folder), (str(folder), 0)]:
        _check_energies(Path(zpath(str(Path(piece) / "OSZICAR"))))
    drift = None if earlier_pieces(folder) else read_energy_drift(oszicar, trajectory)
    every = max(1, round(spec.timestep_fs / step_fs))
    return replace(trajectory[::every], energy_drift=drift)


def _check_energies(oszicar: Path) -> None:
    """Check that VASP printed a number as temperature and energy of every ionic step."""
    if not oszicar.exists():
        return
    with zopen(oszicar, "rt", encoding="utf-8") as file:
        for line in map(str, file):
            if " T= " in line and _NO_NUMBER.search(line):
                step = line.split()[0]
                raise IonSieveError(
                    f"{oszicar}: temperature or energy of step {step} is no number: the run broke "
                    "down; try a shorter timestep_fs"
                )


def _timestep_fs(folder: Path) -> float:
    path = Path(zpath(str(folder / "INCAR")))
    try:
        return float(Incar.from_file(path)["POTIM"])
    except (OSError, KeyError, ValueError) as error:
        reason = "no POTIM" if isinstance(error, KeyError) else f"{type(error).__name__}"
        raise IonSieveError(
            f"{path}: the time step of the segment can't be read ({reason}); repeat the segment"
        ) from error
