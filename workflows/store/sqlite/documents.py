"""How Mongo documents are kept as JSON text, and which parts of them a query gives back.

What JSON lacks is tagged the way MongoDB's extended JSON does it: ``{"$date": ...}``,
``{"$oid": ...}``, ``{"$numberDouble": "NaN"}``. Long parts and bytes are kept apart (`parts`).
"""

import base64
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from bson import ObjectId

from ionsieve.errors import IonSieveError
from ionsieve.workflows.store.sqlite.parts import (
    HINT,
    Parts,
    as_literal,
    expand,
    is_like_mark,
    is_literal,
)

_INT64_LIMIT = 2**63

_OBJECT_ID = '{"$oid":"'
_CONTAINERS = (dict, list)

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$date": datetime.fromisoformat,
    "$oid": ObjectId,
    "$binary": base64.b64decode,
    "$numberDouble": float,
    "$literal": dict,
}


class Encoded(NamedTuple):
    """A document as it is stored: JSON text, and its long parts if the text has marks."""

    text: str
    parts: bytes | None


def encode(document: Mapping[str, Any]) -> Encoded:
    """Turn a document into what `decode` gives the same document from.

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
    parts = Parts()
    try:
        text = parts.text(tagged)
    except TypeError as error:
        raise IonSieveError(f"document can't be stored as JSON: {error}") from error
    return Encoded(text, parts.data if HINT in text else None)


LoadParts = Callable[[], bytes | None]

#: Fields that are wanted: names, each with the tree below it; an empty one stands for all below.
Tree = dict[str, Any] | None


def decode(text: str, load_parts: LoadParts, tree: Tree = None) -> Any:
    """Give back the document that `encode` was given, or some fields of it.

    Parameters
    ----------
    text
        JSON text of the document.
    load_parts
        Gives its parts; called only if a field that is wanted lies there.
    tree
        Fields that are wanted, from `tree_of`; others may be there or not. None: all.
    """
    if tree is not None and not tree:
        return {}
    document = orjson.loads(text)
    if tree is not None:
        document = _pruned(document, tree)
    if HINT not in text:
        return _revive(document, None) if '"$' in text else document
    return _revive(document, load_parts)


def encode_id(identifier: Any) -> str:
    """Turn the value of ``_id`` into JSON text, equal for equal values."""
    return orjson.dumps(tag(identifier, "_id"), default=_tag_bytes).decode()


def decode_id(text: str) -> Any:
    """Give back the value that `encode_id` was given."""
    if text.startswith(_OBJECT_ID):
        return ObjectId(text[len(_OBJECT_ID) : -2])
    return _revive(orjson.loads(text), None)


def tag(value: Any, path: str) -> Any:
    """Turn a value into one that JSON has, or bytes; ``path`` names it in error messages."""
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
        items = [tag(item, f"{path}.{position}") for position, item in enumerate(value)]
        return as_literal(items) if is_like_mark(items) else items
    if isinstance(value, datetime):
        return {"$date": _to_stored_time(value).isoformat(timespec="milliseconds")}
    if isinstance(value, ObjectId):
        return {"$oid": str(value)}
    if isinstance(value, bytes):
        return value
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


def _tag_bytes(value: Any) -> dict[str, str]:
    return {"$binary": base64.b64encode(value).decode()}


def _revive(value: Any, load_parts: LoadParts | None) -> Any:
    kind = type(value)
    if kind is dict:
        if len(value) == 1 and (name := _tag_name(value)):
            if name != "$literal":
                return _DECODERS[name](value[name])
            value = value[name]
        return {
            key: _revive(item, load_parts) if type(item) in _CONTAINERS else item
            for key, item in value.items()
        }
    if kind is list:
        # A document without parts is one of 0.1.0-dev, where such a list is nothing but a list.
        if load_parts and is_like_mark(value) and (data := load_parts()) is not None:
            if not is_literal(value):
                found, is_tagged = expand(value, data)
                return _revive(found, load_parts) if is_tagged else found
            value = value[1:]
        return [_revive(item, load_parts) if type(item) in _CONTAINERS else item for item in value]
    return value


def tree_of(paths: Collection[str] | None) -> Tree:
    """Turn dotted paths into a tree; None stands for everything."""
    if paths is None:
        return None
    tree: dict[str, Any] = {}
    for path in paths:
        branch = tree
        *parents, last = path.split(".")
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[last] = {}
    # Of a path and one below it the shorter counts.
    for path in paths:
        *parents, last = path.split(".")
        branch = tree
        for name in parents:
            branch = branch.get(name, {})
        if last in branch:
            branch[last] = {}
    return tree


def _pruned(value: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out fields of a tagged document that are not in the tree."""
    kept = {}
    for key, item in value.items():
        if (branch := tree.get(key)) is not None:
            whole = not branch or not isinstance(item, dict) or _tag_name(item)
            kept[key] = item if whole else _pruned(item, branch)
    return kept


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


def projection(
    properties: Mapping[str, Any] | Sequence[str] | None,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that keeps the wanted parts of a document, as MongoDB does.

    Parameters
    ----------
    properties
        Dotted paths to keep, or a mapping of them to 1 (keep) or to 0 (leave out). ``_id`` is kept
        unless mapped to 0. With nothing given the whole document is returned.

    Raises
    ------
    IonSieveError
        If 1 and 0 are mixed, or something else is asked for (``$slice``, ``$elemMatch``).
    """
    if not properties:
        return lambda document: document
    wanted = dict(properties) if isinstance(properties, Mapping) else dict.fromkeys(properties, 1)
    with_id = bool(wanted.pop("_id", 1))
    if not all(isinstance(flag, int) for flag in wanted.values()) or len(set(wanted.values())) > 1:
        raise IonSieveError(f"properties {properties}: map all fields to 1, or all to 0")
    including = bool(next(iter(wanted.values()))) if wanted else with_id
    tree = _nested(wanted)

    def project(document: dict[str, Any]) -> dict[str, Any]:
        kept = _project(document, tree, including)
        kept.pop("_id", None)
        return {"_id": document["_id"], **kept} if with_id and "_id" in document else kept

    return project


def wanted_paths(properties: Mapping[str, Any] | Sequence[str] | None) -> list[str] | None:
    """Return the paths of what a `projection` keeps; None if it may keep anything."""
    if not properties:
        return None
    if not isinstance(properties, Mapping):
        return list(properties)
    return list(properties) if all(properties.values()) else None


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
