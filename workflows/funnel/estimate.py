"""How many jobs and core hours a screening will take at most, stage by stage.

The numbers of jobs are exact upper bounds: every composition is taken to pass every gate. Core
hours follow from the backend's cost per ionic step; take them as an order of magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.funnel.hull import phases_estimate
from ionsieve.workflows.funnel.phases import starting_structures
from ionsieve.workflows.funnel.stage import StageEstimate
from ionsieve.workflows.funnel.table import enabled_stages
from ionsieve.workflows.settings.schema import Screening


def estimate(
    plan: PlanDocument, screening: Screening, extra: Sequence[Path]
) -> list[StageEstimate]:
    """Return the work of each stage if every composition passes every gate.

    Parameters
    ----------
    extra
        Paths of CIF files of further competing phases.

    Raises
    ------
    InputError
        A competing phase given by the user is unfit, or an element is not in the library.
    """
    backend = get_backend(screening)

    def cost(n_ions: float, n_steps: int) -> float:
        return backend.cost(n_ions, n_steps).core_hours

    book, _ = starting_structures(plan, screening, extra)
    found = [phases_estimate(len(book.phases), screening, cost)]
    for stage in enabled_stages(screening):
        if (work := stage.estimate(plan, screening, cost)) is not None:
            found.append(work)
    order = {stage.name: number for number, stage in enumerate(enabled_stages(screening))}
    return sorted(found, key=lambda work: order[work.stage])


def cost_assumption(screening: Screening) -> str:
    """Return in words where the core hours come from."""
    return get_backend(screening).cost(200, 1).assumption
