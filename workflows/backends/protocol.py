"""What every engine offers: the same jobs, with the same inputs and outputs."""

from __future__ import annotations

from typing import Any, Protocol

from jobflow import Flow, Job, OutputReference
from pymatgen.core import Structure


class Backend(Protocol):
    """Makes the jobs of one engine.

    All outputs are emmet ``TaskDoc`` documents: ``job.output.structure``,
    ``job.output.output.energy_per_atom``, ``job.output.dir_name``. Structures may be references to
    another job's output.
    """

    def check(self) -> None:
        """Find out, before anything runs, whether the engine can be started.

        Raises
        ------
        ionsieve.errors.InputError
            Something is missing; the message names it and the remedy.
        """
        ...

    def relax(self, structure: Structure, name: str = "relax") -> Job | Flow:
        """Return a relaxation of ions and cell."""
        ...

    def static(
        self, structure: Structure | OutputReference, name: str = "static", prev_dir: Any = None
    ) -> Job:
        """Return a static calculation, continued from the folder of an earlier one."""
        ...

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
        """Return one segment of molecular dynamics at constant volume and temperature.

        Parameters
        ----------
        continue_from
            Output of the preceding segment's job: its last structure, with velocities and
            thermostat, is taken instead of ``structure``, and its folder is handed on.
        seed
            Decides the initial velocities.
        frame_interval
            Steps between frames of the trajectory.
        """
        ...

    def phonons(self, structure: Structure, name: str = "phonons") -> Flow:
        """Return a calculation of the harmonic phonons of a relaxed structure.

        The flow's last job's output has ``phonon_bandstructure``.
        """
        ...
