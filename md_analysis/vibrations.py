"""Vibration spectrum, and whether the time step of the run was short enough for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.constants as const
import scipy.signal
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.conserved_energy import EnergyDrift
from ionsieve.md_analysis.displacement import atomic_masses
from ionsieve.md_analysis.trajectory import Trajectory

#: Wavenumber (1/cm) of one vibration per femtosecond.
WAVENUMBER_PER_FS = 1e15 / (const.c * 100)

#: Segments of the spectrum are about this long: bands 30 1/cm apart are resolved.
_SEGMENT_PS = 1.0

#: Share of a species' kinetic energy above the frequency called its fastest.
_FAST_SHARE = 0.05

#: Bands stand out of the median of the spectrum by this factor. A random walk (flat) and noise
#: (twice the median at most) have none.
_BAND_PROMINENCE = 3.0

_PHONOPY_FREQUENCY = re.compile(r"^\s*frequency:\s*([-+.\deE]+)\s*$", re.MULTILINE)

_IONS_PER_SPECIES = 24
_MAX_FRAMES = 20_000


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Velocity spectrum of one species.

    Attributes
    ----------
    species : str
    wavenumbers_per_cm : (n,) float64
        As seen in the frames; a long Verlet step shifts them up.
    density : (n,) float64
        Kinetic energy per frequency in bands, any unit; zero where there are none.
    kinetic_temperature_k : float
        From differences of positions two frames apart, as the integrator has it if it wrote
        every step.
    """

    species: str
    wavenumbers_per_cm: NDArray[np.float64]
    density: NDArray[np.float64]
    kinetic_temperature_k: float

    @property
    def has_bands(self) -> bool:
        """Whether there are vibrations rather than noise or a random walk."""
        return bool(self.density.any())

    @property
    def fastest_per_cm(self) -> float:
        """Wavenumber with only a twentieth of the kinetic energy above it."""
        share = np.cumsum(self.density) / self.density.sum()
        return float(self.wavenumbers_per_cm[np.searchsorted(share, 1 - _FAST_SHARE)])

    @property
    def attempt_frequency_thz(self) -> float:
        """Mean frequency of the bands, the usual attempt frequency of jumps; NaN without bands."""
        if not self.has_bands:
            return float("nan")
        mean = float((self.wavenumbers_per_cm * self.density).sum() / self.density.sum())
        return mean / WAVENUMBER_PER_FS * 1e3


def velocity_spectrum(trajectory: Trajectory, species: str) -> Spectrum | None:
    """Return a species' velocity spectrum; None if the run has less than 64 frames.

    Velocities are first differences of positions, corrected for the differencing.

    Raises
    ------
    InputError
        If there is no such species.
    """
    ions = trajectory.indices(species)[:_IONS_PER_SPECIES]
    n_frames = min(trajectory.n_frames, _MAX_FRAMES)
    if n_frames < 64:
        return None
    cell = trajectory.mean_cell
    dt_fs = trajectory.timestep_fs
    segment = int(np.clip(round(_SEGMENT_PS * 1e3 / dt_fs), 32, n_frames - 1))
    power, speeds_squared = np.zeros(segment // 2 + 1), 0.0
    for ion in ions:
        path = cell.T @ trajectory.fractional[ion, :, :n_frames]
        step = np.diff(path, axis=1)
        frequency, of_ion = scipy.signal.welch(step, fs=1 / dt_fs, nperseg=segment, detrend=False)
        power += of_ion.sum(axis=0)
        speeds_squared += float(((path[:, 2:] - path[:, :-2]) ** 2).mean()) / len(ions)
    density = np.maximum(power - _BAND_PROMINENCE * np.median(power[1:]), 0.0)
    # First difference has the gain 2 sin(w dt / 2), a derivative would have w dt.
    phase = np.pi * frequency * dt_fs
    density[1:] *= (phase[1:] / np.sin(np.minimum(phase[1:], 0.5 * np.pi))) ** 2
    density[frequency * WAVENUMBER_PER_FS < 20] = 0.0  # drift and diffusion, no vibration
    speed_squared = 3 * speeds_squared / (2 * dt_fs) ** 2 * 1e10  # (m/s)^2
    mass_kg = float(atomic_masses((species,))[0]) * const.atomic_mass
    return Spectrum(
        species,
        frequency * WAVENUMBER_PER_FS,
        density,
        mass_kg * speed_squared / (3 * const.k),
    )


@dataclass(frozen=True)
class TimestepCheck:
    """How well the integrator's step suits the run.

    Attributes
    ----------
    species : str
        The species with the worst-integrated vibration; empty if it is a phonon or there is none.
    fastest_per_cm : float
        True wavenumber of it, the shift by the step undone; zero if none is known.
    temperature_ratio : float
        Configurational over kinetic temperature of that vibration: 1 / (1 - (w dt)^2 / 4).
    written_every_step : bool
        False where frames are farther apart than steps, so that nothing can be said.
    energy_drift : EnergyDrift or None
        Of the conserved energy, where it is known.
    """

    species: str
    fastest_per_cm: float
    temperature_ratio: float
    written_every_step: bool
    energy_drift: EnergyDrift | None = None

    @property
    def vibration(self) -> str:
        """The vibration in words."""
        of = f"of {self.species}" if self.species else "from the phonons"
        return f"the {self.fastest_per_cm:.0f} 1/cm vibration {of}"


def temperature_ratio(wavenumber_per_cm: float, timestep_fs: float) -> float:
    """Return configurational over kinetic temperature of a harmonic vibration under Verlet.

    Infinite where the integrator is unstable (w dt >= 2).
    """
    half_phase = np.pi * wavenumber_per_cm / WAVENUMBER_PER_FS * timestep_fs
    return float(1 / (1 - half_phase**2)) if half_phase < 1 else float("inf")


def check_timestep(
    trajectory: Trajectory, temperature_k: float, fastest_phonon_thz: float | None = None
) -> TimestepCheck | None:
    """Return the worst-integrated vibration and the energy's drift; None where neither is known.

    If the trajectory doesn't tell the integrator's step, it is the time between frames provided
    that differences of positions give the thermostat's kinetic temperature: sampled more rarely,
    a fast vibration looks colder.

    Parameters
    ----------
    fastest_phonon_thz : float, optional
        Highest harmonic frequency; unlike the velocities' spectrum it needs no frame of every step.
    """
    checks = [
        _check_species(trajectory, spectrum, temperature_k)
        for species in sorted(set(trajectory.species))
        if (spectrum := velocity_spectrum(trajectory, species)) and spectrum.has_bands
    ]
    worst = max(checks, key=lambda check: check.temperature_ratio, default=None)
    every_step = worst is not None and worst.written_every_step
    step_fs = trajectory.md_timestep_fs or (trajectory.timestep_fs if every_step else None)
    if fastest_phonon_thz is not None and step_fs is not None:
        wavenumber = fastest_phonon_thz * 1e-3 * WAVENUMBER_PER_FS
        phonon = TimestepCheck("", wavenumber, temperature_ratio(wavenumber, step_fs), True)
        if worst is None or not every_step or phonon.temperature_ratio > worst.temperature_ratio:
            worst = phonon
    drift = trajectory.energy_drift
    if worst is None:
        return TimestepCheck("", 0.0, 1.0, False, drift) if drift else None
    return replace(worst, energy_drift=drift)


def _check_species(
    trajectory: Trajectory, spectrum: Spectrum, temperature_k: float
) -> TimestepCheck:
    frame_fs, seen = trajectory.timestep_fs, spectrum.fastest_per_cm
    step_fs = trajectory.md_timestep_fs
    if step_fs is not None and step_fs < 0.999 * frame_fs:
        return TimestepCheck(spectrum.species, seen, temperature_ratio(seen, step_fs), True)
    half_phase = min(np.pi * seen / WAVENUMBER_PER_FS * frame_fs, 0.499 * np.pi)
    true = np.sin(half_phase) / (np.pi * frame_fs) * WAVENUMBER_PER_FS
    # Half way between what frames of every step and rarer frames would show.
    phase = 2 * np.pi * spectrum.wavenumbers_per_cm / WAVENUMBER_PER_FS * frame_fs
    rarer = float((np.sinc(phase / np.pi) ** 2 * spectrum.density).sum() / spectrum.density.sum())
    warm = spectrum.kinetic_temperature_k > 0.5 * (1 + rarer) * temperature_k
    every = step_fs is not None or warm
    return TimestepCheck(
        spectrum.species, float(true), float(1 / np.cos(half_phase) ** 2), bool(every)
    )


def read_phonon_frequencies(path: str | Path) -> NDArray[np.float64]:
    """Return the harmonic frequencies (THz) in a YAML file of phonopy, or a list of numbers.

    Of phonopy: band.yaml, mesh.yaml, qpoints.yaml. Imaginary ones are negative.

    Raises
    ------
    InputError
        If the file can't be read or has no frequency.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = _PHONOPY_FREQUENCY.findall(text) or text.split()
        frequencies = np.array([float(word) for word in found])
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} has no phonon frequencies ({error}); give phonopy's band.yaml, mesh.yaml or "
            "qpoints.yaml, or numbers in THz"
        ) from error
    if not len(frequencies):
        raise InputError(f"{path} has no phonon frequencies")
    return frequencies
