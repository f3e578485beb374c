"""Relaxation of ions and cell to a minimum by L-BFGS with a line search.

The variables are those of ASE's cell filters: ions in a frame that follows the strain, and the
strain itself times a length, so that all gradients are forces in eV/A. Which of them move is
ISIF's choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.force_field import (
    EV_PER_A3_IN_KBAR,
    Evaluation,
    ForceField,
)

Array = NDArray[np.float64]

_MEMORY = 30
_LARGEST_STEP_ANGSTROM = 0.2
_LARGEST_STRAIN_STEP = 0.03
_SUFFICIENT_DECREASE = 1e-4
_N_TRIALS = 12


@dataclass(frozen=True)
class Freedom:
    """What may move: VASP's ISIF, selective dynamics and PSTRESS."""

    ions: bool
    shape: bool
    volume: bool
    movable: NDArray[np.bool_]
    pressure_kbar: float = 0.0

    @classmethod
    def from_isif(
        cls, isif: int, movable: NDArray[np.bool_], pressure_kbar: float = 0.0
    ) -> Freedom:
        """Translate ISIF (0 to 7; 8 is ions and volume)."""
        return cls(
            ions=isif in (0, 1, 2, 3, 4, 8),
            shape=isif in (3, 4, 5, 6),
            volume=isif in (3, 6, 7, 8),
            movable=movable,
            pressure_kbar=pressure_kbar,
        )

    @property
    def cell(self) -> bool:
        """Whether the cell changes at all."""
        return self.shape or self.volume

    def strain_part(self, gradient: Array) -> Array:
        """Return what is left of a (3, 3) strain gradient when ISIF is obeyed."""
        isotropic = np.trace(gradient) / 3 * np.eye(3)
        traceless = (gradient + gradient.T) / 2 - isotropic
        return traceless * self.shape + isotropic * self.volume


@dataclass(frozen=True)
class IonicStep:
    """One step of a relaxation.

    ``max_force_ev_angstrom`` includes, as in VASP, the force on the cell.
    """

    fractional: Array
    cell: Array
    evaluation: Evaluation
    max_force_ev_angstrom: float


class _Landscape:
    """Energy and gradient as functions of one flat vector."""

    def __init__(
        self, force_field: ForceField, fractional: Array, cell: Array, freedom: Freedom
    ) -> None:
        self.force_field, self.freedom = force_field, freedom
        self.start, self.cell = fractional, cell
        self.n = len(fractional)
        # One unit of strain moves a surface ion by about this length.
        self.length = float(np.sqrt(self.n) * abs(np.linalg.det(cell)) ** (1 / 3) / 2)

    def geometry(self, x: Array) -> tuple[Array, Array]:
        strain = np.eye(3) + x[3 * self.n :].reshape(3, 3) / self.length
        moves = x[: 3 * self.n].reshape(-1, 3)
        return self.start + moves @ np.linalg.inv(self.cell), self.cell @ strain

    def step(self, x: Array) -> tuple[float, Array, IonicStep]:
        """Return enthalpy, its gradient and the step's record."""
        fractional, cell = self.geometry(x)
        result = self.force_field.evaluate(fractional, cell)
        volume = abs(np.linalg.det(cell))
        pressure = self.freedom.pressure_kbar / EV_PER_A3_IN_KBAR
        strain = np.eye(3) + x[3 * self.n :].reshape(3, 3) / self.length
        inverse = np.linalg.inv(strain)
        virial = self.freedom.strain_part(result.virial + pressure * volume * np.eye(3))
        forces = result.forces * self.freedom.movable * self.freedom.ions
        gradient = np.concatenate(
            [(-forces @ strain.T).ravel(), (inverse @ virial).ravel() / self.length]
        )
        norms = np.linalg.norm(forces, axis=1)
        # VASP compares the strain derivative per ion with the same threshold.
        largest = max(float(norms.max()), float(np.abs(virial).max()) / self.n)
        record = IonicStep(fractional, cell, result, largest)
        return result.energy_ev + pressure * volume, gradient, record


def _direction(gradient: Array, history: deque[tuple[Array, Array]], scale: float) -> Array:
    """Return minus the L-BFGS product of the inverse Hessian with the gradient."""
    q = gradient.copy()
    alphas = []
    for s, y in reversed(history):
        alpha = (s @ q) / (y @ s)
        q -= alpha * y
        alphas.append(alpha)
    if history:
        s, y = history[-1]
        q *= (s @ y) / (y @ y)
    else:
        q *= scale
    for (s, y), alpha in zip(history, reversed(alphas), strict=True):
        q += s * (alpha - (y @ q) / (y @ s))
    return -q


def _clip(direction: Array, n: int, length: float) -> Array:
    """Shorten a step that moves an ion or strains the cell too far."""
    ions = np.linalg.norm(direction[: 3 * n].reshape(-1, 3), axis=1).max()
    strain = np.abs(direction[3 * n :]).max() / length
    worst = max(ions / _LARGEST_STEP_ANGSTROM, strain / _LARGEST_STRAIN_STEP)
    return direction / max(1.0, worst)


def relax(
    force_field: ForceField, fractional: Array, cell: Array, freedom: Freedom
) -> Iterator[IonicStep]:
    """Yield the start and every accepted step; the caller decides when to stop.

    Ends by itself when no step lowers the energy any more.
    """
    landscape = _Landscape(force_field, fractional, cell, freedom)
    x = np.zeros(3 * landscape.n + 9)
    energy, gradient, record = landscape.step(x)
    yield record
    history: deque[tuple[Array, Array]] = deque(maxlen=_MEMORY)
    while gradient @ gradient > 0:
        direction = _direction(gradient, history, scale=0.02)
        if direction @ gradient >= 0:
            history.clear()
            direction = -0.02 * gradient
        direction = _clip(direction, landscape.n, landscape.length)
        slope = float(direction @ gradient)
        fraction = 1.0
        for _ in range(_N_TRIALS):
            trial = x + fraction * direction
            new_energy, new_gradient, record = landscape.step(trial)
            if new_energy <= energy + _SUFFICIENT_DECREASE * fraction * slope:
                break
            curvature = 2 * (new_energy - energy - slope * fraction)
            fraction = float(np.clip(-slope * fraction**2 / curvature, 0.1, 0.5 * fraction))
        else:
            if not history:
                return
            history.clear()
            continue
        s, y = trial - x, new_gradient - gradient
        if s @ y > 1e-10 * (y @ y):
            history.append((s, y))
        x, energy, gradient = trial, new_energy, new_gradient
        yield record
