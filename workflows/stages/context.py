"""What every stage of one candidate knows: its settings, its composition, its identity."""

from __future__ import annotations

from jobflow import Job
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Species, Structure

from ionsieve.workflows.backends import get_backend
from ionsieve.workflows.backends.base import Backend
from ionsieve.workflows.config import Screening
from ionsieve.workflows.documents import CompositionDocument, Document, MotherDocument, Provenance


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

    @property
    def backend(self) -> Backend:
        """The engine of this screening."""
        return get_backend(self.screening)

    @property
    def mobile_species(self) -> Species:
        """The mobile ion with its charge."""
        return Species.from_str(self.composition.mobile_ion)

    def tag(self, job: Job, stage: str, document: type[Document] | None = None) -> Job:
        """Name a job after its stage and composition, and label its stored document."""
        job.name = f"{stage}: {job.name}"
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
