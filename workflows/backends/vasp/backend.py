"""VASP through atomate2's makers, unmodified."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from atomate2.vasp.flows.core import DoubleRelaxMaker
from atomate2.vasp.flows.phonons import PhononMaker
from atomate2.vasp.jobs.base import BaseVaspMaker
from atomate2.vasp.jobs.core import StaticMaker
from atomate2.vasp.jobs.phonons import PhononDisplacementMaker
from atomate2.vasp.run import DEFAULT_HANDLERS
from atomate2.vasp.sets.core import MDSetGenerator
from custodian.vasp.handlers import FrozenJobErrorHandler
from jobflow import Flow, Job, OutputReference
from pymatgen.core import SETTINGS, Structure

from ionsieve.errors import InputError
from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.backends.vasp.continuation import (
    BatchLimitHandler,
    MDInPieces,
    RelaxInPieces,
    TightRelaxInPieces,
)

_Maker = TypeVar("_Maker", bound=BaseVaspMaker)

#: Of a molecular dynamics run only the last ionic step goes into the document: thousands of them
#: would take minutes to parse, and pass MongoDB's limit of 16 MB. Positions are in XDATCAR,
#: energies and temperatures in OSZICAR.
_LAST_STEP_ONLY = {"store_trajectory": "no", "vasprun_kwargs": {"ionic_step_offset": -1}}


def tethered(command: str) -> str:
    """Return a command line that ends the command when the worker that started it dies."""
    script = Path(__file__).parents[1] / "tether.py"
    return f"{shlex.join([sys.executable, '-S', '-E', str(script)])} {command}"


def _double_relaxation(maker: DoubleRelaxMaker, structure: Structure, name: str) -> Flow:
    """Return the maker's flow, built without checks that take a second."""
    assert maker.relax_maker1 is not None
    first = maker.relax_maker1.make(structure)
    output = fields(first.output)
    second = maker.relax_maker2.make(output.structure, prev_dir=output.dir_name)
    first.name += " 1"
    second.name += " 2"
    return Flow([first, second], output=second.output, name=name)


@dataclass(frozen=True)
class VaspSettings:
    """How VASP is started and what it is told.

    Attributes
    ----------
    vasp_cmd, vasp_gamma_cmd
        Command lines with their MPI launcher; environment variables are expanded.
    incar
        Tags that override atomate2's, for all calculations.
    md_incar
        Further tags for molecular dynamics.
    kpoints
        Mesh settings of pymatgen's input sets instead of atomate2's; None keeps those.
    potcar_spec
        Write the potentials' names only.
    walltime_seconds, walltime_buffer_seconds
        VASP is asked to stop so many seconds before the limit, and goes on in another job.
    double_relax
        Relax twice: the basis set changes with the cell.
    custodian
        Arguments of ``custodian.Custodian``.
    phonon_cell_angstrom
        Shortest edge of the supercells in which ions are displaced.
    frozen_after_seconds
        A run that writes nothing for so long is stopped and repaired; None keeps six hours.
    """

    vasp_cmd: str = "vasp_std"
    vasp_gamma_cmd: str = "vasp_gam"
    incar: Mapping[str, Any] = field(default_factory=dict)
    md_incar: Mapping[str, Any] = field(default_factory=dict)
    kpoints: Mapping[str, Any] | None = None
    potcar_spec: bool = False
    walltime_seconds: int | None = None
    walltime_buffer_seconds: int = 300
    double_relax: bool = True
    custodian: Mapping[str, Any] = field(default_factory=dict)
    phonon_cell_angstrom: float = 20.0
    frozen_after_seconds: float | None = None


class VaspBackend:
    """Jobs of VASP; see :class:`.Backend` for what each method returns."""

    def __init__(self, settings: VaspSettings) -> None:
        self.settings = settings

    def check(self) -> None:
        """Find out whether VASP and its potentials are there.

        Raises
        ------
        InputError
            A command isn't on the PATH, or there are no potentials.
        """
        for option in ("vasp_cmd", "vasp_gamma_cmd"):
            command = os.path.expandvars(getattr(self.settings, option))
            words = shlex.split(command)
            if not words:
                raise InputError(f"backend.{option} is empty; give the command that starts VASP")
            for word in {words[0], words[-1]}:
                if shutil.which(word) is None:
                    raise InputError(
                        f"backend.{option} = '{command}': '{word}' is not on the PATH; load its "
                        "module, or give its full path in screening.yaml"
                    )
        if not self.settings.potcar_spec:
            self._check_potentials()

    @staticmethod
    def _check_potentials() -> None:
        folder = SETTINGS.get("PMG_VASP_PSP_DIR")
        if not folder:
            raise InputError(
                "no VASP potentials: set PMG_VASP_PSP_DIR to their folder (pmg config --add "
                "PMG_VASP_PSP_DIR <folder>)"
            )
        if not Path(folder).expanduser().is_dir():
            raise InputError(
                f"PMG_VASP_PSP_DIR = {folder} is not a folder; correct it (pmg config --add "
                "PMG_VASP_PSP_DIR <folder>)"
            )

    def relax(self, structure: Structure, name: str = "relax") -> Job | Flow:
        """Return a relaxation of ions and cell; a flow of two jobs with ``double_relax``."""
        maker = self._configure(RelaxInPieces(name=name))
        if self.settings.double_relax:
            return _double_relaxation(DoubleRelaxMaker.from_relax_maker(maker), structure, name)
        return maker.make(structure)

    def static(
        self, structure: Structure | OutputReference, name: str = "static", prev_dir: Any = None
    ) -> Job:
        """Return a static calculation."""
        return self._configure(StaticMaker(name=name)).make(structure, prev_dir=prev_dir)

    def md(
        self,
        structure: Structure,
        temperature_k: float,
        timestep_fs: float,
        n_steps: int,
        continue_from: Any = None,
        name: str = "molecular dynamics",
        seed: int = 0,
        frame_interval: int = 1,
    ) -> Job:
        """Return one segment in the canonical ensemble (Nose-Hoover)."""
        generator = MDSetGenerator(
            ensemble="nvt",
            start_temp=temperature_k,
            end_temp=temperature_k,
            nsteps=n_steps,
            time_step=timestep_fs,
        )
        maker = MDInPieces(name=name, input_set_generator=generator, frame_interval=frame_interval)
        maker.task_document_kwargs = dict(_LAST_STEP_ONLY)
        tags = {"RANDOM_SEED": [seed, 0, 0], "NBLOCK": frame_interval, "LWAVE": False}
        maker = self._configure(maker, {**tags, **self._md_tags(n_steps)})
        if continue_from is None:
            return maker.make(structure)
        return maker.make(continue_from.structure, prev_dir=continue_from.dir_name)

    def _md_tags(self, n_steps: int) -> dict[str, Any]:
        """Return further tags of a segment."""
        return dict(self.settings.md_incar)

    def phonons(self, structure: Structure, name: str = "phonons") -> Flow:
        """Return atomate2's phonon flow without Born charges."""
        maker = PhononMaker(
            name=name,
            bulk_relax_maker=self._configure(TightRelaxInPieces()),
            static_energy_maker=self._configure(StaticMaker()),
            phonon_displacement_maker=self._configure(PhononDisplacementMaker()),
            min_length=self.settings.phonon_cell_angstrom,
            born_maker=None,
            kpath_scheme="seekpath",
        )
        return maker.make(structure)

    def _configure(self, maker: _Maker, tags: Mapping[str, Any] | None = None) -> _Maker:
        """Return the maker with this backend's commands and tags."""
        settings = self.settings
        run = dict(maker.run_vasp_kwargs)
        run["vasp_cmd"] = tethered(settings.vasp_cmd)
        run["vasp_gamma_cmd"] = tethered(settings.vasp_gamma_cmd)
        run["custodian_kwargs"] = dict(settings.custodian)
        handlers = list(run.get("handlers", DEFAULT_HANDLERS))
        if settings.frozen_after_seconds is not None:
            frozen = FrozenJobErrorHandler(timeout=settings.frozen_after_seconds)
            handlers = [frozen if isinstance(h, FrozenJobErrorHandler) else h for h in handlers]
        limit = BatchLimitHandler(settings.walltime_seconds, settings.walltime_buffer_seconds)
        run["handlers"] = [*handlers, limit]
        generator = maker.input_set_generator
        incar = {**generator.user_incar_settings, **(tags or {}), **settings.incar}
        changes: dict[str, Any] = {"user_incar_settings": incar}
        if settings.kpoints is not None:
            changes["user_kpoints_settings"] = dict(settings.kpoints)
        return replace(
            maker,
            run_vasp_kwargs=run,
            input_set_generator=replace(generator, **changes),
            write_input_set_kwargs={"potcar_spec": settings.potcar_spec},
        )
