"""What every engine offers: the same jobs, with the same inputs and outputs.

A backend is one folder, found by its entry point in the group ``ionsieve.backends``. No stage of
the funnel reads a backend's files or knows its document classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from jobflow import Flow, Job, OutputReference
from monty.json import MSONable
from pydantic import ConfigDict, Field

from ionsieve.workflows.documents.raw import Document, StructureDict
from ionsieve.workflows.settings.backend_section import BackendSection
from ionsieve.workflows.settings.schema import Relax

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from ionsieve.md_analysis import Trajectory

#: What a backend may be able to do; ``batch``: a worker runs many ready jobs of one kind together.
CAPABILITIES = frozenset({"relax", "static", "md", "phonons", "batch"})


@dataclass(frozen=True)
class Limits:
    """How long one job may run.

    Attributes
    ----------
    walltime_seconds
        The calculation stops cleanly before it and goes on in another job; None: no limit.
    buffer_seconds
        So long before.
    """

    walltime_seconds: int | None = None
    buffer_seconds: int = 300


@dataclass(frozen=True)
class Calculation:
    """The jobs of one calculation, and references to what they will have found.

    Attributes
    ----------
    jobs
        In order; the last one's uuid is ``uuid``.
    structure
        Reference to the final pymatgen Structure.
    energy_ev_atom
        Reference to the energy per atom, in eV.
    folder
        Reference to the folder of the last job; a path, or ``host:path``.
    engine
        References to what the outputs tell about the engine: the argument of
        :meth:`Backend.energy_identity`.
    uuid
        Of the last job.
    """

    jobs: tuple[Job | Flow, ...]
    structure: OutputReference
    energy_ev_atom: OutputReference
    folder: OutputReference
    engine: dict[str, OutputReference]
    uuid: str


@dataclass(frozen=True)
class MDSpec(MSONable):
    """One segment of molecular dynamics at constant volume and temperature; can go into a job.

    Attributes
    ----------
    temperature_k, timestep_fs
        Of the thermostat, and of the integration.
    n_steps, frame_interval
        Steps in all, and between frames of the trajectory, also from one segment to the next.
    seed
        Decides the velocities at the start of a run.
    """

    temperature_k: float
    timestep_fs: float
    n_steps: int
    frame_interval: int = 1
    seed: int = 0

    @property
    def n_frames(self) -> int:
        """Frames of the trajectory."""
        return self.n_steps // self.frame_interval


class Checkpoint(Document):
    """Where a run goes on, with velocities and thermostat; only its backend looks inside.

    As :meth:`Backend.md` gives it, it holds references; as an argument of a job, what they lead to.
    ``files`` are what it takes to go on without the folder; :meth:`Backend.keep` fills them in.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # A reference would pass for a structure: both have a dictionary.
    structure: OutputReference | StructureDict | None = Field(None, union_mode="left_to_right")
    folder: str | OutputReference = ""
    files: dict[str, str] | OutputReference = Field(
        default_factory=dict, description="file name, without dots -> text"
    )

    @property
    def is_stored(self) -> bool:
        """Whether it holds values, so that no job of this flow comes before."""
        values = (self.structure, self.folder, self.files)
        return not any(isinstance(value, OutputReference) for value in values)


@dataclass(frozen=True)
class MDCalculation:
    """The jobs of one segment, and where the next one goes on: a checkpoint of references."""

    jobs: tuple[Job | Flow, ...]
    end: Checkpoint
    uuid: str


@dataclass(frozen=True)
class PhononCalculation:
    """The jobs of a phonon calculation, and a reference to its band structure."""

    jobs: tuple[Job | Flow, ...]
    band_structure: OutputReference
    uuid: str


@dataclass(frozen=True)
class Cost:
    """What a calculation takes.

    Attributes
    ----------
    core_hours
        Estimated.
    assumption
        Where the figure comes from, in words.
    """

    core_hours: float
    assumption: str


class Backend(Protocol):
    """Makes the jobs of one engine; :func:`ionsieve.testing.check_backend` tests any of them."""

    name: ClassVar[str]
    #: Validates the backend's own ``backend:`` section.
    Settings: ClassVar[type[BackendSection]]
    capabilities: ClassVar[frozenset[str]]

    @property
    def settings(self) -> BackendSection:
        """The validated ``backend:`` section."""
        ...

    @classmethod
    def create(cls, settings: Any, relax: Relax, limits: Limits) -> Self:
        """Return the backend with its settings, for jobs of some size."""
        ...

    def check(self) -> None:
        """Find out, before anything runs, whether the engine can be started.

        Raises
        ------
        ionsieve.errors.InputError
            Something is missing; the message names it and the remedy.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return everything in the settings that decides an energy, as JSON values.

        It is part of the keys of results: neither command lines nor places belong in it, nor what
        differs from machine to machine or with the next release of a parser. What is known only
        when an energy is there belongs into :meth:`energy_identity`.
        """
        ...

    def energy_identity(self, engine: dict[str, Any]) -> dict[str, Any]:
        """Return what was computed: :meth:`identity`, and what the outputs say, as JSON values.

        Stored with each energy; entries of one hull must agree in it (see
        :func:`..thermodynamics.convex_hull.disagreement` for how they are compared).

        Parameters
        ----------
        engine
            What :attr:`Calculation.engine` leads to, in a job after the calculation.

        Returns
        -------
        dict
            ``engine``: name and version found in the outputs, for example "vasp 6.4.2";
            ``potentials``: element -> potential, if there are any; ``settings``:
            :meth:`identity`; and what else must agree.
        """
        ...

    def cost(self, n_ions: float, n_steps: int) -> Cost:
        """Return what so many ionic steps of so many ions take."""
        ...

    def relax(self, structure: Structure, name: str) -> Calculation:
        """Return a relaxation of ions and cell."""
        ...

    def static(
        self, structure: Structure | OutputReference, name: str, after: Calculation | None = None
    ) -> Calculation:
        """Return a static calculation, after a relaxation whose files it may use."""
        ...

    def md(self, spec: MDSpec, start: Structure | Checkpoint, name: str) -> MDCalculation:
        """Return one segment, from a structure or from where an earlier segment ended.

        Raises
        ------
        ionsieve.errors.IonSieveError
            A stored checkpoint isn't one that :meth:`keep` has made.
        """
        ...

    def read_segment(self, end: Checkpoint, spec: MDSpec) -> Trajectory:
        """Return the trajectory of a finished segment, with the time step it really had.

        Raises
        ------
        ionsieve.errors.IonSieveError
            The segment has not as many frames as asked for, or can't be read.
        """
        ...

    def keep(self, end: Checkpoint) -> Checkpoint:
        """Return the checkpoint of a finished segment with all it takes to go on elsewhere.

        Raises
        ------
        ionsieve.errors.IonSieveError
            The segment's folder is gone or incomplete.
        """
        ...

    def phonons(self, structure: Structure, name: str) -> PhononCalculation:
        """Return a calculation of the harmonic phonons of a relaxed structure."""
        ...
