"""A gate in one module: it refuses dense materials; run it to have it in the funnel."""

from jobflow import CURRENT_JOB, Flow, JobConfig, job
from pydantic import BaseModel

from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import Document, Provenance
from ionsieve.workflows.funnel import table
from ionsieve.workflows.funnel.candidate import Subject
from ionsieve.workflows.funnel.hull import stored_output
from ionsieve.workflows.funnel.stage import Judgement, Stage, StageEstimate
from ionsieve.workflows.settings.identity import settings_hash

LIMIT_G_CM3 = 0.5


class DensityDocument(Document):
    """The density of one material."""

    composition_id: str
    density_g_cm3: float
    provenance: Provenance


class DensityColumns(BaseModel):
    """What people see of it."""

    gate_density_g_cm3: float | None = column(None, "density", "g/cm³", ".3f")


@job(output_schema=DensityDocument, config=JobConfig(expose_store=True))
def weigh(subject: Subject, key: str, material_uuid: str) -> DensityDocument:
    """Read the density of a relaxed material."""
    material = stored_output(CURRENT_JOB.store, material_uuid)
    return DensityDocument(
        composition_id=subject.composition_id,
        density_g_cm3=material["density_g_cm3"],
        provenance=subject.provenance([material_uuid], key),
    )


class DensityStage(Stage):
    """Materials refused above a density."""

    name = "density"
    title = "Density gate"
    stem = "density"
    is_gate = True
    document = DensityDocument
    scalars = ("density_g_cm3",)
    columns = DensityColumns
    priority = 31

    def key(self, case):
        return settings_hash(self.name, case.result("relax").key)

    def flow(self, case, key):
        weighing = weigh(case.candidate.subject, key, case.result("relax").uuid)
        return Flow([self.tags(case, key).record(weighing, DensityDocument)])

    def judge(self, case, entry):
        if entry["density_g_cm3"] <= LIMIT_G_CM3:
            return Judgement("passed", True)
        words = f"{entry['density_g_cm3']:.2f} g/cm3, the limit is {LIMIT_G_CM3}"
        return Judgement("failed", False, (words,))

    def row(self, case, outcome):
        return {"gate_density_g_cm3": outcome.result["density_g_cm3"]}

    def estimate(self, plan, screening, cost):
        return StageEstimate(self.name, len(plan.compositions), len(plan.compositions), 0.0)


def add_row():
    """Put the gate's row behind the hull."""
    rows = list(table.FUNNEL)
    position = next(n for n, stage in enumerate(rows) if stage.name == "hull")
    table.FUNNEL = (*rows[: position + 1], DensityStage(), *rows[position + 1 :])


if __name__ == "__main__":
    import toy_gate
    from ionsieve.workflows.cli import main

    toy_gate.add_row()
    main()
