"""Stored trajectories: small, as exact as stated, and the same diffusivity."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, Trajectory, analyze, fixed_point, read_trajectory
from ionsieve.md_analysis.conserved_energy import EnergyDrift

REAL = Path(__file__).parents[1] / "data/trajectories/Li6PS5Cl_XDATCAR.gz"
TRICLINIC = np.array([[8.0, 0.1, 0.0], [2.0, 9.0, 0.3], [-1.0, 0.5, 20.0]])


def hopping(timestep_fs, length_ps=40.0):
    known = synthetic.hopping(
        synthetic.Run(
            seed=1, n_mobile=60, n_framework=30, length_ps=length_ps, timestep_fs=timestep_fs
        )
    )
    return Trajectory.from_arrays(known.positions, known.cell, known.species, timestep_fs)


@pytest.fixture(scope="module")
def real():
    return read_trajectory(REAL, ReadOptions(timestep_fs=100.0, temperature_k=600.0))


def errors_in_steps(run, back):
    """Return how far positions moved, in steps of the grid, for each ion, axis and frame."""
    divisions = fixed_point.grid(run.cell, run.timestep_fs)[:, None]
    return np.abs(back.fractional.astype(float) - run.fractional.astype(float)) * divisions


@pytest.mark.parametrize("timestep_fs", [20.0, 100.0])
def test_diffusivity_is_the_same_on_a_known_run(timestep_fs):
    assert_same_transport(hopping(timestep_fs), "Na")


def test_diffusivity_is_the_same_on_a_real_run(real):
    assert_same_transport(real, "Li")


def assert_same_transport(run, species):
    before, after = (
        analyze(each, species, 600.0) for each in (run, Trajectory.from_bytes(run.to_bytes()))
    )
    assert after.verdict == before.verdict == "diffusing"
    for result in ("diffusivity_cm2_s", "diffusivity_ci95_cm2_s", "sigma_ne_ci95_s_cm"):
        assert getattr(after, result) == pytest.approx(getattr(before, result), rel=1e-4)
    # A few ends of single paths decide on these, so that their intervals are wide.
    assert after.haven_ratio == pytest.approx(before.haven_ratio, rel=1e-3)


def test_a_real_run_takes_a_quarter(real):
    plain = io.BytesIO()
    np.savez_compressed(plain, fractional=real.fractional, cell=real.cell)
    as_text = len(plain.getvalue()) * 4 / 3  # base64
    assert len(real.to_bytes()) <= as_text / 4


@pytest.mark.parametrize("cell_per_frame", [False, True])
def test_errors_stay_within_half_a_step_to_the_last_frame(cell_per_frame):
    rng = np.random.default_rng(3)
    steps = rng.normal(0, 0.2, (4000, 5, 3))
    walk = 4.0 + np.cumsum(steps, axis=0)
    cell = np.array([TRICLINIC * (1 + 1e-5 * i) for i in range(4000)])
    run = Trajectory.from_arrays(
        walk, cell if cell_per_frame else TRICLINIC, ["Na", "S", "Na", "P", "S"], 10.0
    )
    back = Trajectory.from_bytes(run.to_bytes())
    # What float32 adds counts in large numbers of cells only.
    assert errors_in_steps(run, back).max() < 0.5 + 2e-2
    divisions = fixed_point.grid(run.cell, 10.0)
    lengths = np.linalg.norm(run.cell.reshape(-1, 3, 3), axis=2).max(axis=0)
    assert (lengths / divisions <= 2e-4).all()
    np.testing.assert_array_equal(back.cell, run.cell)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_ions=st.integers(1, 5),
    n_frames=st.integers(1, 60),
    spread=st.sampled_from([0.0, 1e-5, 0.3, 1e3]),
)
def test_whole_numbers_come_back_as_they_were(seed, n_ions, n_frames, spread):
    rng = np.random.default_rng(seed)
    species = tuple(rng.choice(["Na", "S", "P"], n_ions))
    divisions = np.array([100, 2000, 77])
    fractional = spread * rng.normal(size=(n_ions, 3, n_frames))
    if seed % 2:
        fractional = np.cumsum(fractional, axis=2)
    packed = fixed_point.pack(fractional, divisions, species)
    expected = np.rint(fractional * divisions[:, None])
    np.testing.assert_array_equal(fixed_point.unpack(packed, species, n_frames), expected)


def test_the_grid_follows_the_time_between_frames():
    cell = 10 * np.eye(3)
    for timestep_fs, step in ((1.0, 2e-5), (10.0, 2e-4), (100.0, 2e-3), (1e4, 2e-3), (1e-9, 1e-6)):
        np.testing.assert_allclose(10 / fixed_point.grid(cell, timestep_fs), step, rtol=1e-6)


def test_everything_else_is_kept():
    run = replace(
        hopping(20.0, 1.0),
        md_timestep_fs=2.0,
        temperature_k=600.0,
        notes=("a note",),
        energy_drift=EnergyDrift(1.5, 0.1, 1.0),
    )
    back = Trajectory.from_bytes(run.to_bytes())
    for name in ("species", "timestep_fs", "md_timestep_fs", "temperature_k", "notes"):
        assert getattr(back, name) == getattr(run, name)
    assert back.energy_drift == run.energy_drift
    assert Trajectory.from_bytes(run[:1].to_bytes()).n_frames == 1


@pytest.mark.parametrize("split", [20, 25])
def test_stored_segments_join_as_unstored_ones_do(split):
    whole = hopping(100.0, 5.0)
    parts = [whole[: split + 1], whole[split:]]  # the second repeats a frame
    # A restart counts from the first cell again.
    start = np.floor(parts[1].fractional[:, :, :1])
    parts[1] = replace(parts[1], fractional=parts[1].fractional - start)
    stored = [Trajectory.from_bytes(part.to_bytes()) for part in parts]
    joined = Trajectory.join(stored)
    assert joined.n_frames == whole.n_frames
    assert errors_in_steps(whole, joined).max() < 0.51


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9])
def test_an_exploded_run_is_refused_by_ion_and_frame(value):
    run = hopping(20.0, 1.0)
    broken = run.fractional.copy()
    broken[3, 1, 7:] = value
    with pytest.raises(InputError, match=r"ion 4 \(Na\) is at .* in frame 8: the run has exploded"):
        replace(run, fractional=broken).to_bytes()


def test_trajectories_of_0_1_0_dev_are_read():
    run = hopping(20.0, 1.0)
    old = io.BytesIO()
    about = (
        b'{"timestep_fs": 20.0, "md_timestep_fs": null, "temperature_k": 600.0, "species": %s, '
        b'"notes": [], "energy_drift": null}' % str(list(run.species)).replace("'", '"').encode()
    )
    np.savez_compressed(
        old,
        fractional=run.fractional.astype(np.float32),
        cell=run.cell,
        about=np.frombuffer(about, dtype=np.uint8),
    )
    back = Trajectory.from_bytes(old.getvalue())
    assert (back.species, back.temperature_k) == (run.species, 600.0)
    np.testing.assert_array_equal(back.fractional, run.fractional.astype(np.float32))


def rewritten(packed, **changes):
    with np.load(io.BytesIO(packed)) as data:
        arrays = {name: data[name] for name in data.files}
    about = arrays["about"].tobytes()
    for name, change in changes.items():
        if name == "about":
            arrays["about"] = np.frombuffer(about.replace(*change), dtype=np.uint8)
        else:
            arrays[name] = change(arrays[name])
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"about": (b'"format": 2', b'"format": 3')}, "format 3.*update the program"),
        ({"about": (b'"n_frames": 50', b'"n_frames": 49')}, "another number of positions"),
        ({"about": (b'"n_frames": 50', b'"n_frames": 50000000000')}, "more frames than its size"),
        ({"about": (b'"n_frames": 50', b'"n_frames": -1')}, "number of frames"),
        ({"about": (b'"n_frames": 50', b'"n_frames": "x"')}, "no stored trajectory"),
        ({"upper": lambda a: a[: len(a) // 2]}, "another number of positions"),
        ({"lower": lambda a: a[:-1]}, "no stored trajectory"),
        ({"coefficients": lambda a: a[:, :2]}, "shapes"),
        ({"shift": lambda a: a + 100}, "shift"),
    ],
)
def test_damaged_bytes_are_refused_in_one_line(changes, message):
    packed = hopping(20.0, 1.0).to_bytes()
    with pytest.raises(InputError, match=message) as caught:
        Trajectory.from_bytes(rewritten(packed, **changes))
    assert "\n" not in str(caught.value)


def test_cut_bytes_are_refused():
    packed = hopping(20.0, 1.0).to_bytes()
    for length in (0, 10, len(packed) // 2, len(packed) - 1):
        with pytest.raises(InputError, match="stored trajectory"):
            Trajectory.from_bytes(packed[:length])
