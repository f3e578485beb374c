"""``ionsieve clean``: delete calculation folders whose results are stored."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="clean")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print folders and size as JSON.")
def command(screening: Path, dry_run: bool, as_json: bool) -> None:
    """Delete the calculation folders that nothing needs any more, to free the disk.

    Their results are in the store: running again repeats nothing, and longer runs go on from the
    stored checkpoints. Folders of failed calculations stay.

    \b
    Example:
      ionsieve clean screening.yaml --dry-run
    """
    from ionsieve.workflows.runners.cleaning import clean, removable_folders
    from ionsieve.workflows.runners.work import open_results
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    results, _ = open_results(settings)
    found = removable_folders(settings, results) if dry_run else clean(settings, results)
    if as_json:
        folders = [str(folder) for folder in found.folders]
        click.echo(json.dumps({"dry_run": dry_run, "folders": folders, "n_bytes": found.n_bytes}))
        return
    verb = "Would delete" if dry_run else "Deleted"
    click.echo(f"{verb} {len(found.folders)} folders, {found.n_bytes / 1e6:,.1f} MB")
