"""Any trajectory file: the format is recognised and what the file tells is taken from it."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from monty.json import MontyDecoder
from pymatgen.core.trajectory import Trajectory as PymatgenTrajectory

from ionsieve.errors import InputError
from ionsieve.md_analysis import external
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.content import find_beside, plain_name, read_bytes
from ionsieve.md_analysis.frame_times import SAME_TIME, FrameTimes
from ionsieve.md_analysis.lammps import read_lammps_dump
from ionsieve.md_analysis.oszicar import read_energy_drift
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.vasprun import read_vasprun
from ionsieve.md_analysis.xdatcar import read_xdatcar
from ionsieve.md_analysis.xyz import read_xyz

if TYPE_CHECKING:
    from ase import Atoms


def read_trajectory(path: str | Path, options: ReadOptions | None = None) -> Trajectory:
    """Read XDATCAR, vasprun.xml, ASE .traj, (ext)xyz, LAMMPS dump, pymatgen JSON, npz or blob.

    All of them plain or compressed (gz, bz2, xz, zst). XTC, TRR, DCD, netCDF and H5MD through
    MDAnalysis, uncompressed.

    Raises
    ------
    InputError
        If the format isn't known, the file is bad, something it doesn't tell wasn't given, or the
        file and the options contradict each other.
    """
    path, options = Path(path), options or ReadOptions()
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file")
    try:
        return _reader(path)(path, options)
    except _DAMAGED as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path} can't be read as its name or start promises ({why})") from error


#: What libraries raise on files that are damaged.
_DAMAGED = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)

#: What :func:`as_trajectory` takes.
Source: TypeAlias = "Trajectory | PymatgenTrajectory | str | Path | Iterable[Atoms]"


def as_trajectory(source: Source, options: ReadOptions | None = None) -> Trajectory:
    """Return a trajectory from one, a file's path, ASE atoms (one per frame) or pymatgen's.

    Raises
    ------
    InputError
        As :func:`read_trajectory`; or if it is something else.
    """
    if isinstance(source, Trajectory):
        return source
    if isinstance(source, str | Path):
        return read_trajectory(source, options)
    if isinstance(source, PymatgenTrajectory):
        return from_pymatgen(source, options)
    frames = list(source) if isinstance(source, Iterable) else []
    if not frames or not all(hasattr(atoms, "get_scaled_positions") for atoms in frames):
        raise InputError(
            f"a {type(source).__name__} is no trajectory; give a path, a Trajectory, pymatgen's "
            "Trajectory or ASE Atoms, one per frame"
        )
    return from_ase(frames, None if options is None else options.timestep_fs, options)


def _reader(path: Path) -> Callable[[Path, ReadOptions], Trajectory]:
    name = plain_name(path)
    content, _ = read_bytes(path)
    head = bytes(content[:4096])
    # What a file starts with tells more than its name.
    for mark, reader in (
        (b"ITEM:", read_lammps_dump),
        (b"- of Ulm", _ase_traj),
        (b"PK\x03\x04", _npz),
    ):
        if head.startswith(mark):
            return reader
    for found, reader in (
        ("xdatcar" in name, _xdatcar),
        ("vasprun" in name or name.endswith(".xml"), read_vasprun),
        (name.endswith(".npz"), _npz),
        (name.endswith(".json"), _pymatgen_json),
        (name.endswith(".traj"), _ase_traj),
        (name.endswith((".xyz", ".extxyz")), read_xyz),
        (name.endswith(external.SUFFIXES), external.read_with_mdanalysis),
        (name.endswith((".lammpstrj", ".dump")) or name.startswith("dump"), read_lammps_dump),
        (b"<modeling>" in head, read_vasprun),
        (b"configuration=" in head, _xdatcar),
        (b"Lattice=" in head or b"Properties=" in head, read_xyz),
    ):
        if found:
            return reader
    raise InputError(
        f"the format of {path} is not known; give XDATCAR, vasprun.xml, .traj, .xyz, .lammpstrj, "
        ".json (pymatgen), .npz, or with MDAnalysis .xtc, .trr, .dcd, .nc or .h5md"
    )


def _xdatcar(path: Path, options: ReadOptions) -> Trajectory:
    trajectory = read_xdatcar(
        path,
        options.timestep_fs,
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )
    stem = path.name
    while Path(stem).suffix in (".gz", ".bz2", ".xz", ".zst"):
        stem = Path(stem).stem
    beside = find_beside(path, stem.replace("XDATCAR", "OSZICAR")) if "XDATCAR" in stem else None
    if beside is None:
        return trajectory
    return replace(trajectory, energy_drift=read_energy_drift(beside, trajectory))


def _npz(path: Path, options: ReadOptions) -> Trajectory:
    """Read a stored segment, or arrays ``positions``, ``cell`` and ``species``."""
    plain = zipfile.is_zipfile(path)
    source = path if plain else io.BytesIO(read_bytes(path)[0])
    if not plain and not zipfile.is_zipfile(source):
        raise InputError(f"{path} is no npz file; write one with numpy.savez")
    with np.load(source, allow_pickle=False) as data:
        names = set(data.files)
        if "about" in names:
            packed = path.read_bytes() if plain else bytes(read_bytes(path)[0])
            return _checked(Trajectory.from_bytes(packed), options, path)
        missing = {"positions", "cell", "species"} - names
        if missing:
            raise InputError(f"{path} has no {', '.join(sorted(missing))} (arrays by name)")
        inside = {
            name: float(data[name]) if name in names else None
            for name in ("timestep_fs", "md_timestep_fs", "temperature_k")
        }
        given = {name: getattr(options, name) for name in inside}
        timestep = inside["timestep_fs"] or given["timestep_fs"]
        if timestep is None:
            raise InputError(f"{path.name} does not tell the time between frames; give timestep_fs")
        trajectory = Trajectory.from_arrays(
            data["positions"],
            data["cell"],
            [str(s) for s in data["species"]],
            timestep,
            md_timestep_fs=inside["md_timestep_fs"] or given["md_timestep_fs"],
            temperature_k=inside["temperature_k"] or given["temperature_k"],
        )
    return _checked(trajectory, options, path)


def _checked(trajectory: Trajectory, options: ReadOptions, path: Path) -> Trajectory:
    """Return the trajectory if nothing given contradicts what the file tells."""
    for name, unit in (("timestep_fs", "fs"), ("md_timestep_fs", "fs"), ("temperature_k", "K")):
        told, given = getattr(trajectory, name), getattr(options, name)
        if told is not None and given is not None and abs(given / told - 1) > SAME_TIME:
            raise InputError(
                f"{path} tells {name} = {told:g} {unit}, {given:g} {unit} was given; "
                "leave the option out or correct the file"
            )
    return trajectory


def _ase_traj(path: Path, options: ReadOptions) -> Trajectory:
    # Imported when needed: the analysis is installed without ASE, too.
    from ase.io.trajectory import Trajectory as AseTrajectory

    content, _ = read_bytes(path)
    try:
        with tempfile.NamedTemporaryFile(suffix=".traj") as plain:
            plain.write(content)
            plain.flush()
            frames = AseTrajectory(plain.name)
            return from_ase(frames, options.timestep_fs, options, path)
    except (OSError, EOFError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is no whole ASE trajectory ({error})") from error


def from_ase(
    frames: Iterable[Atoms],
    timestep_fs: float | None,
    options: ReadOptions | None = None,
    path: Path = Path("the list of Atoms"),
) -> Trajectory:
    """Make a trajectory from ASE atoms, one per frame.

    Raises
    ------
    InputError
        If the atoms change, there is no cell, or nobody tells the time between frames.
    """
    options = replace(options or ReadOptions(), timestep_fs=timestep_fs)
    stream: FrameStream | None = None
    for atoms in frames:
        species = tuple(atoms.get_chemical_symbols())
        if stream is None:
            stream = FrameStream(species)
        if species != stream.species:
            raise InputError(f"the atoms of {path} change in frame {stream.n_frames + 1}")
        cell = np.array(atoms.cell)
        if abs(np.linalg.det(cell)) < 1e-3:
            raise InputError(f"the atoms of {path} have no periodic cell; set one")
        stream.slot()[:] = atoms.get_scaled_positions(wrap=False)
        stream.take(cell)
    if stream is None:
        raise InputError(f"{path} has no frames")
    return stream.finish(FrameTimes(path), options)


def _pymatgen_json(path: Path, options: ReadOptions) -> Trajectory:
    """Read pymatgen's Trajectory as JSON."""
    content, _ = read_bytes(path)
    data = json.loads(bytes(content).decode())
    if not isinstance(data, dict) or not {"lattice", "species", "coords"} <= data.keys():
        raise InputError(f"{path} is no pymatgen Trajectory: it needs lattice, species, coords")
    if data["lattice"] is None:
        raise InputError(
            f"{path} is a trajectory of molecules: it has no cell; give a periodic one"
        )
    try:
        decoded: Any = MontyDecoder().process_decoded(data)
        if isinstance(decoded, dict):  # written without its class
            decoded = PymatgenTrajectory.from_dict(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} can't be read as a pymatgen Trajectory ({error})") from error
    if not isinstance(decoded, PymatgenTrajectory):
        raise InputError(f"{path} is a {type(decoded).__name__}, no pymatgen Trajectory")
    return from_pymatgen(decoded, options, path)


def from_pymatgen(
    frames: PymatgenTrajectory,
    options: ReadOptions | None = None,
    path: Path = Path("the pymatgen Trajectory"),
) -> Trajectory:
    """Make a trajectory from pymatgen's; its ``time_step`` counts as fs between frames.

    Raises
    ------
    InputError
        If it holds molecules, or nobody tells the time between frames.
    """
    options = options or ReadOptions()
    if frames.lattice is None:
        raise InputError(f"{path} holds molecules: it has no cell; give a periodic one")
    fractional = np.array(frames.coords, dtype=np.float64)
    if frames.coords_are_displacement:
        fractional = np.asarray(frames.base_positions) + np.cumsum(fractional, axis=0)
    lattice = np.array(frames.lattice, dtype=np.float64)
    lattice = lattice[0] if lattice.ndim == 3 and len(lattice) == 1 else lattice
    timestep = frames.time_step if frames.time_step is not None else options.timestep_fs
    if timestep is None:
        raise InputError(f"{path} does not tell the time between frames; give timestep_fs")
    if fractional.ndim != 3:
        raise InputError(f"{path} has coords of shape {fractional.shape}, not (frames, ions, 3)")
    trajectory = Trajectory.from_arrays(
        (fractional @ lattice).astype(np.float32),
        lattice,
        list(frames.species),
        float(timestep),
        md_timestep_fs=options.md_timestep_fs,
        temperature_k=options.temperature_k,
    )
    return _checked(trajectory, options, path)
