"""VASP's XDATCAR."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.frame_times import FrameTimes
from ionsieve.md_analysis.labels import is_element
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.trajectory import Trajectory

_MARK = b"configuration="

#: More than "Direct " and blank lines between two frames is a header.
_LONGEST_MARK = 16


def cut_note(path: Path, n_frames: int) -> tuple[str]:
    """Say that a file ends in the middle of a frame."""
    return (f"{path.name} is cut in frame {n_frames + 1}; used the {n_frames} frames before it",)


@dataclass(frozen=True, eq=False)
class _Header:
    cell: NDArray[np.float64]
    species: tuple[str, ...]


def read_xdatcar(
    path: str | Path,
    timestep_fs: float | None = None,
    *,
    md_timestep_fs: float | None = None,
    temperature_k: float | None = None,
) -> Trajectory:
    """Read an XDATCAR, plain or compressed; NVT, or NPT with the header repeated in every frame.

    A last frame cut in the middle is left out and named in the trajectory's notes. The numbers of
    the frames ("configuration=") are MD steps: gaps and changes of NBLOCK are refused, files of
    several runs one after the other are joined.

    Parameters
    ----------
    timestep_fs : float, optional
        Time between frames: POTIM times NBLOCK.
    md_timestep_fs : float, optional
        POTIM; with the numbers of the frames it gives the time between them.

    Raises
    ------
    InputError
        If the file is no XDATCAR, has no whole frame or its frames are not evenly spaced.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    mark = content.find(_MARK)
    if mark < 0:
        raise InputError(f'{path} is no XDATCAR, or of VASP 4: no frame starts "configuration="')
    header = _read_header(bytes(content[:mark]), path)
    stream = FrameStream(header.species)
    times = FrameTimes(path, "configuration", counts_frames=True)
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
        _take_number(times, content[mark + len(_MARK) : start])
        mark = content.find(_MARK, after)
        if mark < 0 or mark - after < _LONGEST_MARK:
            continue
        repeated = _read_header(bytes(content[after:mark]), path)
        if repeated.species != header.species:
            raise InputError(f"{path} changes its species in frame {stream.n_frames + 1}")
        if not np.array_equal(repeated.cell, cell):
            cell = repeated.cell
    options = ReadOptions(timestep_fs, temperature_k, md_timestep_fs=md_timestep_fs)
    return stream.finish(times, options, notes)


def _take_number(times: FrameTimes, text: bytes) -> None:
    """Take a frame's number; those with more digits than Fortran's field are stars."""
    if text.strip().isdigit():
        times.steps.append(int(text))
    elif b"*" in text and len(times.steps) > 1:
        times.steps.append(2 * times.steps[-1] - times.steps[-2])


def _read_header(text: bytes, path: Path) -> _Header:
    """Read comment, scale, three vectors, symbols and numbers of ions."""
    lines = text.decode("utf-8", errors="replace").splitlines()
    # The mark's own line begins before it: "Direct ".
    lines = [line for line in lines if line.strip() != "Direct"]
    try:
        scales = np.array([float(word) for word in lines[1].split()[:3]])
        vectors = np.array([[float(word) for word in lines[i].split()[:3]] for i in (2, 3, 4)])
        symbols = [re.split("[_/]", symbol)[0] for symbol in lines[5].split()]
        counts = [int(word) for word in lines[6].split()]
        if len(symbols) != len(counts) or vectors.shape != (3, 3):
            raise ValueError("symbols and numbers of ions don't match")
        if len(lines) > 7 and any(line.strip() for line in lines[7:]):
            raise ValueError(f"after the numbers of ions comes {lines[7].strip()!r}")
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is no XDATCAR: its header can't be read ({error})") from error
    wrong = [symbol for symbol in symbols if not is_element(symbol)]
    if wrong:
        raise InputError(f"{path} names {', '.join(wrong)} in its header, which is no element")
    if len(scales) == 1 and scales[0] < 0:  # VASP: minus the volume
        scales = (-scales / abs(np.linalg.det(vectors))) ** (1 / 3)
    species = tuple(s for s, count in zip(symbols, counts, strict=True) for _ in range(count))
    # Three factors scale x, y and z.
    return _Header(vectors * (scales if len(scales) == 3 else scales[0]), species)
