"""LAMMPS dumps of every kind, and pieces of runs that must follow each other."""

import numpy as np
import pytest
from pymatgen.core import Element, Species

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, Trajectory, read_trajectory
from trajectory_files import (
    CELL,
    EDGE,
    GENERAL,
    N_FRAMES,
    SPECIES,
    TILTED,
    assert_same_paths,
    dump,
    refuse,
    rows,
    slow,
    walk,
    wrapped,
)

TRICLINIC = "ITEM: BOX BOUNDS xy xz yz pp pp pp\n0 18 5\n0 14 1\n0 12 2\n"


@pytest.mark.parametrize(
    ("cell", "box"),
    [
        (CELL, None),
        (TILTED, TRICLINIC),
        (CELL, "ITEM: BOX BOUNDS abc origin pp pp pp\n" + rows(CELL)),
        (GENERAL, "ITEM: BOX BOUNDS abc origin pp pp pp\n" + rows(GENERAL)),
    ],
)
@pytest.mark.parametrize(
    "columns",
    [
        "id element x y z",
        "id element xu yu zu",
        "element xs ys zs id",
        "xsu ysu zsu element",
        "id element x vx y vy z vz",
        "id type x y z ix iy iz",
    ],
)
def test_every_kind_of_box_and_column(cell, box, columns, tmp_path):
    path = dump(tmp_path / "run.lammpstrj", walk(cell), cell, columns, box)
    found = read_trajectory(path, ReadOptions(md_timestep_fs=2.0, species=("Na", "S")))
    assert found.species == tuple(SPECIES)
    assert found.timestep_fs == 200.0
    np.testing.assert_allclose(found.mean_cell, cell, atol=1e-6)
    assert_same_paths(found, walk(cell), cell)
    assert ("no ids" in str(found.notes)) == ("id" not in columns.split())


HEAD = "ITEM: UNITS\n{units}\nITEM: TIME\n{{time}}\n"


def test_lammps_times_and_units(tmp_path):
    path = tmp_path / "run.lammpstrj"
    dump(path, walk(), head=HEAD.format(units="metal"))
    assert read_trajectory(path).timestep_fs == pytest.approx(200.0)
    refuse(path, "200 fs", "100 steps", "100 fs", md_timestep_fs=1.0)
    dump(path, walk(), head=HEAD.format(units="real"))
    assert read_trajectory(path).timestep_fs == pytest.approx(0.2)
    refuse(path, "0.2 fs", "200 fs", md_timestep_fs=2.0)
    dump(path, walk(), head=HEAD.format(units="nano"))
    assert read_trajectory(path).mean_cell[0, 0] == pytest.approx(10 * EDGE)
    dump(path, walk(), head=HEAD.format(units="lj"))
    refuse(path, "units lj", timestep_fs=200.0)
    dump(path, walk(), head="ITEM: TIME\n{time}\n")
    assert read_trajectory(path, ReadOptions(md_timestep_fs=2.0)).timestep_fs == 200.0
    refuse(path, "neither fs nor ps", md_timestep_fs=1.0)


def test_lost_and_exchanged_ions_are_named(tmp_path):
    path = dump(tmp_path / "run.lammpstrj", walk())
    lines = path.read_text().splitlines()
    lost = next(i for i, line in enumerate(lines) if i > 100 and line.startswith("4 S"))
    fewer = lines[:lost] + lines[lost + 1 :]
    start = max(i for i in range(lost) if fewer[i].startswith("ITEM: NUMBER"))
    fewer[start + 1] = "4"
    path.write_text("\n".join(fewer) + "\n")
    refuse(path, "4 ions", "first frame 5", md_timestep_fs=2.0)
    lines[lost] = lines[lost].replace("4 S", "9 S", 1)
    path.write_text("\n".join(lines) + "\n")
    refuse(path, "lacks 1 ions", "id 4", md_timestep_fs=2.0)


def test_boxes_without_volume_and_times_in_some_frames_only_are_refused(tmp_path):
    path = dump(tmp_path / "run.lammpstrj", walk())
    text = path.read_text()
    path.write_text(text.replace("0 12.0\n0 12.0\n0 12.0\n", "0 12.0\n0 0\n0 12.0\n", 1))
    refuse(path, "no volume", md_timestep_fs=2.0)
    path.write_text(text.replace("0 12.0\n", "0 12.0\n0 12.0\n", 1))
    refuse(path, "head can't be read", md_timestep_fs=2.0)
    dump(path, walk(), head="ITEM: TIME\n{time}\n")
    path.write_text(path.read_text().replace("ITEM: TIME\n0.0\n", "", 1))
    refuse(path, "39 of the 40 frames", "time", md_timestep_fs=2.0)


def test_a_box_that_flips_is_the_same_crystal(tmp_path):
    """LAMMPS turns xy = 6.1 of lx = 12 into -5.9."""
    path, text = tmp_path / "run.lammpstrj", ""
    paths = walk(TILTED)
    for i, frame in enumerate(paths):
        xy = 5.5 + 0.03 * i - (12.0 if i > 20 else 0.0)
        cell = np.array([[12.0, 0, 0], [xy, 12.0, 0], [0, 0, 12.0]])
        text += f"ITEM: TIMESTEP\n{i}\nITEM: NUMBER OF ATOMS\n5\n"
        low, high = min(0, xy), 12 + max(0, xy)
        text += f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{low} {high} {xy}\n0 12 0\n0 12 0\n"
        text += "ITEM: ATOMS id element xs ys zs\n"
        for ion, row in enumerate(wrapped(frame, cell)):
            text += f"{ion + 1} {SPECIES[ion]} " + " ".join(f"{x:.8f}" for x in row) + "\n"
    path.write_text(text)
    found = read_trajectory(path, ReadOptions(md_timestep_fs=2.0))
    tilts = found.cell[:, 1, 0]
    np.testing.assert_allclose(tilts, 5.5 + 0.03 * np.arange(N_FRAMES), atol=1e-6)
    step = np.diff(found.fractional, axis=2)
    assert np.abs(step).max() < 0.3


# Joining, and species of other packages


def run(paths, **more):
    return Trajectory.from_arrays(paths, CELL, SPECIES, 10.0, **more)


def test_pieces_of_a_slow_run_must_follow_each_other():
    paths = slow()
    a, b, c = (run(paths[i : i + 40]) for i in (0, 40, 80))
    assert Trajectory.join([a, b, c]).n_frames == 120
    for wrong in ([a, c], [b, a], [a, c, b]):
        with pytest.raises(InputError, match="missing, swapped"):
            Trajectory.join(wrong)
    for doubled in ([a, a], [a, b, a]):
        with pytest.raises(InputError, match="twice"):
            Trajectory.join(doubled)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"temperature_k": 600.0}, {"temperature_k": 900.0}, "900 K.* 600 K"),
        ({"md_timestep_fs": 1.0}, {"md_timestep_fs": 2.0}, "2 fs.* 1 fs"),
    ],
)
def test_pieces_of_different_runs_are_refused(one, other, words):
    paths = slow()
    with pytest.raises(InputError, match=words):
        Trajectory.join([run(paths[:60], **one), run(paths[60:], **other)])
    swapped = Trajectory.from_arrays(paths[60:], CELL, SPECIES[::-1], 10.0)
    with pytest.raises(InputError, match=r"S2 Na3.* Na3 S2"):
        Trajectory.join([run(paths[:60]), swapped])


def test_step_numbers_tell_of_missing_pieces(tmp_path):
    paths = walk()
    whole = dump(tmp_path / "a.lammpstrj", paths).read_text().split("ITEM: TIMESTEP")
    pieces = []
    for name, part in (("b", whole[1:11]), ("c", whole[11:21]), ("d", whole[30:])):
        path = tmp_path / f"{name}.lammpstrj"
        path.write_text("".join(f"ITEM: TIMESTEP{frame}" for frame in part))
        pieces.append(read_trajectory(path, ReadOptions(md_timestep_fs=2.0)))
    assert Trajectory.join(pieces[:2]).steps == (0, 1900)
    with pytest.raises(InputError, match=r"step 2900.* 1900"):
        Trajectory.join(pieces)
    with pytest.raises(InputError, match="before the first"):
        Trajectory.join(pieces[1::-1])


def test_species_may_be_text_or_of_pymatgen():
    labels = [Species("Na", 1)] * 3 + [Element("S")] * 2
    found = Trajectory.from_arrays(walk(), CELL, labels, 10.0, temperature_k=500.0)
    assert found.species == tuple(SPECIES)
    for wanted in ("Na", Element("Na"), Species("Na", 1)):
        assert len(found.indices(wanted)) == 3
    assert repr(found) == "<Trajectory Na3 S2: 40 frames, 10 fs apart, 0.39 ps, 500 K>"
