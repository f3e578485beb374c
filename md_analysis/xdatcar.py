"""VASP's XDATCAR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.trajectory import Trajectory

_MARK = b"configuration="


def cut_note(path: Path, n_frames: int) -> tuple[str]:
    """Say that a file ends in the middle of a frame."""
    return (f"{path.name} is cut in frame {n_frames + 1}; used the {n_frames} frames before it",)


@dataclass(frozen=True, eq=False)
class _Header:
    cell: NDArray[np.float64]
    species: tuple[str, ...]


def read_xdatcar(
    path: str | Path,
    timestep_fs: float,
    *,
    md_timestep_fs: float | None = None,
    temperature_k: float | None = None,
) -> Trajectory:
    """Read an XDATCAR, plain or gzipped; NVT, or NPT with the header repeated in every frame.

    A last frame cut in the middle is left out and named in the trajectory's notes.

    Parameters
    ----------
    timestep_fs : float
        Time between frames: POTIM times NBLOCK.
    md_timestep_fs : float, optional
        POTIM, if it differs.

    Raises
    ------
    InputError
        If the file is no XDATCAR or has no whole frame.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    mark = content.find(_MARK)
    header = _read_header(bytes(content[: max(mark, 0)]), path)
    stream = FrameStream(header.species)
    cell = header.cell
    while mark >= 0:
        start = content.find(b"\n", mark) + 1
        after = parse_rows(buffer, start, 0, stream.slot()) if start else -1
        if after < 0:
            if content.find(_MARK, mark + len(_MARK)) >= 0:
                raise InputError(f"frame {stream.n_frames + 1} of {path} can't be read")
            notes += cut_note(path, stream.n_frames)
            break
        stream.take(cell)
        mark = content.find(_MARK, after)
        between = bytes(content[after:mark]) if mark >= 0 else b""
        if between.count(b"\n") >= 4:
            repeated = _read_header(between, path)
            if repeated.species != header.species:
                raise InputError(f"{path} changes its species in frame {stream.n_frames + 1}")
            cell = repeated.cell
    return stream.finish(
        timestep_fs, md_timestep_fs=md_timestep_fs, temperature_k=temperature_k, notes=notes
    )


def _read_header(text: bytes, path: Path) -> _Header:
    """Read comment, scale, three vectors, symbols and numbers of ions."""
    lines = text.decode("utf-8", errors="replace").splitlines()
    # The mark's own line begins before it: "Direct ".
    lines = [line for line in lines if line.strip() != "Direct"]
    try:
        scale = float(lines[1].split()[0])
        vectors = np.array([[float(word) for word in lines[i].split()[:3]] for i in (2, 3, 4)])
        symbols = [symbol.split("_")[0].split("/")[0] for symbol in lines[5].split()]
        counts = [int(word) for word in lines[6].split()]
        if len(symbols) != len(counts) or vectors.shape != (3, 3):
            raise ValueError("symbols and numbers of ions don't match")
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is no XDATCAR: its header can't be read ({error})") from error
    if scale < 0:  # VASP: minus the volume
        scale = (-scale / abs(np.linalg.det(vectors))) ** (1 / 3)
    species = tuple(s for s, count in zip(symbols, counts, strict=True) for _ in range(count))
    return _Header(scale * vectors, species)
