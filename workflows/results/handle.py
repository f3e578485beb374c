"""One handle on the results of a screening, for commands, report, notebooks and programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jobflow import JobStore
from mongomock_ng.filtering import filter_applies
from pymatgen.core import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import MaterialDocument, TransportDocument
from ionsieve.workflows.funnel.asked import stored_funnel
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.segments import joined
from ionsieve.workflows.results.builders import documents_of, items_of
from ionsieve.workflows.results.changes import SettingChange, changes_since_run
from ionsieve.workflows.results.collections import collection_model
from ionsieve.workflows.results.counts import StageCount, count_stages
from ionsieve.workflows.results.language import check_field, fields_of, parse_where
from ionsieve.workflows.results.sorting import parse_order, sorted_documents
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store

if TYPE_CHECKING:
    from ionsieve.md_analysis import Trajectory

#: Fields of documents that have to be loaded from large outputs.
_LOADED = {"structure", "density_g_cm3", "degeneracy", "method", "n_arrangements", "n_covered"}
_LOADED_BY_COLLECTION = {"arrangements": _LOADED, "materials": _LOADED}


@dataclass(frozen=True)
class Page:
    """Some rows of a collection, and how many fulfil the condition in all."""

    rows: list[dict[str, Any]]
    total: int


class Results:
    """The results that the present settings of a screening ask for; never writes.

    Results of other settings stay in the store and are not among these; `changes` says which
    settings were changed since they were made.

    Parameters
    ----------
    screening
        The settings.
    job_store
        Connected store of raw outputs.
    running
        Keys of the flows that are being executed.

    Examples
    --------
    >>> results = Results.open("screening.yaml")
    >>> page = results.find("conductors", "sigma_long_s_cm > 1e-3", "-sigma_long_s_cm", limit=10)
    >>> [(row["composition_id"], row["sigma_long_s_cm"]) for row in page.rows]
    """

    def __init__(
        self, screening: ScreeningFile, job_store: JobStore, running: Collection[str] = ()
    ) -> None:
        self.screening = screening
        self.job_store = job_store
        self.running = running
        self._funnel: Funnel | None = None
        self._documents: dict[tuple[str, bool], list[dict[str, Any]]] = {}

    @classmethod
    def open(cls, screening: str | Path | ScreeningFile, running: Collection[str] = ()) -> Self:
        """Open the results of a screening.yaml.

        Raises
        ------
        InputError
            The file or the store can't be read, or nothing has run yet.
        """
        if not isinstance(screening, ScreeningFile):
            screening = read_screening(screening)
        return cls(screening, open_job_store(screening, read_only=True), running)

    @property
    def funnel(self) -> Funnel:
        """The funnel, followed as far as what is stored goes."""
        if self._funnel is None:
            self._funnel = stored_funnel(self.screening, self.job_store)
            self._funnel.follow()
        return self._funnel

    def refresh(self) -> None:
        """Take in what was stored since."""
        self._documents.clear()
        if self._funnel is not None:
            self._funnel.records.refresh()
            self._funnel.follow()

    def find(
        self,
        collection: str = "conductors",
        where: str | None = None,
        sort: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        bounds: bool = False,
    ) -> Page:
        """Return the documents of a collection that fulfil a condition.

        Parameters
        ----------
        collection
            One of mothers, compositions, arrangements, materials, conductors, phases.
        where
            Condition, see :mod:`ionsieve.workflows.results.language`; None: all.
        sort
            Fields separated by commas, a minus before those that go from high to low. Documents
            without a value come last.
        columns
            Fields to return; None: all.
        limit, offset
            At most so many, after the first so many.
        bounds
            Compare bounds and values of undecided runs too, not only measurements.

        Raises
        ------
        InputError
            Unknown collection or field, or a condition that isn't understood.
        """
        model = collection_model(collection)
        fields = fields_of(model)
        criteria = parse_where(where or "", model, bounds=bounds)
        order = parse_order(sort, fields)
        wanted = [check_field(name, fields) for name in columns or ()]
        if limit is not None and limit < 1:
            raise InputError(f"limit {limit}: ask for at least 1 document")
        if offset < 0:
            raise InputError(f"offset {offset}: start at 0 or later")
        found = self._all(collection, wanted, str(criteria) + str(order))
        if criteria:
            found = [document for document in found if filter_applies(criteria, document)]
        found = sorted_documents(found, [*order, ("document_id", False)])
        rows = found[offset:][:limit]
        names = wanted or list(fields)
        return Page([{name: row.get(name) for name in names} for row in rows], len(found))

    def _all(self, collection: str, wanted: Sequence[str], used: str) -> list[dict[str, Any]]:
        large = _LOADED_BY_COLLECTION.get(collection, set()) | {"provenance"}
        full = not wanted or any(name in wanted or name in used for name in large)
        key = (collection, full)
        if key not in self._documents:
            items = items_of(collection, self.funnel, self.running)
            self._documents[key] = documents_of(collection, self.funnel, items, full)
        return self._documents[key]

    def counts(self) -> list[StageCount]:
        """Return how many compositions each stage got, kept and lost."""
        page = self.find("compositions", columns=["composition_id", "passages"])
        return count_stages(page.rows, self.funnel.stages)

    def changes(self) -> list[SettingChange]:
        """Return the settings that were changed since this screening was last run."""
        return changes_since_run(self.screening, self.job_store)

    def run(self, composition_id: str, stage: str) -> dict[str, Any]:
        """Return the stored analysis of a composition's run, see :class:`TransportDocument`.

        Raises
        ------
        InputError
            There is no such composition, or it has no such run.
        """
        entry = self._entry(composition_id, stage, TransportDocument.__name__)
        return self.funnel.records.outputs([entry])[entry]

    def arrhenius(self, composition_id: str) -> dict[str, Any] | None:
        """Return the stored fit over temperatures of a composition; None without one."""
        case = self.funnel.cases[composition_id]
        outcome = case.outcomes.get("conductor")
        if outcome is None or outcome.entry is None:
            return None
        found = self.funnel.records.outputs([outcome.entry], ["arrhenius"])[outcome.entry]
        fit: dict[str, Any] | None = found.get("arrhenius")
        return fit

    def trajectory(self, composition_id: str, stage: str) -> Trajectory:
        """Return the trajectory of a composition's run, equilibration included."""
        return joined(self.job_store, self.run(composition_id, stage)["segment_uuids"])

    def structure(self, composition_id: str) -> Structure:
        """Return the relaxed structure of a composition."""
        entry = self._entry(composition_id, "relax", MaterialDocument.__name__)
        stored = self.funnel.records.outputs([entry], ["structure"])[entry]["structure"]
        return stored if isinstance(stored, Structure) else Structure.from_dict(stored)

    def _entry(self, composition_id: str, stage: str, document: str) -> Entry:
        case = self.funnel.cases.get(composition_id)
        if case is None:
            known = ", ".join(list(self.funnel.cases)[:5])
            raise InputError(
                f"no composition '{composition_id}' in screening '{self.screening.name}'; "
                f"there are {known}, ..."
            )
        sources = {k: e for o in case.outcomes.values() for k, e in o.sources.items()}
        entry = sources.get(stage)
        if entry is None or entry.document != document:
            raise InputError(
                f"{composition_id} has no {stage} result; it has {', '.join(sources) or 'none'}"
            )
        return entry
