"""LAMMPS text dumps."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.constants as const
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream, check_cell
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.frame_times import FrameTimes
from ionsieve.md_analysis.labels import elements_of
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.text_table import IonTable, words_of_rows
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

#: Coordinate columns in order of preference; scaled or not, paths or wrapped.
_COORDINATES = {"xu": (False, True), "xsu": (True, True), "x": (False, False), "xs": (True, False)}

_BOHR_ANGSTROM = const.physical_constants["Bohr radius"][0] * 1e10

#: Length (Angstrom) and time (fs) of LAMMPS's unit styles; ``lj`` has none.
_UNITS = {
    "metal": (1.0, 1e3),
    "real": (1.0, 1.0),
    "electron": (_BOHR_ANGSTROM, 1.0),
    "si": (1e10, 1e15),
    "cgs": (1e8, 1e15),
    "micro": (1e4, 1e9),
    "nano": (10.0, 1e6),
}

#: Lines of one header, at most: UNITS, TIME, TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS, ATOMS.
_MOST_HEADER_LINES = 16


@dataclass(frozen=True, eq=False)
class _Header:
    """Head of one frame; ``start`` is where its rows start."""

    step: int
    time: float | None
    units: str | None
    n_ions: int
    cell: NDArray[np.float64]
    origin: NDArray[np.float64]
    columns: tuple[str, ...]
    start: int

    @property
    def coordinate(self) -> str:
        """Name of the first of the three coordinate columns to use."""
        for name in _COORDINATES:
            if all(name.replace("x", axis, 1) in self.columns for axis in "xyz"):
                return name
        raise InputError(
            f"columns {' '.join(self.columns)} have no coordinates; dump x y z, xs ys zs, "
            "xu yu zu or xsu ysu zsu"
        )

    def triple(self, name: str) -> tuple[int, int, int]:
        """Return the columns of x, y and z."""
        x, y, z = (self.columns.index(name.replace("x", axis, 1)) for axis in "xyz")
        return x, y, z

    def column(self, name: str) -> int | None:
        """Return a column's number; None without such a column."""
        return self.columns.index(name) if name in self.columns else None


def read_lammps_dump(path: str | Path, options: ReadOptions) -> Trajectory:
    """Read a dump of style custom or atom, sorted by id or not.

    Orthogonal, restricted and general triclinic boxes (``abc origin``), ``ITEM: UNITS`` and
    ``ITEM: TIME`` are understood; image flags (``ix iy iz``) are used.

    Parameters
    ----------
    options : ReadOptions
        ``md_timestep_fs`` is LAMMPS's timestep; ``species`` are the elements of types 1, 2, ...,
        not needed with an ``element`` column.

    Raises
    ------
    InputError
        If the file is no such dump, times or elements are missing, or ions are lost.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    if content[:5] != b"ITEM:":
        raise InputError(f"{path} is no LAMMPS text dump: it does not start with ITEM:")
    header = _read_header(content, 0, None, path)
    if header is None:
        raise InputError(f"{path} has no whole frame")
    name = header.coordinate
    scaled, unwrapped = _COORDINATES[name]
    rows = words_of_rows(content, header.start, header.n_ions)
    if len(rows) < header.n_ions:
        raise InputError(f"{path} has no whole frame")
    has_images = not unwrapped and all(f"i{axis}" in header.columns for axis in "xyz")
    label = header.column("element")
    table = IonTable.of(
        rows,
        path,
        coordinates=header.triple(name),
        identity=header.column("id"),
        label=header.column("type") if label is None else label,
        images=header.triple("ix") if has_images else None,
    )
    species, more = elements_of(_labels(table, rows, label is not None, options))
    notes += more
    if header.column("id") is None:
        notes += (f"{path.name} has no ids: its ions are taken to be in the same order always",)
    stream = FrameStream(species, unwrapped=unwrapped or has_images)
    times = FrameTimes(path)
    length = _units(header, times, path)
    first = header
    while header is not None:
        if header.n_ions != first.n_ions:
            raise InputError(
                f"{path}: step {header.step} has {header.n_ions} ions, the first frame "
                f"{first.n_ions}; ions were lost or added, analyse the part before"
            )
        found = table.read(buffer, header.start, header.n_ions, stream.n_frames + 1)
        if found is None:
            notes += cut_note(path, stream.n_frames)
            break
        place, images, after = found
        fractions = stream.slot()
        fractions[:] = place if scaled else (place - header.origin) @ np.linalg.inv(header.cell)
        if images is not None:
            fractions += images
        stream.take(header.cell * length)
        times.steps.append(header.step)
        if header.time is not None:
            times.times.append(header.time)
        if content.find(b"ITEM:", after) < 0:
            break
        header = _read_header(content, after, header.units, path)
        if header is None:
            notes += cut_note(path, stream.n_frames)
        elif header.columns != first.columns:
            raise InputError(f"{path}: step {header.step} has other columns than the first")
    return stream.finish(times, options, notes)


def _units(header: _Header, times: FrameTimes, path: Path) -> float:
    """Set the unit of times where the file tells it, and return that of lengths, Angstrom."""
    if header.units is None:
        return 1.0
    if header.units not in _UNITS:
        raise InputError(
            f"{path} is in LAMMPS units {header.units}, which have no lengths and times of their "
            f"own; convert it to one of {', '.join(_UNITS)}"
        )
    length, time = _UNITS[header.units]
    times.time_unit_fs = time
    return length


def _read_header(
    content: mmap.mmap, position: int, units: str | None, path: Path
) -> _Header | None:
    """Read the lines before a frame's rows; None if they are cut."""
    items: dict[str, list[str]] = {}
    name, end = "", position
    for _ in range(_MOST_HEADER_LINES):
        start, end = end, content.find(b"\n", end) + 1
        if end == 0:
            return None
        line = bytes(content[start:end]).decode("ascii", errors="replace").strip()
        if line.startswith("ITEM: ATOMS"):
            break
        if line.startswith("ITEM:"):
            name = line[5:].strip()
            items[name] = []
        elif line and name:
            items[name].append(line)
        elif line:
            raise InputError(f"{path}: {line[:40]!r} stands where a frame should start (ITEM:)")
    else:
        raise InputError(f"{path} has no ITEM: ATOMS in a frame ({', '.join(items)})")
    box = next((item for item in items if item.startswith("BOX BOUNDS")), None)
    try:
        assert box is not None
        bounds = np.array([[float(word) for word in row.split()] for row in items[box]])
        cell, origin = _cell(bounds, "abc origin" in box)
        check_cell(cell, f"step {items['TIMESTEP'][0]} of {path}")
        return _Header(
            step=int(items["TIMESTEP"][0]),
            time=float(items["TIME"][0]) if "TIME" in items else None,
            units=items["UNITS"][0] if "UNITS" in items else units,
            n_ions=int(items["NUMBER OF ATOMS"][0]),
            cell=cell,
            origin=origin,
            columns=tuple(line.split()[2:]),
            start=end,
        )
    except (AssertionError, KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{path}: a frame's head can't be read ({type(error).__name__}: {error}); it needs "
            "ITEM: TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS and ATOMS"
        ) from error


def _cell(
    bounds: NDArray[np.float64], is_general: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cell and origin.

    General triclinic: rows of a cell vector and one component of the origin. Restricted: the
    bounding box and the tilts xy xz yz.
    """
    if is_general:
        if bounds.shape != (3, 4):
            raise ValueError("abc origin needs three rows of four numbers")
        return np.ascontiguousarray(bounds[:, :3]), bounds[:, 3].copy()
    if len(bounds) != 3 or bounds.shape[1] not in (2, 3):
        raise ValueError("box bounds need three rows of two or three numbers")
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    length = high - low
    cell = np.array([[length[0], 0, 0], [xy, length[1], 0], [xz, yz, length[2]]])
    return cell, low


def _labels(
    table: IonTable, rows: list[list[bytes]], are_elements: bool, options: ReadOptions
) -> list[str]:
    """Return the element of each ion."""
    type_species = options.species
    if table.label is None or (not are_elements and type_species is None):
        raise InputError("the dump tells no elements; give those of types 1, 2, ... (--elements)")
    labels = table.labels_in_order(rows)
    if are_elements:
        return labels
    assert type_species is not None
    most = max((int(label) for label in labels if label.isdigit()), default=0)
    if most > len(type_species):
        raise InputError(
            f"{len(type_species)} elements for more types ({most}); give one element per type"
        )
    return [type_species[int(label) - 1] if label.isdigit() else label for label in labels]
