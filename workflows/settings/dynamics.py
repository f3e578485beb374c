"""The sections of molecular dynamics: the short run, the long run, further temperatures."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import Section

_TIMESTEP = "time step; 10 fs is too long for oxoanions and hydrogen"
_LENGTH = "length of the run, equilibration included"
_EQUILIBRATION = "discarded at the start"
_SEGMENT = "length of one restartable job"
_LOOK = "new data between two looks of the gate, rounded up to whole segments"

#: From next to nothing to where all solids are molten.
_TEMPERATURES = {"ge": 1, "le": 5000}
#: From muons to beyond the fastest phonon.
_TIMESTEPS = {"ge": 0.01, "le": 20}
_LONGEST_PS = 100_000
_MAX_SEGMENTS = 10_000
#: Fewer say nothing about diffusion.
_MIN_FRAMES = 10
#: Closer ones are the same point of an Arrhenius fit.
_SAME_TEMPERATURE_K = 1.0


class MolecularDynamics(Section):
    """One molecular dynamics stage."""

    temperature_k: float = setting("computes", 300.0, "of the thermostat", **_TEMPERATURES)
    timestep_fs: float = setting("computes", description=_TIMESTEP, **_TIMESTEPS)
    length_ps: float = setting("extends", description=_LENGTH, gt=0, le=_LONGEST_PS)
    equilibration_ps: float = setting("analyses", description=_EQUILIBRATION, ge=0)
    segment_ps: float = setting("runs", description=_SEGMENT, gt=0)
    max_length_ps: float | None = setting(
        "extends",
        None,
        "longest run where the gate asks for more; null: twice length_ps; as length_ps: never more",
        gt=0,
        le=_LONGEST_PS,
    )
    stop_early: bool = setting(
        "extends",
        True,
        "end before length_ps once the whole 95 % interval lies on one side of "
        "min_sigma_s_cm, or the framework breaks",
    )
    look_ps: float = setting("extends", description=_LOOK, gt=0)
    min_sigma_s_cm: float = setting(
        "judges", 1e-3, "conductivity wanted at the run's temperature", gt=0, le=1e3
    )
    frame_fs: float = setting(
        "computes", 10.0, "time between stored positions, rounded to whole steps", gt=0
    )
    # VASP takes no larger one.
    seed: int = setting("computes", 0, "of the starting velocities", ge=0, le=900_000_000)

    @property
    def frame_interval(self) -> int:
        """Steps between stored positions."""
        return max(1, round(self.frame_fs / self.timestep_fs))

    @property
    def n_segments(self) -> int:
        """Segments of a run of the set length."""
        return math.ceil(self.length_ps / self.segment_ps - 1e-9)

    @property
    def n_segments_longest(self) -> int:
        """Segments of the longest run."""
        return math.floor(self._longest_ps / self.length_ps * self.n_segments + 1e-9)

    @property
    def _longest_ps(self) -> float:
        return 2 * self.length_ps if self.max_length_ps is None else self.max_length_ps

    @model_validator(mode="after")
    def _check_lengths(self) -> MolecularDynamics:
        length = f"length_ps {self.length_ps:g}"
        if self.max_length_ps is not None and self.max_length_ps < self.length_ps:
            raise ValueError(
                f"max_length_ps {self.max_length_ps:g} is below {length}; raise it, or leave it out"
            )
        if self.equilibration_ps >= self.length_ps:
            raise ValueError(
                f"equilibration_ps {self.equilibration_ps:g} leaves nothing of {length}; lower it"
            )
        if self.segment_ps > self.length_ps and not self.is_default("segment_ps"):
            raise ValueError(f"segment_ps {self.segment_ps:g} is above {length}; lower it")
        if self.look_ps > self._longest_ps and not self.is_default("look_ps"):
            raise ValueError(
                f"look_ps {self.look_ps:g} is above the longest run, {self._longest_ps:g} ps; "
                "lower it"
            )
        if self.n_segments_longest > _MAX_SEGMENTS:
            raise ValueError(
                f"segment_ps {self.segment_ps:g} makes {self.n_segments_longest} jobs of one run, "
                f"at most {_MAX_SEGMENTS}; raise it"
            )
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> MolecularDynamics:
        segment_fs, step = 1e3 * self.segment_ps, f"timestep_fs {self.timestep_fs:g}"
        if segment_fs < self.timestep_fs:
            raise ValueError(f"segment_ps {self.segment_ps:g} is shorter than {step}; raise it")
        # Half a step rounds to a whole one.
        if self.frame_fs < self.timestep_fs / 2 and not self.is_default("frame_fs"):
            raise ValueError(f"frame_fs {self.frame_fs:g} is shorter than {step}; raise it")
        if self.frame_fs > segment_fs:
            raise ValueError(
                f"frame_fs {self.frame_fs:g} is longer than segment_ps {self.segment_ps:g}; "
                "lower it"
            )
        n_frames = 1e3 * (self.length_ps - self.equilibration_ps) / self.frame_fs
        if n_frames < _MIN_FRAMES:
            raise ValueError(
                f"frame_fs {self.frame_fs:g} leaves {n_frames:.3g} frames after equilibration, at "
                f"least {_MIN_FRAMES} are needed; lower it"
            )
        return self


class ShortMD(MolecularDynamics):
    """The short diagnosis."""

    timestep_fs: float = setting("computes", 10.0, _TIMESTEP, **_TIMESTEPS)
    length_ps: float = setting("extends", 100.0, _LENGTH, gt=0, le=_LONGEST_PS)
    equilibration_ps: float = setting("analyses", 5.0, _EQUILIBRATION, ge=0)
    segment_ps: float = setting("runs", 25.0, _SEGMENT, gt=0)
    look_ps: float = setting("extends", 25.0, _LOOK, gt=0)
    min_sigma_s_cm: float = setting(
        "judges", 1e-3, "conductivity at 300 K that must still seem possible", gt=0, le=1e3
    )


class LongMD(MolecularDynamics):
    """The long diagnosis."""

    timestep_fs: float = setting("computes", 1.0, _TIMESTEP, **_TIMESTEPS)
    length_ps: float = setting("extends", 250.0, _LENGTH, gt=0, le=_LONGEST_PS)
    equilibration_ps: float = setting("analyses", 10.0, _EQUILIBRATION, ge=0)
    segment_ps: float = setting("runs", 10.0, _SEGMENT, gt=0)
    look_ps: float = setting("extends", 50.0, _LOOK, gt=0)
    max_relative_error: float = setting(
        "judges", 0.5, "half width of the 95 % interval of D over D; larger fails", gt=0, le=10
    )


class Arrhenius(Section):
    """Further temperatures for the conductors, to reach 300 K by an Arrhenius fit."""

    temperatures_k: list[Annotated[float, Field(**_TEMPERATURES)]] = setting(
        "extends",
        description="besides the long run's own; empty: no fit",
        default_factory=list,
        max_length=20,
    )

    @field_validator("temperatures_k")
    @classmethod
    def _check_different(cls, value: list[float]) -> list[float]:
        for number, temperature in enumerate(value):
            check_apart(temperature, value[:number], "is given twice")
        return value


def check_apart(temperature_k: float, others: list[float], what: str) -> None:
    """Raise ValueError if a temperature is within 1 K of another."""
    if any(abs(temperature_k - other) < _SAME_TEMPERATURE_K for other in others):
        raise ValueError(f"{temperature_k:g} K {what}; remove it")
