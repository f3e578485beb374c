"""The schedulers IonSieve knows: one folder of templates each, described by its scheduler.yaml."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ionsieve.errors import InputError, IonSieveError

DESCRIPTION = "scheduler.yaml"
_SHARED_VALUES = "shared_values.yaml"

Kind = Literal[
    "name", "words", "host", "command", "launcher", "path", "count", "port", "walltime", "boolean"
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(_Model):
    """One thing that only the user knows."""

    question: str
    kind: Kind
    default: str | int | bool | None = Field(None, description="None: the user must give it")
    example: str | None = None


class Commands(_Model):
    """Command lines; ``{script}`` and ``{job}`` stand for a batch script and a job's number."""

    submit: str
    status: str
    cancel: str | None = None
    version: str | None = Field(None, description="prints the version")
    answers: str | None = Field(None, description="fails when the scheduler is down")
    accepts: str | None = Field(None, description="fails when a job would be refused; submits none")
    accepts_pattern: str | None = Field(None, description="what it prints when all is well")


class Scheduler(_Model):
    """A scheduler.yaml; the commands of one in a template folder may hold placeholders."""

    title: str
    manual: str
    values: dict[str, Value] = Field(default_factory=dict)
    commands: Commands
    directives: dict[str, str] = Field(
        default_factory=dict, description="what a batch script must contain, by what it asks for"
    )
    job_variable: str | None = Field(None, description="environment variable set inside a job")
    mpi_outside_job: str | None = Field(
        None, description="launcher that works on a login node, if there is one"
    )
    mpi_busy: str | None = Field(None, description="what that launcher prints when nodes are busy")


@dataclass(frozen=True)
class SchedulerFolder:
    """A folder of templates.

    Attributes
    ----------
    name : str
        The folder's name, by which users ask for it.
    folder : Traversable
        Where the templates are.
    scheduler : Scheduler
        Its description, with the values that are asked of everybody.
    """

    name: str
    folder: Traversable
    scheduler: Scheduler

    def default(self, name: str) -> str | None:
        """Return the default of a value on this machine; None if there is none."""
        default = self.scheduler.values[name].default
        if default is None:
            return None
        # The Python that runs this; on a login node its environment.
        return str(default).replace("{scheduler}", self.name).replace("{prefix}", sys.prefix)

    def templates(self) -> list[Traversable]:
        """Return the files to fill in, in the order of their names."""
        found = [entry for entry in self.folder.iterdir() if entry.is_file()]
        return sorted(
            (entry for entry in found if entry.name != _SHARED_VALUES), key=lambda entry: entry.name
        )


def scheduler_names() -> list[str]:
    """Return the schedulers that come with IonSieve."""
    root = files("ionsieve") / "hpc_configs"
    return sorted(entry.name for entry in root.iterdir() if (entry / DESCRIPTION).is_file())


def find_scheduler(name: str) -> SchedulerFolder:
    """Return the templates of a scheduler: one that comes with IonSieve, or a folder of the user's.

    Parameters
    ----------
    name
        A name such as ``slurm``, or the path of a folder with a scheduler.yaml.

    Raises
    ------
    InputError
        There is no such scheduler.
    IonSieveError
        Its description is wrong.
    """
    known = scheduler_names()
    if name in known:
        folder: Traversable = files("ionsieve") / "hpc_configs" / name
    elif "/" in name and (Path(name) / DESCRIPTION).is_file():
        folder = Path(name)
    else:
        raise InputError(
            f"unknown scheduler '{name}'; known: {', '.join(known)}, or the path of a folder with "
            f"a {DESCRIPTION}"
        )
    raw = _read_mapping(folder / DESCRIPTION)
    shared = folder / _SHARED_VALUES
    values: dict[str, Any] = _read_mapping(shared) if shared.is_file() else {}
    for key, changes in (raw.get("values") or {}).items():
        values[key] = {**values.get(key, {}), **changes}
        if "example" in changes and "default" not in changes:
            values[key].pop("default", None)
    return SchedulerFolder(
        PurePosixPath(folder.name).name, folder, parse_scheduler({**raw, "values": values}, name)
    )


def parse_scheduler(raw: Mapping[str, Any], where: str) -> Scheduler:
    """Validate what a scheduler.yaml says.

    Raises
    ------
    IonSieveError
        A key is unknown, missing or of the wrong type.
    """
    try:
        return Scheduler(**raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise IonSieveError(f"{where}: {DESCRIPTION}: '{key}': {first['msg']}") from error


def resolve_values(found: SchedulerFolder, given: Mapping[str, str]) -> dict[str, str | int | bool]:
    """Return all values of a scheduler: those given, checked, and the defaults of the others.

    Raises
    ------
    InputError
        A value is unknown, missing or wrong; the message names it and what is allowed.
    """
    values = found.scheduler.values
    unknown = [name for name in given if name not in values]
    if unknown:
        raise InputError(
            f"{found.name} has no value '{unknown[0]}'; known: {', '.join(sorted(values))}"
        )
    missing = [name for name, value in values.items() if value.default is None]
    missing = [name for name in missing if not given.get(name)]
    if missing:
        asked = "; ".join(f"{name}: {values[name].question}" for name in missing)
        example = values[missing[0]].example or "..."
        raise InputError(f"missing values ({asked}); give --set {missing[0]}={example}")
    filled: dict[str, str | int | bool] = {}
    for name, value in values.items():
        text = given.get(name, found.default(name))
        filled[name] = check_value(name, str(text), value.kind)
    return filled


_WORD = r"[\w.@%+:/,=-]+"

#: Kind of value -> what it looks like, and what to say otherwise. Directives and environment.sh
#: quote nothing but paths and commands.
_RULES: dict[Kind, tuple[str, str]] = {
    "name": (f"({_WORD})?", "use letters, digits and . _ - @ % + : / , = only, without blanks"),
    "words": (f"({_WORD}( +{_WORD})*)?", "use letters, digits, blanks and . _ - @ % + : / , ="),
    "host": (r"[A-Za-z0-9.-]+", "give the host's name only, such as db.example.org"),
    # They are run without a shell, or are the value of a variable already.
    "command": (
        r"[^$]+",
        "give a command without variables; put those into a script and name that",
    ),
    "launcher": (
        r"[^${}]+{ranks}[^${}]*",
        "give a command without variables, with {ranks} for the number of processes",
    ),
    "path": (r"(/.*)?", "give an absolute path, the same on all nodes"),
    "count": (r"[1-9]\d{0,5}", "give a whole number from 1 to 999999"),
    "port": (r"[1-9]\d{0,4}", "give a whole number from 1 to 65535"),
    "walltime": (
        r"(?!0+:00:00)\d{1,3}:[0-5]\d:[0-5]\d",
        "give hours, minutes and seconds, such as 12:00:00",
    ),
    "boolean": (r"(?i:true|false|yes|no)", "give true or false"),
}


def check_value(name: str, text: str, kind: Kind) -> str | int | bool:
    """Return a value in its own type.

    Raises
    ------
    InputError
        It is not of its kind; the message names it and what is allowed.
    """
    text = text.strip()
    if not text.isprintable():
        raise InputError(f"{name}: control characters and line breaks are not allowed")
    pattern, remedy = _RULES[kind]
    if not re.fullmatch(pattern, text, re.ASCII) or (kind == "port" and int(text) > 65535):
        # A wrong host is not shown: it may be a connection string with a password.
        shown = "" if kind == "host" else f" = '{text}'"
        raise InputError(f"{name}{shown}: {remedy}")
    if kind in ("count", "port"):
        return int(text)
    return text.lower() in ("true", "yes") if kind == "boolean" else text


def _read_mapping(path: Traversable) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise IonSieveError(f"{path}: not readable as YAML") from error
    if not isinstance(raw, dict):
        raise IonSieveError(f"{path}: expected keys such as 'title:'")
    return raw
