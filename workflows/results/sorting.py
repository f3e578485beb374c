"""The order of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ionsieve.errors import InputError
from ionsieve.workflows.results.language import Kind, check_field

Order = list[tuple[str, bool]]


def parse_order(sort: str | None, fields: Mapping[str, Kind]) -> Order:
    """Return (field, is descending) of each part of ``sort``.

    Raises
    ------
    InputError
        A field is unknown or can't be sorted by.
    """
    order = []
    for part in (sort or "").split(","):
        name = part.strip().lstrip("+-")
        if not name:
            continue
        if fields[check_field(name, dict(fields))] not in ("number", "text", "flag"):
            raise InputError(f"'{name}' can't be sorted by; choose a number, text or flag")
        order.append((name, part.strip().startswith("-")))
    return order


def sorted_documents(documents: Sequence[dict[str, Any]], order: Order) -> list[dict[str, Any]]:
    """Sort by several fields; documents without a value come last either way."""
    found = list(documents)
    for name, descending in reversed(order):
        present = [document for document in found if document.get(name) is not None]
        absent = [document for document in found if document.get(name) is None]
        present.sort(key=lambda document: document[name], reverse=descending)
        found = [*present, *absent]
    return found
