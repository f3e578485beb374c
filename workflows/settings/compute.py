"""The sections that say how and where the work is done; they change no result."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import Command, PathText, Section, Word


def _as_walltime(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", value):
        raise ValueError("give hours, minutes and seconds, such as '12:00:00'")
    return value


class Resources(Section):
    """What one batch job asks the scheduler for."""

    nodes: int = setting("runs", 1, "nodes", ge=1, le=100_000)
    ranks: int = setting(
        "runs", 1, "MPI processes in total, the same on each node", ge=1, le=10_000_000
    )
    walltime: Annotated[str | None, BeforeValidator(_as_walltime)] = setting(
        "runs", None, "HH:MM:SS; VASP is stopped cleanly before it and continued"
    )
    account: Word | None = setting("runs", None, "who pays")
    queue: Word | None = setting("runs", None, "queue or partition")

    @model_validator(mode="after")
    def _check_ranks(self) -> Resources:
        if self.ranks % self.nodes:
            raise ValueError(f"{self.ranks} ranks don't share out evenly on {self.nodes} nodes")
        return self

    @property
    def walltime_seconds(self) -> int | None:
        """The wall time in seconds."""
        if self.walltime is None:
            return None
        hours, minutes, seconds = (int(part) for part in self.walltime.split(":"))
        return 3600 * hours + 60 * minutes + seconds


#: A class of jobs of like size, each with its resources.
JobSize = Literal["small", "ranking", "relaxation", "short_md", "long_md"]


class StageResources(Section):
    """Resources of each kind of job; a small one analyses or stores, on one core."""

    small: Resources = Resources()
    ranking: Resources = Resources()
    relaxation: Resources = Resources()
    short_md: Resources = Resources()
    long_md: Resources = Resources()


class Compute(Section):
    """How the work is done on this machine or a cluster."""

    workers: int = setting("runs", 2, "jobs at the same time, on this machine", ge=1, le=1024)
    work_dir: PathText = setting("runs", "work", "folder of the calculations, on this machine")
    launchpad: PathText | None = setting(
        "runs", None, "FireWorks' my_launchpad.yaml; where ionsieve submit sends the jobs"
    )
    mpi_launcher: Command = setting(
        "runs", "mpiexec -n {ranks}", "starts a ranking of more than one rank"
    )
    walltime_buffer_seconds: int = setting(
        "runs", 300, "VASP is told to stop this long before the wall time", ge=1, le=86_400
    )
    resources: StageResources = setting(
        "runs",
        StageResources(),
        "of each kind of job: nodes, ranks (in total), walltime (HH:MM:SS, VASP is "
        "stopped cleanly before it and continued), account, queue",
    )

    @field_validator("mpi_launcher")
    @classmethod
    def _check_launcher(cls, value: str) -> str:
        # Some launchers, such as srun, know the number themselves.
        if set(value.replace("{ranks}", "")) & {"{", "}"}:
            raise ValueError("write the number of ranks as {ranks}, as in mpiexec -n {ranks}")
        return value

    @model_validator(mode="after")
    def _check_walltimes(self) -> Compute:
        for name, resources in self.resources:
            seconds = resources.walltime_seconds
            if seconds is not None and seconds < 2 * self.walltime_buffer_seconds:
                raise ValueError(
                    f"resources.{name}.walltime {resources.walltime} leaves no time for work: VASP "
                    f"stops {self.walltime_buffer_seconds} s before it (walltime_buffer_seconds)"
                )
        return self
