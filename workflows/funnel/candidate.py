"""What every stage of one candidate knows: its settings, its composition, its identity."""

from __future__ import annotations

from jobflow import Job
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Species, Structure

from ionsieve.workflows.backends.protocol import Backend
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    Document,
    MotherDocument,
    Provenance,
)
from ionsieve.workflows.funnel.requests import job_size, manager_config
from ionsieve.workflows.settings.schema import Screening


class Candidate(BaseModel):
    """One composition on its way through the funnel; an argument of every stage's jobs.

    Parameters
    ----------
    screening
        The settings.
    mother, composition
        What is screened.
    flow_key
        Identity of the flow the job belongs to: a hash of structure and settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    screening: Screening
    mother: MotherDocument
    composition: CompositionDocument
    flow_key: str

    def backend(self, stage: str) -> Backend:
        """Return the engine of this screening, with the limits of a stage's jobs."""
        return get_backend(self.screening, job_size(stage, is_calculation=True))

    @property
    def mobile_species(self) -> Species:
        """The mobile ion with its charge."""
        return Species.from_str(self.composition.mobile_ion)

    def tag(self, job: Job, stage: str, document: type[Document] | None = None) -> Job:
        """Name a job after its stage, label its stored document and say what it needs.

        Jobs without a document are calculations; the labels of those that one may start follow.
        """
        job.name = f"{stage}: {job.name}"
        job.update_config(
            {"manager_config": manager_config(self.screening, stage, document is None)},
            dynamic=document is None,
        )
        job.update_metadata(
            {
                "screening": self.screening.name,
                "stage": stage,
                "composition_id": self.composition.composition_id,
                "mother_id": self.mother.mother_id,
                "flow_key": self.flow_key,
                "document": document.__name__ if document else "",
            },
            dynamic=False,
        )
        return job

    def provenance(self, input_uuids: list[str], settings_hash: str = "") -> Provenance:
        """Return where the numbers of a document come from."""
        return Provenance(
            input_uuids=input_uuids,
            settings_hash=settings_hash or self.flow_key,
            backend=self.screening.backend.name,
        )


def neutral(structure: Structure) -> Structure:
    """Return a copy without oxidation states, as the DFT engines want it."""
    plain = structure.copy()
    plain.remove_oxidation_states()
    return plain
