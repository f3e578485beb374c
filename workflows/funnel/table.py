"""The funnel: its stages, in order."""

from __future__ import annotations

from ionsieve.workflows.documents.raw import PhaseDocument, SegmentDocument
from ionsieve.workflows.funnel import phases
from ionsieve.workflows.funnel.arrhenius import ArrheniusStage
from ionsieve.workflows.funnel.conclusion import ConcludeStage
from ionsieve.workflows.funnel.dynamics import SEGMENT_SCALARS, LongStage, ShortStage
from ionsieve.workflows.funnel.hull import HullStage
from ionsieve.workflows.funnel.phonons import PhononStage
from ionsieve.workflows.funnel.ranking import RankStage
from ionsieve.workflows.funnel.relaxation import RelaxStage
from ionsieve.workflows.funnel.stage import Stage
from ionsieve.workflows.settings.schema import Screening

FUNNEL: tuple[Stage, ...] = (
    RankStage(),
    RelaxStage(),
    HullStage(),
    PhononStage(),
    ShortStage(),
    LongStage(),
    ArrheniusStage(),
    ConcludeStage(),
)


def enabled_stages(screening: Screening) -> list[Stage]:
    """Return the stages that the settings ask for, in order."""
    return [stage for stage in FUNNEL if stage.enabled(screening)]


def titles() -> dict[str, str]:
    """Return the name of each kind of flow and what people read."""
    return {phases.STAGE: phases.TITLE, **{stage.name: stage.title for stage in FUNNEL}}


def record_fields() -> dict[str, tuple[str, ...]]:
    """Return class of documents -> fields that the stages read along."""
    fields: dict[str, tuple[str, ...]] = {
        PhaseDocument.__name__: phases.SCALARS,
        SegmentDocument.__name__: SEGMENT_SCALARS,
    }
    for stage in FUNNEL:
        name = stage.document.__name__
        fields[name] = tuple(dict.fromkeys((*fields.get(name, ()), *stage.scalars)))
    return fields
