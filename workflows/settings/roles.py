"""What a field of the settings does to results that are already stored.

A field that *computes* is part of the key of what it decides: another value is another calculation.
One that *analyses* leaves the calculation and repeats the analysis of what is stored. One that
*extends* (a length, a number kept) lets what is stored be continued or added to. One that *judges*
is applied to stored documents whenever it is asked for. One that *runs* says how and where the work
is done and changes no result. One that *plans* decides which compositions there are.

A field that holds a section has no role of its own: its fields have theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

Role = Literal["computes", "analyses", "extends", "judges", "runs", "plans"]
ROLES: tuple[Role, ...] = get_args(Role)


def setting(role: Role, default: Any = ..., description: str = "", **limits: Any) -> Any:
    """Return a pydantic field that knows its role; ``limits`` are those of ``pydantic.Field``."""
    if "default_factory" in limits:
        return Field(description=description, json_schema_extra={"role": role}, **limits)
    return Field(default, description=description, json_schema_extra={"role": role}, **limits)


def role_of(model: type[BaseModel], name: str) -> Role | None:
    """Return the role of a field; None where it declares none."""
    extra = model.model_fields[name].json_schema_extra
    role = extra.get("role") if isinstance(extra, dict) else None
    return role if role in ROLES else None  # type: ignore[return-value]


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field holds, alone or in a list; None for a plain value."""
    arguments = getattr(field.annotation, "__args__", ())
    for kind in (field.annotation, *arguments):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def leaves(model: type[BaseModel], start: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Yield the dotted path, the section and the name of every field that holds a plain value."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        # Rules and resources are given as a whole: their section's field carries the role.
        if section is None or role_of(model, name) is not None:
            yield f"{start}{name}", model, name
        else:
            yield from leaves(section, f"{start}{name}.")


def fields_with(section: BaseModel, *roles: Role) -> dict[str, Any]:
    """Return the JSON values of a section's fields that have one of the roles."""
    return section.model_dump(mode="json", include=set(_names(type(section), roles)))


@cache
def _names(model: type[BaseModel], roles: tuple[Role, ...]) -> frozenset[str]:
    # Asked for with every key of every composition.
    return frozenset(name for name in model.model_fields if role_of(model, name) in roles)
