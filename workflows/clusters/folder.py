"""Fill in the templates of a scheduler for one user and one machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, meta

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.clusters.schedulers import SchedulerFolder

#: What was filled in, without the password; --values reads it again.
VALUES_FILE = "values.yaml"
#: Files that hold the password of the database.
SECRET_FILES = ("my_launchpad.yaml", "jobflow.yaml")

_Values = Mapping[str, str | int | bool]


def render_folder(
    found: SchedulerFolder, values: _Values, folder: Path, password: str
) -> dict[str, str]:
    """Return the texts of all files of a filled-in folder, by their names.

    Parameters
    ----------
    found
        The templates.
    values
        From `resolve_values`.
    folder
        Where the files will be; they refer to each other by absolute paths.
    password
        Of the database; empty for none. Only `SECRET_FILES` get it.

    Raises
    ------
    InputError
        The folder's name holds control characters.
    IonSieveError
        A template is faulty, or asks for values that nobody gave; the message names them.
    """
    if not str(folder).isprintable():
        raise InputError(f"{str(folder)!r}: control characters in its name; name another folder")
    ranks = int(values["nodes"]) * int(values["ranks_per_node"])
    names = {**values, "folder": str(folder.absolute()), "ranks": ranks}
    texts = {}
    for template in found.templates():
        # Only where it belongs: a template elsewhere that asks for it is an error.
        secret = {"mongo_password": password} if template.name in SECRET_FILES else {}
        text = template.read_text(encoding="utf-8")
        texts[template.name] = _fill(text, {**names, **secret}, f"{found.name}/{template.name}")
    header = f"# Written by: ionsieve hpc-init {found.name}; read again by --values. No password.\n"
    texts[VALUES_FILE] = header + yaml.safe_dump(dict(values), sort_keys=False)
    return texts


def _fill(text: str, values: Mapping[str, str | int | bool], where: str) -> str:
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["shell"] = lambda value: shlex.quote(str(value))
    try:
        unknown = meta.find_undeclared_variables(environment.parse(text)) - set(values)
        if unknown:
            raise IonSieveError(
                f"{where}: nothing to fill in for {', '.join(sorted(unknown))}; add it to the "
                "values of scheduler.yaml"
            )
        return environment.from_string(text).render(values)
    except TemplateError as error:
        raise IonSieveError(f"{where}: faulty template ({error})") from None


def check_target(folder: Path, force: bool) -> None:
    """Raise `InputError` when a folder is a file, or holds files and ``force`` is not set."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise InputError(f"{folder} is not empty; name another folder, or add --force to overwrite")


def write_folder(texts: Mapping[str, str], folder: Path, force: bool = False) -> None:
    """Write the files of a folder, all or none; files with a password only their owner can read.

    Raises
    ------
    InputError
        The folder holds files and ``force`` is not set, or can't be written.
    """
    check_target(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, text in texts.items():
                _write(staging / name, text, secret=name in SECRET_FILES)
            folder.mkdir(exist_ok=True)
            for name in texts:
                os.replace(staging / name, folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror}; name a folder that can be written"
        ) from error


def _write(path: Path, text: str, secret: bool) -> None:
    mode = 0o600 if secret else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
