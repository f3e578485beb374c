"""Read a screening.yaml; what is wrong with it becomes one line with the remedy."""

from __future__ import annotations

import difflib
import logging
import os
import re
import stat
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ionsieve.errors import InputError
from ionsieve.workflows.settings.roles import section_of
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.settings.section import split_species
from ionsieve.workflows.settings.strict_yaml import load_yaml

_LOG = logging.getLogger(__name__)

#: Settings of a few hundred lines take 10 kB.
_MAX_BYTES = 1_000_000
_MAX_SHOWN = 80
_LOGIN = re.compile(r"(mongodb(?:\+srv)?://)[^@\s]+@")


def read_screening(path: str | Path) -> ScreeningFile:
    """Read and validate a screening.yaml.

    Raises
    ------
    InputError
        The file can't be read, is not YAML, or a key or value is wrong; the message names it.
    """
    path = Path(path)
    data = _read(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected sections such as 'mothers:', got {type(data).__name__}")
    if "root" in data:
        raise InputError(f"{path}: unknown key 'root'; paths count from the file's folder")
    try:
        screening = ScreeningFile(**{**data, "root": path.resolve().parent})
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None
    _check_hosts(screening, path)
    _check_work_dir(screening, path)
    _warn_of_password(screening, path)
    return screening


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a screening.yaml") from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path}: larger than {_MAX_BYTES:,} bytes; this is no screening.yaml")
    try:
        return load_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not valid YAML (byte {error.start} is no UTF-8); save it as UTF-8"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not valid YAML ({error})") from None


def explain(error: ValidationError) -> str:
    """Return the first thing that is wrong with settings as one line with the remedy."""
    first = error.errors()[0]
    location = tuple(part for part in first["loc"] if not _is_branch(part))
    where = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {_shown(where)}; {hint}"
    if first["type"] == "missing":
        return f"'{where}' is missing; add it (ionsieve init writes a complete example)"
    message = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], (dict, BaseModel)) and first["type"] == "value_error":
        # What contradicts what stands in the message; the section would fill the screen.
        return f"{where}: {message}" if where else message
    return f"'{where}' = {_shown(first['input'])}: {message}"


def _is_branch(part: int | str) -> bool:
    """Return whether a part of a location is the name of an alternative and no key."""
    return isinstance(part, str) and ("[" in part or part == "str")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed where an unknown key was found."""
    model: type[BaseModel] | None = ScreeningFile
    for part in location[:-1]:
        if isinstance(part, str) and model is not None:
            model = section_of(model.model_fields[part])
    return [name for name in model.model_fields if name != "root"] if model else []


def _shown(value: Any) -> str:
    """Return a value on one line, shortened, without a login."""
    text = _LOGIN.sub(r"\1***@", repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _check_hosts(screening: ScreeningFile, path: Path) -> None:
    mobile = split_species(screening.mobile_ion)
    for number, rule in enumerate(screening.doping.rules):
        if split_species(rule.host) == mobile:
            raise InputError(
                f"{path}: doping.rules.{number}.host {rule.host} is the mobile ion, whose sites "
                "already take the vacancies that balance the charge; name another host"
            )


def _check_work_dir(screening: ScreeningFile, path: Path) -> None:
    folder = screening.resolve(screening.compute.work_dir)
    for part in (folder, *folder.parents):
        if part.exists():
            if not part.is_dir():
                raise InputError(
                    f"{path}: compute.work_dir '{screening.compute.work_dir}': {part} is a file; "
                    "give a folder"
                )
            return


def _warn_of_password(screening: ScreeningFile, path: Path) -> None:
    login = re.match(r"mongodb(?:\+srv)?://[^@]*:[^@]*@", screening.store)
    if login is None or os.name != "posix":
        return
    mode = path.stat().st_mode
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        _LOG.warning("%s holds a password and others can read it; type: chmod 600 %s", path, path)
