"""Molecular dynamics from VASP's vasprun.xml, whole or cut by a walltime."""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.byte_numbers import parse_rows
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.frame_times import SAME_TIME, FrameTimes
from ionsieve.md_analysis.labels import is_element
from ionsieve.md_analysis.oszicar import vasprun_drift
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import cut_note

#: VASP writes attributes in any order: <i type="int" name="IBRION"> or <i name="POTIM">.
_TAG = re.compile(r'<i(?=[^>]*\bname="(\w+)")[^>]*>\s*([^<]*?)\s*</i>')
_ION = re.compile(r"<rc>\s*<c>\s*(\w+)\s*</c>\s*<c>\s*(\d+)\s*</c>\s*</rc>")
_TYPE = re.compile(
    r"<rc>\s*<c>\s*(\d+)\s*</c>\s*<c>\s*(\w+)\s*</c>\s*(?:<c>[^<]*</c>\s*){2}"
    r"<c>\s*\S+\s+([A-Z][a-z]?)[^<]*</c>"
)
_N_ATOMS = re.compile(r"<atoms>\s*(\d+)\s*</atoms>")

#: Elements whose symbols VASP cuts (the first letter is lost, or the second).
_CUT_SYMBOLS = {"r": "Zr", "X": "Xe"}

#: A thermostat colder than this is none: VASP's default is 0.0001 K.
_NO_THERMOSTAT_K = 1.0

_STRUCTURE, _CALCULATION, _END = b"<structure>", b"<calculation>", b"</modeling>"


@dataclass(frozen=True)
class _Settings:
    """What a file's tags tell."""

    tags: dict[str, str]
    path: Path

    @classmethod
    def of(cls, head: str, path: Path) -> _Settings:
        """Read ``<incar>`` and, since they hold what VASP used, ``<parameters>``."""
        tags: dict[str, str] = {}
        for section in ("incar", "parameters"):
            start = head.find(f"<{section}>")
            text = head[start : head.find(f"</{section}>", start)] if start >= 0 else ""
            tags.update(dict(_TAG.findall(text)))
        return cls(tags, path)

    def number(self, name: str) -> float | None:
        """Return a tag's number; None without it.

        Raises
        ------
        InputError
            If it is none.
        """
        if name not in self.tags:
            return None
        try:
            return float(self.tags[name])
        except ValueError as error:
            raise InputError(f"{self.path}: {name} = {self.tags[name]!r} is no number") from error

    @property
    def is_machine_learned(self) -> bool:
        """Whether some or all steps were made by a force field (ML_LMLFF)."""
        return self.tags.get("ML_LMLFF", "F").strip(". ").upper().startswith("T")

    def check_dynamics(self) -> None:
        """Refuse what is no molecular dynamics.

        Raises
        ------
        InputError
            If ions moved by another rule than Newton's.
        """
        ibrion = self.number("IBRION")
        if ibrion not in (None, 0.0):
            raise InputError(
                f"{self.path} is no molecular dynamics: IBRION = {ibrion:g} "
                "(relaxation, phonons or one point); its steps have no time"
            )

    def temperature_k(self) -> float | None:
        """Return the thermostat's temperature; None without one.

        Raises
        ------
        InputError
            If it changes during the run.
        """
        start, end = self.number("TEBEG"), self.number("TEEND")
        end = start if end is None else end
        if start is None or start < _NO_THERMOSTAT_K:
            return None
        if end is not None and abs(end - start) > SAME_TIME * start and end >= _NO_THERMOSTAT_K:
            raise InputError(
                f"{self.path} has no one temperature: it goes from TEBEG = {start:g} to TEEND = "
                f"{end:g} K; analyse runs at a fixed temperature"
            )
        return start


def read_vasprun(path: str | Path, options: ReadOptions) -> Trajectory:
    """Read the ionic steps of a vasprun.xml, plain or compressed.

    Time step (POTIM) and temperature (TEBEG) are the file's. Steps that a machine-learned force
    field made stand outside of ``<calculation>`` and are read with the others. A file cut in the
    middle is used as far as its steps are whole.

    Raises
    ------
    InputError
        If the file is no molecular dynamics run of VASP at one temperature, or steps are missing.
    """
    path = Path(path)
    content, notes = read_bytes(path)
    first = min(
        (at for mark in (_STRUCTURE, _CALCULATION) if (at := content.find(mark)) >= 0), default=-1
    )
    head = bytes(content[: first if first >= 0 else len(content)])
    text = head.decode("utf-8", errors="replace")
    species, more = _species(text, path)
    settings = _Settings.of(text, path)
    settings.check_dynamics()
    temperature = settings.temperature_k()
    if first < 0:
        raise InputError(f"{path} has no ionic step{_where(settings)}")
    stream, cut = _read_steps(content, first, species, path)
    finished = content.find(_END, max(first, len(content) - 200)) >= 0
    if cut or not finished:
        notes += cut_note(path, stream.n_frames)
    _check_all_steps(settings, stream.n_frames, finished, content)
    step_fs = settings.number("POTIM")
    _check_given(options.temperature_k, temperature, "TEBEG", "K", path)
    _check_given(options.md_timestep_fs, step_fs, "POTIM", "fs", path)
    given = options.md_timestep_fs
    times = FrameTimes(path, times=list(range(stream.n_frames)) if step_fs else [])
    times.time_unit_fs = step_fs
    options = replace(
        options,
        md_timestep_fs=step_fs or given or options.timestep_fs,
        temperature_k=temperature if options.temperature_k is None else options.temperature_k,
    )
    trajectory = stream.finish(times, options, notes + more)
    drift = vasprun_drift(content, trajectory.timestep_fs, len(species), trajectory.n_frames)
    return replace(trajectory, energy_drift=drift)


def _check_given(given: float | None, found: float | None, tag: str, unit: str, path: Path) -> None:
    """Refuse what was given if the file tells otherwise."""
    if given is not None and found is not None and abs(given / found - 1) > SAME_TIME:
        raise InputError(
            f"{path} has {tag} = {found:g} {unit}, {given:g} {unit} was given; one of them is wrong"
        )


def _where(settings: _Settings) -> str:
    if settings.is_machine_learned:
        return "; a force-field run (ML_LMLFF) has its frames in XDATCAR"
    return ""


def _check_all_steps(
    settings: _Settings, n_frames: int, finished: bool, content: mmap.mmap
) -> None:
    """Refuse a run of a force field some of whose steps are not in the file.

    Raises
    ------
    InputError
        If there are fewer structures than steps, so that their times are not known.
    """
    if not settings.is_machine_learned:
        return
    n_steps = settings.number("NSW")
    every = settings.number("ML_OUTBLOCK") or 1
    only_dft = _count(content, _CALCULATION) == n_frames
    short = finished and n_steps is not None and n_frames < n_steps
    if every > 1 or short or (only_dft and not finished):
        told = f"NSW = {n_steps:g}" if n_steps is not None else "NSW is not told"
        raise InputError(
            f"{settings.path} holds {n_frames} structures of a run with a machine-learned force "
            f"field ({told}, ML_OUTBLOCK = {every:g}): which steps they are is not told; give the "
            "XDATCAR beside it"
        )


def _count(content: mmap.mmap, mark: bytes) -> int:
    number, at = 0, content.find(mark)
    while at >= 0:
        number, at = number + 1, content.find(mark, at + 1)
    return number


def _species(head: str, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the elements of all ions; symbols that VASP cut are mended and named.

    Raises
    ------
    InputError
        If the file names no atoms, not all, or contradicts itself.
    """
    atoms = _between(head, '<array name="atoms"', "</array>")
    ions = _ION.findall(atoms)
    if not ions:
        raise InputError(f"{path} is no vasprun.xml: it names no atoms")
    told = _N_ATOMS.search(head)
    if told and int(told.group(1)) != len(ions):
        raise InputError(f"{path} tells {told.group(1)} atoms and names {len(ions)}")
    potentials = {
        number: potential
        for number, (_, _, potential) in enumerate(
            _TYPE.findall(_between(head, '<array name="atomtypes"', "</array>")), start=1
        )
    }
    known: dict[tuple[str, str], str] = {}
    for symbol, number in dict.fromkeys(ions):
        potential = potentials.get(int(number))
        mended = symbol if is_element(symbol) else potential or _CUT_SYMBOLS.get(symbol)
        if mended is None or not is_element(mended):
            raise InputError(f"{path} names atoms {symbol!r}, which is no element")
        if potential and is_element(potential) and mended != potential:
            raise InputError(
                f"{path} names atoms {symbol} with the pseudopotential of {potential}; "
                "one of them is wrong"
            )
        known[symbol, number] = mended
    changed = [f"{ion[0]} is read as {mended}" for ion, mended in known.items() if ion[0] != mended]
    return tuple(known[ion] for ion in ions), tuple(f"{path.name}: {text}" for text in changed)


def _between(text: str, start: str, end: str) -> str:
    at = text.find(start)
    return text[at : text.find(end, at)] if at >= 0 else ""


def _read_steps(
    content: mmap.mmap, start: int, species: Sequence[str], path: Path
) -> tuple[FrameStream, bool]:
    """Read every step's structure; True with it if the text ends inside one."""
    buffer = np.frombuffer(content, dtype=np.uint8)
    stream = FrameStream(tuple(species))
    cell: NDArray[np.float64] | None = None
    start = content.find(_STRUCTURE, start)
    while start >= 0:
        basis = content.find(b'<varray name="basis"', start)
        positions = content.find(b'<varray name="positions"', start)
        if basis < 0 or positions < 0:
            return stream, True
        vectors = np.empty((3, 3))
        basis_rows = content.find(b"\n", basis) + 1
        position_rows = content.find(b"\n", positions) + 1
        # Rows are "<v>  1.0  2.0  3.0 </v>": one word to skip.
        whole = basis_rows > 0 and position_rows > 0
        whole = whole and parse_rows(buffer, basis_rows, 1, vectors) > 0
        after = parse_rows(buffer, position_rows, 1, stream.slot()) if whole else -1
        if after < 0:
            if content.find(b"</structure>", positions) >= 0:
                raise InputError(
                    f"{path}: step {stream.n_frames + 1} has no {len(species)} positions, as many "
                    "as there are atoms"
                )
            return stream, True
        if content[after : after + 200].lstrip().startswith(b"<v>"):
            raise InputError(f"{path} has more positions than the {len(species)} atoms it names")
        if cell is None or not np.array_equal(cell, vectors):
            cell = vectors
        stream.take(cell)
        start = content.find(_STRUCTURE, position_rows)
    return stream, False
