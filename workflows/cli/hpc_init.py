"""``ionsieve hpc-init``: everything a cluster needs, filled in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ionsieve.errors import InputError

if TYPE_CHECKING:
    from ionsieve.workflows.clusters.schedulers import SchedulerFolder

_PASSWORD_VARIABLE = "IONSIEVE_MONGO_PASSWORD"
_PASSWORD_NAMES = {"password", "mongo_password"}


@click.command(name="hpc-init")
@click.argument("scheduler")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="One value.")
@click.option(
    "--values", "values_file", type=click.Path(path_type=Path), help="YAML file of values."
)
@click.option("--list", "list_values", is_flag=True, help="List the values; write nothing.")
@click.option("--force", is_flag=True, help="Overwrite the files of an earlier hpc-init.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    scheduler: str,
    folder: Path | None,
    settings: tuple[str, ...],
    values_file: Path | None,
    list_values: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write FOLDER with the configuration of a cluster that runs SCHEDULER, and check it.

    SCHEDULER is slurm, pbs_pro, grid_engine, fujitsu_pjm or laptop, or the path of a folder of your
    own like those in hpc_configs. The database's password is asked for, or taken from the
    environment variable IONSIEVE_MONGO_PASSWORD.

    \b
    Examples:
      ionsieve hpc-init slurm --list
      ionsieve hpc-init slurm ~/cluster --set account=ab12 --set queue=main \\
        --set ranks_per_node=48 --set mongo_host=db.example.org --set mongo_user=me
    """
    from ionsieve.workflows.clusters.folder import check_target, render_folder, write_folder
    from ionsieve.workflows.clusters.schedulers import find_scheduler, resolve_values

    found = find_scheduler(scheduler)
    if list_values:
        _list(found, as_json)
        return
    if folder is None:
        raise InputError("name the folder to write, such as: ionsieve hpc-init slurm ~/cluster")
    folder = Path(os.path.abspath(folder))
    values = resolve_values(found, {**_read_values(values_file), **_parse(settings)})
    check_target(folder, force)
    password = _ask_password(str(values["mongo_user"]))
    texts = render_folder(found, values, folder, password)
    write_folder(texts, folder, force)

    from ionsieve.workflows.cli.hpc_check import show_checks
    from ionsieve.workflows.clusters.checks import check_files

    if not as_json:
        click.echo(f"Wrote {len(texts)} files for {found.scheduler.title} into {folder}")
    failed = show_checks(
        check_files(folder), {"folder": str(folder), "files": sorted(texts)}, as_json
    )
    if not as_json:
        click.echo(f"Next: ionsieve hpc-check {folder}, then {folder}/README.md")
    sys.exit(1 if failed else 0)


def _list(found: SchedulerFolder, as_json: bool) -> None:
    values = found.scheduler.values
    if as_json:
        rows = {
            name: {
                **value.model_dump(),
                "default": found.default(name),
                "required": value.default is None,
            }
            for name, value in values.items()
        }
        click.echo(json.dumps(rows))
        return
    from rich.table import Table

    from ionsieve.workflows.cli.printing import console

    table = Table("value", "default", "what", title=found.scheduler.title)
    for name, value in values.items():
        default = found.default(name) or ("must be given" if value.default is None else "")
        table.add_row(name, default, value.question)
    console().print(table)


def _read_values(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    import yaml

    try:
        # All as text: YAML 1.1 would read 12:00:00 as a number in base sixty.
        raw: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a YAML file of values") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{path}: not valid YAML") from None
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise InputError(f"{path}: expected lines such as 'account: ab12'")
    _refuse_password(raw, str(path))
    return raw


def _parse(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(setting.partition("=")[::2] for setting in settings)
    _refuse_password(pairs, "--set")
    for setting in settings:
        if "=" not in setting:
            raise InputError(f"--set '{setting}': write it as --set account=ab12")
    return {name.strip(): value for name, value in pairs.items()}


def _refuse_password(given: Mapping[Any, Any], where: str) -> None:
    if {str(name).strip() for name in given} & _PASSWORD_NAMES:
        raise InputError(
            f"{where}: a password there can be read by others; leave it out and type it when "
            f"asked, or set the environment variable {_PASSWORD_VARIABLE}"
        )


def _ask_password(user: str) -> str:
    """Return the database's password: none without a user, else from the environment or typed."""
    if not user:
        return ""
    from_environment = os.environ.get(_PASSWORD_VARIABLE)
    if from_environment:
        return from_environment
    if not sys.stdin.isatty():
        raise InputError(
            f"mongo_user = '{user}' needs a password: set the environment variable "
            f"{_PASSWORD_VARIABLE}, or run this in a terminal"
        )
    password: str = click.prompt(f"Password of {user} in MongoDB", hide_input=True, err=True)
    return password
