"""The backend that a screening names."""

from __future__ import annotations

from ionsieve.workflows.backends.protocol import Backend, Limits
from ionsieve.workflows.settings.backend_section import backend_class
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
        There is no such engine, or its package is broken.
    """
    compute = screening.compute
    limits = Limits(
        walltime_seconds=getattr(compute.resources, size).walltime_seconds,
        buffer_seconds=compute.walltime_buffer_seconds,
    )
    chosen: Backend = backend_class(screening.backend.name).create(
        screening.backend, screening.relax, limits
    )
    return chosen
