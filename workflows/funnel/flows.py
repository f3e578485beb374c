"""The funnel as small flows: which can start now, given what is in the store.

One flow computes a competing phase, one ranks and relaxes a composition, one takes a relaxed
material through the hull gate and molecular dynamics. Each has a key, the hash of its structure and
settings, so that starting again repeats nothing, and changing a setting repeats what depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import inf
from typing import Any

from jobflow import Flow, JobStore, job
from pymatgen.core import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.documents.raw import (
    CompositionDocument,
    MaterialDocument,
    MotherDocument,
    PhaseDocument,
    PlanDocument,
)
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.hull import conductivity_flow
from ionsieve.workflows.funnel.phases import phase_flow
from ionsieve.workflows.funnel.ranking import ranking_flow
from ionsieve.workflows.funnel.requests import manager_config, stage_priority
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.thermodynamics.competing_phases import (
    CompetingPhase,
    elements_of,
    known_missing,
    lacking_elements,
    phases_for,
)

_FIRST_STAGE = {"plan": "plan", "conductivity": "hull", "phase": "phase", "relax": "rank"}


@job(output_schema=PlanDocument)
def record_plan(plan: PlanDocument) -> PlanDocument:
    """Store what the screening is about to do."""
    return plan


class Funnel:
    """All flows of one screening, each offered once the results it needs are in the store.

    Parameters
    ----------
    screening
        The settings.
    plan
        Its mothers and compositions, from :func:`ionsieve.workflows.planning.plan.make_plan`.
    job_store
        Where the flows' results go.
    """

    def __init__(self, screening: ScreeningFile, plan: PlanDocument, job_store: JobStore) -> None:
        self.screening = screening
        self.plan = plan
        self.job_store = job_store
        self._mothers = {mother.mother_id: mother for mother in plan.mothers}
        self._n_phases: dict[str, int] = {}

    def next_flows(self, statuses: Iterable[FlowStatus]) -> list[NewFlow]:
        """Return the flows that can run and are not among the known ones.

        Parameters
        ----------
        statuses
            The launcher's flows, of this screening or any.
        """
        known = {status.key: status.state for status in statuses}
        return [
            *self._first_flows(known),
            *self._conductivity_flows(known),
        ]

    def check(self) -> None:
        """Find out before anything runs whether the competing phases are complete and readable.

        Raises
        ------
        InputError
            An element has no structure, or a CIF of ``hull.phases`` is unfit.
        """
        if not self.phases:
            raise InputError("no competing phases; add their CIF files to hull.phases")

    def own(self, statuses: Iterable[FlowStatus]) -> list[FlowStatus]:
        """Return those of the launcher's flows that the present settings ask for."""
        statuses = list(statuses)
        known = {status.key: status.state for status in statuses}
        keys = {
            self._plan_key,
            *self.phases,
            *(candidate.flow_key for candidate in self.candidates.values()),
            *self._conductivity_keys.values(),
            *(self._renewal_key(name, known) for name in self.candidates),
        }
        return [status for status in statuses if status.key in keys]

    @cached_property
    def _library(self) -> list[CompetingPhase]:
        elements = frozenset[str]().union(*self._chemical_systems)
        extra = [self.screening.resolve(path) for path in self.screening.hull.phases]
        return phases_for(elements, extra=extra)

    @cached_property
    def phases(self) -> dict[str, tuple[str, Structure, str]]:
        """Key -> (phase_id, structure, source) of the competing phases and the mothers."""
        entries = [
            (phase.phase_id, phase.structure, phase.source)
            for phase in self._library
            if self._is_needed(phase.structure)
        ]
        entries += [
            (mother.mother_id, Structure.from_dict(mother.structure), mother.source_file)
            for mother in self.plan.mothers
            if mother.is_ordered
        ]
        energy = self.screening.energy_settings_hash()
        return {
            settings_hash("phase", entry[0], entry[1].as_dict(), energy): entry for entry in entries
        }

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """Composition id -> candidate of its first flow."""
        return {
            composition.composition_id: self._candidate(composition)
            for composition in self.plan.compositions
        }

    @cached_property
    def _chemical_systems(self) -> list[frozenset[str]]:
        return list({elements_of(c.formula) for c in self.plan.compositions})

    def _is_needed(self, structure: Structure) -> bool:
        elements = _structure_elements(structure)
        return any(elements <= system for system in self._chemical_systems)

    def _candidate(self, composition: CompositionDocument) -> Candidate:
        mother: MotherDocument = self._mothers[composition.mother_id]
        screening = self.screening
        key = settings_hash(
            "relax",
            mother.structure,
            composition.model_dump(mode="json"),
            screening.ewald.model_dump(mode="json"),
            screening.energy_settings_hash(),
        )
        return Candidate(
            screening=screening.settings, mother=mother, composition=composition, flow_key=key
        )

    def _conductivity_key(self, candidate: Candidate) -> str:
        """Return the key of a candidate's second flow."""
        screening = self.screening
        sections = (
            screening.hull,
            screening.phonons,
            screening.short_md,
            screening.long_md,
            screening.arrhenius,
        )
        return settings_hash(
            "conductivity",
            candidate.flow_key,
            sorted(self._phase_keys[candidate.composition.composition_id]),
            *(section.model_dump(mode="json") for section in sections),
        )

    @cached_property
    def _plan_key(self) -> str:
        return settings_hash("plan", self.plan.model_dump(mode="json"))

    def _first_flows(self, known: Mapping[str, str]) -> Iterator[NewFlow]:
        plan_key = self._plan_key
        if plan_key not in known:
            record = record_plan(self.plan)
            config = manager_config(self.screening, "plan", is_calculation=False)
            record.update_config({"manager_config": config}, dynamic=False)
            record.update_metadata(
                {
                    "screening": self.screening.name,
                    "stage": "plan",
                    "flow_key": plan_key,
                    "document": "PlanDocument",
                },
                dynamic=False,
            )
            yield self._new(plan_key, Flow([record], name="plan"), "plan", self.screening.name)
        for key, (phase_id, structure, source) in self.phases.items():
            if key not in known:
                flow = phase_flow(self.screening.settings, phase_id, structure, source, key)
                yield self._new(key, flow, "phase", phase_id)
        for composition_id, candidate in self.candidates.items():
            if candidate.flow_key not in known:
                flow = ranking_flow(candidate)
                yield self._new(candidate.flow_key, flow, "relax", composition_id)

    def _conductivity_flows(self, known: Mapping[str, str]) -> Iterator[NewFlow]:
        for composition_id, candidate in self.candidates.items():
            if known.get(candidate.flow_key) != "completed":
                continue
            phase_keys = self._phase_keys[composition_id]
            if any(known.get(key) not in ("completed", "failed") for key in phase_keys):
                continue
            key = self._conductivity_keys[composition_id]
            done = self._done_phases(composition_id, known)
            contents = [self._phase_elements[k] for k in done]
            if lacking_elements(elements_of(candidate.composition.formula), contents):
                # Waits until the failed phase is retried.
                continue
            if key not in known:
                yield self._conductivity_flow(candidate, known, key)
            elif self._n_hull_phases(key) < len(done):
                renewal_key = self._renewal_key(composition_id, known)
                if renewal_key not in known:
                    yield self._conductivity_flow(candidate, known, renewal_key, is_renewal=True)

    def _conductivity_flow(
        self, candidate: Candidate, known: Mapping[str, str], key: str, is_renewal: bool = False
    ) -> NewFlow:
        composition_id = candidate.composition.composition_id
        material, material_uuid = self._stored(MaterialDocument, candidate.flow_key)
        done = self._done_phases(composition_id, known)
        stored_phases = [self._stored(PhaseDocument, k) for k in done]
        flow = conductivity_flow(
            # A renewed result stands where the first one did.
            candidate.model_copy(update={"flow_key": self._conductivity_keys[composition_id]}),
            material,
            [phase for phase, _ in stored_phases],
            [material_uuid, *(uuid for _, uuid in stored_phases)],
            known_missing(elements_of(candidate.composition.formula), self._library),
            [self.phases[k][0] for k in self._phase_keys[composition_id] if k not in done],
            is_renewal,
        )
        label = f"{composition_id}, hull energy" if is_renewal else composition_id
        return self._new(key, flow, "conductivity", label)

    def _done_phases(self, composition_id: str, known: Mapping[str, str]) -> list[str]:
        """Return the keys of a composition's phases that have an energy."""
        return [k for k in self._phase_keys[composition_id] if known.get(k) == "completed"]

    def _n_hull_phases(self, conductivity_key: str) -> float:
        """Return how many phases the first hull energy was computed with; infinity before that."""
        if conductivity_key not in self._n_phases:
            found = self.job_store.query(
                {"metadata.flow_key": conductivity_key, "metadata.document": "HullDocument"},
                properties=["output.n_phases"],
            )
            counts = [document["output"]["n_phases"] for document in found]
            if not counts:
                return inf
            self._n_phases[conductivity_key] = max(counts)
        return self._n_phases[conductivity_key]

    def _renewal_key(self, composition_id: str, known: Mapping[str, str]) -> str:
        """Return the key of a hull energy computed again with the phases there are now."""
        done = sorted(self._done_phases(composition_id, known))
        return settings_hash("hull", self._conductivity_keys[composition_id], done)

    @cached_property
    def _conductivity_keys(self) -> dict[str, str]:
        return {name: self._conductivity_key(c) for name, c in self.candidates.items()}

    @cached_property
    def _phase_keys(self) -> dict[str, list[str]]:
        """Composition id -> keys of the phases in its chemical system."""
        return {
            composition.composition_id: [
                key
                for key, part in self._phase_elements.items()
                if part <= elements_of(composition.formula)
            ]
            for composition in self.plan.compositions
        }

    @cached_property
    def _phase_elements(self) -> dict[str, frozenset[str]]:
        return {key: _structure_elements(entry[1]) for key, entry in self.phases.items()}

    def _stored(self, model: type[Any], flow_key: str) -> tuple[Any, str]:
        """Return the newest stored document of one kind made by one flow, and its job's uuid."""
        document = next(
            iter(
                self.job_store.query(
                    {"metadata.flow_key": flow_key, "metadata.document": model.__name__},
                    properties=["output", "uuid"],
                    sort={"completed_at": -1},
                    limit=1,
                )
            )
        )
        fields = {k: v for k, v in document["output"].items() if not k.startswith("@")}
        return model(**fields), document["uuid"]

    @staticmethod
    def _new(key: str, flow: Flow, stage: str, label: str) -> NewFlow:
        priority = stage_priority(_FIRST_STAGE[stage])
        return NewFlow(key=key, flow=flow, priority=priority, label=label, stage=stage)


def _structure_elements(structure: Structure) -> frozenset[str]:
    return frozenset(element.symbol for element in structure.composition.elements)
