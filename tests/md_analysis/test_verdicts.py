"""Verdicts on motions made to mislead: nothing that does not diffuse is called diffusing."""

from functools import partial

import ase
import md_motions
import numpy as np
import pytest
import synthetic
from pymatgen.core import Element, Lattice, Species
from pymatgen.core.trajectory import Trajectory as PymatgenTrajectory

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, Trajectory, analyze
from ionsieve.md_analysis.vibrations import TimestepCheck

SEEDS = range(3)


def as_trajectory(known, **more):
    return Trajectory.from_arrays(
        known.positions.astype(np.float32), known.cell, known.species, known.timestep_fs, **more
    )


def results(generate, n_mobile=48, length_ps=100.0, seeds=SEEDS):
    for seed in seeds:
        run = synthetic.Run(seed, n_mobile, 12, length_ps=length_ps, timestep_fs=100.0)
        known = generate(run)
        yield known, analyze(as_trajectory(known), "Na", 600.0)


def reasons(result):
    return " ".join(result.reasons)


@pytest.mark.parametrize("cage", [c for c in md_motions.CAGES if "ring" not in c])
@pytest.mark.parametrize("rate", [0.02, 0.06])
def test_ions_in_cages_are_never_called_diffusing(cage, rate):
    """One to six hops per ion, when the cage can't be told by a plateau of the MSD."""
    generate = partial(md_motions.caged_hopping, cage=cage, rate=rate)
    for _, result in results(generate, seeds=range(2)):
        assert result.verdict in ("not_converged", "upper_bound")
        assert result.diffusivity_ci95_cm2_s[0] == 0
        # Seen through vibrations; the diagonal of a block is longer than a compact cage is wide.
        assert result.escape.n_escaped <= 1 or "block" in cage


@pytest.mark.parametrize(
    "generate",
    [
        md_motions.soft_cage,
        partial(md_motions.soft_cage, relaxation_ps=40.0),
        partial(md_motions.blocked_channel, n_sites=4, rate=0.3),
        md_motions.fractional_brownian,
    ],
)
def test_motion_that_comes_to_an_end_is_not_diffusing(generate):
    for _, result in results(generate):
        assert result.verdict != "diffusing", result


@pytest.mark.parametrize(
    "generate",
    [
        md_motions.ageing,
        partial(md_motions.ageing, factor=0.25),
        md_motions.stalling,
    ],
)
def test_a_rate_that_drifts_is_said_and_never_averaged(generate):
    for known, result in results(generate):
        assert result.verdict == "not_converged"
        rises = result.stationarity.change > 1
        assert f"the rate {'rises' if rises else 'falls'}" in reasons(result)
        low, high = result.diffusivity_ci95_cm2_s
        assert high > 2 * low
        assert low < known.diffusivity_cm2_s < high


def test_avalanches_are_too_few_to_count():
    for known, result in results(md_motions.avalanches):
        low, high = result.diffusivity_ci95_cm2_s
        assert result.verdict != "diffusing" or low <= known.diffusivity_cm2_s <= high


@pytest.mark.parametrize(
    "generate",
    [
        md_motions.corrugated,
        md_motions.cage_to_cage,
        md_motions.stop_at_the_middle,
        md_motions.disordered,
    ],
)
def test_other_honest_motions_are_called_diffusing_and_hold(generate):
    called = inside = 0
    for known, result in results(generate, seeds=range(5)):
        low, high = result.diffusivity_ci95_cm2_s
        called += result.verdict == "diffusing"
        inside += low <= known.diffusivity_cm2_s <= high
    assert called >= 3
    assert inside >= 3


def test_populations_are_told_apart_and_their_difference_is_no_noise():
    for known, result in results(partial(md_motions.populations, fast=0.4), seeds=range(3)):
        slow, fast = result.populations
        assert fast.n_ions == pytest.approx(12, abs=2)
        assert fast.diffusivity_cm2_s == pytest.approx(4e-5, rel=0.4)
        assert slow.diffusivity_cm2_s == pytest.approx(2e-6, rel=0.8)
        assert slow.share + fast.share == pytest.approx(1)
        low, high = result.diffusivity_ci95_cm2_s
        assert low <= known.diffusivity_cm2_s <= high
        assert "12 ions" in repr(result) or "ions (" in repr(result)
    for _, result in results(synthetic.hopping):
        assert result.populations == ()


def test_motion_along_a_line_is_said():
    for _, result in results(synthetic.anisotropic, seeds=range(2)):
        assert "along one line only" in reasons(result)
    for _, result in results(synthetic.hopping, seeds=range(2)):
        assert "along one line only" not in reasons(result)


def test_ions_that_move_together_across_the_cell_are_said():
    for size, said in ((8, True), (1, False)):
        generate = partial(synthetic.grouped, size=size)
        for _, result in results(generate, seeds=range(2)):
            assert ("as far as the cell reaches" in reasons(result)) == said


def test_a_run_shorter_than_a_picosecond_is_too_short_to_tell():
    known = synthetic.hopping(synthetic.Run(0, 20, 10, length_ps=0.9, timestep_fs=10.0), 0.5)
    result = analyze(as_trajectory(known), "Na", 600.0)
    assert result.verdict == "not_converged"
    assert "too short to tell" in result.reasons[0]
    assert "no diffusion seen" not in reasons(result)
    assert result.diffusivity_ci95_cm2_s[0] == 0


# Frameworks: what moves on purpose, groups that rotate, and steps that break it.


def polyanions(rotate=True, n_frames=2000, melt=False):
    """Eight PS4 turned at random again and again, with four hopping Na and four Li."""
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(*[[3.0, 9.0]] * 3), -1).reshape(-1, 3)
    corners = 2.05 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    turned = np.repeat(corners[None], 8, axis=0)
    frames = np.empty((n_frames, 40, 3))
    for frame in range(n_frames):
        if rotate and frame % 50 == 49:
            turned = np.array(
                [np.linalg.qr(rng.standard_normal((3, 3)))[0] @ corners.T for _ in range(8)]
            ).transpose(0, 2, 1)
        frames[frame] = np.concatenate([centres[:, None], centres[:, None] + turned], 1).reshape(
            40, 3
        )
    if melt:
        frames += np.cumsum(rng.normal(0, 0.08, frames.shape), axis=0)
    walk = np.cumsum(rng.normal(0, 0.12, (n_frames, 8, 3)), axis=0) + 6.0
    positions = np.concatenate([walk, frames + rng.normal(0, 0.08, frames.shape)], axis=1)
    species = ["Na"] * 4 + ["Li"] * 4 + ["P", *["S"] * 4] * 8
    return positions, species


def test_rotating_polyanions_are_no_melt():
    positions, species = polyanions()
    run = Trajectory.from_arrays(positions, 12 * np.eye(3), species, 50.0)
    result = analyze(run, "Na", 600.0, also_mobile=["Li"])
    assert [s.failures for s in result.framework] == [(), ()]
    positions, species = polyanions(melt=True)
    run = Trajectory.from_arrays(positions, 12 * np.eye(3), species, 50.0)
    assert analyze(run, "Na", 600.0, also_mobile=["Li"]).verdict == "framework_unstable"


def test_two_mobile_species_have_the_rest_as_framework():
    positions, species = polyanions(rotate=False)
    run = Trajectory.from_arrays(positions, 12 * np.eye(3), species, 50.0)
    assert analyze(run, "Na", 600.0).verdict == "framework_unstable"
    both = analyze(run, "Na", 600.0, also_mobile=["Li"])
    assert both.verdict != "framework_unstable"
    assert {s.species for s in both.framework} == {"P", "S"}


@pytest.mark.parametrize(("step_fs", "verdict"), [(10.0, "timestep_too_long"), (2.0, "framework")])
def test_a_long_step_is_blamed_for_a_broken_framework(step_fs, verdict):
    positions, species = polyanions(melt=True)
    run = Trajectory.from_arrays(positions, 12 * np.eye(3), species, 50.0, md_timestep_fs=step_fs)
    result = analyze(run, "Na", 600.0, also_mobile=["Li"])
    assert result.verdict.startswith(verdict)
    if step_fs == 10.0:
        assert "at most 5 fs" in result.reasons[0]
        assert "from every starting site" in reasons(result)


def test_the_longest_step_without_harm():
    check = TimestepCheck("S", 420.0, 1.19, True)
    assert check.largest_step_fs == pytest.approx(7.6, abs=0.1)
    assert TimestepCheck("", 0.0, 1.0, False).largest_step_fs is None


# What analyze() takes


def test_analyze_takes_paths_atoms_and_pymatgen(tmp_path):
    known = synthetic.hopping(synthetic.Run(0, 12, 6, length_ps=30, timestep_fs=100.0), 0.3)
    run = as_trajectory(known)
    wanted = analyze(run, "Na", 600.0).diffusivity_cm2_s
    np.savez(
        tmp_path / "run.npz",
        positions=known.positions.astype(np.float32),
        cell=known.cell,
        species=known.species,
        timestep_fs=100.0,
    )
    atoms = [
        ase.Atoms(known.species, positions=frame, cell=known.cell, pbc=True)
        for frame in known.positions
    ]
    fractional = known.positions @ np.linalg.inv(known.cell)
    pymatgen_run = PymatgenTrajectory(
        known.species, fractional, lattice=Lattice(known.cell), time_step=100.0
    )
    options = ReadOptions(timestep_fs=100.0)
    for source in (tmp_path / "run.npz", str(tmp_path / "run.npz"), atoms, pymatgen_run):
        for species in ("Na", Element("Na"), Species("Na", 1)):
            result = analyze(source, species, 600.0, options=options)
            assert result.species == "Na"
            assert result.diffusivity_cm2_s == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(InputError, match="int is no trajectory"):
        analyze(3, "Na", 600.0)
    with pytest.raises(InputError, match="time between frames"):
        analyze(atoms, "Na", 600.0)


def test_a_temperature_that_contradicts_the_file_is_refused():
    known = synthetic.hopping(synthetic.Run(0, 12, 6, length_ps=5, timestep_fs=100.0), 0.3)
    with pytest.raises(InputError, match=r"300 K, 600 K was given"):
        analyze(as_trajectory(known, temperature_k=300.0), "Na", 600.0)


def test_results_fit_a_screen_and_a_notebook(hopping_result):
    text = repr(hopping_result)
    assert len(text.splitlines()) < 15
    assert max(map(len, text.splitlines())) < 160
    assert hopping_result.verdict in text
    assert "<td>verdict</td>" in hopping_result._repr_html_()
