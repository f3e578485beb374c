"""``ionsieve diffusion``: any trajectory to diffusivity, conductivity and a verdict."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ionsieve.workflows.cli.numbers import NOT_NEGATIVE, POSITIVE, Number

if TYPE_CHECKING:
    from ionsieve.md_analysis import Trajectory, TransportResult
    from ionsieve.md_analysis.arrhenius import ArrheniusFit

_LOG = logging.getLogger(__name__)

#: Charges taken for granted; others are asked for.
_CHARGES = {
    **dict.fromkeys(("H", "Li", "Na", "K", "Rb", "Cs", "Ag", "Cu"), 1),
    **dict.fromkeys(("Mg", "Ca", "Zn", "Sr", "Ba"), 2),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
    "Al": 3,
    "O": -2,
    "S": -2,
}


@click.command(name="diffusion")
@click.argument("trajectories", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--species", required=True, help="Mobile ions, e.g. Na, or Li,Na: the framework is the rest."
)
@click.option(
    "--temperature",
    "temperatures",
    multiple=True,
    type=POSITIVE,
    help="Thermostat, K; once for all, or once per trajectory. [from the file if it tells]",
)
@click.option(
    "--timestep-fs", type=POSITIVE, help="Time between frames. [from the file if it tells]"
)
@click.option("--md-timestep-fs", type=POSITIVE, help="Integrator's step, if frames are rarer.")
@click.option(
    "--charge", type=Number(-10, 10), help="Of the mobile ion, e. [usual charge of the element]"
)
@click.option(
    "--equilibration-ps",
    type=NOT_NEGATIVE,
    default=0.0,
    show_default=True,
    help="Left out at the start.",
)
@click.option("--join", is_flag=True, help="The files are consecutive segments of one run.")
@click.option("--elements", help="Elements of a LAMMPS dump's types, e.g. Na,Sb,S.")
@click.option("--cell", help="Cell of an xyz file without one: 3 edges or 9 numbers, Angstrom.")
@click.option(
    "--phonons",
    type=click.Path(path_type=Path),
    help="Phonopy's band.yaml, mesh.yaml or qpoints.yaml: its fastest mode must suit the step.",
)
@click.option(
    "--topology",
    type=click.Path(path_type=Path),
    help="File with the elements of an XTC, DCD, netCDF or H5MD trajectory, e.g. PDB.",
)
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for figures (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    trajectories: tuple[Path, ...],
    species: str,
    temperatures: tuple[float, ...],
    timestep_fs: float | None,
    md_timestep_fs: float | None,
    charge: float | None,
    equilibration_ps: float,
    join: bool,
    elements: str | None,
    cell: str | None,
    phonons: Path | None,
    topology: Path | None,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Diffusivity with its 95 % interval, conductivity and a verdict for each TRAJECTORY.

    Reads XDATCAR, vasprun.xml, ASE .traj, extxyz, CP2K xyz + cell, LAMMPS dumps, pymatgen JSON
    and npz; plain or compressed (gz, bz2, xz, zst); with MDAnalysis also XTC, DCD, netCDF and H5MD.
    What a file tells must agree with what is given. With two temperatures or more also an Arrhenius
    fit. The drift of the energy is taken from vasprun.xml, or from the OSZICAR beside an XDATCAR.

    \b
    Examples:
      ionsieve diffusion XDATCAR --species Na --temperature 600 --timestep-fs 2
      ionsieve diffusion 600K.xml 700K.xml 800K.xml --species Li --json
      ionsieve diffusion XDATCAR.1 XDATCAR.2 --join --species Na --temperature 600 --timestep-fs 1
    """
    from ionsieve.md_analysis import ReadOptions, Trajectory, analyze, read_trajectory
    from ionsieve.md_analysis.vibrations import read_phonon_frequencies

    options = ReadOptions(
        timestep_fs=timestep_fs,
        species=tuple(e.strip() for e in elements.split(",")) if elements else None,
        cell=_cell(cell),
        md_timestep_fs=md_timestep_fs,
        topology=topology,
    )
    mobile = _species(species)
    charges = [_charge(one, charge, len(mobile)) for one in mobile]
    fastest = None if phonons is None else float(read_phonon_frequencies(phonons).max())
    runs = [read_trajectory(path, options) for path in trajectories]
    names = [str(path) for path in trajectories]
    if join:
        runs, names = [Trajectory.join(runs)], [" + ".join(names)]
    each = _temperatures(temperatures, len(runs))
    analyses = [
        (name, _equilibrated(run, equilibration_ps), temperature)
        for name, run, temperature in zip(names, runs, each, strict=True)
    ]
    results: list[TransportResult] = []
    labels: list[str] = []
    for one, of_one in zip(mobile, charges, strict=True):
        others = [other for other in mobile if other != one]
        for name, run, temperature in analyses:
            labels.append(name)
            results.append(
                analyze(
                    run,
                    one,
                    temperature,
                    of_one,
                    fastest_phonon_thz=fastest,
                    also_mobile=others,
                )
            )
    fits = {one: _arrhenius([r for r in results if r.species == one]) for one in mobile}
    if plots:
        _draw(plots, results, fits)
    if as_json:
        click.echo(json.dumps(_as_json(labels, results, fits), allow_nan=False))
    else:
        _print(labels, results, fits)


def _species(text: str) -> tuple[str, ...]:
    """Return the mobile species of ``Li,Na``."""
    from ionsieve.errors import InputError

    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not found:
        raise InputError(f"--species {text!r} names no element; give e.g. Na, or Li,Na")
    return found


def _cell(text: str | None) -> tuple[tuple[float, ...], ...] | None:
    from ionsieve.errors import InputError

    if text is None:
        return None
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise InputError(f"--cell {text!r} is no list of numbers") from error
    if len(numbers) == 3:
        a, b, c = numbers
        return (a, 0.0, 0.0), (0.0, b, 0.0), (0.0, 0.0, c)
    if len(numbers) != 9:
        raise InputError(f"--cell has {len(numbers)} numbers; give 3 edges or 9 numbers")
    return tuple(numbers[0:3]), tuple(numbers[3:6]), tuple(numbers[6:9])


def _charge(species: str, given: float | None, n_species: int) -> float:
    from ionsieve.errors import InputError

    if given is not None and n_species > 1:
        raise InputError(f"--charge {given:g} for {n_species} species; analyse them one by one")
    if given is not None:
        return given
    if species not in _CHARGES:
        raise InputError(f"the charge of {species} is not obvious; give --charge")
    return float(_CHARGES[species])


def _temperatures(given: tuple[float, ...], n_runs: int) -> list[float | None]:
    from ionsieve.errors import InputError

    if len(given) not in (0, 1, n_runs):
        raise InputError(
            f"{len(given)} temperatures for {n_runs} trajectories; give --temperature once, or "
            "once per trajectory"
        )
    if len(given) == n_runs:
        return list(given)
    return [given[0] if given else None] * n_runs


def _equilibrated(run: Trajectory, equilibration_ps: float) -> Trajectory:
    from ionsieve.errors import InputError

    if equilibration_ps < 0:
        raise InputError(f"--equilibration-ps is {equilibration_ps:g}; it can't be negative")
    return run.skip(round(equilibration_ps * 1e3 / run.timestep_fs))


def _arrhenius(results: list[TransportResult]) -> ArrheniusFit | None:
    """Fit all measured points; None with fewer than two temperatures."""
    from ionsieve.errors import InputError
    from ionsieve.md_analysis.arrhenius import ArrheniusPoint, fit_arrhenius

    if len({result.temperature_k for result in results}) < 2:
        return None
    usable = [r for r in results if r.verdict in ("diffusing", "upper_bound")]
    left_out = len(results) - len(usable)
    if left_out:
        _LOG.warning("%d runs without a settled diffusivity are not in the fit", left_out)
    try:
        return fit_arrhenius([ArrheniusPoint.from_result(r) for r in usable])
    except InputError as error:
        _LOG.warning("no Arrhenius fit: %s", error)
        return None


def _as_json(
    names: list[str], results: list[TransportResult], fits: dict[str, ArrheniusFit | None]
) -> dict[str, Any]:
    """Return all results; those of a single trajectory and species also at the top."""
    listed = [
        {"trajectory": name, **result.to_dict()}
        for name, result in zip(names, results, strict=True)
    ]
    out: dict[str, Any] = dict(listed[0]) if len(listed) == 1 else {}
    out["trajectories"] = listed
    lines = {species: _line_as_json(fit) for species, fit in fits.items() if fit}
    if len(fits) > 1:
        out["arrhenius"] = lines
    else:
        out.update(*lines.values())
    return out


def _line_as_json(fit: ArrheniusFit) -> dict[str, Any]:
    return {
        "activation_energy_ev": fit.activation_energy_ev,
        "activation_energy_ci95_ev": fit.activation_energy_ci95_ev,
        "diffusivity_300k_cm2_s": fit.diffusivity_300k_cm2_s,
        "diffusivity_300k_ci95_cm2_s": fit.diffusivity_300k_ci95_cm2_s,
        "sigma_300k_s_cm": fit.sigma_300k_s_cm,
        "sigma_300k_ci95_s_cm": fit.sigma_300k_ci95_s_cm,
        "sigma_300k_is_extrapolated": fit.is_extrapolated,
        "straight_line_p": fit.straight_line_p,
        "bend_temperature_k": fit.bend_temperature_k,
        "arrhenius_warnings": fit.warnings,
    }


def _draw(
    folder: Path, results: list[TransportResult], fits: dict[str, ArrheniusFit | None]
) -> None:
    from ionsieve.md_analysis import plots

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for number, result in enumerate(results, start=1):
        start = f"{number}_{result.species}_{result.temperature_k:g}K"
        drawn[f"{start}_msd"] = plots.plot_msd(result)
        drawn[f"{start}_windows"] = plots.plot_windows(result)
        drawn[f"{start}_displacements"] = plots.plot_displacements(result)
    for species, fit in fits.items():
        if fit:
            name = "arrhenius" if len(fits) == 1 else f"arrhenius_{species}"
            drawn[name] = plots.plot_arrhenius(fit)
    for name, axes in drawn.items():
        figure = axes.get_figure(root=True)
        if figure is not None:
            figure.savefig(folder / f"{name}.png")


def _print(
    names: list[str], results: list[TransportResult], fits: dict[str, ArrheniusFit | None]
) -> None:
    for name, r in zip(names, results, strict=True):
        (_, run), (_, verdict), *figures = r.summary()
        click.echo(f"{name}: {run}")
        click.echo(f"  {'verdict':30s} {verdict}")
        for reason in r.reasons:
            click.echo(f"  {'':30s} - {reason}")
        for label, text in figures:
            click.echo(f"  {label:30s} {text}")
        if r.timestep_check and (drift := r.timestep_check.energy_drift):
            click.echo(
                f"  {'energy drift':30s} {drift.mev_atom_ps:.2g} +- {drift.standard_error:.1g} "
                "meV per atom and ps"
            )
        if r.required_length_ps:
            click.echo(f"  {'for a 10 % error':30s} {r.required_length_ps:.0f} ps")
    for species, fit in fits.items():
        if fit:
            _print_fit(fit, f" of {species}" if len(fits) > 1 else "")


def _print_fit(fit: ArrheniusFit, of: str) -> None:
    low, high = fit.activation_energy_ci95_ev
    click.echo(
        f"activation energy{of}    {fit.activation_energy_ev:.3f} ({low:.3f} to {high:.3f}) eV"
    )
    if fit.sigma_300k_s_cm is not None and fit.sigma_300k_ci95_s_cm is not None:
        low, high = fit.sigma_300k_ci95_s_cm
        how = "extrapolated" if fit.is_extrapolated else "interpolated"
        click.echo(
            f"sigma at 300 K       {fit.sigma_300k_s_cm:.2e} ({low:.1e} to {high:.1e}) S/cm, {how}"
        )
    for warning in fit.warnings:
        click.echo(f"  ! {warning}")
    if fit.bend_temperature_k:
        click.echo(
            f"two slopes fit better than one, with a bend near {fit.bend_temperature_k:.0f} K: the "
            "mechanism changes, don't extrapolate"
        )
