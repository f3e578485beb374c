"""XYZ files: extended xyz, and CP2K's with its cell file."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream, check_cell
from ionsieve.md_analysis.content import COMPRESSED_SUFFIXES, find_beside, read_bytes
from ionsieve.md_analysis.frame_times import FrameTimes
from ionsieve.md_analysis.labels import elements_of
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.text_table import IonTable, words_of_rows
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

_LATTICE = re.compile(r'\bLattice\s*=\s*(?:"([^"]+)"|\{([^}]+)\}|\[([^\]]+)\])', re.IGNORECASE)
_PROPERTIES = re.compile(r'\bProperties\s*=\s*"?([^"\s]+)"?', re.IGNORECASE)
_NUMBER = r"\s*=\s*\"?([-+.\dEe]+)"
_CP2K = re.compile(r"\bi\s*=\s*(\d+)\s*,\s*time" + _NUMBER, re.IGNORECASE)
_STEP = re.compile(r"\b(?:md_?)?step\s*=\s*\"?(\d+)", re.IGNORECASE)
_TIME = re.compile(r"\btime(?:_(fs|ps))?" + _NUMBER, re.IGNORECASE)

#: Cells given by hand and in the file are the same within this, Angstrom.
_SAME_CELL_ANGSTROM = 1e-3


@dataclass
class _Clock:
    """Step and time in the comment lines."""

    times: FrameTimes

    def take(self, comment: str) -> int | None:
        """Take what one comment tells, and return its step (None if it tells none)."""
        cp2k = _CP2K.search(comment)
        step = cp2k or _STEP.search(comment)
        time = _TIME.search(comment)
        if cp2k:
            self.times.time_unit_fs = 1.0
        elif time and time.group(1):
            self.times.time_unit_fs = {"fs": 1.0, "ps": 1e3}[time.group(1).lower()]
        if time:
            self.times.times.append(float(time.group(2)))
        number = int(step.group(1)) if step else None
        if number is not None:
            self.times.steps.append(number)
        return number


@dataclass
class _Cells:
    """Where the cell of each frame comes from; all that tell it must agree."""

    path: Path
    given: NDArray[np.float64] | None
    beside: dict[int, NDArray[np.float64]] | None
    _last: tuple[str, NDArray[np.float64]] | None = field(init=False, default=None)

    def of(self, comment: str, step: int | None) -> NDArray[np.float64]:
        """Return the cell of one frame."""
        lattice = _LATTICE.search(comment)
        if lattice is not None:
            text = next(group for group in lattice.groups() if group)
            if self._last is None or self._last[0] != text:
                self._last = text, self._parsed(text)
                self._check_given(self._last[1], "in its comments")
            return self._last[1]
        if self.beside is not None:
            cell = self._beside(step)
            if cell is not None:
                self._check_given(cell, "in the .cell file beside it")
                return cell
        if self.given is not None:
            return self.given
        raise InputError(
            f'{self.path} has no cell for a frame ({comment.strip()[:40]!r}); put Lattice="..." '
            "in its comments, CP2K's .cell file beside it, or give the cell"
        )

    def _parsed(self, text: str) -> NDArray[np.float64]:
        try:
            numbers = [float(word) for word in text.replace(",", " ").split()]
        except ValueError as error:
            raise InputError(f"{self.path}: Lattice={text!r} is no list of numbers") from error
        if len(numbers) == 3:
            return np.diag(numbers)
        if len(numbers) != 9:
            raise InputError(f"{self.path}: Lattice has {len(numbers)} numbers, not 9")
        return np.array(numbers).reshape(3, 3)

    def _beside(self, step: int | None) -> NDArray[np.float64] | None:
        assert self.beside is not None
        if step is not None and step in self.beside:
            return self.beside[step]
        first, *others = self.beside.values()
        fixed = all(np.abs(other - first).max() < 1e-6 for other in others)
        return first if fixed else None

    def _check_given(self, found: NDArray[np.float64], where: str) -> None:
        if self.given is None or np.abs(found - self.given).max() < _SAME_CELL_ANGSTROM:
            return
        raise InputError(
            f"{self.path} has a cell with the diagonal {np.round(np.diag(found), 3).tolist()} "
            f"{where}, the one given has {np.round(np.diag(self.given), 3).tolist()}; leave one out"
        )


def read_xyz(path: str | Path, options: ReadOptions) -> Trajectory:
    """Read (extended) xyz; without ``Properties=`` the columns are element, x, y, z.

    The cell comes from ``Lattice="..."``, else from CP2K's cell file beside it
    (``NAME-1.cell`` for ``NAME-pos-1.xyz``), else from the options. CP2K's comments tell step and
    time (fs).

    Raises
    ------
    InputError
        If there is no cell, the file is no xyz, or ions or times don't go together.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    given = None if options.cell is None else np.array(options.cell, dtype=np.float64)
    cells = _Cells(path, given, _cp2k_cells(path))
    times = FrameTimes(path)
    clock = _Clock(times)
    stream: FrameStream | None = None
    table: IonTable | None = None
    cell: NDArray[np.float64] | None = None
    inverse: NDArray[np.floating] = np.eye(3)
    position = _next_line(content, 0)
    while position < len(buffer):
        head = _head(content, position, path)
        if head is None:
            break
        n_ions, comment, start = head
        if stream is None or table is None:
            rows = words_of_rows(content, start, n_ions)
            table, species, more = _table(rows, n_ions, comment, path)
            stream = FrameStream(species)
            notes += more
        if n_ions != len(stream.species):
            raise InputError(
                f"{path}: frame {stream.n_frames + 1} has {n_ions} ions, the first "
                f"{len(stream.species)}"
            )
        found = table.read(buffer, start, n_ions, stream.n_frames + 1)
        if found is None:
            break
        here = cells.of(comment, clock.take(comment))
        if here is not cell:
            check_cell(here, f"frame {stream.n_frames + 1} of {path}")
            cell, inverse = here, np.linalg.inv(here)
        stream.slot()[:] = found[0] @ inverse
        stream.take(cell)
        position = _next_line(content, found[2])
    if stream is None:
        raise InputError(f"{path} has no whole frame")
    if position < len(buffer):
        if content.find(b"\n", position + 1) >= 0 and _has_more(content, position):
            raise InputError(f"frame {stream.n_frames + 1} of {path} can't be read")
        notes += cut_note(path, stream.n_frames)
    return stream.finish(times, options, notes)


def _next_line(content: mmap.mmap, position: int) -> int:
    """Return the start of the next line that is not blank."""
    end = len(content)
    while position < end:
        stop = content.find(b"\n", position)
        stop = end if stop < 0 else stop
        if content[position:stop].strip():
            return position
        position = stop + 1
    return end


def _has_more(content: mmap.mmap, position: int) -> bool:
    """Return whether a whole frame's worth of lines follows one that can't be read."""
    head = bytes(content[position : content.find(b"\n", position)]).strip()
    if not head.isdigit():
        return True
    for _ in range(int(head) + 2):
        position = content.find(b"\n", position) + 1
        if position == 0:
            return False
    return _next_line(content, position) < len(content)


def _head(content: mmap.mmap, position: int, path: Path) -> tuple[int, str, int] | None:
    """Return number of ions, comment and start of the rows; None if cut."""
    middle = content.find(b"\n", position) + 1
    start = content.find(b"\n", middle) + 1
    if not middle or not start:
        return None
    first = bytes(content[position:middle]).strip()
    try:
        n_ions = int(first)
    except ValueError as error:
        raise InputError(f"{path} is no xyz file: {first[:30]!r} is no number of ions") from error
    if n_ions < 1:
        raise InputError(f"{path} is no xyz file: a frame of {n_ions} ions")
    return n_ions, bytes(content[middle:start]).decode("utf-8", errors="replace"), start


def _table(
    rows: list[list[bytes]], n_ions: int, comment: str, path: Path
) -> tuple[IonTable, tuple[str, ...], tuple[str, ...]]:
    """Return the columns, the elements and notes on them."""
    if len(rows) < n_ions:
        raise InputError(f"{path} has no whole frame")
    columns = _columns(comment, path)
    if "pos" not in columns:
        raise InputError(f"{path} has no pos among its Properties ({', '.join(columns)})")
    label = next(
        (columns[name] for name in ("species", "element", "Z", "numbers") if name in columns), None
    )
    if label is None:
        raise InputError(f"{path} has no species among its Properties ({', '.join(columns)})")
    pos = columns["pos"]
    identity = next((columns[name] for name in ("id", "ID") if name in columns), None)
    table = IonTable.of(
        rows, path, coordinates=(pos, pos + 1, pos + 2), identity=identity, label=label
    )
    labels = table.labels_in_order(rows)
    if all(word.isdigit() for word in labels):
        try:
            labels = [Element.from_Z(int(word)).symbol for word in labels]
        except ValueError as error:
            raise InputError(f"{path} has the atomic number of no element ({error})") from None
    return table, *elements_of(labels)


def _columns(comment: str, path: Path) -> dict[str, int]:
    """Return the first column of each property: ``species:S:1:pos:R:3`` and the like."""
    found = _PROPERTIES.search(comment)
    if found is None:
        return {"species": 0, "pos": 1}
    words = found.group(1).split(":")
    columns: dict[str, int] = {}
    at = 0
    try:
        for name, width in zip(words[::3], words[2::3], strict=True):
            columns[name] = at
            at += int(width)
    except ValueError as error:
        raise InputError(f"{path}: Properties={found.group(1)} can't be read") from error
    return columns


def _cp2k_cells(path: Path) -> dict[int, NDArray[np.float64]] | None:
    """Read CP2K's cell file beside a position file: step, time, nine numbers, volume."""
    name = path.name
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    beside = find_beside(path, Path(name.replace("-pos-", "-")).stem + ".cell")
    if beside is None:
        return None
    content, _ = read_bytes(beside)
    try:
        table = np.loadtxt(bytes(content).decode().splitlines(), ndmin=2)
    except ValueError as error:
        raise InputError(f"{beside} is no CP2K cell file ({error})") from error
    if table.shape[1] < 11:
        raise InputError(f"{beside} is no CP2K cell file (step, time, nine numbers, volume)")
    return {int(row[0]): row[2:11].reshape(3, 3) for row in table}
