"""One composition on its way through the funnel, and what its jobs know of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict
from pymatgen.core import Composition, Species, Structure

from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    Document,
    MotherDocument,
    Provenance,
)
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening


class Subject(Document):
    """Whom a job works for; an argument of it, for the documents it makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    composition_id: str
    mother_id: str
    formula: str
    backend: str

    def provenance(self, input_uuids: list[str], key: str) -> Provenance:
        """Return where the numbers of a document come from."""
        return Provenance(input_uuids=input_uuids, settings_hash=key, backend=self.backend)


@dataclass(frozen=True)
class Candidate:
    """One composition with its mother and the settings of its screening.

    Attributes
    ----------
    mother_key
        From `mother_key`: once per mother, as hashing a structure takes longer than all the rest.
    """

    screening: Screening
    mother: MotherDocument
    mother_key: str
    composition: CompositionDocument

    @property
    def subject(self) -> Subject:
        """What its jobs are told."""
        return Subject(
            composition_id=self.composition.composition_id,
            mother_id=self.mother.mother_id,
            formula=self.composition.formula,
            backend=self.screening.backend.name,
        )

    @property
    def ions(self) -> str:
        """Formula of the supercell with its numbers of ions."""
        one = Composition(self.composition.formula)
        return (one * (self.composition.n_ions / one.num_atoms)).formula

    @property
    def mobile_species(self) -> Species:
        """The mobile ion with its charge."""
        return Species.from_str(self.composition.mobile_ion)

    @property
    def labels(self) -> dict[str, str]:
        """Metadata of every document that is about it."""
        return {
            "composition_id": self.composition.composition_id,
            "mother_id": self.mother.mother_id,
        }


def mother_key(mother: MotherDocument) -> str:
    """Return the identity of a mother: a hash of its structure."""
    return settings_hash("mother", mother.structure)


def energy_key(screening: Screening) -> str:
    """Return the hash of everything in the settings that decides an energy."""
    return settings_hash(get_backend(screening).identity())


def neutral(structure: Structure) -> Structure:
    """Return a copy without oxidation states, as the engines want it."""
    plain = structure.copy()
    plain.remove_oxidation_states()
    return plain
