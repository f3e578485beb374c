"""The whole analysis of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.conductivity import Collective, collective, nernst_einstein_factor
from ionsieve.md_analysis.diagnosis import (
    DEFAULT_LIMITS,
    Evidence,
    Judgement,
    Limits,
    judge,
)
from ionsieve.md_analysis.diffusivity import CM2_S_PER_ANGSTROM2_PS, DiffusiveFit, fit_diffusion
from ionsieve.md_analysis.displacement import drift, ends, mean_squared_displacement, paths
from ionsieve.md_analysis.escape import examine_escape
from ionsieve.md_analysis.framework import examine
from ionsieve.md_analysis.jumps import Jumps
from ionsieve.md_analysis.labels import formula, symbol_of
from ionsieve.md_analysis.populations import find_populations
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.readers import Source, as_trajectory
from ionsieve.md_analysis.result import Curve, Interval, Matrix, TransportResult, WindowEstimate
from ionsieve.md_analysis.stationarity import examine_stationarity
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.vibrations import check_timestep

#: Fewer frames than this give no slope at all.
MIN_FRAMES = 20


def analyze(
    trajectory: Source,
    species: object,
    temperature_k: float | None = None,
    charge: float = 1,
    limits: Limits = DEFAULT_LIMITS,
    fastest_phonon_thz: float | None = None,
    *,
    also_mobile: Sequence[object] = (),
    options: ReadOptions | None = None,
) -> TransportResult:
    """Return diffusivity, conductivity and a verdict for one species of a run.

    Parameters
    ----------
    trajectory : Trajectory, path, list of ASE Atoms or pymatgen Trajectory
        Equilibration left out (:meth:`Trajectory.skip`).
    species : str, Element or Species
        Mobile ion, e.g. ``Na``.
    temperature_k : float, optional
        Of the thermostat; needed unless the trajectory tells it.
    charge : float
        Of the mobile ion, e.
    limits : Limits
        Thresholds of the verdicts.
    fastest_phonon_thz : float, optional
        Highest harmonic frequency, if phonons are known; the time step is checked against it.
    also_mobile : sequence of str, Element or Species
        Others that move, too: they are no part of the framework.
    options : ReadOptions, optional
        What a file or list of Atoms doesn't tell, as the time between frames.

    Raises
    ------
    InputError
        On too few frames, an unknown species, or no temperature.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> walk = np.cumsum(rng.normal(0, 0.05, (5000, 32, 3)), axis=0)
    >>> walk[:, 16:] = 6.0 * np.arange(16)[:, None] + rng.normal(0, 0.1, (5000, 16, 3))
    >>> run = Trajectory.from_arrays(walk, 12 * np.eye(3), ["Na"] * 16 + ["S"] * 16, 10.0)
    >>> result = analyze(run, species="Na", temperature_k=600)
    >>> result.verdict
    'diffusing'
    >>> low, high = result.diffusivity_ci95_cm2_s
    >>> low < 0.05**2 / (2 * 0.01) * 1e-4 < high
    True
    """
    trajectory = as_trajectory(trajectory, options)
    temperature = _check(trajectory, temperature_k, charge)
    mobile = trajectory.indices(species)
    moving_all = np.union1d(mobile, _indices(trajectory, also_mobile))
    moving, reference = drift(trajectory, moving_all)
    walks = paths(trajectory, mobile, moving)
    fit = fit_diffusion(walks, trajectory.timestep_fs)
    has_framework = len(moving_all) < trajectory.n_ions
    evidence = Evidence(
        fit=fit,
        escape=examine_escape(walks, trajectory.timestep_fs, fit),
        stationarity=examine_stationarity(walks, trajectory.timestep_fs, fit),
        framework=examine(trajectory, moving_all, moving) if has_framework else (),
        timestep=check_timestep(trajectory, temperature, fastest_phonon_thz),
        n_mobile=len(mobile),
        jump_length_angstrom=_jump_length(fit.jumps, walks[:, :, 0], trajectory.mean_cell),
        narrowest_angstrom=float(
            1 / np.linalg.norm(np.linalg.inv(trajectory.mean_cell), axis=0).max()
        ),
    )
    judgement = judge(evidence, limits)
    known = has_framework and judgement.verdict != "upper_bound"
    charges = collective(walks, trajectory.timestep_fs, fit) if known else None
    jumps = fit.jumps
    first, last = ends(walks, max(1, trajectory.n_frames // 20))
    factor = nernst_einstein_factor(len(mobile), trajectory.volume_angstrom3, charge, temperature)
    return TransportResult(
        species=symbol_of(species),
        charge=charge,
        temperature_k=temperature,
        n_mobile=len(mobile),
        n_frames=trajectory.n_frames,
        length_ps=trajectory.length_ps,
        timestep_fs=trajectory.timestep_fs,
        volume_angstrom3=trajectory.volume_angstrom3,
        frame_of_reference=reference,
        verdict=judgement.verdict,
        reasons=judgement.reasons + trajectory.notes,
        **_diffusivity(fit, judgement, factor),
        **_collective(charges, factor),
        n_jumps=jumps.n_jumps,
        n_onward_jumps=jumps.n_onward,
        jump_length_angstrom=jumps.length_angstrom if jumps.n_jumps else None,
        correlation_factor=_correlation_factor(fit),
        displacements_angstrom=tuple(np.linalg.norm(last - first, axis=1).tolist()),
        framework=evidence.framework,
        timestep_check=evidence.timestep,
        windows=_windows(fit, trajectory.timestep_fs),
        msd=_curve(walks, trajectory.timestep_fs, fit),
        escape=evidence.escape,
        stationarity=evidence.stationarity,
        composition=formula(trajectory.species),
        populations=find_populations(fit.slopes[fit.onset], CM2_S_PER_ANGSTROM2_PS),
    )


def _indices(trajectory: Trajectory, species: Sequence[object]) -> NDArray[np.intp]:
    found = [trajectory.indices(one) for one in species]
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)


def _check(trajectory: Trajectory, temperature_k: float | None, charge: float) -> float:
    """Return the temperature after checking what the analysis can't do without."""
    if trajectory.n_frames < MIN_FRAMES:
        raise InputError(
            f"{trajectory.n_frames} frames are too few (limit {MIN_FRAMES}); run longer or "
            "write frames more often"
        )
    temperature = trajectory.temperature_k if temperature_k is None else temperature_k
    if temperature is None:
        raise InputError("the trajectory does not tell its temperature; give temperature_k")
    told = trajectory.temperature_k
    if told is not None and abs(temperature / told - 1) > 2e-3:
        raise InputError(
            f"the trajectory was made at {told:g} K, {temperature:g} K was given; one is wrong"
        )
    if not temperature > 0 or not math.isfinite(temperature):
        raise InputError(f"temperature_k is {temperature}; it must be above 0 K")
    if charge == 0 or not math.isfinite(charge):
        raise InputError(f"charge is {charge}; give the charge of the mobile ion in e")
    return float(temperature)


def _jump_length(jumps: Jumps, first: NDArray[np.floating], cell: NDArray[np.float64]) -> float:
    """Return a cautious jump length for bounds: as seen, or the distance of neighbours if more.

    A few jumps seen through vibrations look too short, and without any there is only the distance
    of neighbouring mobile ions to go by.
    """
    seen = jumps.length_angstrom if jumps.n_jumps else 0.0
    if len(first) < 2:
        return max(seen, 3.0)
    delta = (first[:, None] - first[None]) @ np.linalg.inv(cell)
    delta -= np.rint(delta)
    distance = np.linalg.norm(delta @ cell, axis=2)
    np.fill_diagonal(distance, np.inf)
    return max(seen, float(np.clip(distance.min(axis=1).mean(), 2.0, 4.0)))


def _diffusivity(fit: DiffusiveFit, judgement: Judgement, factor: float) -> dict[str, Any]:
    low, high = (limit * CM2_S_PER_ANGSTROM2_PS for limit in judgement.interval)
    raw = max(fit.diffusivity.value, 0.0) * CM2_S_PER_ANGSTROM2_PS
    value = min(raw, high) if judgement.verdict == "upper_bound" else raw
    error = (high - low) / (2 * value) if value > 0 else None
    return {
        "diffusivity_cm2_s": value,
        "diffusivity_ci95_cm2_s": (low, high),
        "diffusivity_tensor_cm2_s": _matrix(fit.tensor),
        "diffusivity_tensor_se_cm2_s": _matrix(fit.tensor_standard_error),
        "sigma_ne_s_cm": factor * value,
        "sigma_ne_ci95_s_cm": (factor * low, factor * high),
        "relative_error": error,
        "required_length_ps": judgement.required_length_ps,
    }


def _matrix(tensor: NDArray[np.float64]) -> Matrix:
    rows = (tensor * CM2_S_PER_ANGSTROM2_PS).tolist()
    return tuple((row[0], row[1], row[2]) for row in rows)


def _collective(charges: Collective | None, factor: float) -> dict[str, Any]:
    if charges is None:
        names = ("sigma_collective_s_cm", "sigma_collective_ci95_s_cm")
        return dict.fromkeys((*names, "haven_ratio", "haven_ratio_ci95"))
    scale = factor * CM2_S_PER_ANGSTROM2_PS
    low, high = charges.diffusivity.interval()
    known = math.isfinite(charges.haven_ratio)
    return {
        "sigma_collective_s_cm": scale * max(charges.diffusivity.value, 0.0),
        "sigma_collective_ci95_s_cm": (scale * low, scale * high),
        "haven_ratio": charges.haven_ratio if known else None,
        "haven_ratio_ci95": charges.haven_ratio_ci95 if known else None,
    }


def _correlation_factor(fit: DiffusiveFit) -> float | None:
    """D over that of as many uncorrelated jumps; None without jumps."""
    jumps = fit.jumps
    if not jumps.n_jumps:
        return None
    rate = jumps.per_ion.mean() / fit.length_ps
    return max(fit.diffusivity.value, 0.0) / (rate * jumps.length_angstrom**2 / 6)


def _windows(fit: DiffusiveFit, timestep_fs: float) -> tuple[WindowEstimate, ...]:
    return tuple(
        WindowEstimate(
            _lags_ps(slope.window.lag_frames, timestep_fs),
            estimate.value * CM2_S_PER_ANGSTROM2_PS,
            (
                estimate.interval()[0] * CM2_S_PER_ANGSTROM2_PS,
                estimate.interval()[1] * CM2_S_PER_ANGSTROM2_PS,
            ),
        )
        for slope, estimate in zip(fit.slopes, fit.estimates, strict=True)
    )


def _lags_ps(lag_frames: NDArray[np.int64], timestep_fs: float) -> Interval:
    return float(lag_frames[0] * timestep_fs / 1e3), float(lag_frames[-1] * timestep_fs / 1e3)


def _curve(walks: NDArray[np.floating], timestep_fs: float, fit: DiffusiveFit) -> Curve:
    msd = mean_squared_displacement(walks, timestep_fs)
    window = fit.slope.window.lag_frames
    lags_ps = window * timestep_fs / 1e3
    inside = window[window < len(msd.lags_ps)]
    total = msd.total_angstrom2[inside]
    offset = float((total - 6 * fit.diffusivity.value * lags_ps[: len(inside)]).mean())
    thin = msd.thinned()
    return Curve(
        tuple(thin.lags_ps.tolist()),
        tuple(thin.total_angstrom2.tolist()),
        tuple((row[0], row[1], row[2]) for row in thin.tensor_angstrom2[:, :3].tolist()),
        (float(lags_ps[0]), float(lags_ps[len(inside) - 1])),
        offset,
    )
