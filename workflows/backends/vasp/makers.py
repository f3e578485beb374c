"""Atomate2's makers, told how VASP is started and what a screening overrides.

Importing atomate2 takes seconds: import this module where jobs are made.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from atomate2.vasp.flows.phonons import PhononMaker
from atomate2.vasp.jobs.base import BaseVaspMaker
from atomate2.vasp.run import DEFAULT_HANDLERS
from atomate2.vasp.sets.core import MDSetGenerator
from custodian.vasp.handlers import FrozenJobErrorHandler
from jobflow import Flow, Job, OutputReference
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.protocol import Checkpoint, Limits, MDSpec
from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.backends.vasp.continuation import (
    BatchLimitHandler,
    Displacement,
    MDInPieces,
    RelaxInPieces,
    Static,
    TightRelaxInPieces,
)
from ionsieve.workflows.backends.vasp.reading import local_path
from ionsieve.workflows.backends.vasp.settings import Execution

_Maker = TypeVar("_Maker", bound=BaseVaspMaker)

#: Of a molecular dynamics run only the last ionic step goes into the document: thousands of them
#: would take minutes to parse, and pass MongoDB's limit of 16 MB. Positions are in XDATCAR,
#: energies and temperatures in OSZICAR.
_LAST_STEP_ONLY = {"store_trajectory": "no", "vasprun_kwargs": {"ionic_step_offset": -1}}


def _tethered(command: str) -> str:
    """Return a command line that ends the command when the worker that started it dies."""
    script = Path(__file__).parents[1] / "tether.py"
    return f"{shlex.join([sys.executable, '-S', '-E', str(script)])} {command}"


@dataclass(frozen=True)
class Makers:
    """Makes atomate2's jobs.

    Attributes
    ----------
    vasp_cmd, vasp_gamma_cmd
        Command lines; environment variables are expanded.
    incar
        Tags that override atomate2's, for all calculations.
    limits
        VASP is asked to stop before them, and goes on in another job.
    execution
        How calculations are carried out.
    """

    vasp_cmd: str
    vasp_gamma_cmd: str
    incar: Mapping[str, Any]
    limits: Limits
    execution: Execution

    def relax(self, structure: Structure, name: str, n_times: int) -> list[Job]:
        """Return relaxations, each from where the one before ended."""
        maker = self._configure(RelaxInPieces(name=name))
        jobs = [maker.make(structure)]
        while len(jobs) < n_times:
            output = fields(jobs[-1].output)
            jobs.append(maker.make(output.structure, prev_dir=output.dir_name))
        if n_times > 1:
            for number, job in enumerate(jobs, start=1):
                job.name += f" {number}"
        return jobs

    def static(
        self, structure: Structure | OutputReference, name: str, prev_dir: OutputReference | None
    ) -> Job:
        """Return a static calculation."""
        return self._configure(Static(name=name)).make(structure, prev_dir=prev_dir)

    def md(self, spec: MDSpec, start: Structure | Checkpoint, name: str) -> Job:
        """Return one segment in the canonical ensemble (Nose-Hoover)."""
        maker: Any = self._md_maker(spec, name)
        if isinstance(start, Structure):
            return maker.make(start)
        if not start.is_stored:
            return maker.make(start.structure, prev_dir=start.folder)
        # What atomate2 would have read from the folder is kept in the checkpoint.
        assert isinstance(start.structure, dict)
        assert isinstance(start.files, dict)
        kept = dict(Incar.from_str(start.files["INCAR"]))
        generator = maker.input_set_generator
        tags = {**kept, **generator.user_incar_settings}
        maker = replace(maker, input_set_generator=replace(generator, user_incar_settings=tags))
        return maker.make(Structure.from_dict(start.structure))

    def tags_after(self, end: Checkpoint) -> str:
        """Return, as the text of an INCAR, what a segment's outputs decide for the next one.

        Atomate2 takes smearing and spin (and, where a user lets it inherit, all tags) from the
        calculation before. The difference between its INCAR with and without that calculation is
        what a run must know to go on as it would from the folder.

        Raises
        ------
        IonSieveError
            The folder is gone or incomplete.
        """
        assert isinstance(end.structure, dict)
        folder = local_path(str(end.folder))
        structure = Structure.from_dict(end.structure)
        # Temperature, step and length are set anew for each segment.
        spec = MDSpec(temperature_k=300.0, timestep_fs=1.0, n_steps=1)
        without, informed = (
            dict(
                self._md_maker(spec, "")
                .input_set_generator.get_input_set(structure, prev_dir=prev_dir, potcar_spec=True)
                .incar
            )
            for prev_dir in (None, _complete(folder))
        )
        return str(Incar({k: v for k, v in informed.items() if without.get(k) != v}))

    def phonons(self, structure: Structure, name: str) -> Flow:
        """Return atomate2's phonon flow without Born charges."""
        maker = PhononMaker(
            name=name,
            bulk_relax_maker=self._configure(TightRelaxInPieces()),
            static_energy_maker=self._configure(Static()),
            phonon_displacement_maker=self._configure(Displacement()),
            min_length=self.execution.phonon_cell_angstrom,
            born_maker=None,
            kpath_scheme="seekpath",
        )
        return maker.make(structure)

    def _md_maker(self, spec: MDSpec, name: str) -> MDInPieces:
        generator = MDSetGenerator(
            ensemble="nvt",
            start_temp=spec.temperature_k,
            end_temp=spec.temperature_k,
            nsteps=spec.n_steps,
            time_step=spec.timestep_fs,
        )
        maker = MDInPieces(
            name=name, input_set_generator=generator, frame_interval=spec.frame_interval
        )
        maker.task_document_kwargs = dict(_LAST_STEP_ONLY)
        tags: dict[str, Any] = {"RANDOM_SEED": [spec.seed, 0, 0], "NBLOCK": spec.frame_interval}
        if self.execution.n_full_records is not None:
            tags["ML_OUTBLOCK"] = max(1, spec.n_steps // self.execution.n_full_records)
        return self._configure(maker, {**tags, "LWAVE": False})

    def _configure(self, maker: _Maker, tags: Mapping[str, Any] | None = None) -> _Maker:
        """Return the maker with this backend's commands and tags."""
        execution = self.execution
        run = dict(maker.run_vasp_kwargs)
        run["vasp_cmd"] = _tethered(self.vasp_cmd)
        run["vasp_gamma_cmd"] = _tethered(self.vasp_gamma_cmd)
        run["custodian_kwargs"] = dict(execution.custodian)
        handlers = list(run.get("handlers", DEFAULT_HANDLERS))
        if execution.frozen_after_seconds is not None:
            frozen = FrozenJobErrorHandler(timeout=execution.frozen_after_seconds)
            handlers = [frozen if isinstance(h, FrozenJobErrorHandler) else h for h in handlers]
        limit = BatchLimitHandler(self.limits.walltime_seconds, self.limits.buffer_seconds)
        run["handlers"] = [*handlers, limit]
        generator = maker.input_set_generator
        incar = {**generator.user_incar_settings, **(tags or {}), **self.incar}
        changes: dict[str, Any] = {"user_incar_settings": incar}
        if execution.kpoints is not None:
            changes["user_kpoints_settings"] = dict(execution.kpoints)
        return replace(
            maker,
            run_vasp_kwargs=run,
            input_set_generator=replace(generator, **changes),
            write_input_set_kwargs={"potcar_spec": execution.potcar_spec},
        )


def _complete(folder: Path) -> Path:
    """Return the folder of a finished calculation, or say what it lacks."""
    for name in ("INCAR", "OUTCAR", "vasprun.xml"):
        if not any((folder / f"{name}{end}").exists() for end in ("", ".gz")):
            raise IonSieveError(
                f"{folder}: no {name} of the finished segment, so that the run can't go on; "
                "repeat the segment"
            )
    return folder
