"""What a field of the settings does to results that are already stored.

A field that *computes* is part of the key of what it decides: another value is another calculation.
One that *analyses* leaves the calculation and repeats the analysis of what is stored. One that
*extends* (a length, a number kept) lets what is stored be continued or added to. One that *judges*
is applied to stored documents whenever it is asked for. One that *runs* says how and where the work
is done and changes no result. One that *plans* decides which compositions there are.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, Field

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


def fields_with(section: BaseModel, *roles: Role) -> dict[str, Any]:
    """Return the JSON values of a section's fields that have one of the roles."""
    names = {name for name in type(section).model_fields if role_of(type(section), name) in roles}
    return section.model_dump(mode="json", include=names)
