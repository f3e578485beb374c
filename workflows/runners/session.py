"""What `run` and `submit` check and open alike before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import JobStore

from ionsieve.errors import InputError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.funnel.asked import extra_phases, new_funnel
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.phases import starting_structures
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store


@dataclass(frozen=True)
class Session:
    """A screening that is fit to run, its store, and its funnel."""

    screening: ScreeningFile
    plan: PlanDocument
    job_store: JobStore
    funnel: Funnel


def open_session(screening: ScreeningFile) -> Session:
    """Check everything that can be wrong before anything runs, then open the store.

    Raises
    ------
    InputError
        The first thing found wrong, with its remedy; nothing has been written.
    """
    get_backend(screening).check()
    plan = make_plan(screening)
    if not plan.compositions:
        raise InputError(
            f"screening '{screening.name}': no composition to screen from "
            f"{len(plan.mothers)} mothers; see 'ionsieve plan' for the reasons"
        )
    phases = starting_structures(plan, screening, extra_phases(screening))
    job_store = open_job_store(screening)
    return Session(screening, plan, job_store, new_funnel(screening, plan, job_store, phases))
