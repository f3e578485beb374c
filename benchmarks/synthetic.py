"""Trajectories whose diffusivity is known, for benchmarks and tests.

Ions are points with a hopping or Brownian path, plus a vibration, plus an optional rigid drift of
everything. Each generator returns Cartesian positions (n_frames, n_ions, 3), Angstrom, and the
exact self-diffusivity in Angstrom^2/ps. Mobile ions come first, framework ions after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HOP_ANGSTROM = 3.0


@dataclass(frozen=True)
class Run:
    """Size of a synthetic run."""

    seed: int
    n_mobile: int = 100
    n_framework: int = 100
    length_ps: float = 100.0
    timestep_fs: float = 10.0
    vibration_angstrom: float = 0.25

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return round(self.length_ps * 1e3 / self.timestep_fs)

    @property
    def dt_ps(self) -> float:
        """Time between frames, ps."""
        return self.timestep_fs / 1e3

    def generator(self) -> np.random.Generator:
        """Return the random numbers of this run."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Known:
    """A synthetic trajectory and its true answers."""

    positions: Array
    species: list[str]
    cell: Array
    timestep_fs: float
    diffusivity_angstrom2_ps: float
    haven_ratio: float = 1.0

    @property
    def diffusivity_cm2_s(self) -> float:
        """The exact self-diffusivity."""
        return self.diffusivity_angstrom2_ps * 1e-4


def vibrations(run: Run, n_ions: int, rng: np.random.Generator) -> Array:
    """Return damped thermal oscillations about sites, (n_frames, n_ions, 3).

    An exactly sampled Langevin oscillator of 2.5 THz (83 1/cm) with a friction of 5 1/ps.
    """
    omega, friction, dt = 2 * np.pi * 2.5, 5.0, run.dt_ps
    root = np.sqrt(omega**2 - friction**2 / 4)
    decay = np.exp(-friction * dt / 2)
    cos, sin = np.cos(root * dt), np.sin(root * dt)
    # Exact propagator of (x, v / omega), both of unit variance in equilibrium.
    step = decay * np.array(
        [
            [cos + friction / (2 * root) * sin, omega / root * sin],
            [-omega / root * sin, cos - friction / (2 * root) * sin],
        ]
    )
    noise = np.linalg.cholesky(np.eye(2) - step @ step.T + 1e-15 * np.eye(2))
    state = rng.standard_normal((2, n_ions * 3))
    out = np.empty((run.n_frames, n_ions * 3))
    for frame in range(run.n_frames):
        out[frame] = state[0]
        state = step @ state + noise @ rng.standard_normal((2, n_ions * 3))
    return run.vibration_angstrom * out.reshape(run.n_frames, n_ions, 3)


def assemble(
    run: Run, paths: Array, rng: np.random.Generator, diffusivity: float, haven: float = 1.0
) -> Known:
    """Add vibrations and a framework, and put everything in a cubic cell."""
    n_ions = run.n_mobile + run.n_framework
    edge = HOP_ANGSTROM * max(6, round(n_ions ** (1 / 3)) + 1)
    sites = np.stack(np.meshgrid(*[np.arange(0, edge - 1, HOP_ANGSTROM)] * 3), axis=-1)
    sites = sites.reshape(-1, 3)
    chosen = rng.permutation(len(sites))[:n_ions]
    positions = sites[chosen] + vibrations(run, n_ions, rng)
    positions[:, : run.n_mobile] += paths
    species = ["Na"] * run.n_mobile + ["S"] * run.n_framework
    return Known(positions, species, edge * np.eye(3), run.timestep_fs, diffusivity, haven)


def directions(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    axis = rng.integers(0, 3, shape)
    sign = rng.choice([-1.0, 1.0], shape)
    return HOP_ANGSTROM * sign[..., None] * np.eye(3)[axis]


def hop_steps(run: Run, rate: float | Array, n: int, rng: np.random.Generator) -> Array:
    """Return per-frame displacement of n independent lattice walkers, (n_frames, n, 3).

    The rate (1/ps) may change with time, (n_frames, 1).
    """
    steps = np.zeros((run.n_frames, n, 3))
    counts = rng.poisson(rate * run.dt_ps, (run.n_frames, n))
    for _ in range(int(counts.max(initial=0))):
        frames, ions = np.nonzero(counts)
        steps[frames, ions] += directions(rng, (len(frames),))
        counts[frames, ions] -= 1
    return steps


def brownian(run: Run, diffusivity: float = 0.1) -> Known:
    """Return free Brownian motion."""
    rng = run.generator()
    scale = np.sqrt(2 * diffusivity * run.dt_ps)
    steps = scale * rng.standard_normal((run.n_frames, run.n_mobile, 3))
    return assemble(run, np.cumsum(steps, axis=0), rng, diffusivity)


def hopping(run: Run, diffusivity: float = 0.1) -> Known:
    """Return independent hops on a simple cubic lattice."""
    rng = run.generator()
    rate = 6 * diffusivity / HOP_ANGSTROM**2
    return assemble(
        run, np.cumsum(hop_steps(run, rate, run.n_mobile, rng), axis=0), rng, diffusivity
    )


def anisotropic(run: Run, diffusivity: float = 0.1) -> Known:
    """Return hops along z alone; the mean diffusivity is a third of that along z."""
    rng = run.generator()
    rate = 6 * diffusivity / HOP_ANGSTROM**2
    steps = np.linalg.norm(hop_steps(run, rate, run.n_mobile, rng), axis=2)
    steps *= rng.choice([-1.0, 1.0], steps.shape)
    paths = np.zeros((*steps.shape, 3))
    paths[..., 2] = np.cumsum(steps, axis=0)
    return assemble(run, paths, rng, diffusivity)


def drifting(run: Run, diffusivity: float = 0.1) -> Known:
    """Return hops in a crystal that slides by 10 Angstrom per 100 ps."""
    known = hopping(run, diffusivity)
    time_ps = np.arange(run.n_frames) * run.dt_ps
    known.positions[...] += (time_ps * 0.1)[:, None, None] * np.array([1.0, 0.5, -0.3])
    return known


def grouped(run: Run, diffusivity: float = 0.1, size: int = 4, share: float = 1.0) -> Known:
    """Return groups of ions that hop together, or make a share of their hops together.

    The Haven ratio is 1 / (1 + (size - 1) share).
    """
    rng = run.generator()
    rate = 6 * diffusivity / HOP_ANGSTROM**2
    steps = hop_steps(run, share * rate, run.n_mobile // size, rng)
    paths = np.repeat(np.cumsum(steps, axis=0), size, axis=1)
    if share < 1:
        paths += np.cumsum(hop_steps(run, (1 - share) * rate, run.n_mobile, rng), axis=0)
    return assemble(run, paths, rng, diffusivity, 1 / (1 + (size - 1) * share))


def bursts(
    run: Run, diffusivity: float = 0.1, depth: float = 0.5, mean_length_ps: float = 5.0
) -> Known:
    """Return ions that hop apart from each other but are all fast and all slow at the same times.

    The common rate is (1 + depth) or (1 - depth) times its mean, for exponential lengths of time.
    """
    rng = run.generator()
    flips = rng.random(run.n_frames) < run.dt_ps / mean_length_ps
    fast = (np.cumsum(flips) + rng.integers(0, 2)) % 2
    rate = 6 * diffusivity / HOP_ANGSTROM**2 * (1 + depth * (2 * fast[:, None] - 1))
    steps = hop_steps(run, rate, run.n_mobile, rng)
    return assemble(run, np.cumsum(steps, axis=0), rng, diffusivity)


def back_hopping(
    run: Run, diffusivity: float = 0.1, success: float = 0.2, dwell_ps: float = 1.0
) -> Known:
    """Return hops most of which are undone.

    After a hop an ion stays ``dwell_ps`` on average, then settles with probability ``success`` or
    hops back. Complete cycles are independent: D = success a^2 / (6 mean cycle time).
    """
    rng = run.generator()
    cycle_ps = success * HOP_ANGSTROM**2 / (6 * diffusivity)
    wait_ps = cycle_ps - dwell_ps
    if wait_ps <= 0:
        raise ValueError(f"a dwell of {dwell_ps} ps is longer than a cycle of {cycle_ps} ps")
    steps = np.zeros((run.n_frames + 1, run.n_mobile, 3))
    for ion in range(run.n_mobile):
        time_ps, settled = 0.0, rng.random() < wait_ps / cycle_ps
        hop = directions(rng, ())
        while time_ps < run.length_ps:
            time_ps += rng.exponential(wait_ps if settled else dwell_ps)
            frame = min(int(time_ps / run.dt_ps), run.n_frames)
            if settled:
                hop = directions(rng, ())
                steps[frame, ion] += hop
            elif rng.random() >= success:
                steps[frame, ion] -= hop
            settled = not settled
    return assemble(run, np.cumsum(steps[:-1], axis=0), rng, diffusivity)


def two_site(run: Run, rate: float = 0.1) -> Known:
    """Return ions that go to and fro between two sites: no diffusion."""
    rng = run.generator()
    flips = rng.random((run.n_frames, run.n_mobile)) < rate * run.dt_ps
    there = (np.cumsum(flips, axis=0) + rng.integers(0, 2, run.n_mobile)) % 2
    return assemble(run, there[..., None] * directions(rng, (run.n_mobile,)), rng, 0.0)


def caged(run: Run) -> Known:
    """Return ions that only vibrate, with twice the usual amplitude."""
    rng = run.generator()
    extra = vibrations(run, run.n_mobile, rng)
    return assemble(run, np.sqrt(3.0) * extra, rng, 0.0)


def few_hops(run: Run, n_hops: int = 2) -> Known:
    """Return a run in which only a few single hops happen."""
    rng = run.generator()
    paths = np.zeros((run.n_frames, run.n_mobile, 3))
    for ion in rng.integers(0, run.n_mobile, n_hops):
        paths[rng.integers(0, run.n_frames) :, ion] += directions(rng, ())
    return assemble(run, paths, rng, 0.0)
