"""Calculations that stop before the batch job's limit and go on in the next job.

Custodian's walltime handler asks VASP to stop after the present ionic step. Atomate2 would take
what is there for the result (relaxation) or for a failure (molecular dynamics); the makers here
replace the job by its continuation instead, as often as needed.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from atomate2.vasp.jobs.base import BaseVaspMaker, vasp_job
from atomate2.vasp.jobs.core import RelaxMaker, StaticMaker, TightRelaxMaker
from atomate2.vasp.jobs.md import MDMaker
from atomate2.vasp.jobs.phonons import PhononDisplacementMaker
from atomate2.vasp.run import should_stop_children
from custodian.vasp.handlers import WalltimeHandler
from jobflow import Response
from monty.io import zopen
from monty.os.path import zpath
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.vasp.failures import explained, unconverged
from ionsieve.workflows.backends.vasp.reading import EARLIER_PIECES, earlier_pieces

#: So many pieces of one step each mean that it will never end.
_TOO_SHORT_PIECES = 3
_START_VARIABLE = "CUSTODIAN_WALLTIME_START"
_SOFT_STOP = "soft stop encountered"
_CONVERGED = "reached required accuracy"


class BatchLimitHandler(WalltimeHandler):
    """Custodian's walltime handler, which also obeys the scheduler's signal.

    The limit counts from ``CUSTODIAN_WALLTIME_START`` if the batch script sets it, otherwise from
    the start of this job; SIGUSR1 (``sbatch --signal``) means that the limit is near.

    Parameters
    ----------
    wall_time
        Seconds; None takes what PBS or Slurm tell in the environment, if anything.
    buffer_time
        Seconds before the limit at which VASP is asked to stop.
    """

    def __init__(self, wall_time: int | None = None, buffer_time: int = 300) -> None:
        is_given = _START_VARIABLE in os.environ
        super().__init__(wall_time=wall_time, buffer_time=buffer_time)
        if not is_given:
            # Custodian leaves its own start there, and later jobs of this process would count from
            # it.
            os.environ.pop(_START_VARIABLE, None)
        self._is_signalled = False

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Return the handler of a job that starts now, listening for the signal."""
        handler = cast("Self", super().from_dict(d))
        handler.listen()
        return handler

    def listen(self) -> None:
        """Begin to obey the signal; what came earlier was for another job."""
        self._is_signalled = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._note_signal)

    def _note_signal(self, *_: Any) -> None:
        self._is_signalled = True

    def check(self, directory: str = "./") -> bool:
        """Tell whether VASP has to stop now."""
        return self._is_signalled or bool(super().check(directory))


def _in_pieces(maker: BaseVaspMaker, structure: Structure, prev_dir: Any) -> Response:
    """Run one piece as atomate2 does; replace the job by the next piece if it was cut short."""
    for handler in maker.run_vasp_kwargs.get("handlers", ()):
        if isinstance(handler, BatchLimitHandler):
            handler.listen()
    patient = replace(maker, stop_children_kwargs={"handle_unsuccessful": False})
    response = _computed(patient, structure, prev_dir)
    document = response.output
    folder = Path.cwd()
    if not _contains(folder, _SOFT_STOP):
        return _judged(maker, response)
    pieces = [*earlier_pieces(folder), (str(folder), _count_steps(folder))]
    if isinstance(maker, MDInPieces):
        changes = maker.remaining(pieces)
    else:
        changes = None if _contains(folder, _CONVERGED) else {}
    if changes is None:
        return response
    _check_progress(pieces)
    # A colon stands for the dot: the keys of stored documents can't have one.
    earlier = {EARLIER_PIECES.replace(".", ":"): pieces}
    next_maker = replace(maker, write_additional_data=earlier, **changes)
    return Response(
        output=document,
        stored_data=response.stored_data,
        replace=next_maker.make(document.structure, prev_dir=document.dir_name),
    )


def _at_once(maker: BaseVaspMaker, structure: Structure, prev_dir: Any) -> Response:
    """Run a calculation of one ionic step as atomate2 does."""
    patient = replace(maker, stop_children_kwargs={"handle_unsuccessful": False})
    return _judged(maker, _computed(patient, structure, prev_dir))


def _computed(maker: BaseVaspMaker, structure: Structure, prev_dir: Any) -> Response:
    with explained():
        response: Response = BaseVaspMaker.make.original(maker, structure, prev_dir)
    return response


def _judged(maker: BaseVaspMaker, response: Response) -> Response:
    """Let atomate2 decide what becomes of a calculation that did not converge; say why."""
    try:
        stops = should_stop_children(response.output, **maker.stop_children_kwargs)
    except RuntimeError as error:
        raise unconverged(Path.cwd()) from error
    response.stop_children = stops
    return response


@dataclass
class Static(StaticMaker):
    """Atomate2's static calculation; its failures speak to the user."""

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response:
        """Run a static calculation."""
        return _at_once(self, structure, prev_dir)


@dataclass
class Displacement(PhononDisplacementMaker):
    """Atomate2's static calculation of displaced ions; its failures speak to the user."""

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response:
        """Run a static calculation."""
        return _at_once(self, structure, prev_dir)


@dataclass
class RelaxInPieces(RelaxMaker):
    """Atomate2's relaxation, continued where the batch job's limit stopped it."""

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response:
        """Run a relaxation, or what is left of one."""
        return _in_pieces(self, structure, prev_dir)


@dataclass
class TightRelaxInPieces(TightRelaxMaker):
    """Atomate2's tight relaxation, continued where the batch job's limit stopped it."""

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response:
        """Run a relaxation, or what is left of one."""
        return _in_pieces(self, structure, prev_dir)


@dataclass
class MDInPieces(MDMaker):
    """Atomate2's molecular dynamics, continued where the batch job's limit stopped it.

    Parameters
    ----------
    frame_interval
        Steps between frames of the trajectory, counted from the start of the first piece.
    """

    frame_interval: int = 1

    @vasp_job
    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Response:
        """Run molecular dynamics, or what is left of it."""
        return _in_pieces(self, structure, prev_dir)

    def remaining(self, pieces: Sequence[tuple[str, int]]) -> dict[str, Any] | None:
        """Return what the maker of the steps that are left has different; None if none are.

        Frames are written as often as it takes to meet the interval again.

        Parameters
        ----------
        pieces
            Folder and number of steps of each piece so far, this maker's last.
        """
        generator = self.input_set_generator
        n_left = generator.nsteps - pieces[-1][1]
        if n_left <= 0:
            return None
        n_before = sum(n_steps for _, n_steps in pieces)
        block = math.gcd(self.frame_interval, n_before)
        tags = {**generator.user_incar_settings, "NBLOCK": block}
        changed = replace(generator, nsteps=n_left, user_incar_settings=tags)
        return {"input_set_generator": changed}


def _check_progress(pieces: Sequence[tuple[str, int]]) -> None:
    """Give up where the limit leaves no time, instead of going on for ever."""
    last = [n_steps for _, n_steps in pieces[-_TOO_SHORT_PIECES:]]
    if len(last) == _TOO_SHORT_PIECES and max(last) <= 1:
        raise IonSieveError(
            f"{_TOO_SHORT_PIECES} batch jobs one after the other had time for a single ionic step; "
            "raise the wall time under compute.resources"
        )


def _contains(folder: Path, words: str) -> bool:
    with zopen(zpath(str(folder / "OUTCAR")), "rt", encoding="utf-8") as file:
        return any(words in str(line) for line in file)


def _count_steps(folder: Path) -> int:
    """Return the ionic steps of a relaxation or a molecular dynamics run; both write F=."""
    with zopen(zpath(str(folder / "OSZICAR")), "rt", encoding="utf-8") as file:
        return sum(" F= " in str(line) for line in file)
