"""``ionsieve list``: which settings were run, and what differs between them."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="list")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def command(screening: Path, as_json: bool) -> None:
    """List the screenings in a store and the settings each was run with, from old to new.

    Results belong to the settings they were made with: put a setting back to see its results again.

    \b
    Example:
      ionsieve list screening.yaml
    """
    from ionsieve.workflows.results.changes import differences, stored_settings
    from ionsieve.workflows.settings.reading import read_screening
    from ionsieve.workflows.store.opening import open_job_store

    settings = read_screening(screening)
    with open_job_store(settings, read_only=True) as job_store:
        runs = stored_settings(job_store)
    if as_json:
        rows = [
            {"name": r.name, "recorded_at": r.recorded_at, "settings": r.settings} for r in runs
        ]
        click.echo(json.dumps(rows))
        return
    now = settings.model_dump(mode="json")
    for run in runs:
        if run.name != settings.name:
            click.echo(f"{run.name}  {run.recorded_at}  another screening")
            continue
        changed = differences(run.settings, now)
        words = "; ".join(f"{c.name} {c.was} (now {c.now})" for c in changed)
        click.echo(f"{run.name}  {run.recorded_at}  {words or 'the present settings'}")
