"""``ionsieve query``: ask the results store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command(name="query")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--where", help="Condition, for example: \"passed and 'W6+' in dopants\".")
@click.option("--sort", help="Fields, comma separated; a minus sorts from high to low.")
@click.option("--collection", default="conductors", show_default=True, help="What to ask.")
@click.option("--columns", help="Fields to show, comma separated.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@click.option("--bounds", is_flag=True, help="Compare bounds and undecided values, too.")
@click.option("--json", "form", flag_value="json", help="Print all fields as JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print as comma-separated values.")
@click.option("--fields", is_flag=True, help="List the fields of the collection instead.")
def command(
    screening: Path,
    where: str | None,
    sort: str | None,
    collection: str,
    columns: str | None,
    limit: int | None,
    bounds: bool,
    form: str | None,
    fields: bool,
) -> None:
    """Ask the results: conductors by default, one row per composition past the hull gate.

    Other collections: mothers, compositions, arrangements, materials, phases. A condition on a
    quantity holds only where it is a measurement: not for bounds, nor for runs that melted or
    were not converged; --bounds compares those, too.

    \b
    Examples:
      ionsieve query screening.yaml --sort -sigma_long_s_cm --limit 10
      ionsieve query screening.yaml --csv \\
        --where 'sigma_300k_s_cm > 1e-3 and e_hull_ev_atom < 0.05' --sort -sigma_300k_s_cm
      ionsieve query screening.yaml --collection compositions --where "state == 'failed'"
    """
    from ionsieve.workflows.results.collections import DEFAULT_COLUMNS, collection_model
    from ionsieve.workflows.results.presentation import companions
    from ionsieve.workflows.runners.work import open_results
    from ionsieve.workflows.settings.reading import read_screening

    if fields:
        _print_fields(collection, as_json=form == "json")
        return
    results, _ = open_results(read_screening(screening))
    chosen = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
    shown = chosen or (DEFAULT_COLUMNS.get(collection) if form is None else None)
    wanted = companions(collection_model(collection), shown) if shown else None
    page = results.find(collection, where, sort, columns=wanted, limit=limit, bounds=bounds)
    if form == "json":
        click.echo(json.dumps(page.rows))
    elif form == "csv":
        _print_csv(page.rows, collection, wanted)
    else:
        _print_table(page.rows, collection, chosen, page.total)
    if where and not bounds:
        others = results.find(collection, where, columns=["document_id"], bounds=True).total
        if others > page.total:
            click.echo(
                f"note: {others - page.total} more would match if bounds and undecided values "
                "counted as measurements; --bounds shows them",
                err=True,
            )
    for change in results.changes():
        click.echo(f"note: newer than the last run: {change}", err=True)


def _print_fields(collection: str, as_json: bool) -> None:
    from rich.table import Table

    from ionsieve.workflows.cli.printing import console
    from ionsieve.workflows.results.presentation import describe_fields

    rows = describe_fields(collection)
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(title=f"Fields of {collection}")
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console().print(table)


def _print_csv(rows: list[dict[str, Any]], collection: str, columns: list[str] | None) -> None:
    import csv
    import sys

    from ionsieve.workflows.results.presentation import scalar_fields

    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = columns or scalar_fields(collection)
    writer.writerow(names)
    for row in rows:
        writer.writerow(_cell(row[name]) for name in names)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(str(entry) for entry in value)
    return json.dumps(value) if isinstance(value, dict) else value


def _print_table(
    rows: list[dict[str, Any]], collection: str, columns: list[str] | None, total: int
) -> None:
    from ionsieve.workflows.cli.printing import console
    from ionsieve.workflows.results.presentation import result_table

    table = result_table(rows, collection=collection, columns=columns, total=total)
    console().print(table)
