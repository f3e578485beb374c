"""``ionsieve report``: one HTML page with the funnel, tables and figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ionsieve.errors import InputError


@click.command(name="report")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write; default: NAME-report.html beside the screening file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print path and counts as JSON.")
def command(screening: Path, output: Path | None, as_json: bool) -> None:
    """Write one self-contained HTML page: funnel, conductors, hull, failures.

    Works at any time, also while a screening runs.

    \b
    Example:
      ionsieve report screening.yaml -o report.html
    """
    from ionsieve.workflows.report.page import write_report
    from ionsieve.workflows.runners.local.run import report_path
    from ionsieve.workflows.runners.work import open_results
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    results, _ = open_results(settings)
    output = output or report_path(settings)
    _check_target(output)
    path = write_report(results, output)
    if as_json:
        stages = [asdict(count) for count in results.counts()]
        click.echo(json.dumps({"report": str(path), "stages": stages}))
    else:
        click.echo(path)


def _check_target(path: Path) -> None:
    """Refuse to overwrite what is no report: a wrong -o might name an input."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write with -o")
    if path.exists():
        with path.open("rb") as file:
            start = file.read(1000).lstrip().lower()
        if start and not start.startswith(b"<!doctype html"):
            raise InputError(f"{path} exists and is no report; give another name with -o")
    elif not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or correct -o")
