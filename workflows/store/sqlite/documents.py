"""How Mongo documents are kept as JSON text, and which parts of them a query gives back.

What JSON lacks is tagged the way MongoDB's extended JSON does it: ``{"$date": ...}``,
``{"$oid": ...}``, ``{"$binary": ...}``, ``{"$numberDouble": "NaN"}``.
"""

import base64
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId

from ionsieve.errors import IonSieveError

_INT64_LIMIT = 2**63

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$date": datetime.fromisoformat,
    "$oid": ObjectId,
    "$binary": base64.b64decode,
    "$numberDouble": float,
    "$literal": lambda value: {key: _revive(item) for key, item in value.items()},
}


def encode(document: Mapping[str, Any]) -> str:
    """Turn a document into JSON text from which `decode` gives the same document.

    Times are kept as MongoDB keeps them: in UTC, without time zone, to the millisecond.

    Parameters
    ----------
    document
        Values may be None, bool, int of 64 bit, float, str, bytes, datetime, ObjectId, and lists
        and dicts with text keys of them.

    Raises
    ------
    IonSieveError
        For any other value, naming where in the document it is.
    """
    tagged = {key: tag(value, key) for key, value in document.items()}
    try:
        return orjson.dumps(tagged).decode()
    except TypeError as error:
        raise IonSieveError(f"document can't be stored as JSON: {error}") from error


def decode(text: str) -> dict[str, Any]:
    """Give back the document that `encode` was given."""
    document = orjson.loads(text)
    return {key: _revive(item) for key, item in document.items()} if '"$' in text else document


def encode_id(identifier: Any) -> str:
    """Turn the value of ``_id`` into JSON text, equal for equal values."""
    return orjson.dumps(tag(identifier, "_id")).decode()


def decode_id(text: str) -> Any:
    """Give back the value that `encode_id` was given."""
    return _revive(orjson.loads(text))


def tag(value: Any, path: str) -> Any:
    """Turn a value into one that JSON has; ``path`` names it in error messages."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$numberDouble": _non_finite_name(value)}
    if isinstance(value, int):
        if not -_INT64_LIMIT <= value < _INT64_LIMIT:
            raise IonSieveError(
                f"{path}: {value} does not fit into 64 bits; store it as text or float"
            )
        return int(value)
    if isinstance(value, Mapping):
        return _tag_mapping(value, path)
    if isinstance(value, list | tuple):
        return [tag(item, f"{path}.{position}") for position, item in enumerate(value)]
    if isinstance(value, datetime):
        return {"$date": _to_stored_time(value).isoformat(timespec="milliseconds")}
    if isinstance(value, ObjectId):
        return {"$oid": str(value)}
    if isinstance(value, bytes):
        return {"$binary": base64.b64encode(value).decode()}
    raise IonSieveError(
        f"{path}: a value of type {type(value).__name__} can't be stored; "
        "convert it to text, number, list or dict first"
    )


def _tag_mapping(value: Mapping[str, Any], path: str) -> dict[str, Any]:
    tagged = {key: tag(item, f"{path}.{key}") for key, item in value.items()}
    return {"$literal": tagged} if _tag_name(tagged) else tagged


def _tag_name(value: Mapping[str, Any]) -> str | None:
    """Give the tag of a mapping that looks like a tagged value."""
    if len(value) != 1:
        return None
    (name,) = value
    return name if name in _DECODERS else None


def _revive(value: Any) -> Any:
    if isinstance(value, dict):
        if name := _tag_name(value):
            return _DECODERS[name](value[name])
        return {key: _revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revive(item) for item in value]
    return value


def _non_finite_name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _to_stored_time(time: datetime) -> datetime:
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def normalize_criteria(criteria: Any) -> Any:
    """Bring the times and enumerated texts in a filter to the form that documents hold."""
    if isinstance(criteria, datetime):
        return _to_stored_time(criteria)
    if isinstance(criteria, Mapping):
        return {key: normalize_criteria(value) for key, value in criteria.items()}
    if isinstance(criteria, list | tuple):
        return [normalize_criteria(value) for value in criteria]
    return str.__str__(criteria) if isinstance(criteria, str) else criteria


def project(
    document: dict[str, Any], properties: Mapping[str, Any] | Sequence[str] | None
) -> dict[str, Any]:
    """Keep the wanted parts of a document, as MongoDB does.

    Parameters
    ----------
    document
        The whole document.
    properties
        Dotted paths to keep, or a mapping of them to 1 (keep) or to 0 (leave out). ``_id`` is kept
        unless mapped to 0. With nothing given the whole document is returned.

    Raises
    ------
    IonSieveError
        If 1 and 0 are mixed, or something else is asked for (``$slice``, ``$elemMatch``).
    """
    if not properties:
        return document
    wanted = dict(properties) if isinstance(properties, Mapping) else dict.fromkeys(properties, 1)
    with_id = bool(wanted.pop("_id", 1))
    if not all(isinstance(flag, int) for flag in wanted.values()) or len(set(wanted.values())) > 1:
        raise IonSieveError(f"properties {properties}: map all fields to 1, or all to 0")
    including = bool(next(iter(wanted.values()))) if wanted else with_id
    kept = _project(document, _nested(wanted), including)
    kept.pop("_id", None)
    return {"_id": document["_id"], **kept} if with_id and "_id" in document else kept


def _nested(paths: Collection[str]) -> dict[str, Any]:
    """Turn dotted paths into a tree; an empty branch stands for everything below."""
    tree: dict[str, Any] = {}
    for path in paths:
        branch = tree
        *parents, last = path.split(".")
        for depth, name in enumerate(parents, start=1):
            if (whole := ".".join(parents[:depth])) in paths:
                raise IonSieveError(f"properties: {path} is part of {whole}; ask for one of them")
            branch = branch.setdefault(name, {})
        branch[last] = {}
    return tree


def _project(value: Any, tree: dict[str, Any], including: bool) -> Any:
    if isinstance(value, list):
        return [
            _project(item, tree, including)
            for item in value
            if not including or isinstance(item, dict | list)
        ]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        branch = tree.get(key)
        if branch is None:
            if not including:
                kept[key] = item
        elif not branch:
            if including:
                kept[key] = item
        elif not including or isinstance(item, dict | list):
            kept[key] = _project(item, branch, including)
    return kept


def values_at(value: Any, path: list[str]) -> Iterator[Any]:
    """Find the values at a path, going into all items of arrays on the way."""
    if not path:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from values_at(item, path)
    elif isinstance(value, dict) and path[0] in value:
        yield from values_at(value[path[0]], path[1:])


def hashable(value: Any) -> Any:
    """Give something equal for values that MongoDB takes for the same, and only for them."""
    if isinstance(value, dict):
        return "dict", tuple((key, hashable(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", tuple(hashable(item) for item in value)
    if isinstance(value, float) and value != value:
        return "nan"
    return isinstance(value, bool), value
