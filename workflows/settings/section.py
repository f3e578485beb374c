"""What all sections of the settings share: strictness, and the kinds of values they hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    field_validator,
)
from pydantic_core.core_schema import ValidationInfo

#: Coarser than any supercell needs, and fine enough for all of them.
_MAX_DENOMINATOR = 1000
_MAX_PATH = 1000
#: Names become parts of file names, which are limited to 255 bytes.
_MAX_NAME_BYTES = 100


class Section(BaseModel):
    """Base of all sections: unknown keys, nan and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is wanted: Python takes them for 1 and 0."""
        kind = cls.model_fields[str(info.field_name)].annotation
        values = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(one, bool) for one in values) and {int, float} & set(_kinds(kind)):
            raise ValueError("give a number")
        return value

    def is_default(self, name: str) -> bool:
        """Return whether a field has its default value, given or not.

        A default may be longer than a short run: it is not what the user asked for.
        """
        field = type(self).model_fields[name]
        return bool(getattr(self, name) == field.get_default(call_default_factory=True))


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation names, at any depth."""
    yield annotation
    for argument in get_args(annotation):
        yield from _kinds(argument)


def _as_level(value: Any) -> Fraction:
    if isinstance(value, Fraction):
        level = value
    else:
        text = str(value).strip()
        if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}|[0-9]*\.?[0-9]+(e-?[0-9]{1,2})?", text):
            raise ValueError("give a fraction such as 1/8")
        if re.fullmatch(r"[0-9]+/0+", text):
            raise ValueError("divides by zero; give a fraction such as 1/8")
        level = Fraction(text)
        if "/" in text and level.denominator > _MAX_DENOMINATOR:
            raise ValueError(f"level {text} is finer than 1/{_MAX_DENOMINATOR}; give a coarser one")
    if not 0 < level <= 1:
        raise ValueError(f"level {value} is outside (0, 1]: give a fraction such as 1/8")
    level = level.limit_denominator(_MAX_DENOMINATOR)
    if not level:
        raise ValueError(f"level {value} is below 1/{_MAX_DENOMINATOR}; give a larger one")
    return level


#: A fraction of the host's sites.
Level = Annotated[Fraction, BeforeValidator(_as_level), PlainSerializer(str)]


def split_species(text: str) -> tuple[str, int]:
    """Return element and charge of a species such as ``W6+``.

    Raises
    ------
    ValueError
        It isn't written like that.
    """
    match = re.fullmatch(r"([A-Z][a-z]?)([1-9]?)([+-])", text.strip())
    if match is None:
        raise ValueError("not a species with a charge; write it as P5+ or S2-")
    return match[1], int(f"{match[3]}{match[2] or 1}")


def _as_species(text: str) -> str:
    split_species(text)
    return text.strip()


#: An element with its charge, such as W6+; whether it has that oxidation state is checked later.
SpeciesName = Annotated[str, AfterValidator(_as_species)]


def _as_path(text: str) -> str:
    if not text.strip():
        raise ValueError("empty; give a path")
    if not text.isprintable():
        raise ValueError("has control characters; give a path without them")
    if len(text) > _MAX_PATH:
        raise ValueError(f"{len(text)} characters long; give at most {_MAX_PATH}")
    return text


#: A path or a pattern of paths.
PathText = Annotated[str, AfterValidator(_as_path)]


def _as_name(text: str) -> str:
    remedy = "give a short name such as na_sulfides"
    if not text.strip():
        raise ValueError(f"empty; {remedy}")
    if not text.isprintable() or text != text.strip():
        raise ValueError(f"has control characters or spaces around it; {remedy}")
    if set(text) & set("/\\") or text.startswith((".", "-", "~")):
        raise ValueError(f"is used in file names: no / or \\, and no . - ~ in front; {remedy}")
    if len(text.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"{len(text.encode())} bytes, at most {_MAX_NAME_BYTES}; {remedy}")
    return text


#: A name that is part of file names.
Name = Annotated[str, AfterValidator(_as_name)]


def _as_word(text: str) -> str:
    if not re.fullmatch(r"[^\s'\"\\`$;&|<>]{1,200}", text) or not text.isprintable():
        raise ValueError("give one word without spaces, quotes or shell characters")
    return text


#: A word that is written into batch scripts.
Word = Annotated[str, AfterValidator(_as_word)]


def _as_command(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _MAX_PATH:
        raise ValueError(f"give a command line of 1 to {_MAX_PATH} characters")
    # Raises ValueError where a quotation doesn't end.
    shlex.split(text)
    return text


#: A command line.
Command = Annotated[str, AfterValidator(_as_command)]


def check_different(values: list[Any] | tuple[Any, ...], what: str) -> None:
    """Raise ValueError if a value is given twice."""
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{what} {value} is given twice; remove one")
