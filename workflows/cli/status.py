"""``ionsieve status``: where each composition stands, what failed and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ionsieve.workflows.documents.flows import FlowStatus


@click.command(name="status")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print stages, compositions and flows.")
def command(screening: Path, as_json: bool) -> None:
    """Show where each composition stands, what failed and why; also while a run goes on.

    \b
    Example:
      ionsieve status screening.yaml
    """
    from ionsieve.workflows.runners.cleaning import removable_folders
    from ionsieve.workflows.runners.work import open_results
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    results, flows = open_results(settings)
    columns = ["composition_id", "formula", "state", "stage_reached", "reason", "failure"]
    removable = removable_folders(settings, results)
    answer: dict[str, Any] = {
        "stages": [asdict(count) for count in results.counts()],
        "compositions": results.find("compositions", columns=columns).rows,
        "phases": results.find("phases", columns=["phase_id", "state", "reason"]).rows,
        "flows": [_flow(status) for status in flows],
        "newer_settings": [asdict(change) for change in results.changes()],
        "removable_bytes": removable.n_bytes,
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        _print(answer, [str(change) for change in results.changes()], screening)


def _flow(status: FlowStatus) -> dict[str, Any]:
    names = ("stage", "label", "state", "n_jobs", "n_done", "failed_job", "error", "failed_folder")
    return {name: getattr(status, name) for name in names}


def _print(answer: dict[str, Any], changes: list[str], path: Path) -> None:
    from ionsieve.workflows.cli.printing import console, marked

    out = console()
    out.print(_stage_table(answer["stages"]))
    out.print(_composition_table(answer["compositions"]))
    for phase in answer["phases"]:
        if phase["state"] == "failed":
            name = f"competing phase {phase['phase_id']} failed"
            out.print(marked((name, "red"), f": {phase['reason']}"), soft_wrap=True)
    for change in changes:
        out.print(f"newer than the last run: {change}", soft_wrap=True)
    if changes:
        out.print(
            f"ionsieve run {path} computes what they ask for; ionsieve list {path} shows what was "
            "run before",
            soft_wrap=True,
        )
    states = [flow["state"] for flow in answer["flows"]]
    parts = (f"{states.count(s)} {s}" for s in ("completed", "running", "waiting", "failed"))
    out.print(f"{len(states)} flows: " + ", ".join(parts))
    if answer["removable_bytes"]:
        size = answer["removable_bytes"] / 1e6
        out.print(
            f"{size:,.0f} MB of calculation folders are no longer needed; ionsieve clean {path} "
            "deletes them",
            soft_wrap=True,
        )


def _stage_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title="The funnel", box=None, padding=(0, 2, 0, 0))
    always = ("entered", "passed", "stopped", "failed", "running", "waiting")
    kinds = [kind for kind in rows[0] if kind not in ("stage", "title")]
    shown = [kind for kind in kinds if kind in always or any(row[kind] for row in rows)]
    table.add_column("stage", no_wrap=True)
    for kind in shown:
        table.add_column(kind, justify="right")
    for row in rows:
        table.add_row(row["title"], *(str(row[kind]) for kind in shown))
    return table


def _composition_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    from ionsieve.workflows.cli.printing import marked

    table = Table(title="Compositions", box=None, padding=(0, 2, 0, 0))
    for heading in ("composition", "state", "why"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        colour = "red" if row["state"] == "failed" else "default"
        # What failed, and what it waits for where that is something else.
        words = (row["failure"] or "", row["reason"] or "")
        why = words[0] if words[1] in words[0] else "; ".join(filter(None, words))
        table.add_row(row["composition_id"], marked((row["state"], colour)), why)
    return table
