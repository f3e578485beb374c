"""How a value of a collection is shown: with its interval, as a bound, or not as a number at all.

One rule for tables, report, JSON and CSV: a measurement stands with its 95 % interval; an upper
bound as ``<``; a lower bound as ``>=``; what a broken or undecided run gave stands in brackets with
its verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from ionsieve.workflows.documents.collections import printed_as
from ionsieve.workflows.results.collections import DEFAULT_COLUMNS, collection_model
from ionsieve.workflows.results.language import fields_of

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]


Kind = Literal["none", "value", "measured", "lower_bound", "upper_bound", "unsound"]


@dataclass(frozen=True)
class Reading:
    """What a field of a row says.

    Attributes
    ----------
    kind
        ``none``: no value; ``value``: no quantity with a verdict, or a sound one without an
        interval; ``measured``: a measurement with its interval; ``lower_bound``; ``upper_bound``;
        ``unsound``: of a run that broke or was too short to tell.
    value
        The bound's, of a bound; None: not known.
    ends
        Of the 95 % interval; None: infinite, or not known if both are.
    verdicts
        That it rests on.
    """

    kind: Kind
    value: Any = None
    ends: tuple[float | None, float | None] | None = None
    verdicts: tuple[str, ...] = ()


def reading(row: Row, model: type[BaseModel], name: str) -> Reading:
    """Return what a field of a row says.

    Parameters
    ----------
    row
        A document, with the companions of the field (see `companions`).
    """
    value, about = row.get(name), _about(model, name)
    verdicts = tuple(str(row[v]) for v in about.get("measured_if", {}) if row.get(v))
    ends = (row.get(f"{name}_lo"), row.get(f"{name}_hi")) if about.get("interval") else None
    if ends and "upper_bound" in verdicts:
        return Reading("upper_bound", ends[1], ends, verdicts)
    if value is None:
        return Reading("none")
    if not is_measured(row, model, name):
        kind: Kind = "lower_bound" if row.get(about.get("bound", "")) else "unsound"
        return Reading(kind, value, ends, verdicts)
    return Reading("measured" if ends else "value", value, ends, verdicts)


def interval_words(reading: Reading, number: Callable[[float], str]) -> str:
    """Return the 95 % interval in words; empty where there is none."""
    if reading.ends is None:
        return ""
    low, high = reading.ends
    if low is None and high is None:
        return "interval unknown"
    return f"{'-∞' if low is None else number(low)} to {'∞' if high is None else number(high)}"


def shown(row: Row, model: type[BaseModel], name: str) -> str:
    """Return a field of a row as people read it.

    Parameters
    ----------
    row
        A document, with the companions of the field (see `companions`).
    """
    form = printed_as(model, name)[2]
    found = reading(row, model, name)
    text = format_value(found.value, form)
    if found.kind == "upper_bound":
        return f"< {text}" if found.value is not None else "< ∞"
    if found.kind == "lower_bound":
        return f"≥ {text}"
    if words := interval_words(found, lambda value: format_value(value, form)):
        text = f"{text} ({words})"
    if found.kind == "unsound":
        return f"[{text}: {', '.join(found.verdicts) or 'no verdict'}]"
    return text


def is_measured(row: Row, model: type[BaseModel], name: str) -> bool:
    """Return whether a field of a row is a measurement: no bound, and of a sound run."""
    about = _about(model, name)
    if about.get("bound") and row.get(about["bound"]):
        return False
    conditions: Mapping[str, Sequence[str]] = about.get("measured_if", {})
    return all(row.get(field) in values for field, values in conditions.items())


def companions(model: type[BaseModel], names: Iterable[str]) -> list[str]:
    """Return some fields, each followed by those without which it must not stand."""
    found: dict[str, None] = {}
    for name in names:
        about = _about(model, name)
        found[name] = None
        if about.get("interval"):
            found.update(dict.fromkeys((f"{name}_lo", f"{name}_hi")))
        if about.get("bound"):
            found[about["bound"]] = None
        found.update(dict.fromkeys(about.get("measured_if", {})))
    return list(found)


def _about(model: type[BaseModel], name: str) -> dict[str, Any]:
    extra = model.model_fields[name].json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def result_table(
    rows: Iterable[Row],
    title: str | None = None,
    *,
    collection: str = "conductors",
    columns: Sequence[str] | None = None,
    total: int | None = None,
) -> Table:
    """Return a table for the terminal, with units.

    Parameters
    ----------
    columns
        Fields to show; None: a choice for the collection, less those without any value.
    total
        How many there are in all.
    """
    # For start-up time.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    model = collection_model(collection)
    names = columns or [
        name
        for name in DEFAULT_COLUMNS[collection]
        if not rows or any(row.get(name) is not None for row in rows)
    ]
    count = f"{len(rows)} " if total in (None, len(rows)) else f"{len(rows)} of {total} "
    # Plain and tight, so that the columns of the conductors fit a terminal.
    table = Table(
        title=title,
        caption=f"{count}{collection}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    numbers = {name for name, kind in fields_of(model).items() if kind == "number"}
    for name in names:
        heading, unit, form = printed_as(model, name)
        justify = "right" if form or name in numbers else "left"
        words = Text.assemble(heading, "\n", (unit, "dim")) if unit else Text(heading)
        table.add_column(words, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        # Text, not markup: a cell may hold brackets.
        table.add_row(*(Text(shown(row, model, name)) for name in names))
    return table


def format_value(value: Any, form: str = "") -> str:
    """Return a value as people read it; ``-`` where there is none."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    text = format(value, form) if form else str(value)
    # Rounded to nothing: no sign.
    return text[1:] if text.startswith("-") and not any(c in "123456789" for c in text) else text


def scalar_fields(collection: str) -> list[str]:
    """Return the fields of a collection that fit a cell: no structures, no records."""
    fields = fields_of(collection_model(collection))
    return [name for name, kind in fields.items() if kind != "other"]


def describe_fields(collection: str) -> list[dict[str, str]]:
    """Return name, unit and meaning of each field that conditions can use."""
    model = collection_model(collection)
    rows = []
    for name in scalar_fields(collection):
        title, unit, _ = printed_as(model, name)
        about = model.model_fields[name].description
        meaning = f"{title}: {about}" if about and title != name else about or title
        rows.append({"field": name, "unit": unit, "meaning": meaning})
    return rows
