"""Results as plain lists and numbers, and back: what a document store keeps and plots need."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ionsieve.errors import InputError

_T = TypeVar("_T")

#: Digits kept of arrays: more than a plot shows.
_DIGITS = 5


def to_plain(value: Any) -> Any:
    """Return dataclasses and arrays as dictionaries and lists.

    Numbers that are not finite become None, and those of arrays are rounded to five digits.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return [_short(x) for x in value] if value.ndim == 1 else [to_plain(row) for row in value]
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _short(number: float) -> float | None:
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None


def from_plain(kind: type[_T], data: Mapping[str, Any]) -> _T:
    """Return the dataclass that :func:`to_plain` (or a result's ``to_dict``) took apart.

    Examples
    --------
    >>> from ionsieve.md_analysis.conserved_energy import EnergyDrift
    >>> from_plain(EnergyDrift, to_plain(EnergyDrift(1.5, 0.1, 20.0)))
    EnergyDrift(mev_atom_ps=1.5, standard_error=0.1, length_ps=20.0)

    Raises
    ------
    InputError
        If a field without default is missing: an older version stored the result.
    """
    hints = get_type_hints(kind)
    restored = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in data:
            restored[field.name] = _restored(hints[field.name], data[field.name])
        elif field.default is dataclasses.MISSING:
            raise InputError(f"a stored {kind.__name__} has no {field.name}; analyse the run again")
    return kind(**restored)


def _restored(hint: Any, value: Any) -> Any:
    """Return one value as the type it had."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return None if value is None else _restored(kinds[0], value)
    if origin is np.ndarray:
        return np.array(value, dtype=np.float64)
    if origin is tuple:
        each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_restored(part, item) for part, item in zip(each, value, strict=True))
    return math.nan if hint is float and value is None else value
