"""The backend that a screening names."""

from __future__ import annotations

from ionsieve.errors import InputError
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
        There is no such engine, its package is broken, or it can't do what a stage needs.
    """
    compute = screening.compute
    limits = Limits(
        walltime_seconds=getattr(compute.resources, size).walltime_seconds,
        buffer_seconds=compute.walltime_buffer_seconds,
    )
    found = backend_class(screening.backend.name)
    _check_capabilities(screening, found.capabilities)
    chosen: Backend = found.create(screening.backend, screening.relax, limits)
    return chosen


def _check_capabilities(screening: Screening, capabilities: frozenset[str]) -> None:
    name = screening.backend.name
    if lacking := sorted({"relax", "static", "md"} - capabilities):
        raise InputError(
            f"backend.name = '{name}' can't do what every screening needs ({', '.join(lacking)}); "
            "name another backend"
        )
    if screening.phonons.enabled and "phonons" not in capabilities:
        raise InputError(
            f"phonons.enabled = true, but the backend '{name}' has no phonons; set it to false, or "
            "name another backend"
        )
