"""``ionsieve run``: the whole funnel on this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ionsieve.workflows.documents.flows import FlowStatus
    from ionsieve.workflows.results.handle import Results
    from ionsieve.workflows.runners.local.run import RunResult
    from ionsieve.workflows.settings.schema import Screening

#: Compositions named that wait for the same.
_N_NAMED = 5


@click.command(name="run")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), help="Jobs at the same time.")
@click.option("--retry-failed", is_flag=True, help="Give failed calculations another try.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(screening: Path, workers: int | None, retry_failed: bool, as_json: bool) -> None:
    """Run the whole funnel on this machine; run again to resume.

    Interrupt it or kill it at any moment: finished calculations are kept and not repeated. Change
    the settings and run again: only what depends on the change is computed. Exits with 1 when
    calculations failed; the others are finished all the same.

    \b
    Example:
      ionsieve run screening.yaml --workers 2
    """
    # Before numpy is imported: the workers share the cores, each with one thread.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

    from ionsieve.workflows.cli.progress import FunnelProgress
    from ionsieve.workflows.report.page import write_report
    from ionsieve.workflows.runners.local.run import report_path, run_screening
    from ionsieve.workflows.runners.work import open_results
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
    results, _ = open_results(settings)
    report = write_report(results, report_path(settings))
    if as_json:
        click.echo(json.dumps(_outcome(result, report)))
    else:
        _print_outcome(screening, settings, result, results, report)
    sys.exit(1 if any(status.state == "failed" for status in result.statuses) else 0)


def _outcome(result: RunResult, report: Path) -> dict[str, object]:
    states = [status.state for status in result.statuses]
    names = ("stage", "label", "failed_job", "error", "failed_folder", "retriable")
    return {
        "n_mothers": len(result.plan.mothers),
        "n_compositions": len(result.plan.compositions),
        "n_flows": len(states),
        "n_failed": states.count("failed"),
        "failed": [{name: getattr(s, name) for name in names} for s in _failed(result)],
        "blocked": result.blocked,
        "n_recomputed": len(result.lost),
        "report": str(report),
    }


def _print_outcome(
    path: Path, settings: Screening, result: RunResult, results: Results, report: Path
) -> None:
    from ionsieve.workflows.cli.printing import console
    from ionsieve.workflows.results.presentation import result_table

    out = console()
    if result.lost:
        out.print(
            f"{len(result.lost)} results that had been computed were no longer in the store; "
            "they were computed again.",
            soft_wrap=True,
        )
    if result.damaged_queue is not None:
        out.print(
            f"The job queue could not be read and was begun anew; it is kept as "
            f"{result.damaged_queue}. Nothing that is stored was repeated.",
            soft_wrap=True,
        )
    page = results.find(sort="-passed,-sigma_long_s_cm", limit=20)
    title = f"{settings.name}: ranked conductors"
    out.print(result_table(page.rows, title=title, total=page.total))
    _print_failures(path, result)
    out.print(f"Report: {report}", soft_wrap=True)
    out.print(
        f"Query:  ionsieve query {path} --where "
        "'sigma_long_s_cm > 1e-3 and passed' --sort -sigma_long_s_cm",
        soft_wrap=True,
    )


def _failed(result: RunResult) -> list[FlowStatus]:
    return [status for status in result.statuses if status.state == "failed"]


def _print_failures(path: Path, result: RunResult) -> None:
    """Say what failed, why and where, what waits for it, and whether trying again may help."""
    from ionsieve.workflows.cli.printing import console, marked
    from ionsieve.workflows.funnel.table import titles

    out = console()
    failed, stages = _failed(result), titles()
    for status in failed:
        folder = f" ({status.failed_folder})" if status.failed_folder else ""
        where = "" if status.failed_folder in status.error else folder
        stage = stages.get(status.stage, status.stage).lower()
        words = f" {stage} {status.label}: {status.error}{where}"
        out.print(marked(("failed", "red"), words), soft_wrap=True)
    waiting: dict[str, list[str]] = {}
    for name, reason in result.blocked.items():
        waiting.setdefault(reason, []).append(name)
    for reason, names in waiting.items():
        more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
        words = f" {', '.join(names[:_N_NAMED])}{more}: {reason}"
        out.print(marked(("blocked", "yellow"), words), soft_wrap=True)
    n_retriable = sum(status.retriable for status in failed)
    if n_retriable:
        which = "What failed" if n_retriable == len(failed) else f"{n_retriable} of these"
        out.print(
            f"{which} may succeed another time: ionsieve run {path} --retry-failed", soft_wrap=True
        )
