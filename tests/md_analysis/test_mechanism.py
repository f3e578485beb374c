"""RDF, van Hove, sites, density and pictures, against crystals and walks done by hand."""

import numpy as np
import pytest
import synthetic
from pymatgen.io.vasp import Chgcar

import naive
from ionsieve.errors import InputError
from ionsieve.md_analysis import Trajectory, plots
from ionsieve.md_analysis.density import probability_density
from ionsieve.md_analysis.sites import follow_sites
from ionsieve.md_analysis.van_hove import radial_distribution, van_hove

CELL = np.array([[8.0, 0.0, 0.0], [2.0, 8.0, 0.0], [0.0, -2.0, 9.0]])


@pytest.fixture(scope="module")
def hopping():
    known = synthetic.hopping(synthetic.Run(2, 20, 5, length_ps=40, timestep_fs=40.0), 0.3)
    return Trajectory.from_arrays(known.positions, known.cell, known.species, known.timestep_fs)


def gas(n_frames=5, n_ions=12):
    rng = np.random.default_rng(0)
    positions = rng.random((1, n_ions, 3)) @ CELL + rng.normal(0, 0.1, (n_frames, n_ions, 3))
    return Trajectory.from_arrays(positions, CELL, ["Na"] * 8 + ["S"] * 4, 2.0)


def test_coordination_is_the_count_of_nearest_images():
    run = gas(n_frames=1)
    rdf = radial_distribution(run, "Na", "S", 0.25)
    places = run.fractional[:, :, 0] @ CELL
    distances = np.array(
        [naive.nearest_image_distance(a, b, CELL) for a in places[:8] for b in places[8:]]
    )
    ends = rdf.radii_angstrom + 0.125
    expected = (distances[None] < ends[:, None]).sum(axis=1) / 8
    np.testing.assert_allclose(rdf.coordination, expected)


def test_a_perfect_gas_has_a_flat_rdf():
    rng = np.random.default_rng(1)
    positions = rng.random((60, 60, 3)) @ CELL
    run = Trajectory.from_arrays(positions, CELL, ["Na"] * 60, 2.0, unwrapped=True)
    values = radial_distribution(run, "Na", "Na", 0.5).values
    np.testing.assert_allclose(values[2:], 1.0, atol=0.1)


def test_self_van_hove_is_a_density_with_peaks_at_jumps(hopping):
    result = van_hove(hopping, "Na", np.array([10.0]))
    width = result.radii_angstrom[1] - result.radii_angstrom[0]
    total = result.self_part[0].sum() * width
    assert 0.8 < total <= 1.0 + 1e-9
    near = (result.radii_angstrom > 2.5) & (result.radii_angstrom < 3.5)
    between = (result.radii_angstrom > 1.5) & (result.radii_angstrom < 2.0)
    assert result.self_part[0][near].mean() > 5 * result.self_part[0][between].mean()


def test_ions_that_replace_each_other_show_at_zero_distance():
    """Two ions swap sites between the two frames."""
    a, b = [2.0, 2.0, 2.0], [5.0, 2.0, 2.0]
    positions = np.array([[a, b, [0, 0, 0]], [b, a, [0, 0, 0]]], dtype=float)
    run = Trajectory.from_arrays(positions, 12 * np.eye(3), ["Na", "Na", "S"], 1e3)
    result = van_hove(run, "Na", np.array([1.0]), 0.5)
    assert result.distinct[0, 0] > 0
    assert result.distinct[0, 1:].sum() == 0
    assert result.self_part[0].argmax() == 6  # 3.0 to 3.5 Angstrom


def test_sites_and_jumps_of_a_walk_done_by_hand():
    sites = np.array([[0.05, 0.5, 0.5], [0.35, 0.5, 0.5], [0.65, 0.5, 0.5]])
    # Site 0, between, 1, back through the middle without arriving, 1, then 2 and on into 0's image.
    x = [0.05, 0.2, 0.36, 0.5, 0.34, 0.64, 0.85, 1.05]
    positions = np.zeros((len(x), 2, 3))
    positions[:, 0] = np.column_stack([np.array(x) * 10, np.full((len(x), 2), 5.0)])
    run = Trajectory.from_arrays(positions, 10 * np.eye(3), ["Na", "S"], 1e3)
    history = follow_sites(run, "Na", sites, 1.0)
    assert history.site[0].tolist() == [0, 0, 1, 1, 1, 2, 2, 0]
    assert history.jumps.tolist() == [[2, 0, 0, 1], [5, 0, 1, 2], [7, 0, 2, 0]]
    assert history.transitions() == {(0, 1): 1, (1, 2): 1, (2, 0): 1}
    np.testing.assert_allclose(history.occupation, [3 / 8, 3 / 8, 2 / 8])
    assert history.jump_rate_per_ps == pytest.approx(3 / 7)
    assert history.return_fraction == 0


def test_jump_rate_of_known_hops(hopping):
    n = round(hopping.mean_cell[0, 0] / 3)
    sites = np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), -1).reshape(-1, 3)
    history = follow_sites(hopping, "Na", sites, 1.3)
    expected = 6 * 0.3 / 9
    n_jumps = len(history.jumps)
    assert history.jump_rate_per_ps == pytest.approx(expected, abs=4 * expected / np.sqrt(n_jumps))
    assert history.return_fraction == pytest.approx(1 / 6, abs=0.12)
    assert history.occupation.sum() == pytest.approx(20, abs=0.1)


def test_overlapping_sites_are_refused(hopping):
    with pytest.raises(InputError, match="closer than twice the radius"):
        follow_sites(hopping, "Na", [[0, 0, 0], [0.02, 0, 0]], 1.0)
    with pytest.raises(InputError, match="n_sites, 3"):
        follow_sites(hopping, "Na", [0, 0, 0], 1.0)


def test_density_counts_ions_and_reads_back(hopping, tmp_path):
    grid = probability_density(hopping, "Na", 0.5, 0.3)
    box = hopping.volume_angstrom3 / grid.values.size
    assert grid.values.sum() * box == pytest.approx(20)
    grid.write_chgcar(tmp_path / "CHGCAR")
    chgcar = Chgcar.from_file(tmp_path / "CHGCAR")
    np.testing.assert_allclose(
        chgcar.data["total"] / hopping.volume_angstrom3, grid.values, atol=1e-9
    )
    grid.write_cube(tmp_path / "density.cube")
    from ase.io.cube import read_cube

    with (tmp_path / "density.cube").open() as file:
        cube = read_cube(file)
    bohr = 0.529177210544
    np.testing.assert_allclose(cube["data"] / bohr**3, grid.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.array(cube["atoms"].cell), grid.cell, atol=1e-3)


def test_density_is_highest_on_the_sites(hopping):
    grid = probability_density(hopping, "Na", 0.5, 0.3)
    place = np.array(np.unravel_index(grid.values.argmax(), grid.values.shape)) + 0.5
    angstrom = place / np.array(grid.values.shape) @ grid.cell
    assert np.abs(angstrom - 3 * np.rint(angstrom / 3)).max() < 0.8


def test_bad_questions_are_named(hopping):
    with pytest.raises(InputError, match="lags from"):
        van_hove(hopping, "Na", np.array([1000.0]))
    with pytest.raises(InputError, match="bin width"):
        radial_distribution(hopping, "Na", "S", 0.0)
    with pytest.raises(InputError, match="too fine"):
        probability_density(hopping, "Na", 1e-3)


def test_every_picture_draws(hopping, hopping_result, tmp_path):
    drawn = {
        "msd": plots.plot_msd(hopping_result),
        "windows": plots.plot_windows(hopping_result),
        "displacements": plots.plot_displacements(hopping_result),
        "rdf": plots.plot_radial_distribution(radial_distribution(hopping, "Na", "S")),
        "self": plots.plot_van_hove(van_hove(hopping, "Na")),
        "distinct": plots.plot_van_hove(van_hove(hopping, "Na"), distinct=True),
        "density": plots.plot_density_slice(probability_density(hopping, "Na", 0.5)),
    }
    for name, axes in drawn.items():
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        axes.get_figure(root=True).savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_pictures_draw_into_given_axes(hopping_result):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plots.plot_msd(hopping_result, ax=ax) is ax
