"""Long parts of documents, kept apart from the rest so that searching need not read them.

In the text of a large document long lists and texts, and in any document bytes, are replaced by a
mark, ``["$part", offset, length]`` or ``["$bytes", offset, length]``: where in its ``parts``
they are. Being lists, marks mean to a query what lists mean: anything may be in there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

#: A document whose JSON is no longer than this stays in one piece, but for bytes.
_SHORT_DOCUMENT = 4096

#: Lists and texts whose JSON is longer than this are kept apart, bytes. Texts are searched for and
#: indexed, lists are not.
_LONG_LIST, _LONG_TEXT = 256, 1024

_PART, _BYTES, _LITERAL = "$part", "$bytes", "$literal"
_NAMES = (_PART, _BYTES, _LITERAL)

#: Text of a document without this has no marks.
HINT = '["$'


class Parts:
    """Collects the long parts of one document while it is turned into text."""

    def __init__(self) -> None:
        self._data = bytearray()

    def text(self, tagged: Mapping[str, Any]) -> str:
        """Return the JSON text of a document whose values JSON has, but for bytes."""
        whole = orjson.dumps(tagged, default=self._keep_bytes)
        if len(whole) <= _SHORT_DOCUMENT:
            return whole.decode()
        self._data.clear()
        return orjson.dumps(self._short(tagged), default=self._keep_bytes).decode()

    @property
    def data(self) -> bytes:
        """The parts of all texts so far."""
        return bytes(self._data)

    def _short(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._short(item) for key, item in value.items()}
        if isinstance(value, list):
            return self._apart(value, _LONG_LIST)
        if isinstance(value, str) and len(value) > _LONG_TEXT:
            return self._apart(value, _LONG_TEXT)
        return value

    def _apart(self, value: Any, limit: int) -> Any:
        text = orjson.dumps(value, default=self._keep_bytes)
        return self._mark(_PART, text) if len(text) > limit else orjson.Fragment(text)

    def _keep_bytes(self, value: Any) -> list[Any]:
        if isinstance(value, bytes):
            return self._mark(_BYTES, value)
        raise TypeError(f"a value of type {type(value).__name__}")

    def _mark(self, name: str, data: bytes) -> list[Any]:
        offset = len(self._data)
        self._data += data
        return [name, offset, len(data)]


def is_like_mark(value: list[Any]) -> bool:
    """Tell whether a list of a document could be taken for a mark."""
    return bool(value) and value[0] in _NAMES


def as_literal(value: list[Any]) -> list[Any]:
    """Return the list that stands for one that could be taken for a mark."""
    return [_LITERAL, *value]


def is_literal(value: list[Any]) -> bool:
    """Tell whether a list came from `as_literal`."""
    return bool(value) and value[0] == _LITERAL


def expand(mark: list[Any], data: bytes) -> tuple[Any, bool]:
    """Return what a mark stands for, and whether there may be tags and marks in it.

    Raises
    ------
    ValueError
        If it is no longer there.
    """
    name, offset, length = mark
    part = data[offset : offset + length]
    if len(part) != length:
        raise ValueError("a part of the document is missing")
    return (part, False) if name == _BYTES else (orjson.loads(part), b'"$' in part)
