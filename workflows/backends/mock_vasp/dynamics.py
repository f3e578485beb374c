"""Molecular dynamics with VASP's thermostats.

Step ``k`` is the evaluation of configuration ``k``; the first is POSCAR itself, and after the last
one the ions move once more, so that CONTCAR is the first configuration of a continued run. With
Nose-Hoover and without thermostat a chain of runs is exactly one long run; Langevin and Andersen
draw new random numbers in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.force_field import (
    EV_PER_A3_IN_KBAR,
    Evaluation,
    ForceField,
)

Array = NDArray[np.float64]

#: Boltzmann's constant (eV/K); 1 amu A^2/fs^2 in eV.
BOLTZMANN_EV_K = 8.617333262e-5
KINETIC_UNIT_EV = 103.642697


class Thermostat(Enum):
    """How the temperature is held."""

    NONE = "none"
    RESCALING = "rescaling"
    ANDERSEN = "Andersen"
    NOSE_HOOVER = "Nose-Hoover"
    LANGEVIN = "Langevin"


@dataclass(frozen=True)
class DynamicsSettings:
    """What INCAR says about the run.

    Attributes
    ----------
    thermostat_mass_ev_fs2
        Of Nose-Hoover.
    frictions_per_fs : (n_ions,) float64
        Of Langevin.
    lattice_mass_amu
        PMASS; None keeps the cell.
    """

    timestep_fs: float
    n_steps: int
    start_temperature_k: float
    end_temperature_k: float
    thermostat: Thermostat
    seed: int
    rescaling_interval: int = 1
    collision_probability: float = 0.0
    thermostat_mass_ev_fs2: float = 1.0
    frictions_per_fs: Array = field(default_factory=lambda: np.zeros(0))
    lattice_mass_amu: float | None = None
    lattice_friction_per_fs: float = 0.0
    pressure_kbar: float = 0.0

    def temperature_k(self, step: int) -> float:
        """Return the temperature aimed at in a step; it goes linearly from start to end."""
        done = step / max(1, self.n_steps)
        return self.start_temperature_k + done * (self.end_temperature_k - self.start_temperature_k)


@dataclass
class State:
    """Configuration, velocities and thermostat; changed in place by the integrator.

    Attributes
    ----------
    fractional : (n_ions, 3) float64, not wrapped into the cell
    velocities : (n_ions, 3) float64, A/fs
    strain_rate : (3, 3) float64, 1/fs, symmetric
    friction_per_fs, friction_integral
        Of the Nose-Hoover thermostat.
    """

    fractional: Array
    cell: Array
    velocities: Array
    evaluation: Evaluation
    strain_rate: Array
    friction_per_fs: float = 0.0
    friction_integral: float = 0.0


@dataclass(frozen=True)
class DynamicsStep:
    """The record of one evaluated configuration; energies in eV."""

    number: int
    state: State
    kinetic_ev: float
    temperature_k: float
    thermostat_potential_ev: float
    thermostat_kinetic_ev: float

    @property
    def conserved_ev(self) -> float:
        """Total energy including the thermostat, constant without ramp or noise."""
        bath = self.thermostat_potential_ev + self.thermostat_kinetic_ev
        return self.state.evaluation.energy_ev + self.kinetic_ev + bath


def _exponential(matrix: Array) -> Array:
    """Return exp of a small (3, 3) matrix."""
    result = term = np.eye(3)
    for k in range(1, 10):
        term = term @ matrix / k
        result = result + term
    return result


class Dynamics:
    """Integrates the equations of motion of one run.

    Parameters
    ----------
    masses_amu : (n_ions,) float64
    movable : (n_ions, 3) bool
    """

    def __init__(
        self,
        force_field: ForceField,
        masses_amu: Array,
        movable: NDArray[np.bool_],
        settings: DynamicsSettings,
    ) -> None:
        self.force_field, self.settings = force_field, settings
        self.movable = movable
        self.masses = masses_amu[:, None] * KINETIC_UNIT_EV
        self.random = np.random.default_rng(settings.seed)
        all_free = bool(movable.all())
        self.keeps_momentum = all_free and len(masses_amu) > 1
        self.n_freedoms = max(1, int(movable.sum()) - 3 * self.keeps_momentum)
        self._is_stopped = False

    def maxwell_velocities(self, temperature_k: float) -> Array:
        """Draw velocities of exactly this temperature, without total momentum; (n_ions, 3)."""
        velocities = self._thermal_velocities(temperature_k) * self.movable
        if self.keeps_momentum:
            velocities -= (self.masses * velocities).sum(axis=0) / self.masses.sum()
        drawn = self.temperature_k(velocities)
        return velocities * np.sqrt(temperature_k / drawn) if drawn > 0 else velocities

    def _thermal_velocities(self, temperature_k: float) -> Array:
        noise = self.random.standard_normal((len(self.masses), 3))
        return noise * np.sqrt(BOLTZMANN_EV_K * temperature_k / self.masses)

    def kinetic_ev(self, velocities: Array) -> float:
        """Return the kinetic energy."""
        return float(0.5 * (self.masses * velocities**2).sum())

    def temperature_k(self, velocities: Array) -> float:
        """Return the kinetic temperature."""
        return 2 * self.kinetic_ev(velocities) / (self.n_freedoms * BOLTZMANN_EV_K)

    def run(self, state: State) -> Iterator[DynamicsStep]:
        """Yield every step; afterwards ``state`` is the start of the next run.

        The yielded records share ``state``: use them before asking for the next.
        """
        for number in range(1, self.settings.n_steps + 1):
            yield self._record(number, state)
            self._advance(number, state)
            if self._is_stopped:
                return

    def stop(self) -> None:
        """Make the step that was yielded last the last one."""
        self._is_stopped = True

    def _record(self, number: int, state: State) -> DynamicsStep:
        s = self.settings
        target = s.temperature_k(number)
        potential = kinetic = 0.0
        if s.thermostat is Thermostat.NOSE_HOOVER:
            potential = self.n_freedoms * BOLTZMANN_EV_K * target * state.friction_integral
            kinetic = 0.5 * s.thermostat_mass_ev_fs2 * state.friction_per_fs**2
        return DynamicsStep(
            number,
            state,
            self.kinetic_ev(state.velocities),
            self.temperature_k(state.velocities),
            potential,
            kinetic,
        )

    def _advance(self, number: int, state: State) -> None:
        s = self.settings
        target = s.temperature_k(number)
        if s.thermostat is Thermostat.NOSE_HOOVER:
            self._nose_hoover_half(state, target)
        self._kick(state, 0.5)
        if s.lattice_mass_amu is not None:
            self._drift_with_cell(state, target)
        elif s.thermostat is Thermostat.LANGEVIN:
            self._drift(state, 0.5)
            self._langevin(state, target)
            self._drift(state, 0.5)
        else:
            self._drift(state, 1.0)
        state.evaluation = self.force_field.evaluate(state.fractional, state.cell)
        self._kick(state, 0.5)
        if s.lattice_mass_amu is not None:
            self._kick_cell(state, 0.5)
        if s.thermostat is Thermostat.NOSE_HOOVER:
            self._nose_hoover_half(state, target)
        elif s.thermostat is Thermostat.ANDERSEN:
            self._andersen(state, target)
        elif s.thermostat is Thermostat.RESCALING and number % s.rescaling_interval == 0:
            now = self.temperature_k(state.velocities)
            state.velocities *= np.sqrt(target / now) if now > 0 else 1.0

    def _kick(self, state: State, fraction: float) -> None:
        acceleration = state.evaluation.forces / self.masses * self.movable
        state.velocities += fraction * self.settings.timestep_fs * acceleration

    def _drift(self, state: State, fraction: float) -> None:
        step = fraction * self.settings.timestep_fs * state.velocities
        state.fractional += step @ np.linalg.inv(state.cell)

    def _nose_hoover_half(self, state: State, target_k: float) -> None:
        """Advance the thermostat by half a step (time-reversible splitting).

        Martyna, Tuckerman, Tobias and Klein, Mol. Phys. 87, 1117 (1996),
        doi:10.1080/00268979600100761.
        """
        half = 0.5 * self.settings.timestep_fs
        mass = self.settings.thermostat_mass_ev_fs2
        wanted = self.n_freedoms * BOLTZMANN_EV_K * target_k
        twice_kinetic = 2 * self.kinetic_ev(state.velocities)
        state.friction_per_fs += 0.5 * half * (twice_kinetic - wanted) / mass
        scale = np.exp(-half * state.friction_per_fs)
        state.velocities *= scale
        state.friction_integral += half * state.friction_per_fs
        state.friction_per_fs += 0.5 * half * (twice_kinetic * scale**2 - wanted) / mass

    def _langevin(self, state: State, target_k: float) -> None:
        """Apply friction and noise for one step, exactly.

        Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990.
        """
        kept = np.exp(-self.settings.frictions_per_fs * self.settings.timestep_fs)[:, None]
        noise = self._thermal_velocities(target_k)
        state.velocities = (kept * state.velocities + np.sqrt(1 - kept**2) * noise) * self.movable

    def _andersen(self, state: State, target_k: float) -> None:
        hit = self.random.random(len(self.masses)) < self.settings.collision_probability
        noise = self._thermal_velocities(target_k) * self.movable
        state.velocities[hit] = noise[hit]

    def _lattice_inertia(self, cell: Array) -> float:
        mass = self.settings.lattice_mass_amu or 0.0
        return mass * KINETIC_UNIT_EV * float((cell**2).sum()) / 3

    def _kick_cell(self, state: State, fraction: float) -> None:
        """Change the strain rate by the difference of internal and external pressure."""
        volume = abs(np.linalg.det(state.cell))
        kinetic = (self.masses * state.velocities).T @ state.velocities
        external = self.settings.pressure_kbar / EV_PER_A3_IN_KBAR * volume
        twice_kinetic = 2 * self.kinetic_ev(state.velocities)
        force = kinetic - state.evaluation.virial
        force += (twice_kinetic / self.n_freedoms - external) * np.eye(3)
        step = fraction * self.settings.timestep_fs
        state.strain_rate += step * force / self._lattice_inertia(state.cell)

    def _drift_with_cell(self, state: State, target_k: float) -> None:
        """Move ions and cell for one step of Langevin dynamics at constant pressure.

        The flow of Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994),
        doi:10.1063/1.467468, with friction and noise on the strain rate too.
        """
        dt = self.settings.timestep_fs
        self._kick_cell(state, 0.5)
        for half in (0, 1):
            rate = state.strain_rate
            coupling = rate + np.trace(rate) / self.n_freedoms * np.eye(3)
            state.velocities = state.velocities @ _exponential(-0.5 * dt * coupling)
            middle = _exponential(0.25 * dt * rate)
            state.cell = state.cell @ middle
            self._drift(state, 0.5)
            state.cell = state.cell @ middle
            if half == 0:
                self._langevin(state, target_k)
                state.strain_rate = self._lattice_noise(state, target_k)

    def _lattice_noise(self, state: State, target_k: float) -> Array:
        kept = np.exp(-self.settings.lattice_friction_per_fs * self.settings.timestep_fs)
        raw = self.random.standard_normal((3, 3))
        noise = (raw + raw.T) / 2
        width = np.sqrt(BOLTZMANN_EV_K * target_k / self._lattice_inertia(state.cell))
        return kept * state.strain_rate + np.sqrt(1 - kept**2) * width * noise
