"""The commented screening.yaml of ``ionsieve init``, written from the models of the config."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from ionsieve.errors import InputError
from ionsieve.workflows.settings.reading import explain, read_screening
from ionsieve.workflows.settings.schema import DopingRule, Screening, ScreeningFile
from ionsieve.workflows.settings.strict_yaml import load_yaml

_WIDTH = 100
_HEADER = """\
# What IonSieve screens and how. Relative paths count from this file's folder.
# Count it:  ionsieve plan screening.yaml
# Run it:    ionsieve run screening.yaml
"""


def write_example(folder: Path) -> list[Path]:
    """Write a commented screening.yaml and the example mothers into a new folder.

    Parameters
    ----------
    folder
        Is made; its name becomes that of the screening.

    Returns
    -------
    list of Path
        The files written, screening.yaml first.

    Raises
    ------
    InputError
        The folder exists and is not empty, or can't be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; give another name or remove it")
    with as_file(files("ionsieve.workflows") / "data") as data:
        values = load_yaml((data / "screening.yaml").read_text(encoding="utf-8"))
        values = {"name": folder.resolve().name, "root": folder, **values}
        try:
            text = screening_text(ScreeningFile(**values))
        except ValidationError as error:
            raise InputError(f"{folder}: {explain(error)}") from None
        try:
            (folder / "mothers").mkdir(parents=True)
            target = folder / "screening.yaml"
            target.write_text(text, encoding="utf-8")
            mothers = [
                Path(shutil.copyfile(source, folder / "mothers" / source.name))
                for source in sorted((data / "mothers").iterdir())
            ]
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; give a folder you may write") from error
    read_screening(target)
    return [target, *mothers]


def screening_text(screening: Screening) -> str:
    """Return a screening as YAML, every key with its meaning and, where it differs, its default."""
    lines = [_HEADER]
    after_section = False
    for name in type(screening).model_fields:
        if name == "root":
            continue
        value = getattr(screening, name)
        if isinstance(value, BaseModel):
            lines += ["", *_comment(_first_sentence(value), ""), f"{name}:"]
            lines += [line for key in type(value).model_fields for line in _key(value, key)]
        else:
            lines += [""] if after_section else []
            lines += _key(screening, name, indent="")
        after_section = isinstance(value, BaseModel)
    return "\n".join(lines) + "\n"


def _first_sentence(model: BaseModel) -> str:
    return (type(model).__doc__ or "").strip().splitlines()[0]


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _key(model: BaseModel, name: str, indent: str = "  ") -> Iterator[str]:
    """Yield the comment and the line (or lines) of one key."""
    field = type(model).model_fields[name]
    value = getattr(model, name)
    comment = field.description or ""
    if not field.is_required() and _plain(value) != _plain(_default(field)):
        comment += f" (default: {_inline(_default(field))})"
    if comment:
        yield from _comment(comment, indent)
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        yield from _rule_comments(indent)
        yield f"{indent}{name}:"
        for entry in value:
            rule = {k: v for k, v in entry if v is not None}
            for number, (key, content) in enumerate(rule.items()):
                yield f"{indent}  {'-' if number == 0 else ' '} {key}: {_inline(content)}"
    elif isinstance(value, BaseModel):
        yield f"{indent}{name}:"
        for key, content in value:
            yield f"{indent}  {key}: {_inline(content)}"
    else:
        yield f"{indent}{name}: {_inline(value)}"


def _rule_comments(indent: str) -> Iterator[str]:
    """Yield what the keys of one doping rule mean: those left out would not be seen."""
    for name, field in DopingRule.model_fields.items():
        yield from _comment(f"- {name}: {field.description}", indent)


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, fallback=str)


def _inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()
