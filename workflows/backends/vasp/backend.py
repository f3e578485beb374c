"""VASP through atomate2's makers, unmodified."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from jobflow import Job, OutputReference

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.backends.protocol import (
    Calculation,
    Checkpoint,
    Cost,
    Limits,
    MDCalculation,
    MDSpec,
    PhononCalculation,
)
from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.backends.vasp.settings import HOW_IT_RUNS, Execution, VaspSettings
from ionsieve.workflows.settings.schema import Relax

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from ionsieve.md_analysis import Trajectory
    from ionsieve.workflows.backends.vasp.makers import Makers

#: Tags as the outputs have them, wherever they were set (also in atomate2's own settings file).
_DECIDING_TAGS = ("ENCUT", "GGA", "IVDW", "LASPH", "LHFCALC", "METAGGA", "PREC")
#: Core hours of an ionic step of 200 ions, and how they grow with the number of ions.
_STEP_CORE_HOURS, _STEP_EXPONENT = 0.15, 2.5


class VaspBackend:
    """Jobs of VASP; see :class:`.Backend` for what each method returns.

    Parameters
    ----------
    settings
        The ``backend:`` section.
    relax
        The ``relax:`` section.
    limits
        Of the jobs.
    execution
        How calculations are carried out.
    """

    name: ClassVar[str] = "vasp"
    Settings: ClassVar[type[VaspSettings]] = VaspSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"relax", "static", "md", "phonons"})

    def __init__(
        self,
        settings: VaspSettings | None = None,
        relax: Relax | None = None,
        limits: Limits | None = None,
        execution: Execution | None = None,
    ) -> None:
        self.settings = settings or self.Settings()
        self._n_relaxations = 2 if (relax or Relax()).double_relax else 1
        self._limits = limits or Limits()
        self._execution = execution or Execution()

    @classmethod
    def create(cls, settings: Any, relax: Relax, limits: Limits) -> Self:
        """Return the backend with its settings, for jobs of some size."""
        return cls(settings, relax, limits)

    @property
    def commands(self) -> tuple[str, str]:
        """How VASP is started: in general, and for the Gamma point alone."""
        return self.settings.vasp_cmd, self.settings.vasp_gamma_cmd

    def check(self) -> None:
        """Find out whether VASP and its potentials are there.

        Raises
        ------
        InputError
            A command isn't on the PATH, or there are no potentials.
        """
        for option, given in zip(("vasp_cmd", "vasp_gamma_cmd"), self.commands, strict=True):
            command = os.path.expandvars(given)
            try:
                words = shlex.split(command)
            except ValueError as error:
                raise InputError(f"backend.{option} = '{command}': {error}; mend it") from error
            if not words:
                raise InputError(f"backend.{option} is empty; give the command that starts VASP")
            for word in {words[0], words[-1]}:
                if shutil.which(word) is None:
                    raise InputError(
                        f"backend.{option} = '{command}': '{word}' is not on the PATH; load its "
                        "module, or give its full path in screening.yaml"
                    )
        if not self._execution.potcar_spec:
            _check_potentials()

    def identity(self) -> dict[str, Any]:
        """Return everything in the settings that decides an energy.

        Potentials by their family only: which of them are on a machine, and which names pymatgen
        prefers today, is found in the outputs (:meth:`energy_identity`).
        """
        incar = {k: v for k, v in self.settings.incar.items() if k not in HOW_IT_RUNS}
        kpoints = self._execution.kpoints
        return {
            "backend": self.name,
            "input_sets": "atomate2 relax and static",
            "functional": str(incar.get("METAGGA", incar.get("GGA", "PBEsol"))),
            "potentials": "PAW PBE_54",
            "energy": "extrapolated to zero smearing",
            "incar": incar,
            "kpoints": None if kpoints is None else dict(kpoints),
            "n_relaxations": self._n_relaxations,
        }

    def energy_identity(self, engine: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with VASP's version, potentials and functional from the outputs.

        Raises
        ------
        IonSieveError
            The outputs don't tell the version.
        """
        if not engine.get("version"):
            raise IonSieveError(
                "the outputs of the static calculation don't tell VASP's version, so that its "
                "energy can't be compared; repeat the calculation"
            )
        potentials = [_potential(spec) for spec in engine.get("potentials") or []]
        tags = engine.get("incar") or {}
        return {
            "engine": f"{self._program} {str(engine['version']).strip()}",
            "potentials": dict(sorted(potentials)),
            "tags": {name: _word(tags[name]) for name in _DECIDING_TAGS if name in tags},
            "settings": self.identity(),
        }

    @property
    def _program(self) -> str:
        return "vasp"

    def cost(self, n_ions: float, n_steps: int) -> Cost:
        """Return what so many ionic steps of so many ions take."""
        return Cost(
            _STEP_CORE_HOURS * (n_ions / 200) ** _STEP_EXPONENT * n_steps,
            f"VASP: {_STEP_CORE_HOURS} core hours per ionic step of 200 ions (PBE, Gamma point), "
            f"growing as ions^{_STEP_EXPONENT}; a relaxation takes 60 steps",
        )

    def relax(self, structure: Structure, name: str = "relax") -> Calculation:
        """Return a relaxation of ions and cell; two jobs with ``double_relax``."""
        return _calculation(self._makers().relax(structure, name, self._n_relaxations))

    def static(
        self,
        structure: Structure | OutputReference,
        name: str = "static",
        after: Calculation | None = None,
    ) -> Calculation:
        """Return a static calculation; smearing and spin are those that suit the relaxed cell."""
        prev_dir = None if after is None else after.folder
        return _calculation([self._makers().static(structure, name, prev_dir)])

    def md(
        self, spec: MDSpec, start: Structure | Checkpoint, name: str = "molecular dynamics"
    ) -> MDCalculation:
        """Return one segment in the canonical ensemble (Nose-Hoover).

        Raises
        ------
        IonSieveError
            A stored checkpoint isn't one that :meth:`keep` has made.
        """
        if isinstance(start, Checkpoint) and start.is_stored:
            _check_kept(start)
        job = self._makers().md(spec, start, name)
        output = fields(job.output)
        return MDCalculation(
            (job,), Checkpoint(structure=output.structure, folder=output.dir_name), job.uuid
        )

    def read_segment(self, end: Checkpoint, spec: MDSpec) -> Trajectory:
        """Return the trajectory of a finished segment, with the time step it really had.

        Raises
        ------
        IonSieveError
            The segment has not as many frames as asked for, or can't be read.
        """
        # Start-up time: pymatgen's parsers are needed inside jobs only.
        from ionsieve.workflows.backends.vasp.reading import local_path, read_segment

        return read_segment(local_path(str(end.folder)), spec)

    def keep(self, end: Checkpoint) -> Checkpoint:
        """Return the checkpoint with what its folder would tell the next segment.

        The structure has velocities and thermostat already (atomate2 reads them from CONTCAR).

        Raises
        ------
        IonSieveError
            The segment's folder is gone or incomplete.
        """
        return end.model_copy(update={"files": {"INCAR": self._makers().tags_after(end)}})

    def phonons(self, structure: Structure, name: str = "phonons") -> PhononCalculation:
        """Return atomate2's phonon flow without Born charges."""
        flow = self._makers().phonons(structure, name)
        last = flow.jobs[-1]
        assert isinstance(last, Job)
        return PhononCalculation((flow,), last.output.phonon_bandstructure, last.uuid)

    def _makers(self) -> Makers:
        # Start-up time: atomate2 takes seconds.
        from ionsieve.workflows.backends.vasp.makers import Makers

        general, gamma = self.commands
        return Makers(general, gamma, self.settings.incar, self._limits, self._execution)


def _check_potentials() -> None:
    # Start-up time: only runs need pymatgen's settings.
    from pymatgen.core import SETTINGS

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


def _check_kept(start: Checkpoint) -> None:
    structure = start.structure
    has_velocities = isinstance(structure, dict) and all(
        "velocities" in site.get("properties", {}) for site in structure["sites"]
    )
    if "INCAR" not in start.files or not has_velocities:
        raise IonSieveError(
            f"the run can't go on from the stored end of {start.folder or 'a segment'}: its "
            "velocities or tags were not kept; start the run anew"
        )


def _calculation(jobs: list[Job]) -> Calculation:
    output = fields(jobs[-1].output)
    run = output.calcs_reversed[0]
    return Calculation(
        jobs=tuple(jobs),
        structure=output.structure,
        energy_ev_atom=output.output.energy_per_atom,
        folder=output.dir_name,
        engine={
            "version": run.vasp_version,
            "potentials": run.input.potcar_spec,
            "incar": run.input.incar,
        },
        uuid=jobs[-1].uuid,
    )


def _word(value: Any) -> Any:
    # Parsers write PS, Ps or ps for the same functional.
    return value.strip().upper() if isinstance(value, str) else value


def _potential(spec: Any) -> tuple[str, str]:
    """Return element and name of a potential, with a hash where pymatgen could read its file."""
    values: Mapping[str, Any] = spec if isinstance(spec, Mapping) else spec.model_dump()
    title = " ".join(str(values.get("titel") or "").split())
    words = title.split()
    element = (words[1] if len(words) > 1 else title).split("_")[0]
    digest = values.get("hash")
    if not digest and (statistics := values.get("summary_stats")):
        text = json.dumps(statistics, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
    return element, f"{title} {digest[:12]}" if digest else title
