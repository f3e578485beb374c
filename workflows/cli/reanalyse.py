"""``ionsieve reanalyse``: analyse stored trajectories again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command(name="reanalyse")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print before and after as JSON.")
def command(screening: Path, as_json: bool) -> None:
    """Analyse the stored trajectories again, after an update of the analysis; no new dynamics.

    The gates judge by the new analyses from then on; ionsieve run computes what they ask for.

    \b
    Example:
      ionsieve reanalyse screening.yaml
    """
    from ionsieve.workflows.cli.printing import console
    from ionsieve.workflows.runners.reanalysis import Reanalysed, reanalyse
    from ionsieve.workflows.runners.session import open_session
    from ionsieve.workflows.settings.reading import read_screening

    progress = console(stderr=True)

    def show(found: Reanalysed) -> None:
        before, after = found.diffusivity_before_cm2_s, found.diffusivity_after_cm2_s
        progress.print(
            f"{found.composition_id} {found.stage} {found.run_length_ps:g} ps: "
            f"{found.verdict_before} D {_number(before)} -> {found.verdict_after} D "
            f"{_number(after)} cm2/s",
            soft_wrap=True,
        )

    done = reanalyse(open_session(read_screening(screening)), show)
    if as_json:
        click.echo(json.dumps([asdict(found) for found in done]))
        return
    changed = sum(found.verdict_before != found.verdict_after for found in done)
    click.echo(f"{len(done)} analyses, {changed} with another verdict")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"
