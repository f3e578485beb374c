"""VASP's input files: INCAR, POSCAR, KPOINTS and the names in POTCAR or POTCAR.spec."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.elements import is_element

Array = NDArray[np.float64]
Tag = bool | int | float | str | list


class VaspInputError(Exception):
    """An input file is missing or wrong; the program ends as VASP does, with a message."""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise VaspInputError(f"ERROR: cannot read {path.name}: {reason}") from error


def _scalar(text: str) -> bool | int | float | str:
    flag = text.strip(".").upper()
    if flag in ("TRUE", "T"):
        return True
    if flag in ("FALSE", "F"):
        return False
    for convert in (int, float):
        try:
            return convert(text.replace("d", "e").replace("D", "E"))
        except ValueError:
            continue
    return text


def _tag_value(text: str) -> Tag:
    words: list[str] = []
    for word in text.split():
        repeated = re.fullmatch(r"(\d+)\*(\S+)", word)
        words += [repeated[2]] * int(repeated[1]) if repeated else [word]
    values = [_scalar(word) for word in words]
    if len(values) == 1:
        return values[0]
    if any(isinstance(v, str) for v in values):
        return text.strip()
    return values


def read_incar(path: Path) -> dict[str, Tag]:
    """Return the tags of an INCAR: keys in capitals, values typed, comments dropped."""
    tags: dict[str, Tag] = {}
    text = _read(path).replace("\\\n", " ")
    for line in text.splitlines():
        for statement in re.split(r"[#!]", line)[0].split(";"):
            key, equals, value = statement.partition("=")
            if equals and value.strip():
                tags[key.strip().upper()] = _tag_value(value)
    return tags


@dataclass(frozen=True)
class ThermostatState:
    """What a continued run needs beyond positions and velocities.

    Attributes
    ----------
    timestep_fs
        POTIM of the run that wrote it.
    values
        Four numbers; Nose-Hoover: friction (1/fs) and its time integral.
    """

    timestep_fs: float
    values: tuple[float, float, float, float]


@dataclass(frozen=True)
class Crystal:
    """The content of a POSCAR.

    Attributes
    ----------
    cell : (3, 3) float64, Angstrom, rows are the lattice vectors
    fractional : (n_ions, 3) float64
    species, counts
        The groups of ions in the order of the file.
    movable : (n_ions, 3) bool
    velocities : (n_ions, 3) float64, Angstrom/fs, or None
    lattice_velocities : (3, 3) float64, Angstrom/fs, or None
    """

    comment: str
    cell: Array
    fractional: Array
    species: tuple[str, ...]
    counts: tuple[int, ...]
    movable: NDArray[np.bool_]
    is_selective: bool = False
    velocities: Array | None = None
    lattice_velocities: Array | None = None
    thermostat: ThermostatState | None = None
    symbols: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [s for s, n in zip(self.species, self.counts, strict=True) for _ in range(n)]
        object.__setattr__(self, "symbols", tuple(names))

    @property
    def n_ions(self) -> int:
        """Number of ions."""
        return len(self.fractional)

    @property
    def composition(self) -> dict[str, int]:
        """Number of ions of each element."""
        return {s: self.symbols.count(s) for s in dict.fromkeys(self.symbols)}


def _floats(line: str, n: int) -> list[float]:
    return [float(word) for word in line.split()[:n]]


def _rows(lines: list[str], n: int) -> Array:
    rows = np.array([_floats(line, 3) for line in lines[:n]])
    if rows.shape != (n, 3):
        raise ValueError(f"{n} lines of three numbers expected, got {len(lines)}")
    return rows


def _lattice(lines: list[str]) -> tuple[Array, float]:
    scale, cell = float(lines[1].split()[0]), _rows(lines[2:5], 3)
    if scale < 0:
        scale = (-scale / abs(np.linalg.det(cell))) ** (1 / 3)
    return cell * scale, scale


def _group_header(lines: list[str], potcar: list[str]) -> tuple[list[str], list[int], int]:
    """Return symbols, counts and the index of the next line; VASP 4 takes names from POTCAR."""
    if lines[5].split()[0].isdigit():
        counts = [int(n) for n in lines[5].split()]
        if len(potcar) < len(counts):
            raise ValueError("no element names in POSCAR, and too few in POTCAR")
        return potcar[: len(counts)], counts, 6
    species = [re.split(r"[_/]", word)[0] for word in lines[5].split()]
    return species, [int(n) for n in lines[6].split()], 7


def _thermostat(lines: list[str]) -> ThermostatState | None:
    if len(lines) < 3:
        return None
    first, second, third, fourth = (_floats(lines[2], 4) + [0.0] * 4)[:4]
    return ThermostatState(float(lines[1].split()[0]), (first, second, third, fourth))


def _parse_poscar(text: str, potcar: list[str]) -> Crystal:
    lines = text.splitlines()
    cell, scale = _lattice(lines)
    species, counts, at = _group_header(lines, potcar)
    if unknown := [s for s in species if not is_element(s)]:
        raise ValueError(f"unknown element {unknown[0]}")
    if len(species) != len(counts):
        raise ValueError(f"{len(species)} elements but {len(counts)} counts")
    n = sum(counts)
    is_selective = lines[at].strip()[:1] in "sS"
    at += is_selective
    is_cartesian = lines[at].strip()[:1] in "cCkK"
    rows = lines[at + 1 : at + 1 + n]
    positions = _rows(rows, n)
    fractional = positions * scale @ np.linalg.inv(cell) if is_cartesian else positions
    movable = np.ones((n, 3), dtype=bool)
    if is_selective:
        flags = [[word.strip(".").upper()[:1] == "T" for word in r.split()[3:6]] for r in rows]
        movable = np.array(flags)
    tail = lines[at + 1 + n :]
    lattice_velocities = None
    if tail and tail[0].strip()[:1] in ("l", "L"):
        lattice_velocities, tail = _rows(tail[2:5], 3), tail[8:]
    blocks = [b.splitlines() for b in re.split(r"\n\s*\n", "\n".join(tail).strip("\n ")) if b]
    velocities = None
    if blocks:
        header = blocks[0][0].split()[:1]
        has_header = bool(header) and header[0][:1].isalpha()
        velocities = _rows(blocks[0][has_header:], n)
        if has_header and header[0][:1] in "dD":
            velocities = velocities @ cell
    return Crystal(
        comment=lines[0].strip(),
        cell=cell,
        fractional=fractional,
        species=tuple(species),
        counts=tuple(counts),
        movable=movable,
        is_selective=is_selective,
        velocities=velocities,
        lattice_velocities=lattice_velocities,
        thermostat=_thermostat(blocks[1]) if len(blocks) > 1 else None,
    )


def read_poscar(path: Path, potcar_symbols: list[str]) -> Crystal:
    """Read a POSCAR with its velocities and thermostat block.

    Raises
    ------
    VaspInputError
        The file is missing or malformed, or names an unknown element.
    """
    text = _read(path)
    try:
        return _parse_poscar(text, potcar_symbols)
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise VaspInputError(f"ERROR: there must be a mistake in {path.name}: {error}") from error


def read_potcar_symbols(folder: Path) -> list[str]:
    """Return the potentials' names (``Na_pv``) from POTCAR.spec, else from POTCAR."""
    if (folder / "POTCAR.spec").exists():
        return _read(folder / "POTCAR.spec").split()
    if not (folder / "POTCAR").exists():
        raise VaspInputError("ERROR: neither POTCAR nor POTCAR.spec in this folder")
    titles = r"^\s*TIT\w+\s*=\s*\S+\s+(\S+)"
    return re.findall(titles, _read(folder / "POTCAR"), flags=re.M)


@dataclass(frozen=True)
class Kpoints:
    """The mesh named in KPOINTS; the mock integrates nothing and only repeats it."""

    style: str = "Gamma"
    divisions: tuple[int, int, int] = (1, 1, 1)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


def read_kpoints(path: Path) -> Kpoints:
    """Read an automatic mesh; anything else (or KSPACING) is taken as the Gamma point."""
    if not path.exists():
        return Kpoints()
    lines = _read(path).splitlines()
    try:
        if int(lines[1].split()[0]) != 0 or lines[2].strip()[:1] not in "gGmM":
            return Kpoints()
        first, second, third = (int(word) for word in lines[3].split()[:3])
        style = "Gamma" if lines[2].strip()[:1] in "gG" else "Monkhorst-Pack"
    except (ValueError, IndexError) as error:
        raise VaspInputError(f"ERROR: there must be a mistake in KPOINTS: {error}") from error
    return Kpoints(style, (first, second, third))


def as_list(value: Any, n: int) -> list[float]:
    """Return a tag that may be one number or ``n`` of them as ``n`` floats."""
    values = [float(v) for v in value] if isinstance(value, list) else [float(value)]
    return values * n if len(values) == 1 else values
