"""Paths, drift and MSD against slow twins, and what must not change the answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import naive
from ionsieve.errors import InputError
from ionsieve.md_analysis import Trajectory, fixed_point
from ionsieve.md_analysis.displacement import (
    atomic_masses,
    drift,
    mean_squared_displacement,
    paths,
)

TRICLINIC = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [1.0, -1.5, 10.0]])


def walk(seed, n_frames=60, n_ions=4, step=0.3):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 8, (1, n_ions, 3)) + np.cumsum(
        rng.normal(0, step, (n_frames, n_ions, 3)), axis=0
    )


def test_five_frames_by_hand():
    x = np.array([0.0, 1.0, 3.0, 3.0, 2.0])
    path = np.zeros((1, 3, 5))
    path[0, 0] = x
    msd = mean_squared_displacement(path, 1000.0)
    np.testing.assert_allclose(msd.lags_ps, [0, 1, 2])
    np.testing.assert_allclose(msd.total_angstrom2, [0, (1 + 4 + 0 + 1) / 4, (9 + 4 + 1) / 3])


@given(seed=st.integers(0, 10**6), n_frames=st.integers(5, 40))
@settings(max_examples=15, deadline=None)
def test_msd_tensor_is_the_double_loop(seed, n_frames):
    path = walk(seed, n_frames).transpose(1, 2, 0)
    found = mean_squared_displacement(path, 10.0).tensor_angstrom2
    np.testing.assert_allclose(found, naive.msd_tensor(path)[: len(found)], atol=1e-9)


def test_float32_paths_far_from_the_origin_keep_small_lags_exact():
    path = (walk(3, 4000, step=0.01) + 500).transpose(1, 2, 0).astype(np.float32)
    found = mean_squared_displacement(path, 10.0).tensor_angstrom2[1]
    np.testing.assert_allclose(found, naive.msd_tensor(path, [1])[0], rtol=1e-6)


@given(
    seed=st.integers(0, 10**6),
    shift=hnp.arrays(float, 3, elements=st.floats(-20, 20)),
    images=st.integers(-3, 3),
)
@settings(max_examples=15, deadline=None)
def test_wrapping_translation_and_order_change_nothing(seed, shift, images):
    positions = walk(seed)
    species = ["Na", "Na", "S", "S"]
    straight = Trajectory.from_arrays(positions, TRICLINIC, species, 2.0)
    fractional = (positions + shift) @ np.linalg.inv(TRICLINIC)
    wrapped = (fractional % 1.0 + images) @ TRICLINIC
    order = np.random.default_rng(seed).permutation(4)
    other = Trajectory.from_arrays(wrapped[:, order], TRICLINIC, [species[i] for i in order], 2.0)
    msds = []
    for run in (straight, other):
        mobile = run.indices("Na")
        walks = paths(run, mobile, drift(run, mobile)[0])
        msds.append(mean_squared_displacement(walks, 2.0).tensor_angstrom2)
    np.testing.assert_allclose(msds[0], msds[1], atol=1e-7)


def test_unwrapping_is_the_obvious_one():
    positions = walk(5, 200)
    run = Trajectory.from_arrays(
        (positions @ np.linalg.inv(TRICLINIC) % 1.0) @ TRICLINIC, TRICLINIC, ["Na"] * 4, 2.0
    )
    moved = run.fractional - run.fractional[:, :, :1]
    expected = (positions - positions[0]) @ np.linalg.inv(TRICLINIC)
    np.testing.assert_allclose(moved.transpose(2, 0, 1), expected, atol=1e-9)


def test_drift_of_the_framework_is_taken_off_by_mass():
    run = Trajectory.from_arrays(walk(1), TRICLINIC, ["Na", "Na", "S", "W"], 2.0)
    mobile = run.indices("Na")
    moving, name = drift(run, mobile)
    masses = atomic_masses(("S", "W"))
    expected = np.einsum("i,ict->ct", masses, run.fractional[2:]) / masses.sum()
    assert name == "framework"
    np.testing.assert_allclose(moving, expected - expected[:, :1])
    alone = Trajectory.from_arrays(walk(1), TRICLINIC, ["Na"] * 4, 2.0)
    centre, name = drift(alone, alone.indices("Na"))
    assert name == "centre of mass"
    np.testing.assert_allclose(
        centre[:, 5], (alone.fractional[:, :, 5] - alone.fractional[:, :, 0]).mean(0)
    )


def test_a_breathing_cell_moves_nothing():
    """Ions at rest in fractional coordinates, wrapped: walls breathe, nothing diffuses."""
    rng = np.random.default_rng(0)
    cells = TRICLINIC * (1 + 0.03 * np.sin(np.arange(100) / 3))[:, None, None]
    fractional = np.broadcast_to(rng.random((1, 4, 3)), (100, 4, 3))
    run = Trajectory.from_arrays(fractional @ cells, cells, ["Na", "Na", "S", "S"], 2.0)
    mobile = run.indices("Na")
    walks = paths(run, mobile, drift(run, mobile)[0])
    assert mean_squared_displacement(walks, 2.0).total_angstrom2.max() < 1e-20


def test_a_jump_of_half_a_cell_is_refused():
    positions = walk(2)
    positions[30:, 1] += TRICLINIC[0] * 0.5
    with pytest.raises(InputError, match=r"Na \(ion 1\) moves 0\.\d+ of cell edge a.*unwrapped"):
        Trajectory.from_arrays(positions, TRICLINIC, ["Na"] * 4, 2.0)
    kept = Trajectory.from_arrays(positions, TRICLINIC, ["Na"] * 4, 2.0, unwrapped=True)
    step = kept.fractional[1, 0, 30] - kept.fractional[1, 0, 29]
    assert abs(step) > 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.full((20, 4, 3), np.nan)}, "frame 0 is not a number"),
        ({"positions": np.zeros((20, 4))}, "n_frames, n_ions, 3"),
        ({"species": ["Na"] * 3}, "one species per ion"),
        ({"cell": np.zeros((3, 3))}, "no volume"),
        ({"cell": np.eye(3)[None] * np.ones((7, 1, 1))}, "one per frame"),
        ({"timestep_fs": 0.0}, "timestep_fs is 0.0"),
        ({"timestep_fs": float("nan")}, "timestep_fs is nan"),
        ({"positions": np.zeros((0, 4, 3))}, "no frames"),
    ],
)
def test_bad_arrays_are_named(change, message):
    given = {
        "positions": walk(0, 20),
        "cell": TRICLINIC,
        "species": ["Na"] * 4,
        "timestep_fs": 2.0,
    }
    with pytest.raises(InputError, match=message):
        Trajectory.from_arrays(**(given | change))


def test_segments_of_a_repaired_run_are_judged_by_its_longest_step():
    """Custodian halves the time step of a run that breaks; frames stay as far apart."""
    run = Trajectory.from_arrays(walk(7), TRICLINIC, ["Na"] * 4, 10.0, md_timestep_fs=10.0)
    repaired = replace(run[20:], md_timestep_fs=5.0)
    joined = Trajectory.join([run[:20], repaired], may_change_step=True)
    assert joined.n_frames == 60
    assert joined.md_timestep_fs == 10.0
    assert "time steps of 5 fs and 10 fs" in joined.notes[-1]


def test_joining_drops_what_a_restart_repeats():
    positions = walk(4, 90)
    whole = Trajectory.from_arrays(positions, TRICLINIC, ["Na"] * 4, 2.0)
    inverse = np.linalg.inv(TRICLINIC)
    parts = [
        Trajectory.from_arrays(
            (positions[a:b] @ inverse % 1.0) @ TRICLINIC, TRICLINIC, ["Na"] * 4, 2.0
        )
        for a, b in ((0, 30), (29, 60), (50, 90))
    ]
    joined = Trajectory.join(parts)
    assert joined.n_frames == 90
    moved = [t.fractional - t.fractional[:, :, :1] for t in (joined, whole)]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-9)


def test_segments_that_do_not_fit_are_refused():
    run = Trajectory.from_arrays(walk(4), TRICLINIC, ["Na"] * 4, 2.0)
    other = Trajectory.from_arrays(walk(5), TRICLINIC, ["Na"] * 4, 2.0)
    with pytest.raises(InputError, match="from where the one before ends"):
        Trajectory.join([run, other])
    with pytest.raises(InputError, match="other species"):
        Trajectory.join([run, Trajectory.from_arrays(walk(4), TRICLINIC, ["Li"] * 4, 2.0)])
    with pytest.raises(InputError, match="fs between frames"):
        Trajectory.join([run, run[::2]])
    with pytest.raises(InputError, match="cell of segment 2"):
        Trajectory.join([run, Trajectory.from_arrays(walk(4), TRICLINIC * 1.01, ["Na"] * 4, 2.0)])


def test_slices_and_bytes():
    run = Trajectory.from_arrays(
        walk(6), TRICLINIC, ["Na"] * 4, 2.0, md_timestep_fs=1.0, temperature_k=600.0
    )
    assert run[::3].timestep_fs == 6.0
    assert run.skip(20).n_frames == 40
    assert run.between_ps(0.02, 0.04).n_frames == 11
    with pytest.raises(InputError, match="cannot skip 60"):
        run.skip(60)
    back = Trajectory.from_bytes(run.to_bytes())
    assert (back.species, back.md_timestep_fs, back.temperature_k) == (run.species, 1.0, 600.0)
    step = 1 / fixed_point.grid(TRICLINIC, 2.0)[:, None]
    assert (np.abs(back.fractional - run.fractional) <= 0.5 * step + 2e-7).all()
    with pytest.raises(InputError, match="no stored trajectory"):
        Trajectory.from_bytes(b"nonsense")
