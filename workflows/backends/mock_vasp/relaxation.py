"""Relaxation of ions and cell to a minimum, by L-BFGS with a line search and by leaving saddles.

The variables are those of ASE's cell filters: ions in a frame that follows the strain, and the
strain itself times a length, so that all gradients are forces in eV/A. Which of them move is
ISIF's choice.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.force_field import (
    EV_PER_A3_IN_KBAR,
    Evaluation,
    ForceField,
)
from ionsieve.workflows.backends.mock_vasp.symmetry import Symmetry

Array = NDArray[np.float64]

_MEMORY = 30
# Longer steps amplify differences in the last digits more.
_LARGEST_STEP_ANGSTROM = 0.1
_LARGEST_STRAIN_STEP = 0.015
_SUFFICIENT_DECREASE = 1e-4
_N_TRIALS = 12
#: Curvature above which, negative, a stationary point counts as a minimum.
_SOFTEST_EV_A2 = 0.01
#: A saddle is left by the largest step along its most unstable modes, those whose curvatures are
#: equal to this part; which of their combinations is drawn with this seed.
_DEGENERACY, _SEED = 0.02, 1
#: Largest force at rest, and most steps spent on it.
_REST_EV_ANGSTROM, _N_LAST_STEPS = 1e-4, 300


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

    ``max_force_ev_angstrom`` includes, as in VASP, the force on the cell. Small forces alone may
    be those of a saddle: a relaxation has ended where ``is_minimum`` says so.
    """

    fractional: Array
    cell: Array
    evaluation: Evaluation
    max_force_ev_angstrom: float
    is_minimum: bool = False


class _Landscape:
    """Energy and gradient as functions of one flat vector.

    Its origin is the crystal given, and the gradients have that crystal's symmetry (unless
    ions are fixed).
    """

    def __init__(
        self, force_field: ForceField, geometry: tuple[Array, Array], freedom: Freedom
    ) -> None:
        self.force_field, self.freedom = force_field, freedom
        self.start, self.cell = geometry
        self.n = len(self.start)
        self.size = 3 * self.n + 9
        # One unit of strain moves a surface ion by about this length.
        self.length = float(np.sqrt(self.n) * abs(np.linalg.det(self.cell)) ** (1 / 3) / 2)
        self.symmetry: Symmetry | None = None
        if freedom.movable.all():
            found = Symmetry(self.start, self.cell, force_field.kinds)
            self.symmetry = found if found.n_operations > 1 else None

    def geometry(self, x: Array) -> tuple[Array, Array]:
        """Return fractional coordinates and cell."""
        strain = np.eye(3) + x[3 * self.n :].reshape(3, 3) / self.length
        moves = x[: 3 * self.n].reshape(-1, 3)
        return self.start + moves @ np.linalg.inv(self.cell), self.cell @ strain

    def longest_step(self, direction: Array) -> float:
        """Return by how much a direction may be lengthened."""
        ions = np.linalg.norm(direction[: 3 * self.n].reshape(-1, 3), axis=1).max()
        strain = np.abs(direction[3 * self.n :]).max() / self.length
        return 1 / max(ions / _LARGEST_STEP_ANGSTROM, strain / _LARGEST_STRAIN_STEP)

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
        moves, stretch = -forces @ strain.T, inverse @ virial
        if self.symmetry is not None:
            moves, stretch = self.symmetry.displacements(moves), self.symmetry.strain(stretch)
        gradient = np.concatenate([moves.ravel(), stretch.ravel() / self.length])
        norms = np.linalg.norm(forces, axis=1)
        # VASP compares the strain derivative per ion with the same threshold.
        largest = max(float(norms.max()), float(np.abs(virial).max()) / self.n)
        record = IonicStep(fractional, cell, result, largest)
        return result.energy_ev + pressure * volume, gradient, record

    def hessian(self) -> Array:
        """Return the second derivatives of the enthalpy at the origin, a stationary point."""
        n, size = self.n, self.size
        hessian = self.force_field.hessian(self.start, self.cell)
        work = self.freedom.pressure_kbar / EV_PER_A3_IN_KBAR * abs(np.linalg.det(self.cell))
        identity, swap = np.eye(3).ravel(), np.arange(9).reshape(3, 3).T.ravel()
        hessian[3 * n :, 3 * n :] += work * (np.outer(identity, identity) - np.eye(9)[swap])
        scale = np.ones(size)
        scale[3 * n :] = 1 / self.length
        hessian *= np.outer(scale, scale)
        # What may not move; a projection, so its columns can be projected in turn.
        moves = (self.freedom.movable & self.freedom.ions).ravel()
        hessian[: 3 * n] *= moves[:, None]
        hessian[:, : 3 * n] *= moves
        strains = np.array([self.freedom.strain_part(e.reshape(3, 3)).ravel() for e in np.eye(9)])
        hessian[3 * n :] = strains @ hessian[3 * n :]
        hessian[:, 3 * n :] = hessian[:, 3 * n :] @ strains
        return hessian


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


def _descend(landscape: _Landscape) -> Iterator[tuple[float, IonicStep]]:
    """Yield enthalpy and record of the start and of every accepted step.

    Ends by itself when no step lowers the energy any more.
    """
    x = np.zeros(landscape.size)
    energy, gradient, record = landscape.step(x)
    yield energy, record
    if landscape.symmetry is not None and landscape.freedom.ions:
        x[:-9] = landscape.symmetry.corrections.ravel()
        energy, gradient, record = landscape.step(x)
    history: deque[tuple[Array, Array]] = deque(maxlen=_MEMORY)
    while gradient @ gradient > 0:
        direction = _direction(gradient, history, scale=0.02)
        if direction @ gradient >= 0:
            history.clear()
            direction = -0.02 * gradient
        direction *= min(1.0, landscape.longest_step(direction))
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
        yield energy, record


def _to_rest(landscape: _Landscape, ediffg: float) -> Generator[IonicStep, None, IonicStep]:
    """Yield the steps short of the accuracy wanted; return one at rest.

    What is about to meet the accuracy goes on until it does by far: the energy then has no memory
    of the way, and the curvatures mean something. A start that meets it is left as it is.
    """
    previous_ev = np.inf
    n_within = 0
    for number, (enthalpy_ev, record) in enumerate(_descend(landscape)):
        force = record.max_force_ev_angstrom
        is_reached = force < -ediffg if ediffg < 0 else previous_ev - enthalpy_ev < ediffg
        previous_ev = enthalpy_ev
        if is_reached:
            n_within += 1
            if number == 0 or force < _REST_EV_ANGSTROM or n_within > _N_LAST_STEPS:
                break
        else:
            yield record
    return record


def _way_down(landscape: _Landscape) -> tuple[Array, Array] | None:
    """Return a crystal lower in energy than the saddle at the origin; None at a minimum.

    Of several equally unstable modes a combination is taken that does not depend on how the
    eigensolver turns them: the projection of a fixed random vector. To follow only those keeps
    the way in as few dimensions as possible.
    """
    hessian = landscape.hessian()
    with contextlib.suppress(np.linalg.LinAlgError):
        np.linalg.cholesky(hessian + _SOFTEST_EV_A2 * np.eye(landscape.size))
        return None
    curvatures, modes = np.linalg.eigh(hessian)
    random = np.random.default_rng(_SEED).standard_normal(landscape.size)
    unstable = curvatures < (1 - _DEGENERACY) * curvatures[0]
    direction = modes[:, unstable] @ (modes[:, unstable].T @ random)
    direction *= landscape.longest_step(direction)
    energy = landscape.step(np.zeros(landscape.size))[0]
    for halvings in range(_N_TRIALS):
        trial = direction / 2**halvings
        if landscape.step(trial)[0] < energy:
            return landscape.geometry(trial)
    return None


def relax(
    force_field: ForceField, fractional: Array, cell: Array, freedom: Freedom, ediffg: float
) -> Iterator[IonicStep]:
    """Yield the start and the steps to a minimum; the last one is marked as such.

    A descent keeps the symmetry of its start down to a stationary point, as it would in exact
    arithmetic. If that is a saddle it is left along its unstable modes for the next descent. So
    the last digits of the start, or of the processor, don't choose the minimum.

    Parameters
    ----------
    ediffg
        VASP's EDIFFG: largest force (eV/A) if negative, else change of the energy (eV).
    """
    geometry = fractional, cell
    while True:
        record = yield from _to_rest(_Landscape(force_field, geometry, freedom), ediffg)
        at_rest = record.fractional, record.cell
        lower = _way_down(_Landscape(force_field, at_rest, freedom))
        yield replace(record, is_minimum=lower is None)
        if lower is None:
            return
        geometry = lower
