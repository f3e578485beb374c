"""Binary formats of other programs (XTC, DCD, netCDF, H5MD), through MDAnalysis."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ionsieve.errors import InputError
from ionsieve.md_analysis.assembly import FrameStream
from ionsieve.md_analysis.frame_times import FrameTimes
from ionsieve.md_analysis.labels import elements_of, is_element
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.trajectory import Trajectory

#: Endings of names that MDAnalysis reads for us.
SUFFIXES = (".xtc", ".trr", ".dcd", ".nc", ".ncdf", ".h5md")


def read_with_mdanalysis(path: str | Path, options: ReadOptions) -> Trajectory:
    """Read a binary trajectory; the elements come from ``options.topology``.

    Times and cells are the file's. Times that MDAnalysis makes up for formats without any are not
    used.

    Raises
    ------
    InputError
        If MDAnalysis or the topology is missing, or one of the files can't be read.
    """
    path = Path(path)
    try:
        import MDAnalysis
    except ImportError as error:
        raise InputError(
            f"reading {path.name} needs MDAnalysis; pip install 'ionsieve[formats]'"
        ) from error
    if options.topology is None:
        raise InputError(
            f"{path.name} does not tell its elements; give a topology, e.g. PDB (--topology)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about times that it makes up and charges it lacks
        try:
            universe = MDAnalysis.Universe(str(options.topology), str(path))
            labels = [str(atom.name) for atom in universe.atoms]
            if hasattr(universe.atoms, "elements"):
                told = [str(element).capitalize() for element in universe.atoms.elements]
                labels = told if all(map(is_element, told)) else labels
            species, notes = elements_of(labels)
            stream, times = FrameStream(species), FrameTimes(path, time_unit_fs=1e3)
            for frame in universe.trajectory:
                if (
                    frame.dimensions is None
                    or abs(np.linalg.det(frame.triclinic_dimensions)) < 1e-3
                ):
                    raise InputError(f"{path} has no cell in frame {stream.n_frames + 1}")
                cell = np.array(frame.triclinic_dimensions, dtype=np.float64)
                stream.slot()[:] = np.asarray(frame.positions, np.float64) @ np.linalg.inv(cell)
                stream.take(cell)
                if {"time", "dt"} & frame.data.keys():
                    times.times.append(float(frame.time))
        except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
            raise InputError(
                f"{path} with {options.topology} can't be read by MDAnalysis ({error})"
            ) from error
    return stream.finish(times, options, notes)
