"""``ionsieve submit``: the funnel's jobs to FireWorks, for a cluster's batch system."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ionsieve.workflows.cli.numbers import Number

if TYPE_CHECKING:
    from ionsieve.workflows.runners.fireworks.submit import Submission


@click.command(name="submit")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; change nothing.")
@click.option("--watch", is_flag=True, help="Submit what follows as results come, to the end.")
@click.option(
    "--interval",
    type=Number(min=0.1, max=86_400),
    default=60.0,
    show_default=True,
    help="Seconds between two looks with --watch.",
)
@click.option("--retry-failed", is_flag=True, help="Give failed calculations another try.")
@click.option("--json", "as_json", is_flag=True, help="Print what was submitted as JSON.")
def command(
    screening: Path,
    dry_run: bool,
    watch: bool,
    interval: float,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Send every job that can start now to FireWorks; run again (or --watch) for what follows.

    Nothing is submitted twice. Jobs whose batch job was killed are given back to the queue. The
    jobs run where FireWorks is told to run them, for example by qlaunch on a login node.

    \b
    Example:
      ionsieve submit screening.yaml --dry-run
      ionsieve submit screening.yaml --watch
    """
    from ionsieve.errors import InputError
    from ionsieve.workflows.cli.printing import console, marked
    from ionsieve.workflows.cli.progress import FunnelProgress
    from ionsieve.workflows.runners.fireworks.submit import Submitter
    from ionsieve.workflows.settings.reading import read_screening

    if dry_run and (watch or retry_failed):
        raise InputError("--dry-run changes nothing; leave out --watch and --retry-failed")
    settings = read_screening(screening)
    submitter = Submitter(settings)
    if not watch:
        with console(stderr=True).status("Submitting") as shown:
            submission = submitter.submit(
                retry_failed=retry_failed,
                dry_run=dry_run,
                on_added=lambda new: shown.update(marked(f"Submitted {new.stage} {new.label}")),
            )
        _show(submission, submitter.queue.store, dry_run, as_json)
        return
    with FunnelProgress(settings.name) as progress:
        progress.start(submitter.plan)
        for submission in submitter.watch(interval, retry_failed):
            progress.update(list(submission.statuses))
    _show(submission, submitter.queue.store, dry_run, as_json)


def _show(submission: Submission, store: str, dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "store": store, **_outcome(submission)}))
        return
    from rich.table import Table

    from ionsieve.workflows.cli.printing import console

    out = console()
    verb = "Would submit" if dry_run else "Submitted"
    table = Table("flow", "jobs", "first job", "resources", title=f"{verb} {len(submission.added)}")
    for row in _outcome(submission)["added"]:
        asked = ", ".join(f"{key} {value}" for key, value in row["resources"].items())
        table.add_row(f"{row['stage']} {row['label']}", str(row["n_jobs"]), row["size"], asked)
    if submission.added:
        out.print(table)
    counts = Counter(status.state for status in submission.statuses)
    parts = [f"{counts[s]} {s}" for s in ("waiting", "running", "completed", "failed")]
    out.print(f"{verb} {len(submission.added)} flows; " + ", ".join(parts))
    if submission.rerun:
        out.print(f"Run again: fireworks {', '.join(map(str, submission.rerun))}")


def _outcome(submission: Submission) -> dict[str, Any]:
    counts = Counter(status.state for status in submission.statuses)
    added = []
    for new in submission.added:
        jobs = [job for job, _ in new.flow.iterflow()]
        asked = jobs[0].config.manager_config
        added.append(
            {
                "key": new.key,
                "stage": new.stage,
                "label": new.label,
                "n_jobs": len(jobs),
                "size": asked["_category"],
                "resources": asked["_queueadapter"],
            }
        )
    return {"added": added, "rerun": list(submission.rerun), "flows": dict(counts)}
