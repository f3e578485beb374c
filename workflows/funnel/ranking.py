"""The first stage: rank the arrangements of a composition by their point-charge energy."""

from __future__ import annotations

from typing import Any

from jobflow import Flow, job
from pydantic import BaseModel

from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import PlanDocument, RankingDocument
from ionsieve.workflows.funnel.arrangements import RankingTask, ranking_document
from ionsieve.workflows.funnel.ranking_mpi import rank_with_mpi
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.stage import Case, CoreHours, Outcome, Stage, StageEstimate
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.roles import fields_with
from ionsieve.workflows.settings.schema import Screening

#: Names and counts that follow from the rest of a composition.
_DERIVED = {
    *("composition_id", "mother_id", "formula", "host_formula", "merged_from"),
    *("n_arrangements", "log10_n_arrangements"),
}


@job(output_schema=RankingDocument)
def rank_arrangements(task: RankingTask) -> RankingDocument:
    """Rank, as an MPI job where the settings give it several ranks."""
    return rank_with_mpi(task) if task.launcher else ranking_document(task)


class RankColumns(BaseModel):
    """What people see of a ranking."""

    certified: bool | None = column(None, "certified", about="Ewald ranking proven")


class RankStage(Stage):
    """Arrangements ranked; a stored ranking serves whoever keeps no more of it."""

    name = "rank"
    title = "Arrangements ranked"
    stem = "ranked"
    section = "ewald"
    document = RankingDocument
    scalars = ("certified", "n_kept", "arrangement_keys", "ewald_energies_ev")
    columns = RankColumns
    size = "ranking"
    priority = 10

    def key(self, case: Case) -> str:
        """Return the hash of mother, composition and method; not of how many are kept."""
        candidate = case.candidate
        return settings_hash(
            self.name,
            candidate.mother.structure,
            candidate.composition.model_dump(mode="json", exclude=_DERIVED),
            fields_with(case.screening.ewald, "computes"),
        )

    def look(self, case: Case) -> Outcome:
        """Return the newest ranking that kept enough, or ask for one."""
        key = self.key(case)
        keep = case.screening.ewald.keep
        flow_key = settings_hash(key, keep)
        fit = [e for e in case.records.all(RankingDocument, key) if e["n_kept"] >= keep]
        if fit:
            return Outcome(self.name, "done", fit[-1], {self.name: fit[-1]}, keys=(flow_key,))
        return self.asking(case, [self.request(case, flow_key, lambda: self.flow(case, key))])

    def flow(self, case: Case, key: str) -> Flow:
        """Return the ranking as one job."""
        candidate, compute = case.candidate, case.screening.compute
        n_ranks = compute.resources.ranking.ranks
        task = RankingTask(
            subject=candidate.subject,
            key=key,
            mother=candidate.mother,
            composition=candidate.composition,
            ewald=case.screening.ewald,
            launcher=compute.mpi_launcher.format(ranks=n_ranks) if n_ranks > 1 else "",
        )
        tags = self.tags(case, settings_hash(key, case.screening.ewald.keep))
        ranking = tags.record(rank_arrangements(task), RankingDocument, key, size="ranking")
        return Flow([ranking], name=f"rank {candidate.composition.composition_id}")

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return whether the ranking is proven."""
        return {"certified": outcome.result["certified"]}

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the time budgets of all rankings."""
        n = len(plan.compositions)
        return StageEstimate(self.name, n, n, n * screening.ewald.seconds / 3600)


def kept_keys(case: Case) -> tuple[Entry, list[str]]:
    """Return a composition's ranking, and the keys of the arrangements that go on."""
    ranking = case.result(RankStage.name)
    return ranking, ranking["arrangement_keys"][: case.screening.ewald.keep]
