"""Known diffusivities: bias, calibration and verdicts on a few seeds (benchmarks have hundreds)."""

import numpy as np
import pytest
import synthetic

from ionsieve.errors import InputError
from ionsieve.md_analysis import Trajectory, analyze
from ionsieve.md_analysis.conductivity import nernst_einstein_factor
from ionsieve.md_analysis.diffusivity import Estimate, fit_diffusion
from ionsieve.md_analysis.slope import _slope_weights, fit_slope, windows

SEEDS = range(12)


def as_trajectory(known):
    return Trajectory.from_arrays(known.positions, known.cell, known.species, known.timestep_fs)


def results(generate, n_mobile=50, length_ps=100.0):
    for seed in SEEDS:
        run = synthetic.Run(seed, n_mobile, 10, length_ps=length_ps, timestep_fs=50.0)
        known = generate(run)
        yield known, analyze(as_trajectory(known), "Na", 600.0, 1)


@pytest.mark.parametrize(
    "generate",
    [
        synthetic.brownian,
        synthetic.hopping,
        synthetic.back_hopping,
        synthetic.drifting,
        synthetic.anisotropic,
    ],
)
def test_known_diffusivities_lie_in_their_intervals(generate):
    inside, ratios = 0, []
    for known, result in results(generate):
        low, high = result.diffusivity_ci95_cm2_s
        inside += low <= known.diffusivity_cm2_s <= high
        ratios.append(result.diffusivity_cm2_s / known.diffusivity_cm2_s)
    # Of 12 intervals that hold with 95 %, fewer than 9 right has a chance below 1 in 400.
    assert inside >= 9
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / np.sqrt(len(ratios)) + 0.02


def test_groups_that_move_together_have_their_haven_ratio():
    inside, ratios = 0, []
    for known, result in results(synthetic.grouped, n_mobile=48):
        low, high = result.haven_ratio_ci95
        inside += low <= known.haven_ratio <= high
        ratios.append(result.haven_ratio)
    assert inside >= 9
    assert 0.15 < np.median(ratios) < 0.4
    assert result.sigma_collective_s_cm == pytest.approx(
        result.sigma_ne_s_cm / result.haven_ratio, rel=1e-6
    )


def walks(known, n_mobile):
    """Paths of the mobile ions, seen from the framework."""
    moving = known.positions[:, :n_mobile] - known.positions[:, n_mobile:].mean(
        axis=1, keepdims=True
    )
    return np.ascontiguousarray(moving.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("generate", "others"), [(synthetic.hopping, 0.0), (synthetic.grouped, 3.0)]
)
def test_ions_that_move_together_are_counted_once(generate, others):
    known = generate(synthetic.Run(4, 40, 10, timestep_fs=50.0))
    fit = fit_diffusion(walks(known, 40), 50.0)
    coupling = fit.slope.coupling
    assert coupling.others == pytest.approx(others, abs=4 * coupling.standard_error + 0.2 * others)
    assert coupling.n_independent(40) == pytest.approx(40 / (1 + others), rel=0.35)


def test_few_walkers_have_intervals_that_hold_at_both_levels():
    """Twenty ions in groups of four: five walkers."""
    inside, inside68 = 0, 0
    for seed in range(24):
        known = synthetic.grouped(synthetic.Run(seed, 20, 10, timestep_fs=50.0))
        estimate = fit_diffusion(walks(known, 20), 50.0).diffusivity
        low, high = estimate.interval()
        low68, high68 = estimate.interval(0.68)
        truth = known.diffusivity_angstrom2_ps
        inside += low <= truth <= high
        inside68 += low68 <= truth <= high68
    # Chances below 1 in 300 if 95 % and 68 % hold.
    assert inside >= 20
    assert 10 <= inside68 <= 22


def test_independent_ions_have_a_68_percent_interval():
    inside = 0
    for seed in range(24):
        known = synthetic.hopping(synthetic.Run(seed, 50, 10, timestep_fs=50.0))
        low, high = fit_diffusion(walks(known, 50), 50.0).diffusivity.interval(0.68)
        inside += low <= known.diffusivity_angstrom2_ps <= high
    assert 10 <= inside <= 22


def test_long_runs_with_back_hopping_hold():
    inside, ratios = 0, []
    for seed in SEEDS:
        known = synthetic.back_hopping(
            synthetic.Run(seed, 50, 10, length_ps=250.0, timestep_fs=50.0), 0.02, dwell_ps=5.0
        )
        estimate = fit_diffusion(walks(known, 50), 50.0).diffusivity
        low, high = estimate.interval()
        inside += low <= known.diffusivity_angstrom2_ps <= high
        ratios.append(estimate.value / known.diffusivity_angstrom2_ps)
    assert inside >= 9
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / np.sqrt(len(ratios)) + 0.03


@pytest.mark.parametrize("generate", [synthetic.two_site, synthetic.caged, synthetic.few_hops])
def test_no_diffusion_is_an_upper_bound_never_a_number(generate):
    for _, result in results(generate):
        assert result.verdict == "upper_bound"
        low, high = result.diffusivity_ci95_cm2_s
        assert low == 0
        # Zero jumps of 3 A of 50 ions in 100 ps: D < 9e-8; some jumps: a few times that.
        assert 2e-8 < high < 6e-7
        assert result.diffusivity_cm2_s <= high
        assert "no diffusion seen" in result.reasons[0]


def test_slow_back_hopping_in_a_short_run_is_not_converged():
    def generate(run):
        return synthetic.back_hopping(run, 0.02, dwell_ps=5.0)

    found = [result.verdict for _, result in results(generate)]
    assert found.count("not_converged") >= 10


def test_fifty_rare_hops_are_enough():
    """A few ions that hop twice prove diffusion; more can't be asked of so few hops."""
    found = []
    for seed in range(6):
        run = synthetic.Run(seed, 100, 10, length_ps=250.0, timestep_fs=50.0)
        result = analyze(as_trajectory(synthetic.hopping(run, 0.003)), "Na", 600.0, 1)
        found.append(result.verdict)
        assert result.n_jumps < 80
    assert found.count("diffusing") >= 4


def test_the_tensor_tells_the_direction():
    known = synthetic.anisotropic(synthetic.Run(3, 60, 10, timestep_fs=50.0))
    result = analyze(as_trajectory(known), "Na", 600.0, 1)
    tensor = np.array(result.diffusivity_tensor_cm2_s)
    errors = np.array(result.diffusivity_tensor_se_cm2_s)
    truth = np.diag([0, 0, 3 * known.diffusivity_cm2_s])
    assert (np.abs(tensor - truth) < 4 * errors + 1e-8).all()
    np.testing.assert_allclose(tensor, tensor.T)
    assert np.trace(tensor) / 3 == pytest.approx(result.diffusivity_cm2_s)


@pytest.mark.parametrize("n_frames", [20, 21, 40, 100, 400])
@pytest.mark.parametrize("n_mobile", [1, 2, 20])
def test_short_runs_give_a_verdict(n_frames, n_mobile):
    run = synthetic.Run(1, n_mobile, 8, length_ps=n_frames * 0.01, timestep_fs=10.0)
    result = analyze(as_trajectory(synthetic.hopping(run, 0.5)), "Na", 600.0, 1)
    assert result.verdict in ("upper_bound", "not_converged")
    assert all(np.isfinite(result.sigma_ne_ci95_s_cm))
    assert result.reasons


def test_ions_at_rest_do_not_crash():
    still = Trajectory.from_arrays(
        np.tile(np.random.default_rng(0).random((1, 8, 3)) * 10, (500, 1, 1)),
        10 * np.eye(3),
        ["Na"] * 4 + ["S"] * 4,
        10.0,
    )
    result = analyze(still, "Na", 600.0, 1)
    assert result.verdict == "upper_bound"
    assert result.diffusivity_cm2_s == 0
    result.to_dict()


def test_units_change_the_numbers_as_they_should():
    known = synthetic.hopping(synthetic.Run(1, 60, 30, length_ps=60, timestep_fs=20.0))
    one = value_of(known.positions, 20.0)
    assert value_of(known.positions, 40.0, 1.0) == pytest.approx(one / 2)
    assert value_of(known.positions * 2, 20.0) == pytest.approx(4 * one)


def value_of(positions, timestep_fs, shortest_ps=0.5):
    paths = np.ascontiguousarray(positions[:, :60].transpose(1, 2, 0))
    return fit_diffusion(paths, timestep_fs, shortest_ps).diffusivity.value


def test_the_slope_is_blind_to_a_constant_and_exact_for_a_line():
    """Ions at random places about a line: the weights give 6 D from 6 D t + c for any c."""
    window = windows(4000, 0.01, 0.05)[0]
    lags_ps = window.lag_frames * 0.01
    for slope, offset in ((0.6, 0.0), (0.6, 1.0), (0.1, 5.0)):
        weights, _ = _slope_weights(window, 6 * slope * lags_ps + offset, 0.01)
        assert weights.sum() == pytest.approx(0, abs=1e-9 * np.abs(weights).max())
        assert weights @ (2 * slope * lags_ps) == pytest.approx(slope)


def test_residuals_of_ions_and_blocks_sum_to_nothing():
    paths = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (20, 3, 400)), axis=2)
    slope = fit_slope(paths, windows(400, 0.01, 0.05)[0], 0.01)
    np.testing.assert_allclose(slope.residuals.sum(axis=(0, 1)), 0, atol=1e-12)


def test_a_breathing_cell_does_not_change_d():
    known = synthetic.hopping(synthetic.Run(0, 40, 20, length_ps=60, timestep_fs=50.0))
    cells = known.cell * (1 + 0.03 * np.sin(np.arange(len(known.positions)) / 17))[:, None, None]
    wrapped = (known.positions @ np.linalg.inv(known.cell) % 1.0) @ cells
    breathing = analyze(Trajectory.from_arrays(wrapped, cells, known.species, 50.0), "Na", 600.0)
    still = analyze(as_trajectory(known), "Na", 600.0)
    scale = (breathing.volume_angstrom3 / still.volume_angstrom3) ** (2 / 3)
    assert breathing.diffusivity_cm2_s == pytest.approx(scale * still.diffusivity_cm2_s, rel=1e-3)


def test_nernst_einstein_by_hand():
    # 8 ions per 500 A^3, 1e-5 cm^2/s, 600 K: n q^2 D / (k T)
    expected = 8 / 500e-30 * 1.602176634e-19**2 * 1e-9 / (1.380649e-23 * 600) / 100
    assert 1e-5 * nernst_einstein_factor(8, 500.0, 1, 600.0) == pytest.approx(expected)
    assert nernst_einstein_factor(8, 500.0, -2, 600.0) == pytest.approx(4e5 * expected)


def test_intervals_of_an_estimate_are_ordered_and_positive():
    for error in (0.01, 0.3, 1.0, 5.0):
        estimate = Estimate(1.0, error, 6.0)
        low, high = estimate.interval()
        low68, high68 = estimate.interval(0.68)
        assert 0 <= low <= low68 < 1 < high68 <= high


def test_sigma_follows_from_d(hopping_result):
    r = hopping_result
    factor = nernst_einstein_factor(r.n_mobile, r.volume_angstrom3, 1, 600.0)
    assert r.sigma_ne_s_cm == pytest.approx(factor * r.diffusivity_cm2_s)
    assert r.verdict == "diffusing"
    assert r.correlation_factor == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": "Li"}, "no Li"),
        ({"temperature_k": None}, "temperature_k"),
        ({"temperature_k": 0.0}, "above 0 K"),
        ({"charge": 0}, "charge is 0"),
    ],
)
def test_bad_questions_are_named(change, message, reference):
    with pytest.raises(InputError, match=message):
        analyze(as_trajectory(reference), **({"species": "Na", "temperature_k": 600.0} | change))


def test_too_few_frames(reference):
    with pytest.raises(InputError, match="19 frames are too few"):
        analyze(as_trajectory(reference)[:19], "Na", 600.0)


def test_without_a_framework_nothing_collective_is_claimed():
    run = synthetic.Run(2, 40, 0, length_ps=50.0, timestep_fs=50.0)
    result = analyze(as_trajectory(synthetic.brownian(run)), "Na", 600.0, 1)
    assert result.frame_of_reference == "centre of mass"
    assert result.sigma_collective_s_cm is None
    assert result.haven_ratio is None
