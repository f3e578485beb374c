"""Rank the arrangements of one composition and send the lowest on to relaxation."""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB, Flow, Response, job

from ionsieve.ewald import rank
from ionsieve.workflows.documents.raw import Arrangement, RankingDocument
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.relaxation import relaxation_flow
from ionsieve.workflows.planning.doping import solid_solution


def ranking_document(candidate: Candidate, comm: Any = None) -> RankingDocument:
    """Keep the lowest symmetry-distinct arrangements.

    Parameters
    ----------
    comm
        mpi4py communicator whose ranks all call this function.
    """
    settings = candidate.screening.ewald
    ranking = rank(
        solid_solution(candidate.mother, candidate.composition),
        keep=settings.keep,
        method=settings.method,
        seconds=settings.seconds,
        seed=settings.seed,
        comm=comm,
    )
    arrangements = [
        Arrangement(
            rank=number,
            energy_ev=entry.energy_ev,
            degeneracy=entry.degeneracy,
            structure=entry.structure.as_dict(),
        )
        for number, entry in enumerate(ranking.entries, start=1)
    ]
    return RankingDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition,
        method=ranking.method,
        certified=ranking.certified,
        n_arrangements=str(ranking.n_arrangements),
        n_covered=str(ranking.n_covered),
        lower_bound_ev=ranking.lower_bound_ev,
        seconds=ranking.seconds,
        arrangements=arrangements,
        provenance=candidate.provenance([]),
    )


@job(output_schema=RankingDocument)
def rank_arrangements(candidate: Candidate) -> Response:
    """Rank, as an MPI job where the settings give it several ranks, and add the relaxations.

    Returns
    -------
    Response
        A :class:`RankingDocument`, and the relaxations as an addition.
    """
    if candidate.screening.compute.resources.ranking.ranks > 1:
        # It imports this module in its turn.
        from ionsieve.workflows.funnel.ranking_mpi import rank_with_mpi

        document = rank_with_mpi(candidate)
    else:
        document = ranking_document(candidate)
    relaxations = relaxation_flow(candidate, document.arrangements, CURRENT_JOB.job.uuid)
    return Response(output=document, addition=relaxations)


def ranking_flow(candidate: Candidate) -> Flow:
    """Return the flow of one candidate up to its relaxed material."""
    job_ = candidate.tag(rank_arrangements(candidate), "rank", RankingDocument)
    return Flow([job_], name=f"rank and relax {candidate.composition.composition_id}")
