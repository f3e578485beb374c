"""The funnel of one screening: which flows are needed now, given what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from pymatgen.core import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.funnel.candidate import Candidate, mother_key
from ionsieve.workflows.funnel.phases import PhaseBook, phase_requests
from ionsieve.workflows.funnel.progress import follow
from ionsieve.workflows.funnel.records import Records
from ionsieve.workflows.funnel.requests import Request
from ionsieve.workflows.funnel.stage import Case, Stage
from ionsieve.workflows.funnel.table import enabled_stages
from ionsieve.workflows.settings.schema import Screening

StructureOf = Callable[[str], Structure]


class Funnel:
    """All compositions of one screening, followed through the stages.

    What is needed is a function of the settings and of what is stored: results of other settings
    are neither repeated nor mistaken for these, and nothing depends on what ran when.

    Parameters
    ----------
    screening
        The settings.
    plan
        Its mothers and compositions.
    records
        What is stored.
    phases
        Its competing phases.
    structure_of
        Key of a competing phase -> where its relaxation starts; None where nothing is to be run.
    """

    def __init__(
        self,
        screening: Screening,
        plan: PlanDocument,
        records: Records,
        phases: PhaseBook,
        structure_of: StructureOf | None = None,
    ) -> None:
        self.screening = screening
        self.plan = plan
        self.records = records
        self.phases = phases
        self._structure_of = structure_of

    @cached_property
    def stages(self) -> Sequence[Stage]:
        """The stages that the settings ask for, in order."""
        return enabled_stages(self.screening)

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Composition id -> what is known of it; up to date after `follow`."""
        mothers = {mother.mother_id: (mother, mother_key(mother)) for mother in self.plan.mothers}
        return {
            composition.composition_id: Case(
                Candidate(self.screening, *mothers[composition.mother_id], composition),
                self.records,
                self.phases,
            )
            for composition in self.plan.compositions
        }

    def follow(self) -> None:
        """Take every composition as far as what is stored lets it go."""
        for case in self.cases.values():
            follow(case, self.stages)

    def requests(self) -> Iterator[Request]:
        """Yield every flow that is needed and not stored, the failed ones among them."""
        structure_of = self._structure_of or _no_structure
        yield from phase_requests(self.phases, self.records, self.screening, structure_of)
        for case in self.cases.values():
            for outcome in case.outcomes.values():
                yield from outcome.requests

    def next_flows(self, statuses: Iterable[FlowStatus]) -> list[NewFlow]:
        """Return the flows that can run and that a runner does not know.

        Parameters
        ----------
        statuses
            The runner's flows, of this screening or any; why some failed is stored.
        """
        known = {status.key: status for status in statuses}
        self.records.refresh()
        self.records.note_failures(known.values())
        self.follow()
        new = {r.key: r for r in self.requests() if r.key not in known}
        return [
            NewFlow(
                key=request.key,
                flow=request.make(),
                priority=request.priority,
                label=request.label,
                stage=request.stage,
            )
            for request in new.values()
            if self.records.failure(request.key) is None
        ]

    def keys(self) -> set[str]:
        """Return the keys of all flows that the present settings ask for, as far as followed."""
        found = {entry.key for entry in self.phases.document.phases}
        for case in self.cases.values():
            for outcome in case.outcomes.values():
                found.update(outcome.keys)
        return found

    def own(self, statuses: Iterable[FlowStatus]) -> list[FlowStatus]:
        """Return those of a runner's flows that the present settings ask for."""
        keys = self.keys()
        return [status for status in statuses if status.key in keys]

    def blocked(self) -> dict[str, str]:
        """Return which compositions wait for what others compute, and for what.

        When nothing runs any more, that is what failed.
        """
        return {
            name: outcome.reason
            for name, case in self.cases.items()
            for outcome in case.outcomes.values()
            if outcome.state == "waiting" and outcome.reason
        }

    def forget_failures(self) -> None:
        """Let every flow that failed be tried again."""
        failed = [key for key in self.keys() if self.records.failure(key) is not None]
        self.records.forget_failures(failed)

    def lost(self, statuses: Iterable[FlowStatus]) -> list[FlowStatus]:
        """Return flows that a runner has completed and whose documents are not stored."""
        self.follow()
        needed = {request.key for request in self.requests()}
        return [s for s in statuses if s.state == "completed" and s.key in needed]


def _no_structure(key: str) -> Structure:
    raise InputError(f"competing phase {key}: its starting structure was not read")
