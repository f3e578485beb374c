"""``ionsieve hpc-check``: whether all is there that a cluster run needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ionsieve.workflows.clusters.checks import Check


@click.command(name="hpc-check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Check FOLDER, written by hpc-init, and all it refers to.

    Database, scheduler, Python, VASP, potentials and MPI are tried for real; no job is submitted
    but a test of srun. Exit code 1 when something failed. Run it on a login node, and once inside a
    job: compute nodes see another network.

    \b
    Example:
      ionsieve hpc-check ~/cluster
    """
    from ionsieve.workflows.clusters.probes import check_folder

    checks = check_folder(folder)
    sys.exit(1 if show_checks(checks, {"folder": str(folder.absolute())}, as_json) else 0)


def show_checks(checks: Sequence[Check], facts: Mapping[str, Any], as_json: bool) -> int:
    """Print a report, as JSON together with further facts, and return how many checks failed."""
    failed = sum(check.outcome == "failed" for check in checks)
    if as_json:
        rows = [check.to_dict() for check in checks]
        click.echo(json.dumps({**facts, "ok": failed == 0, "checks": rows}))
        return failed
    colors = {"OK": "green", "failed": "red", "skipped": "yellow"}
    width = max(len(check.name) for check in checks)
    for check in checks:
        outcome = click.style(f"{check.outcome:<7}", fg=colors[check.outcome])
        click.echo(f"{outcome} {check.name:<{width}}  {check.seen}")
        if check.remedy:
            click.echo(f"{'':<{8 + width}}  -> {check.remedy}")
    return failed
