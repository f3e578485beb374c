"""``ionsieve run``: the whole funnel on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ionsieve.workflows.runners.local.run import RunResult


@click.command(name="run")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), help="Jobs at the same time.")
@click.option("--retry-failed", is_flag=True, help="Give failed calculations another try.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(screening: Path, workers: int | None, retry_failed: bool, as_json: bool) -> None:
    """Run the whole funnel on this machine; run again to resume.

    Interrupt it or kill it at any moment: finished calculations are kept and not repeated.

    \b
    Example:
      ionsieve run screening.yaml --workers 2
    """
    # Before numpy is imported: the workers share the cores, each with one thread.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

    from ionsieve.workflows.cli.progress import FunnelProgress
    from ionsieve.workflows.runners.local.run import run_screening
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    with FunnelProgress(settings.name) as progress:
        result = run_screening(
            settings,
            workers=workers,
            on_start=progress.start,
            on_progress=progress.update,
            retry_failed=retry_failed,
        )
    if as_json:
        click.echo(json.dumps(_outcome(result)))
        return
    _print_outcome(screening, result)


def _outcome(result: RunResult) -> dict[str, object]:
    states = [status.state for status in result.statuses]
    return {
        "n_mothers": len(result.plan.mothers),
        "n_compositions": len(result.plan.compositions),
        "n_flows": len(states),
        "n_failed": states.count("failed"),
        "report": str(result.report),
    }


def _print_outcome(screening: Path, result: RunResult) -> None:
    from ionsieve.workflows.cli.printing import console, marked
    from ionsieve.workflows.results.query import query, result_table
    from ionsieve.workflows.settings.reading import read_screening

    out = console()
    settings = read_screening(screening)
    rows = query(settings, where=None, sort="-passed,-sigma_long_s_cm", limit=20)
    out.print(result_table(rows, title=f"{settings.name}: ranked conductors"))
    failed = [status for status in result.statuses if status.state == "failed"]
    for status in failed:
        out.print(marked(("failed", "red"), f" {status.label}: {status.error}"))
    out.print(f"Report: {result.report}", soft_wrap=True)
    out.print(
        f"Query:  ionsieve query {screening} --where "
        "'sigma_long_s_cm > 1e-3 and e_hull_ev_atom < 0.05' --sort -sigma_long_s_cm",
        soft_wrap=True,
    )
