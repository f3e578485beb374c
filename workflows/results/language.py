"""Conditions on results, written like Python, read safely into MongoDB filters.

``sigma_300k_s_cm > 1e-3 and 'W6+' in dopants`` becomes
``{"$and": [{"sigma_300k_s_cm": {"$gt": 0.001}}, {"dopants": "W6+"}]}``. Nothing is evaluated: the
text is parsed with :mod:`ast`, and only comparisons of one field with constants, ``and``, ``or``,
``not``, ``in``, chains and parentheses are understood. A field without a value (None) fulfils no
``<``, ``<=``, ``>``, ``>=``; it equals None and differs from everything else.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
import types
import warnings
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from ionsieve.errors import InputError

Filter = dict[str, Any]
Kind = Literal["number", "text", "flag", "list", "other"]

_MAX_LENGTH = 2000
_ORDER: dict[type[ast.cmpop], str] = {
    ast.Lt: "$lt",
    ast.LtE: "$lte",
    ast.Gt: "$gt",
    ast.GtE: "$gte",
}
_MIRRORED = {"$lt": "$gt", "$lte": "$gte", "$gt": "$lt", "$gte": "$lte"}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EXAMPLE = "write, for example: sigma_long_s_cm > 1e-3 and e_hull_ev_atom < 0.05"


def parse_where(text: str, model: type[BaseModel], *, bounds: bool = True) -> Filter:
    """Translate a condition into a MongoDB filter.

    Parameters
    ----------
    text
        The condition; blank: everything.
    model
        Schema of the collection: which fields there are, and of which type.
    bounds
        Compare bounds and values of undecided runs too. Without, neither a comparison of a quantity
        nor its negation holds where the quantity is no measurement; only ``== None`` and
        ``!= None`` ask for the field itself.

    Raises
    ------
    InputError
        Not understood, an unknown field (the nearest known one is named), or a comparison that
        makes no sense for the field's type.
    """
    if not text.strip():
        return {}
    if len(text) > _MAX_LENGTH:
        raise InputError(f"condition of {len(text)} characters: at most {_MAX_LENGTH} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser, on style
            tree = ast.parse(text.strip(), mode="eval")
        guards = {} if bounds else _guards(model)
        return _Translator(text, fields_of(model), guards).condition(tree.body)
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"condition {text!r}: {reason}; {_EXAMPLE}") from error
    except (RecursionError, MemoryError) as error:
        raise InputError("condition: nested too deeply; use fewer parentheses") from error


def fields_of(model: type[BaseModel]) -> dict[str, Kind]:
    """Return the fields of a collection and their kinds."""
    return {name: _kind(info.annotation) for name, info in model.model_fields.items()}


def check_field(name: str, fields: dict[str, Kind]) -> str:
    """Return ``name`` if it is a field.

    Raises
    ------
    InputError
        Unknown field; the nearest known one is named.
    """
    if name in fields:
        return name
    longer = sorted((field for field in fields if field.startswith(name)), key=len)
    near = longer or difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known fields: {', '.join(sorted(fields))}"
    raise InputError(f"unknown field '{name}'; {hint}")


def _kind(annotation: Any) -> Kind:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        kinds = {_kind(part) for part in get_args(annotation) if part is not type(None)}
        return kinds.pop() if len(kinds) == 1 else "other"
    if origin is Literal:
        return "text"
    if origin is list:
        return "list"
    known: dict[Any, Kind] = {bool: "flag", int: "number", float: "number", str: "text"}
    return known.get(annotation, "other")


def _guards(model: type[BaseModel]) -> dict[str, Filter]:
    """Return field -> what holds where it is a measurement."""
    found: dict[str, Filter] = {}
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict):
            continue
        conditions: list[Filter] = []
        if bound := extra.get("bound"):
            conditions.append({str(bound): {"$ne": True}})
        measured: Any = extra.get("measured_if") or {}
        conditions += [{field: {"$in": list(values)}} for field, values in measured.items()]
        if conditions:
            found[name] = conditions[0] if len(conditions) == 1 else {"$and": conditions}
        if extra.get("interval") and measured:
            # The ends of an upper bound's interval are what is known of it.
            known: list[Filter] = [
                {field: {"$in": [*values, "upper_bound"]}} for field, values in measured.items()
            ]
            found[f"{name}_lo"] = found[f"{name}_hi"] = {"$and": known}
    return found


class _Translator:
    """Walks one parsed condition."""

    def __init__(self, text: str, fields: dict[str, Kind], guards: dict[str, Filter]) -> None:
        self._text = text
        self._fields = fields
        self._guards = guards

    def condition(self, node: ast.expr, negated: bool = False) -> Filter:
        """Return the filter of a node that is true or false, or of its negation.

        A negation is carried down to the comparisons, where it keeps their guards.
        """
        if isinstance(node, ast.BoolOp):
            name = "$and" if isinstance(node.op, ast.And) is not negated else "$or"
            return {name: [self.condition(value, negated) for value in node.values]}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node.operand, not negated)
        if isinstance(node, ast.Compare):
            return self._chain(node, negated)
        if isinstance(node, ast.Name):
            found: Filter = {self._field(node, "flag", "stand alone"): True}
            return {"$nor": [found]} if negated else found
        raise self._not_understood(node)

    def _chain(self, node: ast.Compare, negated: bool) -> Filter:
        operands = [node.left, *node.comparators]
        links = []
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            found = self._comparison(left, op, right)
            links.append(self._guarded({"$nor": [found]} if negated else found, left, right))
        return links[0] if len(links) == 1 else {"$or" if negated else "$and": links}

    def _guarded(self, found: Filter, left: ast.expr, right: ast.expr) -> Filter:
        """Add that the quantity that a comparison names is a measurement."""
        if any(isinstance(side, ast.Constant) and side.value is None for side in (left, right)):
            return found
        name = left.id if isinstance(left, ast.Name) else getattr(right, "id", "")
        return {"$and": [found, self._guards[name]]} if name in self._guards else found

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Filter:
        if type(op).__name__ in ("In", "NotIn"):  # codespell:ignore
            found = self._membership(left, right)
            return found if isinstance(op, ast.In) else {"$nor": [found]}
        if isinstance(left, ast.Name) == isinstance(right, ast.Name):
            raise ValueError(f"'{self._source(left, right)}' must compare a field with a value")
        name_first = isinstance(left, ast.Name)
        node, value_node = (left, right) if name_first else (right, left)
        assert isinstance(node, ast.Name)
        value = self._constant(value_node)
        if type(op) in _ORDER:
            name = _ORDER[type(op)]
            return self._ordered(node, name if name_first else _MIRRORED[name], value)
        field = check_field(node.id, self._fields)
        self._check_type(field, value)
        negative = isinstance(op, ast.NotEq | ast.IsNot)
        return {field: {"$ne" if negative else "$eq": value}}

    def _ordered(self, node: ast.Name, name: str, value: Any) -> Filter:
        field = check_field(node.id, self._fields)
        if value is None or self._fields[field] not in ("number", "text"):
            raise ValueError(f"'{field}' can't be ordered by {value!r}; use ==, != or in")
        self._check_type(field, value)
        return {field: {name: value}}

    def _membership(self, left: ast.expr, right: ast.expr) -> Filter:
        if isinstance(right, ast.Name):
            return self._contains(self._constant(left), check_field(right.id, self._fields))
        if not isinstance(left, ast.Name) or not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise ValueError(
                f"'{self._source(left, right)}' must be FIELD in [VALUES] or VALUE in FIELD"
            )
        field = check_field(left.id, self._fields)
        values = [self._constant(element) for element in right.elts]
        for value in values:
            self._check_type(field, value)
        return {field: {"$in": values}}

    def _contains(self, value: Any, field: str) -> Filter:
        kind = self._fields[field]
        if not isinstance(value, str) or kind not in ("text", "list"):
            raise ValueError(f"'{field}' can't be searched for {value!r}; it takes a quoted text")
        return {field: {"$regex": re.escape(value)}} if kind == "text" else {field: value}

    def _check_type(self, field: str, value: Any) -> None:
        kind = self._fields[field]
        if kind == "list":
            raise ValueError(f"'{field}' is a list; ask for one entry: 'VALUE' in {field}")
        if value is None:
            return
        fits = {
            "number": isinstance(value, float | int) and not isinstance(value, bool),
            "text": isinstance(value, str),
            "flag": isinstance(value, bool),
            "other": False,
        }
        if not fits[kind]:
            wanted = {"flag": "True or False", "text": "a quoted text", "other": "None"}
            raise ValueError(
                f"'{field}' compares with {wanted.get(kind, 'a number')}, not {value!r}"
            )

    def _field(self, node: ast.Name, kind: Kind, action: str) -> str:
        field = check_field(node.id, self._fields)
        if self._fields[field] != kind:
            raise ValueError(f"'{field}' can't {action}; compare it with a value")
        return field

    def _constant(self, node: ast.expr) -> Any:
        """Return the value of a constant: literals, signs, and arithmetic of numbers."""
        if isinstance(node, ast.Constant):
            value = node.value
            if value is None or isinstance(value, bool | str):
                return value
            if isinstance(value, int | float):
                return _plain_number(value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self._number(node.operand)
            return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._number(node.left), self._number(node.right)
            try:
                return _plain_number(_ARITHMETIC[type(node.op)](left, right))
            except ZeroDivisionError:
                raise ValueError(f"'{self._source(node)}' divides by zero") from None
        if isinstance(node, ast.Name):
            raise ValueError(f"'{node.id}' stands where a value belongs; texts take quotes")
        raise self._not_understood(node)

    def _number(self, node: ast.expr) -> int | float:
        value = self._constant(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"'{self._source(node)}' is not a number")
        return value

    def _not_understood(self, node: ast.expr) -> ValueError:
        return ValueError(f"'{self._source(node)}' is not understood")

    def _source(self, *nodes: ast.expr) -> str:
        text = self._text.strip()
        parts = [ast.get_source_segment(text, node) or "?" for node in nodes]
        return " ... ".join(parts)


def _plain_number(value: int | float) -> int | float:
    """Return a number that every database can hold."""
    if isinstance(value, int) and abs(value) > 2**53:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
