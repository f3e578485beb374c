"""More motions of known diffusivity, made to mislead: cages, queues, ageing, populations.

They come from five independent kinds of generator: walks on graphs of sites (cages, channels), a
lattice gas with exclusion (vacancies, single file), walks whose rate changes in time (bursts,
avalanches, ageing), fractional Gaussian noise, and Langevin dynamics in a potential.
"""

from __future__ import annotations

import numpy as np
import scipy.special
from synthetic import HOP_ANGSTROM, Array, Known, Run, assemble, directions, hop_steps

SIN, COS = np.sin(2 * np.pi / 3), np.cos(2 * np.pi / 3)

#: Sites of cages, in units of the hop.
CAGES: dict[str, Array] = {
    "triangle": np.array([[1, 0, 0], [COS, SIN, 0], [COS, -SIN, 0]]) / np.sqrt(3),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(8),
    "octahedron": np.vstack([np.eye(3), -np.eye(3)]) / np.sqrt(2),
    "cube": np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), -1).reshape(-1, 3),
    "cuboctahedron": np.array(
        [np.roll([0, i, j], shift) for shift in range(3) for i in (-1, 1) for j in (-1, 1)]
    )
    / np.sqrt(2),
    "2 x 2 x 3 block": np.stack(np.meshgrid([0, 1], [0, 1], [0, 1, 2]), -1).reshape(-1, 3) - 0.5,
    "ring of 12": np.array([[np.cos(t), np.sin(t), 0] for t in 2 * np.pi * np.arange(12) / 12])
    / (2 * np.sin(np.pi / 12)),
}


def _neighbours(sites: Array) -> list[list[int]]:
    """Sites one hop apart."""
    apart = np.linalg.norm(sites[:, None] - sites[None], axis=2)
    return [np.flatnonzero(np.abs(row - 1) < 1e-6).tolist() for row in apart]


def _walk_on_sites(run: Run, sites: Array, rate: float, rng: np.random.Generator) -> Array:
    """Return paths of independent walkers on a graph, (n_frames, n_mobile, 3); rate in all."""
    near = _neighbours(sites)
    here = np.empty((run.n_frames, run.n_mobile), dtype=int)
    for ion in range(run.n_mobile):
        site = int(rng.integers(len(sites)))
        jumps = np.sort(rng.uniform(0, run.n_frames, rng.poisson(rate * run.length_ps)))
        start = 0
        for frame in np.append(jumps.astype(int), run.n_frames):
            here[start:frame, ion] = site
            start, site = frame, near[site][rng.integers(len(near[site]))]
    return HOP_ANGSTROM * sites[here]


def caged_hopping(run: Run, cage: str = "octahedron", rate: float = 0.1) -> Known:
    """Return ions that hop between the sites of closed cages, turned at random: D = 0."""
    rng = run.generator()
    paths = _walk_on_sites(run, CAGES[cage], rate, rng)
    return assemble(run, paths @ _rotation(rng), rng, 0.0)


def _rotation(rng: np.random.Generator) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


def blocked_channel(run: Run, n_sites: int = 12, rate: float = 0.5) -> Known:
    """Return ions in channels that end after so many sites: D = 0."""
    rng = run.generator()
    sites = np.arange(n_sites)[:, None] * np.array([0.0, 0.0, 1.0])
    return assemble(run, _walk_on_sites(run, sites, rate, rng), rng, 0.0)


def cage_to_cage(run: Run, diffusivity: float = 0.05, rate: float = 1.0) -> Known:
    """Return argyrodite-like ions: fast hops in octahedral cages, rare ones to the next cage."""
    rng = run.generator()
    inside = _walk_on_sites(run, CAGES["octahedron"], rate, rng)
    between = 1.5
    steps = between * hop_steps(
        run, 6 * diffusivity / (between * HOP_ANGSTROM) ** 2, run.n_mobile, rng
    )
    return assemble(run, inside + np.cumsum(steps, axis=0), rng, diffusivity)


def soft_cage(run: Run, radius_angstrom: float = 2.0, relaxation_ps: float = 5.0) -> Known:
    """Return overdamped motion in a harmonic trap (Ornstein-Uhlenbeck): D = 0."""
    rng = run.generator()
    decay = np.exp(-run.dt_ps / relaxation_ps)
    out = np.empty((run.n_frames, run.n_mobile, 3))
    state = rng.standard_normal((run.n_mobile, 3))
    for frame in range(run.n_frames):
        out[frame] = state
        state = decay * state + np.sqrt(1 - decay**2) * rng.standard_normal(state.shape)
    return assemble(run, radius_angstrom / np.sqrt(3) * out, rng, 0.0)


def corrugated(run: Run, diffusivity: float = 0.1, barrier_kt: float = 5.0) -> Known:
    """Return Langevin motion in a cosine potential with a period of a hop along each axis.

    D = D0 / I0(A)^2 with 2 A the barrier over kT (S. Lifson, J. L. Jackson, J. Chem. Phys. 36, 2410
    (1962), doi 10.1063/1.1732899).
    """
    rng = run.generator()
    amplitude, wave = barrier_kt / 2, 2 * np.pi / HOP_ANGSTROM
    free = diffusivity * scipy.special.i0(amplitude) ** 2
    n_fine = int(np.ceil(run.dt_ps * free * wave**2 * barrier_kt / 0.05))
    dt = run.dt_ps / n_fine
    place, out = np.zeros((run.n_mobile, 3)), np.empty((run.n_frames, run.n_mobile, 3))
    for frame in range(-run.n_frames // 20, run.n_frames):
        for _ in range(n_fine):
            place -= free * dt * amplitude * wave * np.sin(wave * place)
            place += np.sqrt(2 * free * dt) * rng.standard_normal(place.shape)
        if frame >= 0:
            out[frame] = place
    return assemble(run, out, rng, diffusivity)


def fractional_brownian(run: Run, hurst: float = 0.35, at_1_ps: float = 1.0) -> Known:
    """Return subdiffusion, MSD = ``at_1_ps`` t^2H (Davies and Harte's method): D = 0 in the end."""
    rng, n = run.generator(), run.n_frames
    lag = np.arange(n + 1.0)
    covariance = 0.5 * ((lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst))
    covariance += 0.5 * np.abs(lag - 1) ** (2 * hurst)
    power = np.fft.rfft(np.concatenate([covariance, covariance[-2:0:-1]])).real.clip(0)
    noise = rng.standard_normal((2 * n, run.n_mobile * 3))
    steps = np.fft.irfft(np.fft.rfft(noise, axis=0) * np.sqrt(power)[:, None], 2 * n, axis=0)[:n]
    scale = np.sqrt(at_1_ps * run.dt_ps ** (2 * hurst) / 3)
    paths = scale * np.cumsum(steps, axis=0).reshape(n, run.n_mobile, 3)
    return assemble(run, paths, rng, 0.0)


def _changing(run: Run, diffusivity: float, pace: Array) -> Known:
    """Return hops whose common rate is ``pace`` (n_frames,) times its mean."""
    rng = run.generator()
    rate = 6 * diffusivity / HOP_ANGSTROM**2 * pace[:, None]
    return assemble(
        run, np.cumsum(hop_steps(run, rate, run.n_mobile, rng), axis=0), rng, diffusivity
    )


def ageing(run: Run, diffusivity: float = 0.1, factor: float = 4.0) -> Known:
    """Return hops whose rate falls exponentially by a factor during the run."""
    pace = factor ** -np.linspace(0, 1, run.n_frames)
    return _changing(run, diffusivity, pace / pace.mean())


def stalling(run: Run, diffusivity: float = 0.1, share: float = 0.5, rest: float = 0.2) -> Known:
    """Return hops whose rate drops to a share of it at once, after part of the run."""
    pace = np.where(np.arange(run.n_frames) < share * run.n_frames, 1.0, rest)
    return _changing(run, diffusivity, pace / pace.mean())


def on_off(run: Run, diffusivity: float = 0.1, on_ps: float = 5.0, off_ps: float = 15.0) -> Known:
    """Return ions that all hop for a while and all rest for a while."""
    shift = np.random.default_rng(10_000 + run.seed).uniform(0, on_ps + off_ps)
    phase = (np.arange(run.n_frames) * run.dt_ps + shift) % (on_ps + off_ps)
    return _changing(run, diffusivity, (phase < on_ps) * (on_ps + off_ps) / on_ps)


def avalanches(run: Run, diffusivity: float = 0.05, mean_ps: float = 30.0) -> Known:
    """Return ions that rest but for rare avalanches, in which some of all hop within 1 ps."""
    rng = run.generator()
    steps = np.zeros((run.n_frames, run.n_mobile, 3))
    share = 6 * diffusivity * mean_ps / HOP_ANGSTROM**2
    width = max(1, round(1 / run.dt_ps))
    for start in rng.uniform(0, run.n_frames, rng.poisson(run.length_ps / mean_ps)).astype(int):
        hops = rng.poisson(share, run.n_mobile)
        for ion in np.repeat(np.arange(run.n_mobile), hops):
            frame = min(start + int(rng.integers(width)), run.n_frames - 1)
            steps[frame, ion] += directions(rng, ())
    return assemble(run, np.cumsum(steps, axis=0), rng, diffusivity)


def populations(run: Run, fast: float = 0.2, slow: float = 0.02, share: float = 0.25) -> Known:
    """Return two kinds of ions that differ for ever."""
    rng = run.generator()
    each = np.where(np.arange(run.n_mobile) < share * run.n_mobile, fast, slow)
    steps = hop_steps(
        run, np.broadcast_to(6 * each / HOP_ANGSTROM**2, (1, run.n_mobile)), run.n_mobile, rng
    )
    return assemble(run, np.cumsum(steps, axis=0), rng, float(each.mean()))


def partly_mobile(run: Run, diffusivity: float = 0.2, share: float = 0.25) -> Known:
    """Return a share of ions that hop, the others only vibrate."""
    return populations(run, diffusivity, 0.0, share)


def persistent(run: Run, diffusivity: float = 0.5, forward: float = 0.3) -> Known:
    """Return hops that tend to go on in the direction of the one before.

    With a chance ``forward`` of the same direction (else any of six), D = D0 (1 + f) / (1 - f).
    """
    rng = run.generator()
    rate = 6 * diffusivity / HOP_ANGSTROM**2 * (1 - forward) / (1 + forward)
    steps = np.zeros((run.n_frames, run.n_mobile, 3))
    for ion in range(run.n_mobile):
        step = directions(rng, ())
        for frame in np.sort(rng.integers(0, run.n_frames, rng.poisson(rate * run.length_ps))):
            step = step if rng.random() < forward else directions(rng, ())
            steps[frame, ion] += step
    return assemble(run, np.cumsum(steps, axis=0), rng, diffusivity)


def single_file(run: Run, filled: int = 8, n_sites: int = 10, rate: float = 2.0) -> Known:
    """Return rings of sites along z on which ions can't pass each other.

    In the end all ions of a ring go where its centre of mass goes: D_z = rate a^2 (1 - c') / 2 N
    with c' = (N - 1) / (L - 1), the chance that the next site is taken.
    """
    rng = run.generator()
    steps = np.zeros((run.n_frames, run.n_mobile, 3))
    for first in range(0, run.n_mobile, filled):
        n = min(filled, run.n_mobile - first)
        site = np.sort(rng.permutation(n_sites)[:n])
        taken = np.zeros(n_sites, dtype=bool)
        taken[site] = True
        for frame in np.sort(rng.integers(0, run.n_frames, rng.poisson(rate * n * run.length_ps))):
            ion, step = int(rng.integers(n)), int(rng.choice((-1, 1)))
            target = (site[ion] + step) % n_sites
            if not taken[target]:
                taken[site[ion]], taken[target] = False, True
                site[ion] = target
                steps[frame, first + ion, 2] += step * HOP_ANGSTROM
    free = 1 - (filled - 1) / (n_sites - 1)
    along = rate * HOP_ANGSTROM**2 / 2 * free / filled
    haven = 1 / filled
    return assemble(run, np.cumsum(steps, axis=0), rng, along / 3, haven)


def vacancies(run: Run, edge: int = 4, n_vacant: int = 1, rate: float = 2.0) -> Known:
    """Return a cubic lattice of edge^3 sites of which a few are vacant; a vacancy hops 6 ways.

    ``run.n_mobile`` must be edge^3 - n_vacant. The diffusivity is that of one vacancy's hops,
    shared among all ions, times the correlation factor of such a periodic lattice, from a run of
    12 million hops.
    """
    rng = run.generator()
    ion_at = np.full(edge**3, -1)
    ion_at[rng.permutation(edge**3)[: run.n_mobile]] = np.arange(run.n_mobile)
    ion_at = ion_at.reshape(edge, edge, edge)
    empty = np.argwhere(ion_at < 0)
    steps = np.zeros((run.n_frames, run.n_mobile, 3))
    times = np.sort(rng.integers(0, run.n_frames, rng.poisson(6 * rate * n_vacant * run.length_ps)))
    for frame in times:
        vacancy, axis, step = rng.integers(n_vacant), rng.integers(3), rng.choice((-1, 1))
        here = tuple(empty[vacancy])
        there = list(here)
        there[axis] = (there[axis] + step) % edge
        ion = ion_at[tuple(there)]
        if ion < 0:
            continue
        steps[frame, ion, axis] -= step * HOP_ANGSTROM
        ion_at[here], ion_at[tuple(there)] = ion, -1
        empty[vacancy] = there
    factor = VACANCY_FACTORS[edge, n_vacant]
    per_ion = 6 * rate * n_vacant * (1 - (n_vacant - 1) / (edge**3 - 1)) / run.n_mobile
    # Hops of different ions are independent in the sum of all: the Haven ratio is the factor.
    diffusivity = factor * per_ion * HOP_ANGSTROM**2 / 6
    return assemble(run, np.cumsum(steps, axis=0), rng, diffusivity, factor)


#: Correlation factors, (edge, vacancies): D over that of as many independent hops.
VACANCY_FACTORS = {(4, 1): 0.668, (4, 6): 0.706}


def stop_at_the_middle(run: Run, diffusivity: float = 0.05, rate: float = 0.5) -> Known:
    """Return a triclinic lattice whose bonds have a middle site: half of the jumps go back.

    From a site an ion jumps at half of ``diffusivity``'s rate to one of six middles, and on from
    there to either end at ``rate``.
    """
    rng = run.generator()
    vectors = HOP_ANGSTROM * np.array([[1.0, 0, 0], [0.4, 0.95, 0], [-0.3, 0.35, 0.9]])
    squared = float((vectors**2).sum())  # of all three bonds
    # D = rate of completed hops x mean squared length / 6; a cycle takes 1 / leave + 1 / rate.
    cycle_ps = 0.5 * squared / 3 / (6 * diffusivity)
    leave_ps = cycle_ps - 1 / rate
    steps = np.zeros((run.n_frames + 1, run.n_mobile, 3))
    for ion in range(run.n_mobile):
        time_ps, in_middle = 0.0, bool(rng.random() < 1 / (rate * cycle_ps))
        half = 0.5 * vectors[rng.integers(3)] * rng.choice((-1, 1))
        while time_ps < run.length_ps:
            time_ps += rng.exponential(1 / rate if in_middle else leave_ps)
            if not in_middle:
                half = 0.5 * vectors[rng.integers(3)] * rng.choice((-1, 1))
            frame = min(int(time_ps / run.dt_ps), run.n_frames)
            steps[frame, ion] += half * (rng.choice((-1, 1)) if in_middle else 1)
            in_middle = not in_middle
    return assemble(run, np.cumsum(steps[:-1], axis=0), rng, diffusivity)


def disordered(run: Run, diffusivity: float = 0.1, spread: float = 1.0, n_sites: int = 6) -> Known:
    """Return hops on a periodic lattice of n_sites^3 traps whose depths scatter by ``spread`` kT.

    An ion leaves a site at a rate of its own to any of six neighbours, so that D is the mean of
    the rates weighted with the time spent: a^2 / 6 over the mean dwell time.
    """
    rng = run.generator()
    dwell = np.exp(spread * rng.standard_normal(n_sites**3))
    dwell *= HOP_ANGSTROM**2 / (6 * diffusivity) / dwell.mean()
    steps = np.zeros((run.n_frames + 1, run.n_mobile, 3))
    shape = (n_sites,) * 3
    for ion in range(run.n_mobile):
        site = np.array(np.unravel_index(rng.choice(n_sites**3, p=dwell / dwell.sum()), shape))
        time_ps = 0.0
        while True:
            time_ps += rng.exponential(dwell[np.ravel_multi_index(tuple(site), shape)])
            if time_ps >= run.length_ps:
                break
            hop = directions(rng, ())
            steps[int(time_ps / run.dt_ps), ion] += hop
            site = (site + np.rint(hop / HOP_ANGSTROM).astype(int)) % n_sites
    return assemble(run, np.cumsum(steps[:-1], axis=0), rng, diffusivity)
