"""What `run` and `submit` check alike before anything runs."""

from __future__ import annotations

from ionsieve.errors import InputError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.settings.schema import ScreeningFile


def prepare(screening: ScreeningFile) -> PlanDocument:
    """Check everything that can be wrong before anything runs, and return the plan.

    Raises
    ------
    InputError
        The first thing found wrong, with its remedy.
    """
    get_backend(screening).check()
    plan = make_plan(screening)
    if not plan.compositions:
        raise InputError(
            f"screening '{screening.name}': no composition to screen from "
            f"{len(plan.mothers)} mothers; see 'ionsieve plan' for the reasons"
        )
    return plan
