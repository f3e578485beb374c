"""How far ions got, and whether at a steady rate: kernels against slow twins, and known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionsieve.md_analysis.byte_numbers import same_words
from ionsieve.md_analysis.diffusivity import fit_diffusion
from ionsieve.md_analysis.escape import _farthest, examine_escape
from ionsieve.md_analysis.populations import differ_for_ever, find_populations, within_variance
from ionsieve.md_analysis.stationarity import _squared_in_stretches, examine_stationarity


@given(st.integers(0, 10_000), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_the_farthest_two_points(seed, n):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    slow = max(np.linalg.norm(a - b) for a in points for b in points)
    assert _farthest(points) == pytest.approx(slow, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 5), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_squared_displacements_in_stretches(seed, lag, stride, n_stretches):
    path = np.random.default_rng(seed).normal(size=(3, 120)).astype(np.float32)
    width = 120 // n_stretches
    slow = np.zeros(n_stretches)
    for block in range(n_stretches):
        origins = range(block * width, (block + 1) * width - lag, stride)
        steps = [path[:, t + lag].astype(float) - path[:, t].astype(float) for t in origins]
        slow[block] = np.mean([(step**2).sum() for step in steps]) if steps else 0.0
    found = np.empty(n_stretches)
    _squared_in_stretches(path, lag, stride, width, found)
    np.testing.assert_allclose(found, slow, rtol=1e-10)


WORDS = st.sampled_from([b"Na", b"S", b"1", b"Na1", b"N"])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_words_of_a_column(rows, data):
    column = data.draw(st.integers(0, 1))
    wanted = [data.draw(st.one_of(st.just(row[column]), WORDS)) for row in rows]
    text = b"".join(b"  " + b" ".join(row) + b" 0.5\n" for row in rows)
    labels = np.frombuffer(b"".join(word.ljust(3, b"\0") for word in wanted), np.uint8)
    found = same_words(np.frombuffer(text, np.uint8), 0, column, len(rows), labels.reshape(-1, 3))
    slow = [i for i, row in enumerate(rows) if row[column] != wanted[i]]
    assert found == (slow[0] if slow else -1)


def walks(rates, n_frames=2000, seed=0):
    """Brownian paths (n_ions, 3, n_frames), one diffusivity (Angstrom^2/ps) per ion; 50 fs."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(2 * np.asarray(rates) * 0.05)[:, None, None]
    return np.cumsum(scale * rng.standard_normal((len(rates), 3, n_frames)), axis=2)


def test_what_is_foretold_is_seen_in_diffusion():
    z = []
    for seed in range(12):
        paths = walks([0.1] * 30, seed=seed)
        escape = examine_escape(paths, 50.0, fit_diffusion(paths, 50.0))
        z += [growth.z for growth in escape.growth]
        assert escape.n_escaped > 15
        assert escape.growth[1].expected_angstrom2 == pytest.approx(60, rel=0.35)
    assert np.mean(np.abs(z) < 2) > 0.8


def test_a_wall_is_seen_in_the_shortfall():
    """Reflected at walls 8 Angstrom apart: a slope at short lags, and then no more."""
    folded = np.abs((walks([0.15] * 30) + 4.0) % 16.0 - 8.0)
    fit = fit_diffusion(folded, 50.0)
    escape = examine_escape(folded, 50.0, fit)
    worst = min(growth.z for growth in (*escape.growth, *escape.growth_from_onset))
    assert worst < -2
    assert escape.farthest_angstrom < 8 * np.sqrt(3)


def test_steady_rates_have_no_trend_and_falling_ones_do():
    p_values = []
    for seed in range(12):
        paths = walks([0.1] * 20, seed=seed)
        p_values.append(examine_stationarity(paths, 50.0, fit_diffusion(paths, 50.0)).p_value)
    assert np.mean(np.array(p_values) < 0.02) < 0.2
    slowing = np.cumsum(np.diff(paths, axis=2) * np.linspace(1.4, 0.6, paths.shape[2] - 1), axis=2)
    found = examine_stationarity(slowing, 50.0, fit_diffusion(slowing, 50.0))
    assert found.p_value < 1e-3
    assert found.change == pytest.approx((0.73 / 1.27) ** 2, rel=0.3)


def test_ions_that_differ_for_ever_leave_only_their_noise():
    paths = walks([0.4] * 10 + [0.02] * 30)
    slope = fit_diffusion(paths, 50.0).slope
    assert differ_for_ever(slope)
    slow, fast = find_populations(slope, 1e-4)
    assert (slow.n_ions, fast.n_ions) == (30, 10)
    variance, dof = within_variance(slope)
    each = 40 * slope.scalar_residuals.sum(axis=1)
    assert variance < 0.5 * each.var() / 40
    assert 1 <= dof <= 39
    assert not differ_for_ever(fit_diffusion(walks([0.1] * 40), 50.0).slope)
