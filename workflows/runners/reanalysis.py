"""Analyse stored trajectories again, with the analysis of today; no new molecular dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from ionsieve.workflows.funnel.dynamics import finite
from ionsieve.workflows.funnel.records import Entry, stored_document
from ionsieve.workflows.funnel.segments import Run, analysis_document, joined
from ionsieve.workflows.runners.session import Session


@dataclass(frozen=True)
class Reanalysed:
    """One run analysed again: verdict and diffusivity before and after."""

    composition_id: str
    stage: str
    temperature_k: float
    run_length_ps: float
    verdict_before: str
    verdict_after: str
    diffusivity_before_cm2_s: float | None
    diffusivity_after_cm2_s: float | None


def reanalyse(
    session: Session, on_done: Callable[[Reanalysed], None] | None = None
) -> list[Reanalysed]:
    """Analyse every stored look at every run of a screening, and store what comes out.

    Looks keep their keys: the new analyses stand where the old ones did, which stay in the store.
    Gates judge by them from then on, and the next run computes what these ask for.

    Parameters
    ----------
    on_done
        Called after each one.
    """
    funnel = session.funnel
    funnel.follow()
    done: dict[str, Reanalysed] = {}
    for case in funnel.cases.values():
        for stage in funnel.stages:
            if stage.name not in case.outcomes:
                break
            for run, course in stage.runs(case):
                for look in course.looks:
                    if look.entry.key in done:
                        continue
                    found = done[look.entry.key] = reanalyse_look(session, run, look.entry)
                    if on_done is not None:
                        on_done(found)
    return list(done.values())


def reanalyse_look(session: Session, run: Run, entry: Entry) -> Reanalysed:
    """Analyse one look at a run again, and store the analysis under the look's key."""
    stored = session.funnel.records.outputs([entry], ["segment_uuids"])[entry]
    uuids = stored["segment_uuids"]
    n_frames = round(entry["run_length_ps"] / run.frame_ps)
    whole = joined(session.job_store, uuids)[:n_frames]
    uuid = str(uuid4())
    document = analysis_document(run, entry.key, whole, uuids, uuid)
    labels = {
        "screening": session.screening.name,
        "composition_id": run.subject.composition_id,
        "mother_id": run.subject.mother_id,
    }
    session.job_store.update(stored_document(document, uuid, entry.key, run.stage, **labels))
    return Reanalysed(
        composition_id=run.subject.composition_id,
        stage=run.stage,
        temperature_k=run.temperature_k,
        run_length_ps=document.run_length_ps,
        verdict_before=entry["verdict"],
        verdict_after=document.verdict,
        diffusivity_before_cm2_s=entry["diffusivity_cm2_s"],
        diffusivity_after_cm2_s=finite(document.diffusivity_cm2_s),
    )
