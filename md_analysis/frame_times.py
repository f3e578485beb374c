"""When the frames of a file were written: what step numbers and times tell, checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.read_options import ReadOptions

#: Times in files are rounded; two that differ by less than this share are the same.
SAME_TIME = 2e-3

#: Shortest step of an integrator; "time between frames" was mistaken for the step if it would be
#: shorter. VASP's are longer than those of reactive force fields.
_SHORTEST_STEP_FS, _SHORTEST_VASP_STEP_FS = 0.2, 0.5

#: The same step written twice has the same positions, to the digits of the file (fractions).
_SAME_POSITION = 1e-4

Indices = NDArray[np.intp]


@dataclass
class FrameTimes:
    """Step numbers and times of the frames of a file, in the order they stand there.

    Attributes
    ----------
    path : Path
        The file, for messages.
    numbers_are : str
        What the file calls its numbers, e.g. ``configuration`` or ``step``.
    steps : list of int
        Numbers of MD steps, one per frame; empty if the file has none.
    times : list of float
        Times, one per frame; empty if the file has none.
    time_unit_fs : float or None
        Unit of the times; None if the file does not tell it.
    counts_frames : bool
        VASP's numbers: one apart, they may count frames instead of steps.
    """

    path: Path
    numbers_are: str = "step"
    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    time_unit_fs: float | None = None
    counts_frames: bool = False

    def arrange(
        self, fractional: NDArray[np.floating], twins: list[int]
    ) -> tuple[list[Indices], tuple[str, ...]]:
        """Return the frames to use, one array per numbering that starts anew, and notes.

        Frames that a restart wrote again are left out; so are copies.

        Parameters
        ----------
        fractional : (n_ions, 3, n_frames) float
        twins : list of int
            Frames that are exactly the one before.

        Raises
        ------
        InputError
            If frames are missing, or the interval between frames changes.
        """
        n_frames = fractional.shape[2]
        for name, known in (("time", self.times), (self.numbers_are, self.steps)):
            if len(known) not in (0, n_frames):
                raise InputError(
                    f"{len(known)} of the {n_frames} frames of {self.path} tell their {name}, the "
                    "others don't; write it in every frame"
                )
        if len(self.steps) != n_frames and len(self.times) != n_frames:
            return self._without_copies(n_frames, twins)
        stamps = self._stamps(n_frames)
        pieces, notes = self._split(stamps, fractional)
        for piece in pieces:
            self._check_even(stamps[piece])
            inside = np.intersect1d(piece, twins)
            if len(inside) and len(inside) < len(piece) - 1:
                raise InputError(
                    f"{self.path}: frames {inside[0]} and {inside[0] + 1} are the same "
                    f"({self.numbers_are} {stamps[inside[0] - 1]:g} and {stamps[inside[0]]:g}), "
                    f"and {len(inside)} frames in all are copies; write each frame once"
                )
        return pieces, notes

    def _stamps(self, n_frames: int) -> NDArray[np.float64]:
        """Times where there are any: the length of the step may change during a run."""
        known = self.times if len(self.times) == n_frames else self.steps
        return np.array(known, dtype=np.float64)

    def _without_copies(
        self, n_frames: int, twins: list[int]
    ) -> tuple[list[Indices], tuple[str, ...]]:
        """Leave out the few frames that a restart wrote twice."""
        everything = np.arange(n_frames)
        if not twins or len(twins) == n_frames - 1:  # nothing moves at all
            return [everything], ()
        if len(twins) > max(1, n_frames // 10):
            raise InputError(
                f"{len(twins)} of the {n_frames} frames of {self.path} are copies of the frame "
                "before, so the time between frames is not known; write each frame once"
            )
        return [np.setdiff1d(everything, twins)], (
            f"{len(twins)} frames that are copies of the one before are left out",
        )

    def _split(
        self, stamps: NDArray[np.float64], fractional: NDArray[np.floating]
    ) -> tuple[list[Indices], tuple[str, ...]]:
        """Cut where numbers go back: a restart, or another numbering."""
        repeated = self._repeated(stamps, fractional)
        frames = np.setdiff1d(np.arange(len(stamps)), repeated)
        notes = []
        if len(repeated):
            notes.append(f"{len(repeated)} frames that are there twice are used once")
        runs = np.split(frames, np.flatnonzero(np.diff(stamps[frames]) < 0) + 1)
        pieces = [runs[0]]
        for run in runs[1:]:
            before, first = pieces[-1], stamps[run[0]]
            begins_anew = first <= stamps[before[0]]
            if begins_anew and not _same(fractional, run[0], before[0]):
                pieces.append(run)
                notes.append(
                    f"the numbers start anew after {self.numbers_are} {stamps[before[-1]]:g}: "
                    "taken as the next piece of the same run"
                )
                continue
            kept = before[stamps[before] < first]
            pieces[-1] = np.concatenate([kept, run])
            notes.append(
                f"{len(before) - len(kept)} frames from {self.numbers_are} {first:g} on were "
                "written again by a restart: the later ones are used"
            )
        return pieces, tuple(notes)

    def _repeated(
        self, stamps: NDArray[np.float64], fractional: NDArray[np.floating]
    ) -> NDArray[np.intp]:
        again = np.flatnonzero(np.diff(stamps) == 0) + 1
        for frame in again:
            if not _same(fractional, frame, np.intp(frame - 1)):
                raise InputError(
                    f"{self.path} has {self.numbers_are} {stamps[frame]:g} twice, with other "
                    "positions; keep one of the two runs"
                )
        return again

    def _check_even(self, stamps: NDArray[np.float64]) -> None:
        """Refuse frames that are missing or an interval that changes."""
        intervals = np.diff(stamps)
        if not len(intervals):
            return
        usual = float(Counter(np.round(intervals, 6).tolist()).most_common(1)[0][0])
        room = SAME_TIME * usual + 2e-3 * bool(self.times)  # times are rounded to three digits
        odd = np.flatnonzero(np.abs(intervals - usual) > room)
        if not len(odd):
            return
        at = int(odd[0])
        name = "time" if len(self.times) else self.numbers_are
        seen = f"{name} {stamps[at]:g} is followed by {stamps[at + 1]:g}"
        apart = len(odd) == 1 or (np.diff(odd) > 1).all()
        if apart and (intervals[odd] > usual).all():
            raise InputError(
                f"frames are missing in {self.path}: {seen}, though frames are {usual:g} apart "
                f"({len(odd)} gaps); analyse the pieces apart"
            )
        raise InputError(
            f"the interval between frames of {self.path} changes: {seen}, elsewhere frames are "
            f"{usual:g} apart; write frames at one interval"
        )

    def interval(
        self, piece: Indices, options: ReadOptions
    ) -> tuple[float, float | None, tuple[str, ...]]:
        """Return the time between frames, the integrator's step (fs; None if unknown) and notes.

        Raises
        ------
        InputError
            If the file and the caller tell different times, or nobody tells any.
        """
        apart = self._steps_apart(piece)
        given, step_fs = options.timestep_fs, options.md_timestep_fs
        told: dict[str, float] = {}
        if len(self.times) and len(piece) > 1:
            times = np.array(self.times)[piece]
            mean = float(times[-1] - times[0]) / (len(piece) - 1)
            unit = self.time_unit_fs or self._guess_unit(mean, apart, options)
            if unit is not None:
                told[f"the times in {self.path.name}"] = mean * unit
        counted = apart == 1 and self.counts_frames and given is not None
        if step_fs is not None and apart is not None and not counted:
            told[f"{apart} steps between frames of {step_fs:g} fs each"] = apart * step_fs
        if given is not None:
            told["the time between frames as given (timestep_fs)"] = given
        if not told:
            raise InputError(self._what_to_give(apart))
        _check_agreement(told)
        frame_fs = next(iter(told.values()))
        if apart is None or apart == 1 or step_fs is not None:
            return frame_fs, step_fs, ()
        step_fs = frame_fs / apart
        if len(self.times):
            return frame_fs, step_fs, ()
        if step_fs < (_SHORTEST_VASP_STEP_FS if self.counts_frames else _SHORTEST_STEP_FS):
            raise InputError(
                f"frames of {self.path} are {apart} steps apart, so {frame_fs:g} fs between "
                f"frames would be steps of {step_fs:.3g} fs; give the step as md_timestep_fs "
                "(--md-timestep-fs)"
            )
        return frame_fs, step_fs, (f"frames are {apart} steps apart: steps of {step_fs:.3g} fs",)

    def _steps_apart(self, piece: Indices) -> int | None:
        if len(self.steps) < 2 or len(piece) < 2 or len(self.steps) <= piece[-1]:
            return None
        return self.steps[piece[1]] - self.steps[piece[0]]

    def _guess_unit(self, mean: float, apart: int | None, options: ReadOptions) -> float | None:
        """Return fs or ps for times without a unit, whichever suits what else is known.

        Raises
        ------
        InputError
            If neither does.
        """
        known = options.timestep_fs
        if known is None and apart is not None and options.md_timestep_fs is not None:
            known = apart * options.md_timestep_fs
        if known is None or mean <= 0:
            return None
        for unit in (1.0, 1e3):
            if abs(mean * unit / known - 1) < SAME_TIME:
                return unit
        raise InputError(
            f"the times in {self.path.name} are {mean:g} apart, {known:g} fs were given; "
            f"that is neither fs nor ps. Give the right time step, or correct the file"
        )

    def _what_to_give(self, apart: int | None) -> str:
        if apart is not None and (apart > 1 or not self.counts_frames):
            return (
                f"{self.path.name} tells the steps between frames ({apart}) but not their length; "
                "give md_timestep_fs (or timestep_fs)"
            )
        return f"{self.path.name} does not tell the time between frames; give timestep_fs"

    def first_and_last(self, piece: Indices) -> tuple[int, int] | None:
        """Return the first and last step number of a piece; None without numbers."""
        if not len(piece) or len(self.steps) <= piece[-1]:
            return None
        return self.steps[piece[0]], self.steps[piece[-1]]


def _same(fractional: NDArray[np.floating], frame: np.intp, other: np.intp) -> bool:
    difference = fractional[:, :, frame] - fractional[:, :, other]
    return bool(np.abs(difference - np.rint(difference)).max() < _SAME_POSITION)


def _check_agreement(told: dict[str, float]) -> None:
    (first, value), *others = told.items()
    for name, other in others:
        if abs(other / value - 1) > SAME_TIME:
            raise InputError(
                f"{first} make {value:g} fs between frames, {name} {other:g} fs; "
                "one of them is wrong"
            )
