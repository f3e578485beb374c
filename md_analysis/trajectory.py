"""The trajectory every analysis works on: unwrapped paths in fractional coordinates."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis import fixed_point
from ionsieve.md_analysis.conserved_energy import EnergyDrift
from ionsieve.md_analysis.joining import check_gap, repeated_from
from ionsieve.md_analysis.labels import formula, symbol_of
from ionsieve.md_analysis.storage import allocate
from ionsieve.md_analysis.unwrapping import BLOCK_FRAMES, Unwrapper

#: What `Trajectory.to_bytes` writes; 1 held float32 coordinates.
_FORMAT = 2

#: Fixed cells that differ by more than this are different cells.
_SAME_CELL_ANGSTROM = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Paths of all ions; make one with :meth:`from_arrays` or a reader.

    Attributes
    ----------
    fractional : (n_ions, 3, n_frames) float32 or float64
        Unwrapped fractional coordinates. One ion's path is contiguous in memory.
    cell : (3, 3) or (n_frames, 3, 3) float64, Angstrom
        Rows are the cell vectors; one per frame when the cell changes (NPT).
    species : tuple of str
        Element of each ion.
    timestep_fs : float
        Time between frames.
    md_timestep_fs : float or None
        Time step of the integrator where it is known; frames may be written less often.
    temperature_k : float or None
        Temperature of the thermostat where the file tells it.
    notes : tuple of str
        What a reader had to leave out, e.g. a last frame cut in the middle.
    energy_drift : EnergyDrift or None
        Drift of the integrator's conserved energy over the whole run, where a file tells it.
    steps : (int, int) or None
        Numbers of the first and the last MD step, where the file tells them.
    """

    fractional: NDArray[np.floating]
    cell: NDArray[np.float64]
    species: tuple[str, ...]
    timestep_fs: float
    md_timestep_fs: float | None = None
    temperature_k: float | None = None
    notes: tuple[str, ...] = field(default=())
    energy_drift: EnergyDrift | None = None
    steps: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check that shapes, cell and time step go together."""
        n_ions, three, n_frames = self.fractional.shape
        if three != 3 or len(self.species) != n_ions:
            raise InputError(
                f"{len(self.species)} species for {n_ions} ions; give one species per ion"
            )
        if self.cell.shape not in ((3, 3), (n_frames, 3, 3)):
            raise InputError(
                f"cell has shape {self.cell.shape}; it must be (3, 3) or ({n_frames}, 3, 3), "
                "one per frame"
            )
        if not self.timestep_fs > 0 or not np.isfinite(self.timestep_fs):
            raise InputError(
                f"timestep_fs is {self.timestep_fs}; give the time between frames in fs, above 0"
            )
        if n_frames < 1:
            raise InputError("the trajectory has no frames")
        if not np.isfinite(self.cell).all() or np.abs(np.linalg.det(self.cell)).min() < 1e-3:
            raise InputError("a cell has no volume or is not a number; give rows of cell vectors")

    @classmethod
    def from_arrays(
        cls,
        positions: ArrayLike,
        cell: ArrayLike,
        species: Sequence[object],
        timestep_fs: float,
        *,
        unwrapped: bool = False,
        md_timestep_fs: float | None = None,
        temperature_k: float | None = None,
    ) -> Trajectory:
        """Make a trajectory from Cartesian positions.

        Parameters
        ----------
        positions : (n_frames, n_ions, 3) float, Angstrom
            Wrapped into the cell or not. float32 stays float32, all else becomes float64.
        cell : (3, 3) or (n_frames, 3, 3) float, Angstrom
        species : one str per ion
            Elements, or pymatgen's Element or Species.
        timestep_fs : float
            Time between frames.
        unwrapped : bool
            True: the positions are paths already; steps longer than half a cell are then real.

        Raises
        ------
        InputError
            On shapes that don't match, NaNs, and steps too long to be unwrapped.

        Examples
        --------
        >>> import numpy as np
        >>> path = np.cumsum(np.full((100, 2, 3), 0.1), axis=0)
        >>> run = Trajectory.from_arrays(path, 10 * np.eye(3), ["Na", "S"], timestep_fs=2.0)
        >>> run.n_frames, run.length_ps
        (100, 0.198)
        """
        array = np.asarray(positions)
        array = array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
        cells = np.asarray(cell, dtype=np.float64)
        if array.ndim != 3 or array.shape[2] != 3:
            raise InputError(
                f"positions have shape {array.shape}; they must be (n_frames, n_ions, 3)"
            )
        n_frames, n_ions, _ = array.shape
        out = allocate((n_ions, 3, n_frames), array.dtype)
        symbols = tuple(symbol_of(label) for label in species)
        frame_zero = cls(
            out, cells, symbols, timestep_fs, md_timestep_fs, temperature_k
        )  # checks shapes before the work
        unwrapper = Unwrapper(frame_zero.species, wrapped=not unwrapped)
        inverse = np.linalg.inv(cells).astype(array.dtype)
        for start in range(0, n_frames, BLOCK_FRAMES):
            window = slice(start, min(start + BLOCK_FRAMES, n_frames))
            to_fractional = inverse if inverse.ndim == 2 else inverse[window]
            unwrapper.add(array[window] @ to_fractional, out[:, :, window])
        return frame_zero

    @property
    def n_ions(self) -> int:
        """Number of ions."""
        return self.fractional.shape[0]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.fractional.shape[2]

    @property
    def length_ps(self) -> float:
        """Time from the first frame to the last."""
        return (self.n_frames - 1) * self.timestep_fs / 1e3

    @cached_property
    def mean_cell(self) -> NDArray[np.float64]:
        """Cell averaged over frames, (3, 3) Angstrom."""
        return self.cell if self.cell.ndim == 2 else self.cell.mean(axis=0)

    @property
    def volume_angstrom3(self) -> float:
        """Volume of the mean cell."""
        return float(abs(np.linalg.det(self.mean_cell)))

    def indices(self, species: object) -> NDArray[np.intp]:
        """Return the ions of one species, given as text or as pymatgen's Element or Species.

        Raises
        ------
        InputError
            If there are none; the message names those there are.
        """
        symbol = symbol_of(species)
        found = np.flatnonzero(np.array(self.species) == symbol)
        if not len(found):
            raise InputError(
                f"no {symbol} in the trajectory; it has {', '.join(sorted(set(self.species)))}"
            )
        return found

    def __repr__(self) -> str:
        """Return one line."""
        at = "" if self.temperature_k is None else f", {self.temperature_k:g} K"
        return (
            f"<Trajectory {formula(self.species)}: {self.n_frames} frames, "
            f"{self.timestep_fs:g} fs apart, {self.length_ps:.4g} ps{at}>"
        )

    def __getitem__(self, frames: slice) -> Trajectory:
        """Return some frames; a step multiplies the time between frames."""
        if not isinstance(frames, slice):
            raise TypeError("index a trajectory with a slice of frames")
        _, _, step = frames.indices(self.n_frames)
        if step < 1:
            raise InputError("frames can only be taken forwards")
        return replace(
            self,
            fractional=self.fractional[:, :, frames],
            cell=self.cell if self.cell.ndim == 2 else self.cell[frames],
            timestep_fs=self.timestep_fs * step,
            steps=None,
        )

    def skip(self, n_frames: int) -> Trajectory:
        """Leave out the first frames (equilibration).

        Raises
        ------
        InputError
            If nothing would be left.
        """
        if not 0 <= n_frames < self.n_frames:
            raise InputError(
                f"cannot skip {n_frames} of {self.n_frames} frames; skip less or run longer"
            )
        return self[n_frames:]

    def between_ps(self, start_ps: float = 0.0, end_ps: float | None = None) -> Trajectory:
        """Return the frames from one time to another, ends included."""
        first = round(start_ps * 1e3 / self.timestep_fs)
        last = self.n_frames if end_ps is None else round(end_ps * 1e3 / self.timestep_fs) + 1
        if not 0 <= first < min(last, self.n_frames):
            raise InputError(
                f"no frames between {start_ps:g} and {end_ps} ps; "
                f"the trajectory is {self.length_ps:g} ps long"
            )
        return self[first:last]

    @staticmethod
    def join(segments: Sequence[Trajectory], *, may_change_step: bool = False) -> Trajectory:
        """Join consecutive segments of one run.

        A restart often writes the frame it starts from again: the frames of the earlier segment
        from that one on are dropped, so that each instant is there once.

        Parameters
        ----------
        may_change_step
            Whether the integrator's step may differ: a repair halves it on the way. The longest
            one is kept, as what may be too long, and it is noted.

        Raises
        ------
        InputError
            If segments differ in species, time step or cell, or don't follow each other.
        """
        if not segments:
            raise InputError("no segments to join; give at least one trajectory")
        joined = segments[0]
        for number, segment in enumerate(segments[1:], start=2):
            joined = _append(joined, segment, number, may_change_step)
        drift = EnergyDrift.mean([s.energy_drift for s in segments])
        found = sorted({s.md_timestep_fs for s in segments if s.md_timestep_fs is not None})
        notes = joined.notes
        if len(found) > 1:
            words = " and ".join(f"{step:g} fs" for step in found)
            notes = (*notes, f"time steps of {words} in one run; judged by the longest")
        longest = found[-1] if found else None
        return replace(joined, energy_drift=drift, md_timestep_fs=longest, notes=notes)

    def to_bytes(self) -> bytes:
        """Pack into a compressed npz: positions rounded to the grid of :mod:`fixed_point`.

        They are off by at most 1e-5 Angstrom per fs between frames along each cell vector, and
        never by more than 1e-3 Angstrom; nothing adds up from frame to frame. All else is kept.

        Raises
        ------
        InputError
            If a position is not a number or the run has exploded.
        """
        about = {
            "format": _FORMAT,
            "n_frames": self.n_frames,
            "timestep_fs": self.timestep_fs,
            "md_timestep_fs": self.md_timestep_fs,
            "temperature_k": self.temperature_k,
            "species": self.species,
            "notes": self.notes,
            "energy_drift": None if self.energy_drift is None else asdict(self.energy_drift),
        }
        divisions = fixed_point.grid(self.cell, self.timestep_fs)
        arrays: dict[str, Any] = {
            "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            "cell": self.cell,
            **fixed_point.pack(self.fractional, divisions, self.species),
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Trajectory:
        """Unpack what :meth:`to_bytes` made, of this version or of 0.1.0-dev.

        Raises
        ------
        InputError
            If the bytes are something else, damaged, or of a newer version.
        """
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as data:
                about = json.loads(data["about"].tobytes())
                cell, species = data["cell"], tuple(about["species"])
                if (version := about.get("format", 1)) > _FORMAT:
                    raise InputError(
                        f"this stored trajectory has format {version}, this program reads up to "
                        f"{_FORMAT}; update the program"
                    )
                if version == 1:
                    fractional = data["fractional"]
                else:
                    fractional = _from_grid(data, species, about["n_frames"])
        except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
            raise InputError(f"these bytes are no stored trajectory ({error})") from error
        except zipfile.BadZipFile as error:
            raise InputError(f"these bytes are a damaged stored trajectory ({error})") from error
        drift = about.get("energy_drift")
        return cls(
            fractional=fractional,
            cell=cell,
            species=species,
            timestep_fs=about["timestep_fs"],
            md_timestep_fs=about["md_timestep_fs"],
            temperature_k=about["temperature_k"],
            notes=tuple(about["notes"]),
            energy_drift=EnergyDrift(**drift) if drift else None,
        )


def _from_grid(
    data: Mapping[str, NDArray], species: tuple[str, ...], n_frames: int
) -> NDArray[np.float32]:
    """Return the fractional coordinates of a stored trajectory."""
    steps = fixed_point.unpack(data, species, n_frames)
    fractional = allocate(steps.shape, np.float32)
    np.divide(steps, data["divisions"][:, None], out=fractional, casting="unsafe")
    return fractional


def _append(
    first: Trajectory, second: Trajectory, number: int, may_change_step: bool
) -> Trajectory:
    """Append one segment, dropping what it repeats."""
    _check_same_run(first, second, number, may_change_step)
    _check_same_cell(first, second, number)
    keep = repeated_from(first.fractional, second.fractional[:, :, 0], first.mean_cell)
    if keep == 0:
        raise InputError(
            f"segment {number} starts with the first frame of those before: the same piece twice, "
            "or a run begun anew; give each piece once"
        )
    kept = first.fractional[:, :, :keep]
    # Each segment is unwrapped on its own: whole cells may lie between the two.
    shift = np.rint(kept[:, :, -1] - second.fractional[:, :, 0]).astype(np.float64)
    check_gap(kept, second.fractional, shift, first.mean_cell, number)
    dtype = np.result_type(first.fractional, second.fractional)
    joined = allocate((first.n_ions, 3, keep + second.n_frames), dtype)
    joined[:, :, :keep] = kept
    for ion, path in enumerate(second.fractional):
        joined[ion, :, keep:] = path + shift[ion, :, None].astype(path.dtype)
    return replace(
        first,
        fractional=joined,
        cell=_joined_cells(first, keep, second),
        notes=first.notes + second.notes,
        steps=_joined_steps(first, second),
    )


def _check_same_run(
    first: Trajectory, second: Trajectory, number: int, may_change_step: bool
) -> None:
    """Refuse segments that can't be of one run, naming both values."""
    if first.species != second.species:
        raise InputError(
            f"segment {number} is {formula(second.species)}, the ones before are "
            f"{formula(first.species)}: other species or another order of ions"
        )
    if not np.isclose(first.timestep_fs, second.timestep_fs, rtol=1e-3):
        raise InputError(
            f"segment {number} has {second.timestep_fs:g} fs between frames, the ones before "
            f"{first.timestep_fs:g}; take every n-th frame of the finer one"
        )
    values = [("temperature", "K", first.temperature_k, second.temperature_k)]
    if not may_change_step:
        values.append(("time step", "fs", first.md_timestep_fs, second.md_timestep_fs))
    for what, unit, mine, other in values:
        if mine is not None and other is not None and not np.isclose(mine, other, rtol=1e-3):
            raise InputError(
                f"segment {number} has a {what} of {other:g} {unit}, the ones before {mine:g} "
                f"{unit}; analyse them apart"
            )
    if first.steps is None or second.steps is None:
        return
    stride = (first.steps[1] - first.steps[0]) / max(first.n_frames - 1, 1)
    start, last = second.steps[0], first.steps[1]
    numbered_anew = start <= max(stride, 1) or start <= first.steps[0]
    if not numbered_anew and start > last + 1.001 * max(stride, 1):
        raise InputError(
            f"segment {number} starts at step {start}, the one before ends at {last} (frames are "
            f"{stride:g} apart): a piece is missing; give all segments in order"
        )
    if start < first.steps[0]:
        raise InputError(
            f"segment {number} starts at step {start}, before the first one ({first.steps[0]}); "
            "give the segments in order"
        )


def _joined_steps(first: Trajectory, second: Trajectory) -> tuple[int, int] | None:
    """Numbers of the whole, if the second goes on counting."""
    if first.steps is None or second.steps is None or second.steps[0] <= first.steps[0]:
        return None
    return first.steps[0], second.steps[1]


def _check_same_cell(first: Trajectory, second: Trajectory, number: int) -> None:
    if first.cell.ndim == 3 or second.cell.ndim == 3:
        return
    difference = float(np.abs(first.cell - second.cell).max())
    if difference > _SAME_CELL_ANGSTROM:
        raise InputError(
            f"the cell of segment {number} differs by {difference:.3g} Angstrom from the one "
            "before; analyse the segments apart"
        )


def _joined_cells(first: Trajectory, keep: int, second: Trajectory) -> NDArray[np.float64]:
    if first.cell.ndim == 2 and second.cell.ndim == 2:
        return first.cell
    parts = [
        segment.cell[:count]
        if segment.cell.ndim == 3
        else np.broadcast_to(segment.cell, (count, 3, 3))
        for segment, count in ((first, keep), (second, second.n_frames))
    ]
    return np.concatenate(parts)
