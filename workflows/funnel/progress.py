"""Where one composition stands: the funnel followed by what is stored and what is asked for now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from ionsieve.workflows.funnel.stage import Case, Outcome, Stage, reason_of

#: What became of a composition at one stage. ``stopped``: by the gate's verdict; ``unknown`` and
#: ``undecided``: the gate could not tell; ``failed``: a calculation did.
Passage = Literal["passed", "unknown", "undecided", "stopped", "failed", "running", "waiting"]


@dataclass(frozen=True)
class Standing:
    """How far one composition has come.

    Attributes
    ----------
    state
        ``waiting``, ``failed``, or what the last stage that is done calls it.
    stage_reached
        That stage; ``plan`` before the first.
    passed
        Went through all gates.
    reasons
        Of the last gate, of the failure, or what it waits for.
    passages
        Stage -> what became of it there, for the stages it entered.
    failure
        Why calculations failed, also where others went on; empty if none did.
    """

    state: str
    stage_reached: str
    passed: bool
    reasons: tuple[str, ...]
    passages: dict[str, Passage]
    failure: str


def follow(case: Case, stages: Sequence[Stage]) -> None:
    """Fill in the outcomes of a case, from the first stage to the one it can't pass now."""
    case.outcomes.clear()
    for stage in stages:
        outcome = case.outcomes[stage.name] = stage.look(case)
        if not outcome.goes_on:
            return


def standing(case: Case, stages: Sequence[Stage], running: Collection[str] = ()) -> Standing:
    """Return where a followed case stands.

    Parameters
    ----------
    stages
        Those that the settings ask for, in order.
    running
        Keys of the flows that are being executed.
    """
    state, reached = "waiting", "plan"
    reasons: tuple[str, ...] = ()
    passages: dict[str, Passage] = {}
    for stage in stages:
        outcome = case.outcomes.get(stage.name)
        if outcome is None:
            break
        passages[stage.name] = _passage(outcome, running)
        if outcome.state == "failed":
            state, reasons = "failed", (outcome.reason,)
        elif outcome.state == "done":
            judgement = outcome.judgement
            state = stage.stem if judgement is None else f"{stage.stem}_{judgement.verdict}"
            reached = stage.name
            if judgement is not None:
                reasons = judgement.reasons
        elif outcome.reason:
            reasons = (outcome.reason,)
    gates = [stage.name for stage in stages if stage.is_gate]
    passed = all(name in case.outcomes and case.outcomes[name].goes_on for name in gates)
    return Standing(state, reached, passed, reasons, passages, _failure(case))


def _passage(outcome: Outcome, running: Collection[str]) -> Passage:
    if outcome.state == "failed":
        return "failed"
    if outcome.state != "done":
        return "running" if any(key in running for key in outcome.keys) else "waiting"
    if outcome.judgement is None or outcome.judgement.verdict == "passed":
        return "passed"
    if outcome.judgement.verdict == "failed":
        return "stopped"
    return outcome.judgement.verdict


def _failure(case: Case) -> str:
    """Return why flows of a composition failed, the last stage's first."""
    found: dict[str, None] = {}
    for outcome in reversed(case.outcomes.values()):
        for request in outcome.requests:
            if failure := case.records.failure(request.key):
                found[reason_of(failure)] = None
    return "; ".join(found)
