"""``ionsieve status``: where each composition stands, what failed and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click


@click.command(name="status")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print stages, compositions and flows.")
def command(screening: Path, as_json: bool) -> None:
    """Show where each composition stands, what failed and why; also while a run goes on.

    \b
    Example:
      ionsieve status screening.yaml
    """
    from ionsieve.workflows.results.counts import funnel_counts
    from ionsieve.workflows.results.query import query
    from ionsieve.workflows.runners.refresh import refresh_collections, stored_flows
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    work = refresh_collections(settings)
    columns = ["composition_id", "formula", "state", "stage_reached", "reason", "failure"]
    answer: dict[str, list[dict[str, Any]]] = {
        "stages": [asdict(count) for count in funnel_counts(settings, work.running)],
        "compositions": query(settings, collection="compositions", columns=columns),
        "flows": [_flow(status) for status in stored_flows(settings)],
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        _print(answer)


def _flow(status: Any) -> dict[str, Any]:
    names = ("stage", "label", "state", "n_jobs", "n_done", "failed_job", "error")
    return {name: getattr(status, name) for name in names}


def _print(answer: dict[str, list[dict[str, Any]]]) -> None:
    from rich.table import Table

    from ionsieve.workflows.cli.printing import console, marked

    out = console()
    stages = Table(title="The funnel")
    kinds = ("entered", "passed", "stopped", "failed", "running", "waiting")
    for column in ("stage", *kinds):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    for row in answer["stages"]:
        stages.add_row(row["title"], *(str(row[kind]) for kind in kinds))
    out.print(stages)
    table = Table(title="Compositions")
    for column in ("composition", "state", "why"):
        table.add_column(column, overflow="fold")
    for row in answer["compositions"]:
        colour = "red" if row["state"] == "failed" else "default"
        why = row["failure"] or row["reason"] or ""
        table.add_row(row["composition_id"], marked((row["state"], colour)), why)
    out.print(table)
    phases = [f for f in answer["flows"] if f["stage"] == "phase" and f["state"] == "failed"]
    for flow in phases:
        out.print(marked((f"competing phase {flow['label']} failed", "red"), f": {flow['error']}"))
    states = [flow["state"] for flow in answer["flows"]]
    parts = (f"{states.count(s)} {s}" for s in ("completed", "running", "waiting", "failed"))
    out.print(f"{len(states)} flows: " + ", ".join(parts))
