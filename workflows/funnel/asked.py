"""What a screening asks for: its plan and its competing phases, stored under their keys.

They are kept so that what is stored can be shown without planning anew, and so that one can tell
later which settings were run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import JobStore
from pymatgen.core import Structure

import ionsieve
from ionsieve.workflows.documents.raw import (
    PhaseBookDocument,
    PlanDocument,
    ScreeningDocument,
)
from ionsieve.workflows.funnel.candidate import energy_key
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.phases import PhaseBook, starting_structures
from ionsieve.workflows.funnel.records import Records, stored_document
from ionsieve.workflows.funnel.table import record_fields
from ionsieve.workflows.planning.files import contents_key, matching_files
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import ScreeningFile

#: Sections that decide which compositions there are.
_PLANNING = ("mobile_ion", "mothers", "doping", "supercell")


@dataclass(frozen=True)
class Asked:
    """The keys of what some settings ask for.

    Attributes
    ----------
    plan, phases
        Of the plan, and of the competing phases.
    settings
        Of all settings, for the record of what was run.
    """

    plan: str
    phases: str
    settings: str


def asked_keys(screening: ScreeningFile) -> Asked:
    """Return the keys of a screening's settings; reads the files they name.

    Raises
    ------
    InputError
        A file is missing.
    """
    mothers = matching_files(screening.mothers.files, screening.resolve, "mothers.files")
    settings = screening.model_dump(mode="json", include=set(_PLANNING))
    plan = settings_hash("plan", ionsieve.__version__, settings, contents_key(mothers))
    extra = contents_key(extra_phases(screening))
    phases = settings_hash("phases", plan, extra, energy_key(screening))
    everything = screening.model_dump(mode="json", exclude={"compute"})
    return Asked(plan, phases, settings_hash("settings", plan, phases, everything))


def extra_phases(screening: ScreeningFile) -> list[Path]:
    """Return the files of further competing phases that the settings name."""
    if not screening.hull.phases:
        return []
    return matching_files(screening.hull.phases, screening.resolve, "hull.phases")


def open_records(job_store: JobStore) -> Records:
    """Return the records of a store, with all that the stages read of them."""
    return Records(job_store, record_fields())


def new_funnel(
    screening: ScreeningFile,
    plan: PlanDocument,
    job_store: JobStore,
    phases: tuple[PhaseBookDocument, Mapping[str, Structure]],
) -> Funnel:
    """Return the funnel of a fresh plan, ready to run, and store what it asks for.

    Parameters
    ----------
    phases
        The competing phases, and where each starts, from
        :func:`ionsieve.workflows.funnel.phases.starting_structures`.
    """
    keys = asked_keys(screening)
    book, structures = phases
    record = ScreeningDocument(
        name=screening.name,
        settings=screening.model_dump(mode="json"),
        plan_key=keys.plan,
        phase_book_key=keys.phases,
    )
    name = screening.name
    job_store.update(
        [
            stored_document(plan, f"plan-{keys.plan}", keys.plan, "plan", screening=name),
            stored_document(book, f"phases-{keys.phases}", keys.phases, "plan", screening=name),
            stored_document(
                record, f"screening-{name}-{keys.settings}", keys.settings, "plan", screening=name
            ),
        ]
    )
    known = PhaseBook.of(book, screening)
    records = open_records(job_store)
    return Funnel(screening.settings, plan, records, known, structures.__getitem__)


def stored_funnel(screening: ScreeningFile, job_store: JobStore) -> Funnel:
    """Return the funnel of a screening to be looked at, from its stored plan where there is one."""
    keys = asked_keys(screening)
    plan = _stored(job_store, PlanDocument, keys.plan) or make_plan(screening)
    book = _stored(job_store, PhaseBookDocument, keys.phases)
    if book is None:
        book, _ = starting_structures(plan, screening, extra_phases(screening))
    phases = PhaseBook.of(book, screening)
    return Funnel(screening.settings, plan, open_records(job_store), phases)


def _stored(job_store: JobStore, model: type[Any], key: str) -> Any:
    criteria = {"metadata.key": key, "metadata.document": model.__name__}
    found = job_store.query_one(criteria, ["output"])
    if found is None:
        return None
    return model(**{k: v for k, v in found["output"].items() if not k.startswith("@")})
