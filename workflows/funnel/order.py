"""What follows each passed gate; the order of the funnel in one place."""

from __future__ import annotations

from jobflow import Flow
from pymatgen.core import Structure

from ionsieve.workflows.documents.raw import TransportDocument
from ionsieve.workflows.funnel.arrhenius import conclusion_flow
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.dynamics import molecular_dynamics_flow
from ionsieve.workflows.funnel.phonons import phonon_flow


def after_hull(candidate: Candidate, structure: Structure) -> Flow:
    """Return what a material within the hull limit goes through next."""
    if candidate.screening.phonons.enabled:
        return phonon_flow(candidate, structure)
    return after_phonons(candidate, structure)


def after_phonons(
    candidate: Candidate, structure: Structure, fastest_phonon_thz: float | None = None
) -> Flow:
    """Return what a dynamically stable material goes through next."""
    return molecular_dynamics_flow(
        candidate, structure, "short_md", fastest_phonon_thz=fastest_phonon_thz
    )


def after_short(
    candidate: Candidate, structure: Structure, fastest_phonon_thz: float | None
) -> Flow:
    """Return what a material that passed the short diagnosis goes through next."""
    return molecular_dynamics_flow(
        candidate, structure, "long_md", fastest_phonon_thz=fastest_phonon_thz
    )


def after_long(candidate: Candidate, structure: Structure, result: TransportDocument) -> Flow:
    """Return what a material that passed the long diagnosis goes through next."""
    return conclusion_flow(candidate, structure, result)
