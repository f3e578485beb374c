"""Mongo documents and queries on top of SQLite's JSON functions.

A query is answered in two steps. `prefilter` turns what it can of a Mongo filter into SQL that an
index can serve; it may let too much through, never too little. `matches` then decides exactly, in
Python, on the few documents left. So every Mongo filter works and the common ones are fast.

Documents are JSON text in a column named ``doc``, as `sqlite_documents` writes it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from bson import ObjectId
from mongomock_ng.filtering import BsonComparable, filter_applies, resolve_sort_key

from ionsieve.workflows.store.sqlite.documents import encode_id, tag

# From here on a double no longer holds every integer, so SQL and Python may disagree on equality.
_EXACT_INTEGER_LIMIT = 2**53

_PLAIN_FIELD = re.compile(r"[A-Za-z_@][A-Za-z0-9_@ -]*")

_ARRAY = "["
_DATE_START, _DATE_END = '{"$date":', '{"$date;'
_BOOLEAN = {True: '{"$bool":true}', False: '{"$bool":false}'}
_NON_FINITE = [f'{{"$numberDouble":"{name}"}}' for name in ("NaN", "Infinity", "-Infinity")]
_LONGEST_TAG = 48


class Clause(NamedTuple):
    """A piece of SQL for a WHERE, with the values of its placeholders."""

    sql: str
    parameters: tuple[str, ...] = ()


ANYTHING = Clause("1")


def matches(criteria: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Tell whether a document passes a Mongo filter."""
    return bool(filter_applies(criteria, document))


def expression(path: str) -> str | None:
    """Give the SQL expression that `prefilter` compares for a dotted path; index this one.

    Numbers and text stand for themselves, null and absent are NULL, tagged values and booleans are
    text that starts with ``{"$``. An array, or one on the way to the field, is ``[``: it may match
    anything.

    Returns
    -------
    str or None
        None if the path can't be looked up in SQL (array positions, operators, odd characters).
    """
    segments = path.split(".")
    if path == "_id" or not all(_PLAIN_FIELD.fullmatch(segment) for segment in segments):
        return None
    paths = [_json_path(segments[: depth + 1]) for depth in range(len(segments))]
    arrays = " OR ".join(f"json_type(doc, {prefix}) = 'array'" for prefix in paths)
    whole = paths[-1]
    return (
        f"CASE WHEN {arrays} THEN '{_ARRAY}' ELSE CASE json_type(doc, {whole}) "
        f"WHEN 'object' THEN substr(json_extract(doc, {whole}), 1, {_LONGEST_TAG}) "
        f"WHEN 'true' THEN '{_BOOLEAN[True]}' WHEN 'false' THEN '{_BOOLEAN[False]}' "
        f"ELSE json_extract(doc, {whole}) END END"
    )


def _json_path(segments: Sequence[str]) -> str:
    quoted = "".join(f'."{segment}"' for segment in segments)
    return f"'${quoted}'"


def prefilter(criteria: Mapping[str, Any]) -> Clause:
    """Translate a Mongo filter to SQL that passes all documents it matches, and maybe more.

    Handled are equality, ``$eq``, ``$in``, ``$gt``, ``$gte``, ``$lt``, ``$lte`` with scalars,
    ``$ne`` and ``$nin`` with texts, booleans and null, ``$regex``, ``$exists``, ``$and`` and
    ``$or``; everything else lets all documents pass.
    """
    clauses: list[Clause] = []
    for key, condition in criteria.items():
        if key == "$and":
            clauses.extend(prefilter(part) for part in condition)
        elif key == "$or":
            clauses.append(_any_of([prefilter(part) for part in condition]))
        elif key == "_id":
            clauses.append(_id_clause(condition))
        elif not key.startswith("$"):
            clauses.append(_field_clause(key, condition))
    return _all_of(clauses)


def _all_of(clauses: Iterable[Clause]) -> Clause:
    return _join(" AND ", [clause for clause in clauses if clause is not ANYTHING])


def _any_of(clauses: Sequence[Clause]) -> Clause:
    if any(clause is ANYTHING for clause in clauses):
        return ANYTHING
    return _join(" OR ", clauses)


def _join(operator: str, clauses: Sequence[Clause]) -> Clause:
    if not clauses:
        return ANYTHING
    if len(clauses) == 1:
        return clauses[0]
    sql = operator.join(f"({clause.sql})" for clause in clauses)
    return Clause(sql, tuple(value for clause in clauses for value in clause.parameters))


def _id_clause(condition: Any) -> Clause:
    values = [condition]
    if isinstance(condition, Mapping):
        values = condition["$in"] if set(condition) == {"$in"} else [None]
    if not all(type(value) in (str, ObjectId) for value in values):
        return ANYTHING
    texts = orjson.dumps([encode_id(value) for value in values]).decode()
    return Clause("id IN (SELECT value FROM json_each(?))", (texts,))


def _field_clause(path: str, condition: Any) -> Clause:
    column = expression(path)
    if column is None:
        return ANYTHING
    if not isinstance(condition, Mapping):
        return _membership(column, [condition])
    if not all(operator.startswith("$") for operator in condition):
        return ANYTHING
    clauses = [
        _operator_clause(column, path, operator, value)
        for operator, value in condition.items()
        if operator != "$regex" or "$options" not in condition
    ]
    return _all_of([*clauses, _range(column, condition)])


def _operator_clause(column: str, path: str, operator: str, value: Any) -> Clause:
    if operator == "$eq":
        return _membership(column, [value])
    if operator == "$in" and isinstance(value, list):
        return _membership(column, value)
    if operator == "$exists":
        if not value:
            return Clause(f"{column} IS NULL OR {column} = '{_ARRAY}'")
        return Clause(
            f"json_type(doc, {_json_path(path.split('.'))}) IS NOT NULL OR {column} = '{_ARRAY}'"
        )
    if operator == "$ne":
        return _exclusion(column, [value])
    if operator == "$nin" and isinstance(value, list):  # codespell:ignore nin
        return _exclusion(column, value)
    if operator == "$regex" and isinstance(value, str | re.Pattern):
        return _search(column, value)
    return ANYTHING


def _exclusion(column: str, values: Iterable[Any]) -> Clause:
    """Let all pass but what certainly equals one of the values: not numbers, SQLite rounds them."""
    excluded = [
        _BOOLEAN[value] if isinstance(value, bool) else value
        for value in values
        if isinstance(value, bool) or (type(value) is str and _is_plain_text(value))
    ]
    clause = ANYTHING
    if excluded := [text for text in excluded if text != _ARRAY]:
        text = orjson.dumps(excluded).decode()
        clause = Clause(
            f"{column} IS NULL OR {column} NOT IN (SELECT value FROM json_each(?))", (text,)
        )
    return _all_of([clause, Clause(f"{column} IS NOT NULL")]) if None in values else clause


def _search(column: str, pattern: str | re.Pattern[str]) -> Clause:
    flags, text = (0, pattern) if isinstance(pattern, str) else (pattern.flags, pattern.pattern)
    parameter = orjson.dumps([text, flags]).decode()
    return Clause(
        f"{column} = '{_ARRAY}' OR instr(doc, '\\u0000') OR ionsieve_search(?, {column})",
        (parameter,),
    )


def search(pattern: str, value: Any) -> bool:
    """Tell whether a regular expression is found in a text; SQLite calls this."""
    return isinstance(value, str) and _compiled(pattern).search(value) is not None


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text, flags = orjson.loads(pattern)
    return re.compile(text, flags)


def _membership(column: str, values: Iterable[Any]) -> Clause:
    allowed: list[Any] = [_ARRAY]
    with_null = False
    for value in values:
        if value is None:
            with_null = True
            continue
        constants = _comparable(value)
        if constants is None:
            return ANYTHING
        allowed.extend(constants)
    # Constants go through SQLite's JSON reader like the documents, so both are rounded alike.
    clause = Clause(
        f"{column} IN (SELECT value FROM json_each(?))", (orjson.dumps(allowed).decode(),)
    )
    return _any_of([clause, Clause(f"{column} IS NULL")]) if with_null else clause


def _comparable(value: Any) -> list[Any] | None:
    """Give all values of `expression` that may equal a scalar, or None if that is unknown."""
    if isinstance(value, bool):
        return [_BOOLEAN[value], int(value)]
    if isinstance(value, int | float) and math.isfinite(value):
        if abs(value) >= _EXACT_INTEGER_LIMIT:
            return None
        value = float(value) if isinstance(value, float) else int(value)
        return [value, _BOOLEAN[bool(value)]] if value in (0, 1) else [value]
    if type(value) is str:
        return [value] if _is_plain_text(value) else None
    if isinstance(value, float | datetime | ObjectId):
        return [orjson.dumps(tag(value, "criteria")).decode()]
    return None


def _is_plain_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _range(column: str, condition: Mapping[str, Any]) -> Clause:
    """Translate bounds to one lower and one upper, for that is what SQLite searches an index by.

    They are not strict even for ``$gt`` and ``$lt``: SQLite rounds the documents' numbers.
    """
    lower = [bound for name in ("$gt", "$gte") if (bound := _bound(condition.get(name)))]
    upper = [bound for name in ("$lt", "$lte") if (bound := _bound(condition.get(name)))]
    if not lower and not upper:
        return ANYTHING
    clauses = [
        Clause(f"{column} {comparison} json_extract(?, '$[0]')", (bounds[0].constant,))
        for comparison, bounds in ((">=", lower), ("<=", upper))
        if bounds
    ]
    if not lower and (start := upper[0].type_start) is not None:
        clauses.append(Clause(f"{column} >= '{start}'"))
    if not upper and (end := lower[0].type_end) is not None:
        clauses.append(Clause(f"{column} < '{end}'"))
    others = orjson.dumps([_ARRAY, *_NON_FINITE]).decode()
    anyway = Clause(f"{column} IN (SELECT value FROM json_each(?))", (others,))
    return _any_of([_all_of(clauses), anyway])


class _Bound(NamedTuple):
    """A bound of a range as JSON, and where values of its type start and end in SQLite's order."""

    constant: str
    type_start: str | None
    type_end: str | None


def _bound(value: Any) -> _Bound | None:
    constants = _comparable(value)
    if constants is None or isinstance(value, bool | ObjectId):
        return None
    constant = orjson.dumps(constants[:1]).decode()
    if isinstance(value, datetime):
        return _Bound(constant, _DATE_START, _DATE_END)
    if isinstance(value, str):
        return _Bound(constant, "", None)
    return _Bound(constant, None, "") if math.isfinite(value) else None


#: Operators whose conditions are on the fields named in them, or on the field they belong to.
_LOGIC = ("$and", "$or", "$nor")


def paths_of(criteria: Mapping[str, Any]) -> set[str] | None:
    """Return the dotted paths a Mongo filter looks at; None if that is unknown."""
    paths: set[str] = set()
    for key, condition in criteria.items():
        if key in _LOGIC:
            for part in condition:
                inner = paths_of(part)
                if inner is None:
                    return None
                paths |= inner
        elif key.startswith("$"):
            return None
        else:
            paths.add(key)
    return paths


def sort_columns(paths: Iterable[str]) -> str | None:
    """Return the SQL that gives, in one JSON array, what `plain_keys` makes sort keys of.

    For each path the value itself, and before it the type of all above it. None if there is a path
    that can't be looked up in SQL.
    """
    found: list[str] = []
    for path in paths:
        segments = path.split(".")
        if expression(path) is None:
            return None
        above = [_json_path(segments[:depth]) for depth in range(1, len(segments))]
        arrays = " OR ".join(f"json_type(doc, {prefix}) = 'array'" for prefix in above) or "0"
        # With two paths SQLite gives the numbers as they are written, and rounds nothing.
        value = f"json_extract(doc, {_json_path(segments)}, '$.\"\"')"
        found.append(f"CASE WHEN {arrays} THEN '[[]]' ELSE {value} END")
    return " || ',' || ".join(found)


def plain_keys(columns: Sequence[str]) -> list[list[tuple[Any, ...]]] | None:
    """Turn what `sort_columns` gave for some rows into sort keys; None if values are of rare types.

    Returns
    -------
    list of lists of tuples
        For each row the keys of all paths: tuples that Python sorts as MongoDB sorts the values.
    """
    rows = orjson.loads("[[" + "],[".join(columns) + "]]")
    keys = [[_plain_key(value[0]) for value in row] for row in rows]
    return None if any(None in row for row in keys) else keys  # type: ignore[return-value]


def _plain_key(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return (0,)
    kind = type(value)
    if kind is float or kind is int:
        return 1, value
    return (2, value) if kind is str else None


def sort_key(path: str, document: Mapping[str, Any]) -> tuple[int, BsonComparable]:
    """Give what to compare when sorting by a dotted path; NaN comes before all numbers."""
    rank, comparable = resolve_sort_key(path, document)
    if isinstance(comparable.obj, float) and math.isnan(comparable.obj):
        return rank, BsonComparable(-math.inf)
    return rank, comparable
