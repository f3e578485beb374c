"""Any trajectory file: the format is recognised and what the file tells is taken from it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.content import read_bytes
from ionsieve.md_analysis.energy import read_energy_drift
from ionsieve.md_analysis.lammps import read_lammps_dump
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.vasprun import read_vasprun
from ionsieve.md_analysis.xdatcar import read_xdatcar
from ionsieve.md_analysis.xyz import read_xyz

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class ReadOptions:
    """What a file may not tell; None leaves it to the file.

    Attributes
    ----------
    timestep_fs : float, optional
        Time between frames.
    temperature_k : float, optional
    species : tuple of str, optional
        Elements of a LAMMPS dump's types 1, 2, ...
    cell : 3 x 3 float, optional
        Cell of an xyz file without one, Angstrom.
    md_timestep_fs : float, optional
        Time step of the integrator; for LAMMPS it turns step numbers into times.
    """

    timestep_fs: float | None = None
    temperature_k: float | None = None
    species: tuple[str, ...] | None = None
    cell: tuple[tuple[float, ...], ...] | None = None
    md_timestep_fs: float | None = None


def read_trajectory(path: str | Path, options: ReadOptions | None = None) -> Trajectory:
    """Read XDATCAR, vasprun.xml, ASE .traj, (ext)xyz, LAMMPS dump, pymatgen JSON, npz or blob.

    Raises
    ------
    InputError
        If the format isn't known, the file is bad, or something it doesn't tell wasn't given.
    """
    path, options = Path(path), options or ReadOptions()
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a trajectory file")
    try:
        trajectory = _reader(path)(path, options)
    except (UnicodeDecodeError, json.JSONDecodeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read as its name or start promises ({error})") from error
    return trajectory


def _reader(path: Path) -> Callable[[Path, ReadOptions], Trajectory]:
    name = path.name.lower().removesuffix(".gz")
    for found, reader in (
        ("xdatcar" in name, _xdatcar),
        ("vasprun" in name or name.endswith(".xml"), _vasprun),
        (name.endswith(".npz"), _npz),
        (name.endswith(".json"), _pymatgen_json),
        (name.endswith(".traj"), _ase_traj),
        (name.endswith((".xyz", ".extxyz")), _xyz),
        (name.endswith((".lammpstrj", ".dump")) or name.startswith("dump"), _lammps),
    ):
        if found:
            return reader
    content, _ = read_bytes(path)
    head = bytes(content[:4096])
    for mark, reader in (
        (b"ITEM: TIMESTEP", _lammps),
        (b"<modeling>", _vasprun),
        (b"configuration=", _xdatcar),
        (b"- of Ulm", _ase_traj),
        (b"PK\x03\x04", _npz),
        (b"Lattice=", _xyz),
    ):
        if mark in head:
            return reader
    raise InputError(
        f"the format of {path} is not known; give XDATCAR, vasprun.xml, .traj, .xyz, .lammpstrj, "
        ".json (pymatgen) or .npz"
    )


def needed_timestep(value: float | None, path: Path) -> float:
    """Return the time between frames.

    Raises
    ------
    InputError
        If neither the file nor the caller tells it.
    """
    if value is None:
        raise InputError(f"{path.name} does not tell the time between frames; give timestep_fs")
    return value


def _xdatcar(path: Path, options: ReadOptions) -> Trajectory:
    trajectory = read_xdatcar(
        path,
        needed_timestep(options.timestep_fs, path),
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )
    for name in (path.name, path.name.removesuffix(".gz"), f"{path.name}.gz"):
        beside = path.with_name(name.replace("XDATCAR", "OSZICAR"))
        if beside != path and beside.is_file():
            return replace(trajectory, energy_drift=read_energy_drift(beside, trajectory))
    return trajectory


def _vasprun(path: Path, options: ReadOptions) -> Trajectory:
    return read_vasprun(path, timestep_fs=options.timestep_fs, temperature_k=options.temperature_k)


def _lammps(path: Path, options: ReadOptions) -> Trajectory:
    return read_lammps_dump(
        path,
        timestep_fs=options.timestep_fs,
        md_timestep_fs=options.md_timestep_fs,
        type_species=options.species,
        temperature_k=options.temperature_k,
    )


def _xyz(path: Path, options: ReadOptions) -> Trajectory:
    return read_xyz(
        path,
        timestep_fs=needed_timestep(options.timestep_fs, path),
        cell=None if options.cell is None else np.array(options.cell, dtype=np.float64),
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )


def _npz(path: Path, options: ReadOptions) -> Trajectory:
    """Read a stored segment, or arrays ``positions``, ``cell`` and ``species``."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is no npz file; write one with numpy.savez")
    with np.load(path, allow_pickle=False) as data:
        names = set(data.files)
        if "about" in names:
            return Trajectory.from_bytes(path.read_bytes())
        missing = {"positions", "cell", "species"} - names
        if missing:
            raise InputError(f"{path} has no {', '.join(sorted(missing))} (arrays by name)")
        timestep = float(data["timestep_fs"]) if "timestep_fs" in names else options.timestep_fs
        return Trajectory.from_arrays(
            data["positions"],
            data["cell"],
            [str(s) for s in data["species"]],
            needed_timestep(timestep, path),
            md_timestep_fs=options.md_timestep_fs,
            temperature_k=options.temperature_k,
        )


def _ase_traj(path: Path, options: ReadOptions) -> Trajectory:
    from ase.io.trajectory import Trajectory as AseTrajectory

    try:
        frames = AseTrajectory(str(path))
        return from_ase(frames, needed_timestep(options.timestep_fs, path), options)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no whole ASE trajectory ({error})") from error


def from_ase(
    frames: Iterable[Atoms], timestep_fs: float, options: ReadOptions | None = None
) -> Trajectory:
    """Make a trajectory from ASE atoms, one per frame.

    Raises
    ------
    InputError
        If the atoms change or there is no cell.
    """
    options = options or ReadOptions()
    stream: FrameStream | None = None
    for atoms in frames:
        species = tuple(atoms.get_chemical_symbols())
        if stream is None:
            stream = FrameStream(species)
        if species != stream.species:
            raise InputError(f"the atoms change in frame {stream.n_frames + 1}")
        cell = np.array(atoms.cell)
        if abs(np.linalg.det(cell)) < 1e-3:
            raise InputError("the atoms have no periodic cell; set one")
        stream.slot()[:] = atoms.get_scaled_positions(wrap=False)
        stream.take(cell)
    if stream is None:
        raise InputError("no frames")
    return stream.finish(
        timestep_fs,
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )


def _pymatgen_json(path: Path, options: ReadOptions) -> Trajectory:
    """Read pymatgen's Trajectory as JSON, plain or gzipped; its time_step counts as fs."""
    content, _ = read_bytes(path)
    data = json.loads(bytes(content).decode())
    if not isinstance(data, dict) or not {"lattice", "species", "coords"} <= data.keys():
        raise InputError(f"{path} is no pymatgen Trajectory: it needs lattice, species, coords")
    # Lists of numbers, or pymatgen's {"data": ...} for arrays.
    coords, lattice = (_array(data[key]) for key in ("coords", "lattice"))
    species = [s if isinstance(s, str) else s["element"] for s in data["species"]]
    if lattice.ndim == 3 and len(lattice) == 1:
        lattice = lattice[0]
    if data.get("coords_are_displacement"):
        base = _array(data["base_positions"])
        coords = base + np.cumsum(np.concatenate([np.zeros_like(coords[:1]), coords]), axis=0)
        coords = coords[: len(coords) - 1]
    inner = data.get("time_step")
    timestep = options.timestep_fs if options.timestep_fs is not None else inner
    cartesian = coords @ lattice if coords.ndim == 3 else coords
    return Trajectory.from_arrays(
        cartesian.astype(np.float32),
        lattice,
        species,
        needed_timestep(timestep, path),
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )


def _array(value: Any) -> NDArray[np.float64]:
    inner = value["data"] if isinstance(value, dict) else value
    return np.asarray(inner, dtype=np.float64)
