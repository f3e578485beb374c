"""XYZ files: extended xyz, and CP2K's with its cell file."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

_LATTICE = re.compile(r'Lattice\s*=\s*"([^"]+)"', re.IGNORECASE)
_CP2K_STEP = re.compile(r"\bi\s*=\s*(\d+)")


def read_xyz(
    path: str | Path,
    timestep_fs: float,
    *,
    cell: NDArray[np.float64] | None = None,
    md_timestep_fs: float | None = None,
    temperature_k: float | None = None,
) -> Trajectory:
    """Read (extended) xyz whose columns start with element, x, y, z.

    The cell comes from ``Lattice="..."``, else from CP2K's cell file beside it
    (``NAME-1.cell`` for ``NAME-pos-1.xyz``), else from ``cell``.

    Raises
    ------
    InputError
        If there is no cell, or the file is no xyz.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    cells = None if cell is not None else _cp2k_cells(path)
    stream: FrameStream | None = None
    species: tuple[str, ...] = ()
    position, last_step = 0, None
    while position < len(buffer):
        head = _head(content, position, path)
        if head is None:
            break
        n_ions, comment, start = head
        if n_ions == 0:
            return _finish(stream, path, timestep_fs, md_timestep_fs, temperature_k, notes)
        if stream is None:
            species = _species(content, start, n_ions, path)
            stream = FrameStream(species)
        if n_ions != len(species):
            raise InputError(f"{path}: frame {stream.n_frames + 1} has {n_ions} ions")
        rows = np.empty((n_ions, 3))
        after = parse_rows(buffer, start, 1, rows)
        if after < 0:
            break
        step = _CP2K_STEP.search(comment)
        position = after
        if step and step.group(1) == last_step:
            continue  # CP2K writes a step again after a restart
        last_step = step.group(1) if step else None
        here = _cell(comment, cells, cell, step, path)
        stream.slot()[:] = rows @ np.linalg.inv(here)
        stream.take(here)
    if position < len(buffer):
        notes += cut_note(path, stream.n_frames if stream else 0)
    return _finish(stream, path, timestep_fs, md_timestep_fs, temperature_k, notes)


def _finish(
    stream: FrameStream | None,
    path: Path,
    timestep_fs: float,
    md_timestep_fs: float | None,
    temperature_k: float | None,
    notes: tuple[str, ...],
) -> Trajectory:
    if stream is None:
        raise InputError(f"{path} has no whole frame")
    return stream.finish(
        timestep_fs, md_timestep_fs=md_timestep_fs, temperature_k=temperature_k, notes=notes
    )


def _head(content: mmap.mmap, position: int, path: Path) -> tuple[int, str, int] | None:
    """Return number of ions, comment and start of the rows; None if cut, zero ions at the end."""
    middle = content.find(b"\n", position) + 1
    start = content.find(b"\n", middle) + 1
    first = bytes(content[position : middle or None]).strip()
    if not first:
        return 0, "", position
    if not middle or not start:
        return None
    try:
        n_ions = int(first)
    except ValueError as error:
        raise InputError(f"{path} is no xyz file: {first[:30]!r} is no number of ions") from error
    return n_ions, bytes(content[middle:start]).decode("utf-8", errors="replace"), start


def _species(content: mmap.mmap, start: int, n_ions: int, path: Path) -> tuple[str, ...]:
    found, position = [], start
    for _ in range(n_ions):
        end = content.find(b"\n", position)
        words = bytes(content[position : end if end >= 0 else None]).split()
        if len(words) < 4:
            raise InputError(f"{path} has no whole frame of element, x, y, z")
        found.append(words[0].decode())
        position = end + 1
    return tuple(found)


def _cell(
    comment: str,
    cells: dict[int, NDArray[np.float64]] | None,
    given: NDArray[np.float64] | None,
    step: re.Match[str] | None,
    path: Path,
) -> NDArray[np.float64]:
    if given is not None:
        return given
    lattice = _LATTICE.search(comment)
    if lattice:
        numbers = [float(word) for word in lattice.group(1).split()]
        if len(numbers) == 9:
            return np.array(numbers).reshape(3, 3)
    if cells is not None and step is not None and int(step.group(1)) in cells:
        return cells[int(step.group(1))]
    if cells is not None and len(cells) == 1:
        return next(iter(cells.values()))
    raise InputError(
        f'{path} has no cell for a frame ({comment.strip()[:40]!r}); put Lattice="..." in its '
        "comments, CP2K's .cell file beside it, or give the cell"
    )


def _cp2k_cells(path: Path) -> dict[int, NDArray[np.float64]] | None:
    """Read CP2K's cell file beside a position file: step, time, nine numbers, volume."""
    name = path.name.removesuffix(".gz").replace("-pos-", "-")
    beside = path.with_name(Path(name).stem + ".cell")
    if not beside.is_file():
        return None
    table = np.loadtxt(beside, ndmin=2)
    if table.shape[1] < 11:
        raise InputError(f"{beside} is no CP2K cell file (step, time, nine numbers, volume)")
    return {int(row[0]): row[2:11].reshape(3, 3) for row in table}
