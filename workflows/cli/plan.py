"""``ionsieve plan``: what a screening will do, counted before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ionsieve.workflows.documents.raw import CompositionDocument, MotherDocument, PlanDocument
    from ionsieve.workflows.funnel.stage import StageEstimate


@click.command(name="plan")
@click.argument("screening", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(screening: Path, as_json: bool) -> None:
    """Count mothers, compositions, arrangements, jobs and core hours; compute nothing.

    Jobs and core hours are upper limits: every composition is taken to pass every gate.

    \b
    Example:
      ionsieve plan screening.yaml
    """
    from ionsieve.workflows.funnel.asked import extra_phases
    from ionsieve.workflows.funnel.estimate import cost_assumption, estimate
    from ionsieve.workflows.planning.plan import make_plan
    from ionsieve.workflows.settings.reading import read_screening

    settings = read_screening(screening)
    plan = make_plan(settings)
    stages = estimate(plan, settings, extra_phases(settings))
    assumption = cost_assumption(settings)
    if as_json:
        click.echo(json.dumps(_as_json(plan, stages, assumption)))
        return
    _print(plan, stages, assumption)


def _total_arrangements(plan: PlanDocument) -> int:
    return sum(int(composition.n_arrangements) for composition in plan.compositions)


def _as_json(plan: PlanDocument, stages: list[StageEstimate], assumption: str) -> dict[str, Any]:
    compositions = [
        {**composition.model_dump(mode="json"), "n_arrangements": int(composition.n_arrangements)}
        for composition in plan.compositions
    ]
    return {
        "n_mothers": len(plan.mothers),
        "n_compositions": len(plan.compositions),
        "n_arrangements": _total_arrangements(plan),
        "mothers": [m.model_dump(mode="json", exclude={"structure"}) for m in plan.mothers],
        "rejected": [r.model_dump(mode="json") for r in plan.rejected],
        "compositions": compositions,
        "rejected_compositions": [r.model_dump(mode="json") for r in plan.rejected_compositions],
        "uncovered_systems": [system.split("-") for system in _uncovered(plan)],
        "stages": [asdict(stage) for stage in stages],
        "cost_assumption": assumption,
    }


def _print(plan: PlanDocument, stages: list[StageEstimate], assumption: str) -> None:
    from ionsieve.workflows.cli.printing import console, marked

    out = console()
    out.print(_composition_table(plan))
    out.print(_mother_table(plan))
    for document in plan.mothers:
        for note in document.notes:
            out.print(marked(("note", "cyan"), f" {document.source_file}: {note}"))
    for note, names in _composition_notes(plan).items():
        out.print(marked(("note", "cyan"), f" {names}: {note}"))
    for mother in plan.rejected:
        block = f", block {mother.source_block}" if mother.source_block else ""
        out.print(
            marked(
                ("rejected", "yellow"),
                f" {mother.source_file}{block} ({mother.formula}): {mother.reason}",
            )
        )
    for composition in plan.rejected_compositions:
        out.print(
            marked(("rejected", "yellow"), f" {composition.composition_id}: {composition.reason}")
        )
    for system, names in _uncovered(plan).items():
        words = f" not covered: {system}; distances are lower bounds: {names}"
        out.print(marked(("hull", "yellow"), words))
    out.print(_stage_table(stages))
    out.print(
        f"{len(plan.mothers)} mothers, {len(plan.compositions)} compositions, "
        f"{readable_count(_total_arrangements(plan))} arrangements",
    )
    out.print(f"Core hours assume {assumption}.", style="dim")


def readable_count(count: int) -> str:
    """Return a number of arrangements, as a power of ten from a thousand million on."""
    if count < 10**9:
        return f"{count:,}"
    digits = str(count)
    return f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def _wanted(composition: CompositionDocument) -> str:
    """Return what the file's occupancies and the exact level would give, where it differs."""
    return f"\n  of {composition.wanted_formula}" if composition.wanted_formula else ""


def _mobile_change(composition: CompositionDocument) -> str:
    change = composition.n_mobile_added - composition.n_mobile_removed
    return f"{change:+d}" if change else "0"


def _table(title: str, left: list[str], right: list[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _composition_table(plan: PlanDocument) -> Table:
    mobile = plan.mothers[0].mobile_ion
    right = [mobile, "ions", "arrangements"]
    table = _table("Compositions", ["composition", "per mother formula"], right)
    for mother in plan.mothers:
        for composition in plan.compositions:
            if composition.mother_id != mother.mother_id:
                continue
            merged = "".join(f"\n  = {other}" for other in composition.merged_from)
            if composition.compensation:
                merged += f"\n  {composition.compensation}"
            table.add_row(
                composition.composition_id + merged,
                composition.host_formula + _wanted(composition),
                _mobile_change(composition),
                str(composition.n_ions),
                readable_count(int(composition.n_arrangements)),
            )
        table.add_section()
    return table


def _uncovered(plan: PlanDocument) -> dict[str, str]:
    """Return the chemical systems that the library of phases does not cover -> compositions."""
    from ionsieve.workflows.thermodynamics.competing_phases import elements_of, uncovered_system

    systems: dict[str, list[str]] = {}
    for composition in plan.compositions:
        system = uncovered_system(elements_of(composition.formula))
        if system is not None:
            systems.setdefault(system, []).append(composition.composition_id)
    return {system: ", ".join(names) for system, names in systems.items()}


def _composition_notes(plan: PlanDocument) -> dict[str, str]:
    """Return what was changed in occupancies -> the compositions it holds for."""
    notes: dict[str, list[str]] = {}
    for composition in plan.compositions:
        if composition.notes:
            notes.setdefault("; ".join(composition.notes), []).append(composition.composition_id)
    return {note: ", ".join(names) for note, names in notes.items()}


def _charges(mother: MotherDocument) -> str:
    from pymatgen.core.structure import Structure

    names = " ".join(str(s) for s in Structure.from_dict(mother.structure).composition)
    return names if mother.oxidation_source == "file" else f"{names} guessed"


def _mother_table(plan: PlanDocument) -> Table:
    left = ["mother", "space group", "charges"]
    table = _table("Mothers", left, ["compositions", "arrangements"])
    for mother in plan.mothers:
        own = [c for c in plan.compositions if c.mother_id == mother.mother_id]
        table.add_row(
            mother.mother_id,
            mother.space_group,
            _charges(mother),
            str(len(own)),
            readable_count(sum(int(c.n_arrangements) for c in own)),
        )
    return table


def _stage_table(stages: list[StageEstimate]) -> Table:
    right = ["compositions or phases", "jobs", "core hours"]
    table = _table("Work, at most", ["stage"], right)
    for stage in stages:
        hours = f"{stage.core_hours:,.0f}" if stage.core_hours >= 10 else f"{stage.core_hours:.2g}"
        table.add_row(stage.stage, f"{stage.n_items:,}", f"{stage.n_jobs:,}", hours)
    return table
