"""DFT engines behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ionsieve.workflows.backends.protocol import Backend
    from ionsieve.workflows.settings.schema import JobSize, Screening


def get_backend(screening: Screening, size: JobSize = "relaxation") -> Backend:
    """Return the engine a screening asks for.

    Parameters
    ----------
    size
        The class of the jobs, whose wall time holds.

    Raises
    ------
    ionsieve.errors.InputError
        There is no such engine.
    """
    # Imports are late: atomate2 takes seconds, and start-up time counts.
    from ionsieve.errors import InputError
    from ionsieve.workflows.backends.vasp.backend import VaspBackend, VaspSettings

    chosen = screening.backend
    settings = VaspSettings(
        vasp_cmd=chosen.vasp_cmd,
        vasp_gamma_cmd=chosen.vasp_gamma_cmd,
        incar=chosen.incar,
        walltime_seconds=getattr(screening.compute.resources, size).walltime_seconds,
        walltime_buffer_seconds=screening.compute.walltime_buffer_seconds,
        double_relax=screening.relax.double_relax,
    )
    if chosen.name == "vasp":
        return VaspBackend(settings)
    if chosen.name == "mock_vasp":
        from ionsieve.workflows.backends.mock_vasp.backend import MockVaspBackend

        return MockVaspBackend(settings)
    raise InputError(f"backend.name = '{chosen.name}': known backends: mock_vasp, vasp")
