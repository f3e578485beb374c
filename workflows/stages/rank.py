"""Rank the arrangements of one composition and send the lowest on to relaxation."""

from __future__ import annotations

from jobflow import CURRENT_JOB, Flow, Response, job

from ionsieve.ewald import rank
from ionsieve.workflows.documents import Arrangement, RankingDocument
from ionsieve.workflows.doping import solid_solution
from ionsieve.workflows.stages.context import Candidate
from ionsieve.workflows.stages.relax import relaxation_flow


@job(output_schema=RankingDocument)
def rank_arrangements(candidate: Candidate) -> Response:
    """Keep the lowest symmetry-distinct arrangements and add their relaxations.

    Returns
    -------
    Response
        A :class:`RankingDocument`, and the relaxations as an addition.
    """
    settings = candidate.screening.ewald
    ranking = rank(
        solid_solution(candidate.mother, candidate.composition),
        keep=settings.keep,
        method=settings.method,
        seconds=settings.seconds,
        seed=settings.seed,
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
    document = RankingDocument(
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
    relaxations = relaxation_flow(candidate, arrangements, CURRENT_JOB.job.uuid)
    return Response(output=document, addition=relaxations)


def ranking_flow(candidate: Candidate) -> Flow:
    """Return the flow of one candidate up to its relaxed material."""
    job_ = candidate.tag(rank_arrangements(candidate), "rank", RankingDocument)
    return Flow([job_], name=f"rank and relax {candidate.composition.composition_id}")
