"""What every stage of the funnel has: its names, its document, its key, its judgement.

A stage is one class in one module and one row of :data:`ionsieve.workflows.funnel.table.FUNNEL`.
Order, states, counts, priorities, resources, columns and estimates follow from it.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jobflow import Flow
from pydantic import BaseModel

from ionsieve.workflows.documents.raw import Document, PlanDocument
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.phases import PhaseBook
from ionsieve.workflows.funnel.records import Entry, Records
from ionsieve.workflows.funnel.requests import Request, Tags
from ionsieve.workflows.settings.schema import JobSize, Screening

if TYPE_CHECKING:
    from ionsieve.workflows.funnel.dynamics import Course
    from ionsieve.workflows.funnel.segments import Run

#: ``unknown``: can't be told, as when competing phases are missing; ``undecided``: could be told
#: with a longer run than is allowed.
Verdict = Literal["passed", "failed", "unknown", "undecided"]
State = Literal["done", "open", "waiting", "failed"]


@dataclass(frozen=True)
class Judgement:
    """A gate's answer about a stored document, by the limits of the present settings.

    Attributes
    ----------
    verdict
        The answer.
    goes_on
        Whether the material goes on to the next stage.
    reasons
        Why, in words, with the limit.
    """

    verdict: Verdict
    goes_on: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How far one composition is at one stage.

    Attributes
    ----------
    state
        ``done``; ``open``: flows are asked for; ``waiting``: for what others compute; ``failed``.
    entry
        The document the stage ends with.
    sources
        Name -> every document it rests on.
    judgement
        A gate's.
    requests
        Flows that are not stored, those that failed among them.
    keys
        Of all flows that belong to it, stored or not.
    reason
        Why it waits or failed.
    """

    stage: str
    state: State
    entry: Entry | None = None
    sources: Mapping[str, Entry] = field(default_factory=dict)
    judgement: Judgement | None = None
    requests: tuple[Request, ...] = ()
    keys: tuple[str, ...] = ()
    reason: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether the next stage can begin."""
        return self.state == "done" and (self.judgement is None or self.judgement.goes_on)

    @property
    def result(self) -> Entry:
        """The document of a stage that is done."""
        assert self.entry is not None
        return self.entry


@dataclass(frozen=True)
class Case:
    """One composition and everything known of it.

    Attributes
    ----------
    candidate
        Its settings and composition.
    records
        What is stored.
    phases
        The competing phases of the screening.
    outcomes
        Of the stages before, by name; filled as the funnel is followed.
    """

    candidate: Candidate
    records: Records
    phases: PhaseBook
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def screening(self) -> Screening:
        """The settings."""
        return self.candidate.screening

    def result(self, stage: str) -> Entry:
        """Return the document of an earlier stage."""
        return self.outcomes[stage].result


@dataclass(frozen=True)
class StageEstimate:
    """Upper bound of the work of one stage.

    Attributes
    ----------
    stage : str
    n_items : int
        Compositions, or competing phases.
    n_jobs : int
        Calculations by the backend; rankings for the Ewald stage.
    core_hours : float
    """

    stage: str
    n_items: int
    n_jobs: int
    core_hours: float


#: Core hours of so many steps of so many ions.
CoreHours = Callable[[float, int], float]


class NoColumns(BaseModel):
    """Of a stage that adds nothing to what people see."""


class Stage(ABC):
    """One stage; subclasses say what it computes, and gates how they judge it."""

    #: In keys, metadata and folders; and for people.
    name: ClassVar[str]
    title: ClassVar[str]
    #: State of a composition whose last stage this is; gates add what they found to the stem.
    stem: ClassVar[str]
    is_gate: ClassVar[bool] = False
    #: Of screening.yaml.
    section: ClassVar[str | None] = None
    #: What it ends with, which fields of that are read along, and what people see of it.
    document: ClassVar[type[Document]]
    scalars: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[type[BaseModel]] = NoColumns
    #: Of its calculations, and who comes first: later stages have higher numbers.
    size: ClassVar[JobSize] = "small"
    priority: ClassVar[int]

    def enabled(self, screening: Screening) -> bool:
        """Return whether the settings ask for this stage."""
        return True

    def key(self, case: Case) -> str:
        """Return the key of the stage's document: a hash of what it reads and what computes."""
        raise NotImplementedError

    def flow(self, case: Case, key: str) -> Flow:
        """Return the flow that makes the stage's document."""
        raise NotImplementedError

    def judge(self, case: Case, entry: Entry) -> Judgement | None:
        """Return a gate's answer by the present limits; None where the stage is no gate."""
        return None

    def look(self, case: Case) -> Outcome:
        """Return how far a composition is; for stages of one flow and one document."""
        key = self.key(case)
        entry = case.records.newest(self.document, key)
        if entry is not None:
            return Outcome(
                self.name,
                "done",
                entry,
                {self.name: entry},
                self.judge(case, entry),
                keys=(key,),
            )
        return self.asking(case, [self.request(case, key, lambda: self.flow(case, key))])

    def request(self, case: Case, key: str, make: Callable[[], Flow]) -> Request:
        """Return the request of a flow for this stage."""
        label = case.candidate.composition.composition_id
        return Request(key, self.name, label, self.priority, make)

    def tags(self, case: Case, key: str) -> Tags:
        """Return how the jobs of a flow for this stage are named, labelled and sized."""
        return Tags(case.screening, self.name, self.priority, key, self.size, case.candidate.labels)

    def asking(self, case: Case, requests: Sequence[Request], **known: Any) -> Outcome:
        """Return the outcome of a stage that can't end before some flows have."""
        failures = [case.records.failure(request.key) for request in requests]
        known.setdefault("keys", tuple(request.key for request in requests))
        if failures and all(failures):
            reasons = dict.fromkeys(reason_of(failure) for failure in failures if failure)
            known["reason"] = "; ".join(reasons)
            return Outcome(self.name, "failed", requests=tuple(requests), **known)
        return Outcome(self.name, "open", requests=tuple(requests), **known)

    def runs(self, case: Case) -> list[tuple[Run, Course]]:
        """Return the molecular dynamics runs of a stage, and how they went."""
        return []

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return the values of the stage's columns."""
        return {}

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the work if every composition comes here; None if it isn't worth a line."""
        return None

    def states(self) -> tuple[str, ...]:
        """Return the states of a composition whose last stage this is."""
        if not self.is_gate:
            return (self.stem,)
        return tuple(f"{self.stem}_{verdict}" for verdict in Verdict.__args__)  # type: ignore[attr-defined]


def reason_of(failure: Entry) -> str:
    """Return why a flow failed, with the job's name and folder."""
    job, reason, folder = (str(failure[name]) for name in ("job", "reason", "folder"))
    where = f" ({folder})" if folder and folder not in reason else ""
    return f"{job}: {reason}{where}" if job else f"{reason}{where}"
