"""``ionsieve report``: one HTML page with the funnel, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

import click


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
    from dataclasses import asdict

    from ionsieve.workflows.report.page import write_report
    from ionsieve.workflows.results.counts import funnel_counts
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    path = write_report(settings, output or settings.resolve(f"{settings.name}-report.html"))
    if as_json:
        stages = [asdict(count) for count in funnel_counts(settings)]
        click.echo(json.dumps({"report": str(path), "stages": stages}))
    else:
        click.echo(path)
