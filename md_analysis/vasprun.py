"""Molecular dynamics from VASP's vasprun.xml, whole or cut by a walltime."""

from __future__ import annotations

import mmap
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.energy import vasprun_drift
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

_TAG = {
    name: re.compile(rf'<i name="{name}"[^>]*>\s*([-+.\dEe]+)\s*</i>')
    for name in ("POTIM", "TEBEG", "NBLOCK", "IBRION")
}
_ION = re.compile(r"<rc><c>\s*([A-Z][a-z]?)\s*</c><c>\s*\d+\s*</c></rc>")


def read_vasprun(
    path: str | Path, *, timestep_fs: float | None = None, temperature_k: float | None = None
) -> Trajectory:
    """Read the ionic steps of a vasprun.xml, plain or gzipped.

    Time step (POTIM) and temperature (TEBEG) are the file's unless given. A file cut in the
    middle is used as far as its steps are whole.

    Raises
    ------
    InputError
        If the file is no molecular dynamics run of VASP.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    first = content.find(b"<calculation>")
    if first < 0:
        raise InputError(f"{path} has no ionic step")
    head = bytes(content[:first]).decode("utf-8", errors="replace")
    atoms = head[head.find('<array name="atoms"') :]
    species = tuple(_ION.findall(atoms[: atoms.find("</array>")]))
    if not species:
        raise InputError(f"{path} is no vasprun.xml: it names no atoms")
    tags = {name: _number(pattern, head) for name, pattern in _TAG.items()}
    if timestep_fs is None and tags["IBRION"] not in (None, 0.0):
        raise InputError(f"{path} is no molecular dynamics (IBRION = {tags['IBRION']:g})")
    step_fs = tags["POTIM"] if timestep_fs is None else timestep_fs
    if step_fs is None:
        raise InputError(f"{path.name} does not tell POTIM; give timestep_fs")
    stream, cut = _read_steps(content, first, species)
    if cut or content.find(b"</modeling>", max(first, len(content) - 200)) < 0:
        notes += cut_note(path, stream.n_frames)
    trajectory = stream.finish(
        step_fs,
        md_timestep_fs=tags["POTIM"],
        temperature_k=tags["TEBEG"] if temperature_k is None else temperature_k,
        notes=notes,
    )
    return replace(trajectory, energy_drift=vasprun_drift(content, step_fs, len(species)))


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return float(found.group(1)) if found else None


def _read_steps(
    content: mmap.mmap, start: int, species: tuple[str, ...]
) -> tuple[FrameStream, bool]:
    """Read each calculation's last structure; True with it if the text ends inside one."""
    buffer = np.frombuffer(content, dtype=np.uint8)
    stream = FrameStream(species)
    cell: NDArray[np.float64] | None = None
    while start >= 0:
        basis = content.find(b'<varray name="basis"', start)
        positions = content.find(b'<varray name="positions"', start)
        if basis < 0 or positions < 0:
            return stream, True
        vectors = np.empty((3, 3))
        basis_rows = content.find(b"\n", basis) + 1
        position_rows = content.find(b"\n", positions) + 1
        # Rows are "<v>  1.0  2.0  3.0 </v>": one word to skip.
        whole = (
            basis_rows > 0
            and position_rows > 0
            and parse_rows(buffer, basis_rows, 1, vectors) > 0
            and parse_rows(buffer, position_rows, 1, stream.slot()) > 0
        )
        if not whole:
            return stream, True
        if cell is None or not np.array_equal(cell, vectors):
            cell = vectors
        stream.take(cell)
        start = content.find(b"<calculation>", position_rows)
    return stream, False
