"""Ask the built collections: filter, sort, table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ionsieve.errors import InputError
from ionsieve.workflows.documents.collections import COLLECTIONS, BuiltDocument, printed_as
from ionsieve.workflows.results.language import check_field, fields_of, parse_where
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_collection

if TYPE_CHECKING:
    from rich.table import Table

#: Collection -> columns of its table, unless others are asked for.
DEFAULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "mothers": ("mother_id", "formula", "space_group", "accepted", "n_compositions", "reason"),
    "compositions": ("composition_id", "formula", "dopants", "doping_level", "state", "reason"),
    "arrangements": (
        *("composition_id", "rank", "ewald_energy_ev", "above_lowest_ev", "degeneracy"),
        *("energy_ev_atom", "selected", "certified"),
    ),
    "materials": (
        *("composition_id", "formula", "energy_ev_atom", "e_hull_ev_atom", "volume_change"),
        *("ewald_rank", "n_relaxed"),
    ),
    "conductors": (
        *("composition_id", "e_hull_ev_atom", "sigma_short_s_cm", "sigma_long_s_cm"),
        *("sigma_long_s_cm_lo", "sigma_long_s_cm_hi", "sigma_300k_s_cm"),
        *("activation_energy_ev", "passed"),
    ),
    "phases": ("phase_id", "formula", "state", "energy_ev_atom", "origin", "reason"),
}


def query(
    screening: ScreeningFile,
    where: str | None = None,
    sort: str | None = None,
    *,
    collection: str = "conductors",
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the documents of a collection that fulfil a condition.

    Parameters
    ----------
    where
        Condition, see :mod:`ionsieve.workflows.results.language`; None: all.
    sort
        Fields separated by commas, a minus before those that go from high to low. Documents
        without a value come last.
    collection
        One of mothers, compositions, arrangements, materials, conductors, phases.
    columns
        Fields to return; None: all.
    limit
        At most so many documents, after sorting.

    Raises
    ------
    InputError
        Unknown collection or field, or a condition that isn't understood.
    """
    model = _model(collection)
    fields = fields_of(model)
    criteria = parse_where(where or "", model)
    order = _order(sort, fields)
    wanted = [check_field(name, fields) for name in columns or ()]
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: ask for at least 1 document")
    needed = [*wanted, *(name for name, _ in order if name not in wanted)] if wanted else None
    with open_collection(screening, collection) as store:
        found = list(
            store.query({"$and": [{"screening": screening.name}, criteria]}, properties=needed)
        )
    found = _sorted(found, [*order, ("document_id", False)])[:limit]
    return [{name: document.get(name) for name in wanted or fields} for document in found]


def result_table(
    rows: Iterable[dict[str, Any]],
    title: str | None = None,
    *,
    collection: str = "conductors",
    columns: Sequence[str] | None = None,
) -> Table:
    """Return a table for the terminal, with units.

    Parameters
    ----------
    columns
        Fields to show; None: a choice for the collection, less those without any value.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    model = _model(collection)
    shown = columns or [
        name
        for name in DEFAULT_COLUMNS[collection]
        if not rows or any(row.get(name) is not None for row in rows)
    ]
    # Plain and tight, so that the columns of the conductors fit a terminal of 80 characters.
    table = Table(
        title=title,
        caption=f"{len(rows)} of {collection}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in shown:
        heading, unit, form = printed_as(model, name)
        table.add_column(
            Text.assemble(heading, "\n", (unit, "dim")) if unit else heading,
            justify="right" if form or _is_number(model, name) else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(format_value(row.get(name), printed_as(model, name)[2]) for name in shown))
    return table


def format_value(value: Any, form: str = "") -> str:
    """Return a value as people read it; ``-`` where there is none."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return format(value, form) if form else str(value)


def scalar_fields(collection: str) -> list[str]:
    """Return the fields of a collection that fit a cell: no structures, no records."""
    return [name for name, kind in fields_of(_model(collection)).items() if kind != "other"]


def describe_fields(collection: str) -> list[dict[str, str]]:
    """Return name, unit and meaning of each field that conditions can use."""
    model = _model(collection)
    rows = []
    for name in scalar_fields(collection):
        title, unit, _ = printed_as(model, name)
        about = model.model_fields[name].description
        meaning = f"{title}: {about}" if about and title != name else about or title
        rows.append({"field": name, "unit": unit, "meaning": meaning})
    return rows


def _model(collection: str) -> type[BuiltDocument]:
    if collection not in COLLECTIONS:
        raise InputError(f"unknown collection '{collection}'; one of {', '.join(COLLECTIONS)}")
    return COLLECTIONS[collection]


def _is_number(model: type[BuiltDocument], name: str) -> bool:
    return fields_of(model)[name] == "number"


def _order(sort: str | None, fields: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return (field, is descending) of each part."""
    order = []
    for part in (sort or "").split(","):
        name = part.strip().lstrip("+-")
        if not name:
            continue
        if fields[check_field(name, fields)] not in ("number", "text", "flag"):
            raise InputError(f"'{name}' can't be sorted by; choose a number, text or flag")
        order.append((name, part.strip().startswith("-")))
    return order


def _sorted(documents: list[dict[str, Any]], order: list[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Sort by several fields; documents without a value come last either way."""
    for name, descending in reversed(order):
        present = [document for document in documents if document.get(name) is not None]
        absent = [document for document in documents if document.get(name) is None]
        present.sort(key=lambda document: document[name], reverse=descending)
        documents = [*present, *absent]
    return documents
