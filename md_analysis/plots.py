"""Pictures of an analysis, in one style; each function draws into axes and returns them."""

from __future__ import annotations

from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from ionsieve.md_analysis.arrhenius import ArrheniusFit
from ionsieve.md_analysis.density import DensityGrid
from ionsieve.md_analysis.result import TransportResult
from ionsieve.md_analysis.van_hove import RadialDistribution, VanHove

#: Blue, orange, green and grey that differ in print and for the colour-blind.
COLOURS = ("#0b5d8a", "#d9730d", "#3a7d44", "#6b6b6b")


def _axes(ax: Axes | None) -> Axes:
    """Return the axes, new ones of our size unless given, in our style."""
    if ax is None:
        ax = Figure(figsize=(4.6, 3.4), dpi=150, layout="constrained").subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.xaxis.label.set_fontsize(9)
    ax.yaxis.label.set_fontsize(9)
    return ax


def _legend(ax: Axes) -> None:
    ax.legend(frameon=False, fontsize=7.5)


def plot_msd(result: TransportResult, ax: Axes | None = None) -> Axes:
    """Draw the MSD, its axes, the fit window and the fitted line with its 95 % band."""
    ax = _axes(ax)
    curve = result.msd
    lags = np.array(curve.lags_ps)
    ax.plot(lags, curve.msd_angstrom2, color=COLOURS[0], lw=1.6, label=result.species)
    for axis, style, values in zip(
        "xyz", (":", "--", "-."), np.array(curve.msd_axes_angstrom2).T, strict=True
    ):
        ax.plot(lags, values, color=COLOURS[0], lw=0.8, ls=style, label=f"along {axis}")
    low, high = curve.fit_lags_ps
    window = np.linspace(low, high, 50)
    slopes = 6e4 * np.array([result.diffusivity_cm2_s, *result.diffusivity_ci95_cm2_s])
    fit, lower, upper = (slope * window + curve.fit_offset_angstrom2 for slope in slopes)
    ax.axvspan(low, high, color=COLOURS[3], alpha=0.10, lw=0)
    ax.fill_between(window, lower, upper, color=COLOURS[1], alpha=0.30, lw=0)
    ax.plot(window, fit, color=COLOURS[1], lw=1.4, label="fit, 95 % band")
    ax.set_xlabel("lag (ps)")
    ax.set_ylabel("mean squared displacement (Å²)")
    ax.set_xlim(0, min(lags[-1], 2 * high))
    inside = lags <= min(lags[-1], 2 * high)
    ax.set_ylim(0, 1.15 * max(np.array(curve.msd_angstrom2)[inside].max(), upper.max()))
    ax.set_title(_headline(result), fontsize=8.5)
    _legend(ax)
    return ax


def _headline(result: TransportResult) -> str:
    low, high = result.diffusivity_ci95_cm2_s
    first = f"{result.species}, {result.temperature_k:g} K, {result.verdict.replace('_', ' ')}"
    if result.verdict == "upper_bound":
        return f"{first}\nD < {high:.1e} cm²/s"
    return f"{first}\nD = {result.diffusivity_cm2_s:.2e} ({low:.1e} to {high:.1e}) cm²/s"


def plot_windows(result: TransportResult, ax: Axes | None = None) -> Axes:
    """Draw D from each window of lags: a diffusive run is flat from the chosen one on."""
    ax = _axes(ax)
    lags = np.array([w.lags_ps[0] for w in result.windows])
    values = np.array([w.diffusivity_cm2_s for w in result.windows])
    ends = np.array([w.diffusivity_ci95_cm2_s for w in result.windows])
    errors = np.abs(np.column_stack([values - ends[:, 0], ends[:, 1] - values]).T)
    ax.errorbar(lags, values, errors, fmt="o", ms=4, lw=1, color=COLOURS[0], capsize=2)
    chosen = lags == result.msd.fit_lags_ps[0]
    ax.plot(lags[chosen], values[chosen], "o", ms=7, color=COLOURS[1], label="chosen", zorder=3)
    ax.set_xscale("log")
    ax.set_xticks(lags, [f"{lag:.3g}" for lag in lags])
    ax.minorticks_off()
    ax.set_ylim(bottom=min(0.0, 1.1 * float(values.min())))
    ax.set_xlabel("shortest lag of the window (ps)")
    ax.set_ylabel("diffusivity (cm²/s)")
    _legend(ax)
    return ax


def plot_displacements(result: TransportResult, ax: Axes | None = None) -> Axes:
    """Draw how far each mobile ion went from start to end, sorted."""
    ax = _axes(ax)
    values = np.sort(result.displacements_angstrom)[::-1]
    ax.bar(np.arange(1, len(values) + 1), values, width=1.0, lw=0, color=COLOURS[0])
    if result.jump_length_angstrom:
        ax.axhline(result.jump_length_angstrom, color=COLOURS[1], lw=1.2, label="jump length")
        _legend(ax)
    ax.set_xlabel(f"{result.species} ion, sorted")
    ax.set_ylabel("net displacement (Å)")
    return ax


def plot_arrhenius(fit: ArrheniusFit, ax: Axes | None = None) -> Axes:
    """Draw ln D against 1000/T: points, upper bounds as arrows, the line and its 95 % band."""
    ax = _axes(ax)
    inverse = 1e3 / np.array(fit.line_temperatures_k)
    band = np.array(fit.line_ci95_cm2_s)
    ax.fill_between(inverse, band[:, 0], band[:, 1], color=COLOURS[1], alpha=0.25, lw=0)
    low, high = fit.activation_energy_ci95_ev
    label = f"$E_a$ = {fit.activation_energy_ev:.3f} eV ({low:.3f} to {high:.3f})"
    ax.plot(inverse, fit.line_cm2_s, color=COLOURS[1], lw=1.4, label=label)
    for point in fit.points:
        x = 1e3 / point.temperature_k
        bottom, top = point.diffusivity_ci95_cm2_s
        if point.is_upper_bound:
            ax.errorbar(x, top, 0.4 * top, uplims=True, fmt="_", color=COLOURS[3], lw=1.2)
            continue
        value = point.diffusivity_cm2_s
        error = [[value - max(bottom, 1e-3 * value)], [top - value]]
        ax.errorbar(x, value, error, fmt="o", ms=4, color=COLOURS[0], lw=1.2, capsize=2)
    low, high = fit.diffusivity_300k_ci95_cm2_s
    title = f"D(300 K) = {fit.diffusivity_300k_cm2_s:.1e} ({low:.1e} to {high:.1e}) cm²/s"
    title = "\n".join([title, *(f"! {shorten(text, 75)}" for text in fit.warnings)])
    ax.plot(
        1e3 / 300,
        fit.diffusivity_300k_cm2_s,
        "D",
        ms=4,
        color=COLOURS[1],
        mfc="white",
        label="300 K, extrapolated" if fit.is_extrapolated else "300 K",
    )
    ax.set_yscale("log")
    ax.set_xlabel("1000 K / T")
    ax.set_ylabel("diffusivity (cm²/s)")
    ax.set_title(title, fontsize=8.5)
    _legend(ax)
    return ax


def plot_radial_distribution(rdf: RadialDistribution, ax: Axes | None = None) -> Axes:
    """Draw g(r)."""
    ax = _axes(ax)
    ax.plot(rdf.radii_angstrom, rdf.values, color=COLOURS[0], lw=1.3)
    ax.axhline(1, color=COLOURS[3], lw=0.7, ls=":")
    ax.set_xlim(0, rdf.radii_angstrom[-1])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("distance (Å)")
    ax.set_ylabel(f"g(r), {rdf.species[0]} to {rdf.species[1]}")
    return ax


def plot_van_hove(van_hove: VanHove, distinct: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the self (or distinct) van Hove function as a map of lag and distance."""
    ax = _axes(ax)
    values = van_hove.distinct if distinct else van_hove.self_part
    top = float(np.percentile(values, 99.5))
    mesh = ax.pcolormesh(
        van_hove.lags_ps,
        van_hove.radii_angstrom,
        values.T,
        cmap="viridis",
        vmin=0,
        vmax=top or None,
        shading="nearest",
        rasterized=True,
    )
    _colour_bar(ax, mesh, "$G_d$ / mean density" if distinct else "$4\\pi r^2 G_s$ (1/Å)")
    ax.set_xlabel("lag (ps)")
    ax.set_ylabel("distance (Å)")
    return ax


def plot_density_slice(
    density: DensityGrid, axis: int = 2, fraction: float = 0.0, ax: Axes | None = None
) -> Axes:
    """Draw one layer of the probability density in real proportions."""
    ax = _axes(ax)
    layer = density.slice_through(axis, fraction)
    first, second = (i for i in range(3) if i != axis)
    u, v = density.cell[first], density.cell[second]
    # Draw the layer's two cell vectors in their plane.
    length = np.linalg.norm(u)
    along = v @ u / length
    up = np.sqrt(max(v @ v - along**2, 0.0))
    i, j = np.meshgrid(*(np.arange(n + 1) / n for n in layer.shape), indexing="ij")
    mesh = ax.pcolormesh(i * length + j * along, j * up, layer, cmap="viridis", rasterized=True)
    _colour_bar(ax, mesh, f"{density.species} density (1/Å³)")
    ax.set_aspect("equal")
    ax.set_xlabel(f"along {'abc'[first]} (Å)")
    ax.set_ylabel(f"across, towards {'abc'[second]} (Å)")
    return ax


def _colour_bar(ax: Axes, mesh: QuadMesh, label: str) -> None:
    figure = ax.get_figure(root=True)
    if figure is not None:
        bar = figure.colorbar(mesh, ax=ax)
        bar.set_label(label, fontsize=8.5)
        bar.ax.tick_params(labelsize=7.5)
