"""Verdicts on a run, and the gates of the screening built on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.constants as const
import scipy.stats

from ionsieve.md_analysis.diffusivity import DiffusiveFit
from ionsieve.md_analysis.escape import Escape
from ionsieve.md_analysis.framework import LINDEMANN_MELTING, FrameworkSpecies
from ionsieve.md_analysis.stationarity import Stationarity
from ionsieve.md_analysis.verdict import Verdict
from ionsieve.md_analysis.vibrations import HARMLESS_RATIO, TimestepCheck

_BOLTZMANN_EV_K = const.k / const.e


@dataclass(frozen=True)
class Limits:
    """Thresholds of the verdicts.

    Attributes
    ----------
    relative_error : float
        Half the 95 % interval over D; larger is ``not_converged``.
    n_onward : int
        Onward jumps (to a third place) without which motion may be rattling. Rattling ions make
        them next to never, so few are proof; a higher limit prefers runs with more jumps than
        others of their material, whose D is too high.
    n_successions : int
        Successive jumps of the same ion from which rattling can be told.
    n_isolated : int
        With so few jumps in all no diffusion was seen.
    onward_fraction : float
        With less of the successive jumps leading onward, ions rattle.
    slope_change : float
        Largest relative change of D from the first window of the diffusive regime to the next.
    n_windows : int
        Windows of lags that a run must be long enough for.
    n_escaped : int
        Ions that got farther than a cage is wide, those that move together counted once. Whatever
        the cage, no ion leaves it; with fewer, motion may be caged.
    shortfall_errors : float
        Standard errors by which displacements over half of the run, and over all of it, may lie
        below those that D foretells.
    trend_p : float
        Chance of a trend in a run without one below which the rate is said to drift.
    shortest_ps : float
        A shorter run tells nothing.
    temperature_ratio : float
        Configurational over kinetic temperature of the fastest vibration; 1.6 refuses
        vibrations above 650 1/cm at a step of 10 fs.
    energy_drift_mev_atom_ps : float
        Drift of the conserved energy; a tenth of it is warned of. At the limit, modes that need
        1 ps to pass heat on are 100 K hotter than the thermostat.
    safe_step_fs : float
        A framework that broke at a longer step may be the step's doing.
    """

    relative_error: float = 0.5
    n_onward: int = 5
    n_successions: int = 10
    n_isolated: int = 5
    onward_fraction: float = 0.02
    slope_change: float = 0.25
    n_windows: int = 3
    n_escaped: int = 3
    shortfall_errors: float = 2.0
    trend_p: float = 0.02
    shortest_ps: float = 1.0
    temperature_ratio: float = 1.6
    energy_drift_mev_atom_ps: float = 25.0
    safe_step_fs: float = 5.0


DEFAULT_LIMITS = Limits()

#: Diffusion across a line over that along it, below which ions move along it only.
_LINE_SHARE = 0.1

#: So many ions that move together are told of if they span the cell.
_FEW_TOGETHER = 3.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a verdict is based on; lengths in ps, diffusivities in Angstrom^2/ps.

    ``narrowest_angstrom`` is the least distance of opposite faces of the cell.
    """

    fit: DiffusiveFit
    escape: Escape
    stationarity: Stationarity
    framework: tuple[FrameworkSpecies, ...]
    timestep: TimestepCheck | None
    n_mobile: int
    jump_length_angstrom: float
    narrowest_angstrom: float


@dataclass(frozen=True)
class Judgement:
    """A verdict, why, and the interval that goes with it (Angstrom^2/ps)."""

    verdict: Verdict
    reasons: tuple[str, ...]
    interval: tuple[float, float]
    required_length_ps: float | None


def poisson_bound(n_events: int, length_angstrom: float, ion_ps: float) -> float:
    """Return the 95 % upper bound on D when few jumps were seen.

    Zero jumps of 3 A in 100 ions times 100 ps give 4.5e-4 A^2/ps.

    Parameters
    ----------
    n_events : int
        Jumps seen.
    length_angstrom : float
        Jump length.
    ion_ps : float
        Number of ions times length of the run.
    """
    rate = float(scipy.stats.chi2.ppf(0.95, 2 * (n_events + 1))) / 2 / ion_ps
    return rate * length_angstrom**2 / 6


def judge(evidence: Evidence, limits: Limits = DEFAULT_LIMITS) -> Judgement:
    """Return the verdict on a run; the gravest objection comes first."""
    fit, jumps = evidence.fit, evidence.fit.jumps
    low, high = fit.diffusivity.interval()
    warnings = _warnings(evidence, limits)
    too_long = _timestep_objection(evidence.timestep, limits)
    if too_long:
        return Judgement("timestep_too_long", (too_long, *warnings), (low, high), None)
    broken = tuple(text for species in evidence.framework for text in species.failures)
    suspect = _suspect_step(evidence.timestep, limits) if broken else None
    if suspect:
        return Judgement("timestep_too_long", (suspect, *broken, *warnings), (low, high), None)
    if broken:
        return Judgement("framework_unstable", (*broken, *warnings), (low, high), None)
    unseen = _unseen(evidence, limits)
    if unseen:
        bound, reason = unseen
        return Judgement("upper_bound", (reason, *warnings), (0.0, bound), None)
    doubts = _doubts(evidence, limits)
    required = _required_length(fit)
    if doubts:
        onward = jumps.n_onward >= limits.n_onward
        trusted = fit.is_established and onward and not _caged(evidence, limits)
        bound = poisson_bound(
            jumps.n_jumps, evidence.jump_length_angstrom, evidence.n_mobile * fit.length_ps
        )
        slowest, fastest = _range_of_rates(evidence.stationarity, limits)
        interval = (
            slowest * low if trusted else 0.0,
            fastest * (high if trusted else max(high, bound)),
        )
        return Judgement("not_converged", (*doubts, *warnings), interval, required)
    reason = (
        f"diffusive from {fit.slope.window.lag_frames[0]} frames on; "
        f"{jumps.n_jumps} jumps, {jumps.n_onward} of them onward"
    )
    return Judgement("diffusing", (reason, *warnings), (low, high), required)


def _timestep_objection(check: TimestepCheck | None, limits: Limits) -> str | None:
    if check is None:
        return None
    if check.written_every_step and check.temperature_ratio > limits.temperature_ratio:
        return (
            f"at this time step {check.vibration} has a configurational temperature "
            f"{check.temperature_ratio:.2f} times the kinetic one "
            f"(limit {limits.temperature_ratio:g}); use a shorter step"
        )
    drift = check.energy_drift
    if drift and drift.certain > limits.energy_drift_mev_atom_ps:
        return (
            f"the conserved energy drifts by {drift.mev_atom_ps:.3g} meV per atom and ps (limit "
            f"{limits.energy_drift_mev_atom_ps:g}); use a shorter step or tighter convergence"
        )
    return None


def _suspect_step(check: TimestepCheck | None, limits: Limits) -> str | None:
    """Return why the step, rather than the material, may have broken the framework."""
    if check is None:
        return None
    drift, step = check.energy_drift, check.step_fs
    if check.written_every_step and check.temperature_ratio > HARMLESS_RATIO:
        why = f"it heats {check.vibration} by a factor {check.temperature_ratio:.2f}"
    elif drift and drift.certain > 0.1 * limits.energy_drift_mev_atom_ps:
        why = f"the conserved energy drifts by {drift.mev_atom_ps:.3g} meV per atom and ps"
    elif step is not None and step > limits.safe_step_fs:
        why = f"it is longer than {limits.safe_step_fs:g} fs"
    else:
        return None
    of = "" if step is None else f" of {step:g} fs"
    largest = min(check.largest_step_fs or limits.safe_step_fs, limits.safe_step_fs)
    return (
        f"the framework broke at a time step{of} that may be why ({why}); run again with at most "
        f"{largest:.2g} fs before giving the material up"
    )


def _warnings(evidence: Evidence, limits: Limits) -> list[str]:
    found = [
        f"{s.species} vibrates by {s.lindemann:.2f} of the distance of neighbours "
        f"(crystals melt near {LINDEMANN_MELTING:g})"
        for s in evidence.framework
        if s.lindemann > LINDEMANN_MELTING
    ]
    check = evidence.timestep
    if check and check.written_every_step and check.temperature_ratio > HARMLESS_RATIO:
        found.append(
            f"the time step heats {check.vibration} by a factor {check.temperature_ratio:.2f}"
        )
    if evidence.escape.n_escaped and _is_along_a_line(evidence.fit):
        found.append(
            f"ions move along one line only, by {evidence.escape.farthest_angstrom:.0f} A at most: "
            "whether channels are blocked beyond that is not known"
        )
    together = 1 + evidence.fit.coupling(evidence.fit.chosen).others
    if together > _FEW_TOGETHER and together * evidence.jump_length_angstrom > (
        evidence.narrowest_angstrom
    ):
        found.append(
            f"about {together:.0f} ions move together, as far as the cell reaches "
            f"({evidence.narrowest_angstrom:.1f} A): D is that of a cell of this size"
        )
    drift = check.energy_drift if check else None
    if drift and drift.certain > 0.1 * limits.energy_drift_mev_atom_ps:
        found.append(f"the conserved energy drifts by {drift.mev_atom_ps:.3g} meV per atom and ps")
    return found


def _is_along_a_line(fit: DiffusiveFit) -> bool:
    """Whether all diffusion is along one direction."""
    values = np.linalg.eigvalsh(fit.tensor)
    return bool(values[2] > 0 and values[1] < _LINE_SHARE * values[2])


def _unseen(evidence: Evidence, limits: Limits) -> tuple[float, str] | None:
    """Return the bound and the reason if no diffusion was seen."""
    jumps, length_ps = evidence.fit.jumps, evidence.fit.length_ps
    if length_ps < limits.shortest_ps:
        return None
    ion_ps = evidence.n_mobile * length_ps
    isolated = jumps.n_jumps <= limits.n_isolated
    rattling = (
        jumps.n_successions >= limits.n_successions
        and jumps.onward_fraction <= limits.onward_fraction
    )
    if not isolated and not rattling:
        return None
    events = jumps.n_jumps if isolated else jumps.n_onward
    bound = poisson_bound(events, evidence.jump_length_angstrom, ion_ps)
    what = (
        f"{jumps.n_jumps} jumps"
        if isolated
        else f"{jumps.n_jumps} jumps, {jumps.n_onward} of them onward (rattling)"
    )
    reason = (
        f"no diffusion seen: {what} of {evidence.n_mobile} ions in {length_ps:.3g} ps; "
        f"D < {bound * 1e-4:.1e} cm2/s (95 %) for jumps of {evidence.jump_length_angstrom:.1f} A"
    )
    return bound, reason


def _slope_change(fit: DiffusiveFit) -> float:
    """Relative change of D between the onset and the chosen window."""
    chosen = fit.diffusivity.value
    onset = fit.estimates[fit.onset].value
    return abs(onset - chosen) / chosen if chosen > 0 else float("inf")


def _doubts(evidence: Evidence, limits: Limits) -> tuple[str, ...]:
    fit, jumps = evidence.fit, evidence.fit.jumps
    found = []
    if fit.length_ps < limits.shortest_ps:
        found.append(f"{fit.length_ps:.3g} ps is too short to tell (limit {limits.shortest_ps:g})")
    elif len(fit.slopes) < limits.n_windows:
        found.append(f"{fit.length_ps:.3g} ps is too short to tell diffusion from rattling")
    elif not fit.is_established:
        found.append("the slope of the MSD still changes at the longest lags")
    elif (change := _slope_change(fit)) > limits.slope_change:
        found.append(
            f"D changes by {change:.0%} where lags double (limit {limits.slope_change:.0%})"
        )
    if jumps.n_onward < limits.n_onward:
        found.append(
            f"only {jumps.n_onward} jumps led onward to a third place (limit {limits.n_onward}); "
            "the others may be rattling"
        )
    found += _caged(evidence, limits)
    found += _drifting(evidence.stationarity, limits)
    error = fit.diffusivity.relative_error
    if not error <= limits.relative_error:
        found.append(
            f"D is known to {error:.0%} (95 %, limit {limits.relative_error:.0%})"
            if np.isfinite(error)
            else "D does not differ from zero"
        )
    return tuple(found)


def _caged(evidence: Evidence, limits: Limits) -> list[str]:
    """Return why ions may never get away from where they are."""
    escape, found = evidence.escape, []
    if escape.n_independent < limits.n_escaped - 0.5:
        found.append(
            f"only {escape.n_escaped} of {evidence.n_mobile} ions got farther than "
            f"{escape.cage_angstrom:.1f} A, the width of a cage (limit {limits.n_escaped} "
            "that move on their own); the others may be caged"
        )
    for growth, limit in (
        *((growth, limits.shortfall_errors) for growth in escape.growth),
        *((growth, limits.shortfall_errors + 0.5) for growth in escape.growth_from_onset),
    ):
        seen = f"over {growth.lag_ps:.3g} ps they went {growth.seen_angstrom2:.3g} A2 (mean square)"
        foretold = f"D at shorter lags foretells {growth.expected_angstrom2:.3g}"
        if growth.z < -limit:
            found.append(
                f"ions don't get away: {seen}, {foretold} ({-growth.z:.1f} standard errors more)"
            )
            break
        if growth.z > limits.shortfall_errors + 0.5:
            found.append(
                f"ions get farther than a diffusive motion: {seen}, {foretold} "
                f"({growth.z:.1f} standard errors less)"
            )
            break
    return found


def _drifting(stationarity: Stationarity, limits: Limits) -> list[str]:
    """Return that the rate changes during the run, if it does."""
    if stationarity.p_value >= limits.trend_p:
        return []
    first, _, last = (1e-4 * rate for rate in stationarity.thirds_angstrom2_ps)
    word = "falls" if last < first else "rises"
    return [
        f"the rate {word}: {first:.2e} to {last:.2e} cm2/s from the first third of the run to the "
        f"last (chance {stationarity.p_value:.1g}); leave out the start, or run longer"
    ]


def _range_of_rates(stationarity: Stationarity, limits: Limits) -> tuple[float, float]:
    """Return the slowest and the fastest third over their mean, where the rate drifts; else 1."""
    thirds = stationarity.thirds_angstrom2_ps
    mean = sum(thirds) / 3
    if stationarity.p_value >= limits.trend_p or mean <= 0:
        return 1.0, 1.0
    return min(thirds) / mean, max(thirds) / mean


def _required_length(fit: DiffusiveFit) -> float | None:
    """Length for a 10 % error: errors fall with the square root of the length."""
    error = fit.diffusivity.relative_error
    return float(fit.length_ps * (error / 0.1) ** 2) if np.isfinite(error) else None
