"""The lowest arrangements of one composition, ranked by one process or an MPI job."""

from __future__ import annotations

from typing import Any

from pymatgen.core import Structure

from ionsieve.workflows.documents.raw import (
    Arrangement,
    CompositionDocument,
    Document,
    MotherDocument,
    RankingDocument,
)
from ionsieve.workflows.funnel.candidate import Subject
from ionsieve.workflows.planning.doping import solid_solution
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Ewald


class RankingTask(Document):
    """All that a ranking needs.

    Parameters
    ----------
    subject, key
        Whom it is for, and the key of its document.
    mother, composition
        What is ranked.
    ewald
        How.
    launcher
        Command line that starts the ranks; empty: this process ranks.
    """

    subject: Subject
    key: str
    mother: MotherDocument
    composition: CompositionDocument
    ewald: Ewald
    launcher: str = ""


def arrangement_key(structure: Structure) -> str:
    """Return the identity of an arrangement: a hash of its cell, sites and species."""
    return settings_hash("arrangement", structure.as_dict())


def ranking_document(task: RankingTask, comm: Any = None) -> RankingDocument:
    """Keep the lowest symmetry-distinct arrangements.

    Parameters
    ----------
    comm
        mpi4py communicator whose ranks all call this function.
    """
    # For start-up time: its kernels take a second to import.
    from ionsieve.ewald import rank

    ranking = rank(
        solid_solution(task.mother, task.composition),
        keep=task.ewald.keep,
        method=task.ewald.method,
        seconds=task.ewald.seconds,
        seed=task.ewald.seed,
        comm=comm,
    )
    return RankingDocument(
        composition_id=task.subject.composition_id,
        mother_id=task.subject.mother_id,
        composition=task.composition,
        method=ranking.method,
        certified=ranking.certified,
        n_arrangements=str(ranking.n_arrangements),
        n_covered=str(ranking.n_covered),
        lower_bound_ev=ranking.lower_bound_ev,
        seconds=ranking.seconds,
        n_kept=task.ewald.keep,
        arrangement_keys=[arrangement_key(entry.structure) for entry in ranking.entries],
        ewald_energies_ev=[entry.energy_ev for entry in ranking.entries],
        arrangements=[
            Arrangement(
                rank=number,
                energy_ev=entry.energy_ev,
                degeneracy=entry.degeneracy,
                structure=entry.structure.as_dict(),
            )
            for number, entry in enumerate(ranking.entries, start=1)
        ],
        provenance=task.subject.provenance([], task.key),
    )
