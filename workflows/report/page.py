"""The report: one self-contained HTML page with the funnel, tables and figures.

It shows whatever is in the store, also halfway through or when nothing has passed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import ionsieve
from ionsieve.errors import InputError
from ionsieve.workflows.report.figures import (
    correlation_figure,
    displacement_figure,
    funnel_figure,
    hull_figure,
    svg_uri,
)
from ionsieve.workflows.report.runs import StoredRun, pictures, read_runs
from ionsieve.workflows.results.changes import SettingChange
from ionsieve.workflows.results.collections import collection_model
from ionsieve.workflows.results.correlation import correlate, is_measured_run, measured_pairs
from ionsieve.workflows.results.counts import StageCount
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.results.presentation import format_value, interval_words, reading
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import store_name

#: Rows of the near misses shown when nothing has passed.
_NEAR_MISSES = 10
#: Runs whose mean squared displacements are drawn together.
_DISPLACEMENTS = 6

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """Everything the report shows, read once."""

    screening: ScreeningFile
    mothers: list[dict[str, Any]]
    compositions: list[dict[str, Any]]
    materials: list[dict[str, Any]]
    conductors: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    counts: list[StageCount]
    runs: list[StoredRun]
    changes: list[SettingChange]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """Mothers that were screened."""
        return [mother for mother in self.mothers if mother["accepted"]]

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """Structures that were read and not used."""
        return [mother for mother in self.mothers if not mother["accepted"]]

    @property
    def passed(self) -> list[dict[str, Any]]:
        """Compositions that went through all gates, best first."""
        return [document for document in self.conductors if document["passed"]]

    @property
    def engines(self) -> list[str]:
        """The backends that made what is shown; a ranking needs none, and serves any."""
        found = {
            source["backend"]
            for document in (*self.phases, *self.materials, *self.conductors)
            for stage, source in document["provenance"].items()
            if stage != "rank"
        }
        return sorted(found - {""})

    @property
    def log10_arrangements(self) -> float | None:
        """Logarithm of the number of arrangements of all compositions."""
        logs = [composition["log10_n_arrangements"] for composition in self.compositions]
        if not logs:
            return None
        top = max(logs)
        return top + math.log10(math.fsum(10 ** (value - top) for value in logs))


def read_contents(results: Results) -> Contents:
    """Read what the report shows."""
    conductors = _best_first(results.find(sort="e_hull_ev_atom").rows)
    return Contents(
        screening=results.screening,
        mothers=results.find("mothers", sort="mother_id").rows,
        compositions=results.find("compositions", columns=_COMPOSITION_COLUMNS).rows,
        materials=results.find("materials", columns=["composition_id", "provenance"]).rows,
        conductors=conductors,
        phases=results.find("phases", sort="phase_id").rows,
        counts=results.counts(),
        runs=read_runs(results, conductors),
        changes=results.changes(),
    )


_COMPOSITION_COLUMNS = (
    *("composition_id", "mother_id", "formula", "host_formula", "state", "stage_reached"),
    *("reason", "failure", "log10_n_arrangements"),
)


def _best_first(conductors: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return measurements of the long run, then of the short one, then the rest; falling."""

    def order(document: Document) -> tuple[int, float]:
        for rank, run in enumerate(("long", "short")):
            if is_measured_run(document, run):
                return rank, -document[f"sigma_{run}_s_cm"]
        return 2, 0.0

    return sorted(conductors, key=order)


def write_report(results: Results, path: str | Path) -> Path:
    """Write the report of a screening and return its path.

    Raises
    ------
    InputError
        The store can't be opened, or the page can't be written there.
    """
    path = Path(path)
    page = render(read_contents(results))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"report {path}: can't be written ({error.strerror}); give another path with -o"
        ) from error
    return path


def render(results: Contents) -> str:
    """Return the page as text."""
    environment = Environment(
        loader=PackageLoader("ionsieve.workflows.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        chemical=chemical,
        significant=significant,
        mev=mev,
        quantity=quantity,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        results=results,
        screening=results.screening,
        store=store_name(results.screening),
        settings=_settings_text(results.screening),
        versions=_versions(results.conductors),
        made_at=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        program=f"IonSieve {ionsieve.__version__}",
        near_misses=_near_misses(results.conductors),
        failed=[composition for composition in results.compositions if composition["failure"]],
        failed_phases=[phase for phase in results.phases if phase["state"] == "failed"],
        unfinished=sum(count.running + count.waiting for count in results.counts),
        limits=gate_limits(results),
        unknown_hulls=sum(d["hull_verdict"] == "unknown" for d in results.conductors),
        within_hull=sum(d["hull_verdict"] == "passed" for d in results.conductors),
        temperatures=_temperatures(results.conductors),
        correlation=correlate(results.conductors),
        correlation_left_out=_left_out(results.conductors),
        figures=_figures(results),
        runs=[(run, pictures(run)) for run in results.runs],
    )


def mev(value: float | None) -> str:
    """Return an energy in eV as whole meV."""
    return "–" if value is None else format_value(1e3 * value, ".0f")


_NUMBERS: dict[str, Callable[[float], str]] = {
    "mS/cm": lambda value: significant(1e3 * value),
    "meV": mev,
    "": lambda value: significant(value),
}


def quantity(document: Document, name: str, unit: str = "") -> Markup:
    """Return a field of a conductor with its interval, as a bound, or with its verdict.

    The rule of :mod:`ionsieve.workflows.results.presentation`, for the page.
    """
    number = _NUMBERS[unit]
    found = reading(document, collection_model("conductors"), name)
    if found.kind == "none":
        return Markup("–")
    if found.kind in ("upper_bound", "lower_bound"):
        sign = "<" if found.kind == "upper_bound" else "≥"
        return Markup("{} {}").format(sign, "∞" if found.value is None else number(found.value))
    parts = [escape(number(found.value))]
    small = Markup('<span class="interval{}">{}</span>')
    if words := interval_words(found, number):
        parts.append(small.format("", words))
    if found.kind == "unsound":
        parts.append(small.format(" reason", ", ".join(found.verdicts).replace("_", " ")))
    return Markup(" ").join(parts)


def chemical(formula: str) -> Markup:
    """Return a formula with its numbers as subscripts."""
    return Markup(
        re.sub(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)", r"<sub>\1</sub>", str(escape(formula)))
    )


def significant(value: float | None, digits: int = 2) -> str:
    """Return a number with two significant digits, without exponent where that reads well."""
    if value is None:
        return "–"
    if value == 0.0 or 1e-3 <= abs(value) < 1e4:
        decimals = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
        return f"{round(value, decimals):.{max(decimals, 0)}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}·10" + str(int(exponent)).translate(
        str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    )


def _figures(results: Contents) -> dict[str, str]:
    """Return figures as data URIs; those without data are left out."""
    long = results.screening.long_md
    figures = {
        "funnel": svg_uri(
            funnel_figure(
                results.counts,
                len(results.accepted),
                len(results.rejected),
                results.log10_arrangements,
            )
        )
    }
    if measured_pairs(results.conductors):
        figures["correlation"] = svg_uri(
            correlation_figure(results.conductors, long.min_sigma_s_cm)
        )
    if any(is_measured_run(d, run) for d in results.conductors for run in ("short", "long")):
        figures["hull"] = svg_uri(
            hull_figure(
                results.conductors,
                results.screening.hull.max_e_hull_ev_atom,
                long.min_sigma_s_cm,
            )
        )
    curves = [(run.label, run.curve) for run in results.runs[:_DISPLACEMENTS] if run.curve]
    if curves:
        figures["displacements"] = svg_uri(displacement_figure(curves))
    return figures


def gate_limits(results: Contents) -> str:
    """Return the gates' limits in words; they are those that the rows were judged by."""
    screening = results.screening
    return (
        f"at most {1e3 * screening.hull.max_e_hull_ev_atom:.0f} meV/atom above the hull, "
        f"{significant(1e3 * screening.short_md.min_sigma_s_cm)} mS/cm at 300 K still possible "
        "after the short run, and at least "
        f"{significant(1e3 * screening.long_md.min_sigma_s_cm)} mS/cm in the long run"
    )


def _temperatures(conductors: Iterable[Document]) -> str:
    """Return the temperatures of the long runs that are shown."""
    found = {d["temperature_long_k"] for d in conductors if d["temperature_long_k"] is not None}
    return ", ".join(f"{kelvin:g}" for kelvin in sorted(found))


def _left_out(conductors: Iterable[Document]) -> int:
    """Return how many compositions with both runs are no pair: bounds, unsound runs."""
    both = [d for d in conductors if d["verdict_short"] and d["verdict_long"]]
    return len(both) - len(measured_pairs(both))


def _near_misses(conductors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what came closest, for when nothing has passed; the conductors are best first."""
    tried = [d for d in conductors if not d["passed"] and d["verdict_short"] is not None]
    return tried[:_NEAR_MISSES]


def _settings_text(screening: ScreeningFile) -> str:
    """Return the settings as YAML, without the store's password."""
    settings = screening.model_dump(mode="json")
    settings["store"] = store_name(screening)
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _versions(conductors: Iterable[Document]) -> dict[str, list[str]]:
    """Return package -> versions that made the results."""
    found: dict[str, set[str]] = {}
    for document in conductors:
        for source in document["provenance"].values():
            for package, version in source["versions"].items():
                found.setdefault(package, set()).add(version)
    return {package: sorted(versions) for package, versions in sorted(found.items())}
