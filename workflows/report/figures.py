"""Figures of the report: each function draws on matplotlib axes and returns them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ionsieve.workflows.results.correlation import is_measured_run, measured_pairs
from ionsieve.workflows.results.counts import StageCount

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Dark for what goes on, pale for what a gate stopped, red for failures, grey for the rest.
_INK, _PALE, _TEXT, _MUTED = "#12606b", "#cfe3e4", "#1f2a30", "#6b7780"
_MARKERS = "osD^vP*X"
_COLOURS = ("#12606b", "#c4622d", "#5a4fa2", "#3d8b40", "#b03060", "#8a6d1d", "#2f6fb3", "#555555")

_STYLE: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.edgecolor": "#9aa5ab",
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9edef",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "ionsieve",
}

Documents = Sequence[Mapping[str, Any]]


def new_axes(width_in: float, height_in: float) -> Axes:
    """Return axes of a new figure in the report's style, outside pyplot's global state."""
    with mpl.rc_context(_STYLE):
        return Figure(figsize=(width_in, height_in), layout="constrained").subplots()


def svg_uri(axes: Axes) -> str:
    """Return the figure of some axes as a data URI, for an ``img`` tag."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def funnel_figure(
    counts: Sequence[StageCount],
    n_mothers: int,
    n_rejected: int = 0,
    log10_arrangements: float | None = None,
) -> Axes:
    """Draw the funnel: one bar per stage, as wide as the number of compositions that go on.

    Parameters
    ----------
    counts
        From :meth:`ionsieve.workflows.results.handle.Results.counts`.
    n_mothers, n_rejected
        Mothers screened, and structures rejected before.
    log10_arrangements
        Logarithm of the number of arrangements of all compositions.
    """
    rows = _funnel_rows(counts, n_mothers, n_rejected, log10_arrangements)
    axes = new_axes(8.4, 0.62 * len(rows) + 0.3)
    widest = max([number for _, number, _ in rows[1:]] or [1]) or 1
    widths = [0.12, *(number / widest for _, number, _ in rows[1:])]
    for row, ((title, number, note), width) in enumerate(zip(rows, widths, strict=True)):
        shown = max(width, 0.004)
        axes.barh(-row, shown, left=-shown / 2, height=0.62, color=_INK if row else "#7d8a91")
        if row + 1 < len(rows):
            _connect(axes, row, shown, widths[row + 1])
        inside = width > 0.11
        axes.annotate(
            f"{number:,}",
            (0 if inside else shown / 2, -row),
            xytext=(0 if inside else 4, 0),
            textcoords="offset points",
            ha="center" if inside else "left",
            va="center",
            color="white" if inside else _TEXT,
            fontweight="bold",
        )
        axes.text(-0.56, -row, title, ha="right", va="center", color=_TEXT, fontweight="bold")
        axes.text(0.56, -row, note, ha="left", va="center", color=_MUTED, fontsize=9)
    axes.set_xlim(-0.98, 1.12)
    axes.set_ylim(-len(rows) + 0.55, 0.45)
    axes.set_axis_off()
    return axes


def _funnel_rows(
    counts: Sequence[StageCount], n_mothers: int, n_rejected: int, log10_arrangements: float | None
) -> list[tuple[str, int, str]]:
    """Return (title, number, note) of each bar."""
    planned = counts[0].entered if counts else 0
    others = "structure" if n_rejected == 1 else "structures"
    note = f"{n_rejected} other {others} rejected" if n_rejected else ""
    rows = [("Mothers", n_mothers, note), ("Compositions", planned, "charge-neutral, distinct")]
    # What goes on is what enters the next stage.
    for count, following in zip(counts, [*counts[1:], None], strict=True):
        if count.stage == "conductor":
            continue
        note = _losses(count)
        if count.stage == "rank" and log10_arrangements is not None:
            note = ", ".join(filter(None, [f"of {_power(log10_arrangements)} arrangements", note]))
        rows.append((count.title, following.entered if following else count.passed, note))
    return rows


def _losses(count: StageCount) -> str:
    parts = (
        (count.unknown, "unknown"),
        (count.undecided, "undecided"),
        (count.stopped, "stopped"),
        (count.failed, "failed"),
        (count.running, "running"),
        (count.waiting, "waiting"),
    )
    return ", ".join(f"{number:,} {word}" for number, word in parts if number)


def _power(log10: float) -> str:
    exponent = math.floor(log10)
    return rf"${10 ** (log10 - exponent):.1f}\times10^{{{exponent}}}$"


def _connect(axes: Axes, row: int, upper: float, lower: float) -> None:
    """Fill the space between two bars."""
    lower = max(lower, 0.004)
    axes.fill(
        [-upper / 2, upper / 2, lower / 2, -lower / 2],
        [-row - 0.31, -row - 0.31, -row - 0.69, -row - 0.69],
        color=_PALE,
        linewidth=0,
    )


def correlation_figure(conductors: Documents, min_sigma_s_cm: float) -> Axes:
    """Draw the long run's conductivity against the short run's, one point per composition.

    Parameters
    ----------
    min_sigma_s_cm
        The long run's gate. The short gate is about 300 K, so it has no place on these axes.
    """
    axes = new_axes(5.2, 4.6)
    pairs = measured_pairs(conductors)
    for colour, marker, mother, own in _by_mother(pairs):
        short, long = _values(own, "sigma_short_s_cm"), _values(own, "sigma_long_s_cm")
        axes.errorbar(
            short,
            long,
            xerr=_bars(own, "sigma_short_s_cm"),
            yerr=_bars(own, "sigma_long_s_cm"),
            fmt=marker,
            color=colour,
            ecolor=colour,
            elinewidth=0.8,
            markersize=5,
            alpha=0.85,
            label=mother,
        )
    values = [*_values(pairs, "sigma_short_s_cm"), *_values(pairs, "sigma_long_s_cm")]
    low = 10 ** math.floor(math.log10(min(values) / 1.2))
    high = 10 ** math.ceil(math.log10(max(values) * 1.2))
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.plot([low, high], [low, high], color=_MUTED, linewidth=1, zorder=0)
    axes.axhline(min_sigma_s_cm, color=_MUTED, linestyle=":", linewidth=1)
    axes.set_xlabel("short run: $\\sigma_{NE}$ / S cm$^{-1}$")
    axes.set_ylabel("long run: $\\sigma_{NE}$ / S cm$^{-1}$")
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    return axes


def hull_figure(conductors: Documents, max_e_hull_ev_atom: float, min_sigma_s_cm: float) -> Axes:
    """Draw measured conductivity against distance to the hull; open symbols: a short run only."""
    axes = new_axes(5.2, 4.6)
    shown = [(d, best) for d in conductors if (best := _measured_sigma(d))]
    for colour, marker, mother, own in _by_mother([document for document, _ in shown]):
        named = False
        for run in ("long", "short"):
            part = [d for d in own if _measured_sigma(d) == (run, d[f"sigma_{run}_s_cm"])]
            if not part:
                continue
            axes.errorbar(
                [1e3 * d["e_hull_ev_atom"] for d in part],
                [d[f"sigma_{run}_s_cm"] for d in part],
                xerr=[4.0 if d["e_hull_is_lower_bound"] else 0.0 for d in part],
                xlolims=[bool(d["e_hull_is_lower_bound"]) for d in part],
                fmt=marker,
                color=colour,
                markerfacecolor=colour if run == "long" else "white",
                markersize=6,
                elinewidth=0.8,
                alpha=0.85,
                label=None if named else mother,
            )
            named = True
    axes.set_yscale("log")
    axes.axvline(1e3 * max_e_hull_ev_atom, color=_MUTED, linestyle=":", linewidth=1)
    axes.axhline(min_sigma_s_cm, color=_MUTED, linestyle=":", linewidth=1)
    axes.set_xlabel("energy above the hull / meV per atom")
    axes.set_ylabel("$\\sigma_{NE}$ / S cm$^{-1}$")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    axes.legend(fontsize=8, frameon=False)
    return axes


def displacement_figure(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Axes:
    """Draw mean squared displacements of several runs.

    Parameters
    ----------
    runs
        Label and the curve as :class:`ionsieve.md_analysis.analysis.Curve` has it, as a dictionary:
        lags in ps, displacements in square Angstrom, and the lags that were fitted.
    """
    axes = new_axes(8.4, 4.0)
    for number, (label, curve) in enumerate(runs):
        lags, values = curve["lags_ps"], curve["msd_angstrom2"]
        points = [(lag, msd) for lag, msd in zip(lags, values, strict=True) if lag > 0 and msd > 0]
        first, last = curve["fit_lags_ps"]
        fitted = [point for point in points if first <= point[0] <= last]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, label=label)
        if fitted:
            axes.plot(*zip(*fitted, strict=True), color=colour, linewidth=3.5, alpha=0.45)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("lag / ps")
    axes.set_ylabel("mean squared displacement / Å$^2$")
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    return axes


def _measured_sigma(document: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the best run that is a measurement, and its conductivity."""
    for run in ("long", "short"):
        if is_measured_run(document, run):
            return run, document[f"sigma_{run}_s_cm"]
    return None


def _by_mother(documents: Documents) -> list[tuple[str, str, str, Documents]]:
    """Return colour, marker, mother and its documents."""
    mothers = sorted({document["mother_id"] for document in documents})
    return [
        (
            _COLOURS[number % len(_COLOURS)],
            _MARKERS[number % len(_MARKERS)],
            mother,
            [document for document in documents if document["mother_id"] == mother],
        )
        for number, mother in enumerate(mothers)
    ]


def _values(documents: Documents, name: str) -> list[float]:
    return [document[name] for document in documents]


def _bars(documents: Documents, name: str) -> list[list[float]]:
    """Return distances to the interval's ends; none where an end is unknown or not positive."""
    low, high = [], []
    for document in documents:
        value = document[name]
        bottom, top = document.get(f"{name}_lo"), document.get(f"{name}_hi")
        low.append(value - bottom if bottom is not None and 0 < bottom <= value else 0.0)
        high.append(top - value if top is not None and top >= value else 0.0)
    return [low, high]
