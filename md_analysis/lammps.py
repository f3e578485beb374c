"""LAMMPS text dumps."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

_ITEM = b"ITEM: TIMESTEP"

#: Coordinate columns in order of preference; scaled or not, paths or wrapped.
_COORDINATES = {"xu": (False, True), "xsu": (True, True), "x": (False, False), "xs": (True, False)}


@dataclass(frozen=True, eq=False)
class _Header:
    """Head of one frame; ``start`` is where its rows start."""

    step: int
    n_ions: int
    cell: NDArray[np.float64]
    origin: NDArray[np.float64]
    columns: tuple[str, ...]
    start: int

    @property
    def coordinate(self) -> str:
        """Name of the first of the three coordinate columns to use."""
        for name in _COORDINATES:
            index = self.columns.index(name) if name in self.columns else -1
            wanted = tuple(name.replace("x", axis, 1) for axis in "xyz")
            if index >= 0 and self.columns[index : index + 3] == wanted:
                return name
        raise InputError(
            f"columns {' '.join(self.columns)} have no coordinates; dump x y z, xs ys zs, "
            "xu yu zu or xsu ysu zsu"
        )


def read_lammps_dump(
    path: str | Path,
    *,
    timestep_fs: float | None = None,
    md_timestep_fs: float | None = None,
    type_species: tuple[str, ...] | None = None,
    temperature_k: float | None = None,
) -> Trajectory:
    """Read a dump of style custom or atom, orthogonal or triclinic, sorted by id or not.

    Parameters
    ----------
    timestep_fs : float, optional
        Time between frames.
    md_timestep_fs : float, optional
        LAMMPS's timestep; with the step numbers in the file it gives the time between frames.
    type_species : tuple of str, optional
        Elements of types 1, 2, ...; not needed with an ``element`` column.

    Raises
    ------
    InputError
        If the file is no such dump, or times or elements are missing.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    position = content.find(_ITEM)
    header = _read_header(content, position) if position >= 0 else None
    if header is None:
        raise InputError(f"{path} is no LAMMPS dump, or has no whole frame")
    scaled, unwrapped = _COORDINATES[header.coordinate]
    stream = FrameStream(_species(content, header, type_species), unwrapped=unwrapped)
    steps: list[int] = []
    while header is not None:
        rows = _read_rows(buffer, header)
        if rows is None:
            break
        stream.slot()[:] = rows if scaled else (rows - header.origin) @ np.linalg.inv(header.cell)
        stream.take(header.cell)
        steps.append(header.step)
        position = content.find(_ITEM, header.start)
        if position < 0:
            break
        header = _read_header(content, position)
    if position >= 0:
        notes += cut_note(path, stream.n_frames)
    return stream.finish(
        _timestep(steps, timestep_fs, md_timestep_fs, path),
        md_timestep_fs=md_timestep_fs,
        temperature_k=temperature_k,
        notes=notes,
    )


def _read_header(content: mmap.mmap, position: int) -> _Header | None:
    """Read the nine lines before a frame's rows; None if they are cut."""
    end = position
    for _ in range(9):
        end = content.find(b"\n", end) + 1
        if end == 0:
            return None
    lines = bytes(content[position:end]).decode("ascii", errors="replace").splitlines()
    if not (lines[2].startswith("ITEM: NUMBER") and lines[8].startswith("ITEM: ATOMS")):
        raise InputError(f"step {lines[1]}: only dumps with TIMESTEP, NUMBER, BOX, ATOMS are read")
    bounds = np.array([[float(word) for word in line.split()] for line in lines[5:8]])
    cell, origin = _cell(bounds)
    return _Header(int(lines[1]), int(lines[3]), cell, origin, tuple(lines[8].split()[2:]), end)


def _cell(bounds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cell and origin; a triclinic dump gives the bounding box and the tilts xy xz yz."""
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    length = high - low
    cell = np.array([[length[0], 0, 0], [xy, length[1], 0], [xz, yz, length[2]]])
    return cell, low


def _read_rows(buffer: NDArray[np.uint8], header: _Header) -> NDArray[np.float64] | None:
    """Return the three coordinates, sorted by id; None if the frame is cut."""
    rows = np.empty((header.n_ions, 3))
    first = header.columns.index(header.coordinate)
    if parse_rows(buffer, header.start, first, rows) < 0:
        return None
    return rows if "id" not in header.columns else rows[_order(buffer, header)]


def _order(buffer: NDArray[np.uint8], header: _Header) -> NDArray[np.intp]:
    ids = np.empty((header.n_ions, 1))
    parse_rows(buffer, header.start, header.columns.index("id"), ids)
    return np.argsort(ids[:, 0], kind="stable")


def _species(
    content: mmap.mmap, header: _Header, type_species: tuple[str, ...] | None
) -> tuple[str, ...]:
    end = content.find(_ITEM, header.start)
    text = bytes(content[header.start : end if end >= 0 else len(content)]).decode("ascii")
    rows = [line.split() for line in text.splitlines()[: header.n_ions]]
    order = range(len(rows))
    if "id" in header.columns:
        column = header.columns.index("id")
        order = sorted(order, key=lambda i: int(rows[i][column]))  # type: ignore[assignment]
    if "element" in header.columns:
        column = header.columns.index("element")
        return tuple(rows[i][column] for i in order)
    if "type" not in header.columns or type_species is None:
        raise InputError("the dump tells no elements; give those of types 1, 2, ... (--elements)")
    column = header.columns.index("type")
    try:
        return tuple(type_species[int(rows[i][column]) - 1] for i in order)
    except IndexError as error:
        raise InputError(
            f"{len(type_species)} elements for more types; give one element per type"
        ) from error


def _timestep(
    steps: list[int], timestep_fs: float | None, md_timestep_fs: float | None, path: Path
) -> float:
    strides = set(np.diff(steps).tolist())
    if len(strides) > 1:
        raise InputError(
            f"{path} has uneven steps between frames ({sorted(strides)[:4]}); "
            "dump at a fixed interval"
        )
    if timestep_fs is not None:
        return timestep_fs
    if md_timestep_fs is None:
        raise InputError(f"{path.name} does not tell its time step; give timestep_fs")
    return md_timestep_fs * (strides.pop() if strides else 1)
