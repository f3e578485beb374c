"""Framework, time step, gates: each verdict with a run made to deserve it."""

import json

import numpy as np
import pytest
import synthetic

from ionsieve.md_analysis import Trajectory, analyze
from ionsieve.md_analysis.diagnosis import poisson_bound
from ionsieve.md_analysis.vibrations import (
    WAVENUMBER_PER_FS,
    check_timestep,
    temperature_ratio,
    velocity_spectrum,
)
from ionsieve.workflows.funnel.gates import LongGate, ShortGate

EDGE = 12.0


def tetrahedra(n_frames=4000, rotate=False, break_up=False, melt=False, seed=0, dt_ps=0.01):
    """Eight MS4 groups in a cubic cell, with four hopping ions."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[[3.0, 9.0]] * 3), -1).reshape(-1, 3)
    corners = 2.2 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    place = np.empty((n_frames, 8, 4, 3))
    order = np.tile(np.arange(4), (8, 1))
    for frame in range(n_frames):
        if rotate and rng.random() < 0.02:
            group = rng.integers(8)
            order[group] = np.roll(order[group], 1)
        place[frame] = grid[:, None] + corners[order]
    centres = np.repeat(grid[None], n_frames, axis=0)
    if break_up:
        place[n_frames // 2 :, :, 0] += np.array([2.5, 2.5, 2.5])
    walk = np.cumsum(rng.normal(0, 0.05, (n_frames, 8, 4, 3)), axis=0)
    if melt:
        place += walk
        centres += np.cumsum(rng.normal(0, 0.05, centres.shape), axis=0)
    mobile = np.cumsum(rng.normal(0, 0.07, (n_frames, 4, 3)), axis=0) + 6.0
    positions = np.concatenate([mobile, centres, place.reshape(n_frames, 32, 3)], axis=1)
    positions += rng.normal(0, 0.08, positions.shape)
    species = ["Na"] * 4 + ["P"] * 8 + ["S"] * 32
    return Trajectory.from_arrays(positions, EDGE * np.eye(3), species, 1e3 * dt_ps)


def test_a_sound_and_a_rotating_framework_are_stable():
    for run in (tetrahedra(), tetrahedra(rotate=True)):
        result = analyze(run, "Na", 600.0)
        assert result.verdict != "framework_unstable", result.reasons
        assert [s.failures for s in result.framework] == [(), ()]


@pytest.mark.parametrize("damage", ["break_up", "melt"])
def test_decomposed_and_molten_frameworks_are_refused(damage):
    result = analyze(tetrahedra(**{damage: True}), "Na", 600.0)
    assert result.verdict == "framework_unstable"
    assert not ShortGate().decide(result).passed
    assert LongGate().decide(result).action == "stop"


def verlet(wavenumber_per_cm, timestep_fs, mass_u, temperature_k=600.0, n_frames=4000):
    """Harmonic oscillators integrated by Verlet, at the thermostat's kinetic temperature."""
    rng = np.random.default_rng(1)
    omega = 2 * np.pi * wavenumber_per_cm / WAVENUMBER_PER_FS  # 1/fs
    speed = np.sqrt(8.314462618e-3 * temperature_k / mass_u) * 1e-2  # Angstrom/fs, rms
    observed = 2 * np.arcsin(omega * timestep_fs / 2)
    amplitude = speed * timestep_fs / np.sin(observed)  # central differences have this speed
    phase = rng.uniform(0, 2 * np.pi, (16, 3))
    strength = np.sqrt(rng.exponential(1.0, (16, 3)) * 2)
    time = np.arange(n_frames)[:, None, None]
    # Dephasing makes a band of it.
    return (
        amplitude
        * strength
        * np.cos(
            observed * time + phase + 0.02 * np.cumsum(rng.normal(size=(n_frames, 16, 3)), axis=0)
        )
    )


def oxide(wavenumber_per_cm, timestep_fs, **more):
    rng = np.random.default_rng(0)
    sites = rng.permutation(np.stack(np.meshgrid(*[np.arange(4) * 3.0] * 3), -1).reshape(-1, 3))
    shake = verlet(wavenumber_per_cm, timestep_fs, 15.999)
    slow = verlet(80.0, timestep_fs, 22.99)
    positions = np.concatenate([sites[:16] + slow, sites[16:32] + shake], axis=1)
    return Trajectory.from_arrays(
        positions, EDGE * np.eye(3), ["Na"] * 16 + ["O"] * 16, timestep_fs, **more
    )


@pytest.mark.parametrize(("wavenumber", "ratio"), [(150, 1.02), (380, 1.15), (420, 1.19)])
def test_temperature_ratio_of_verlet(wavenumber, ratio):
    assert temperature_ratio(wavenumber, 10.0) == pytest.approx(ratio, abs=0.006)


def test_verlet_is_unstable_above_1062_per_cm():
    assert temperature_ratio(1061, 10.0) > 45
    assert temperature_ratio(1063, 10.0) == np.inf


@pytest.mark.parametrize(
    ("wavenumber", "timestep_fs", "refused"),
    [(420, 10.0, False), (1020, 10.0, True), (1020, 2.0, False)],
)
def test_ten_fs_is_refused_for_oxoanions_only(wavenumber, timestep_fs, refused):
    run = oxide(wavenumber, timestep_fs)
    check = check_timestep(run, 600.0)
    assert check.species == "O"
    assert check.fastest_per_cm == pytest.approx(wavenumber, abs=50)
    assert (analyze(run, "Na", 600.0).verdict == "timestep_too_long") == refused


def test_a_known_short_step_or_rare_frames_are_not_blamed():
    assert check_timestep(oxide(1020, 10.0, md_timestep_fs=1.0), 600.0).temperature_ratio < 1.1
    every_fifth = oxide(1020, 2.0)[::5]
    check = check_timestep(every_fifth, 600.0)
    assert check is None or not check.written_every_step
    assert analyze(every_fifth, "Na", 600.0).verdict != "timestep_too_long"


def test_kinetic_temperature_from_positions():
    spectrum = velocity_spectrum(oxide(420, 10.0), "O")
    assert spectrum.kinetic_temperature_k == pytest.approx(600, rel=0.35)


def test_attempt_frequency_is_that_of_the_oscillators():
    spectrum = velocity_spectrum(oxide(420, 2.0), "O")
    assert spectrum.attempt_frequency_thz == pytest.approx(420 * 0.0299792458, rel=0.05)


def test_a_random_walk_has_no_vibrations():
    walk = np.cumsum(np.random.default_rng(0).normal(0, 0.05, (2000, 8, 3)), axis=0)
    run = Trajectory.from_arrays(walk, 10 * np.eye(3), ["Na"] * 8, 10.0)
    assert check_timestep(run, 600.0) is None


def test_zero_jumps_still_allow_the_published_bound():
    # 100 Na, 100 ps, 3 A: D < 4.5e-8 cm^2/s
    assert poisson_bound(0, 3.0, 100 * 100.0) * 1e-4 == pytest.approx(4.5e-8, rel=0.01)


def test_gates_on_a_conductor(hopping_result):
    sigma = hopping_result.sigma_ne_s_cm
    assert ShortGate(sigma_min_s_cm=1e-6).decide(hopping_result).action == "continue"
    assert ShortGate(sigma_min_s_cm=sigma).decide(hopping_result).action == "stop"
    assert LongGate(sigma / 10, 0.5).decide(hopping_result).passed
    strict = LongGate(sigma / 10, 0.01).decide(hopping_result)
    assert (strict.passed, strict.action) == (False, "extend")
    assert LongGate(sigma * 10).decide(hopping_result).action == "stop"


def test_unseen_diffusion_does_not_pass_unless_wanted():
    known = synthetic.caged(synthetic.Run(0, 20, 10, length_ps=20.0, timestep_fs=20.0))
    result = analyze(
        Trajectory.from_arrays(known.positions, known.cell, known.species, 20.0), "Na", 600.0
    )
    closed = ShortGate(1e-4).decide(result)
    assert (closed.passed, closed.action) == (False, "extend")
    assert ShortGate(1e-4, pass_unseen=True).decide(result).passed
    assert ShortGate(10.0).decide(result).action == "stop"


def test_results_are_json(hopping_result):
    text = json.dumps(hopping_result.to_dict(), allow_nan=False)
    assert json.loads(text)["verdict"] == "diffusing"
