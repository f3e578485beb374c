"""What files tell is used; what contradicts it is one line that names both."""

import bz2
import gzip
import lzma

import ase
import ase.io
import numpy as np
import pytest
import zstandard
from pymatgen.core import Lattice, Molecule
from pymatgen.core.trajectory import Trajectory as PymatgenTrajectory

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, Trajectory, read_trajectory
from trajectory_files import (
    CELL,
    EDGE,
    N_FRAMES,
    SPECIES,
    assert_same_paths,
    dump,
    refuse,
    slow,
    walk,
    wrapped,
    xdatcar,
)

CUBE = tuple(map(tuple, CELL))


# XDATCAR: the numbers of the frames are MD steps.


@pytest.fixture
def frames():
    return wrapped(walk())


def test_frame_numbers_and_the_md_step_give_the_time(frames, tmp_path):
    path = xdatcar(tmp_path / "XDATCAR", frames, 50 * np.arange(1, N_FRAMES + 1))
    assert read_trajectory(path, ReadOptions(md_timestep_fs=2.0)).timestep_fs == 100.0
    both = read_trajectory(path, ReadOptions(timestep_fs=50.0))
    assert (both.timestep_fs, both.md_timestep_fs) == (50.0, 1.0)
    assert "steps of 1 fs" in both.notes[0]
    refuse(path, "50 steps apart", "0.04 fs", timestep_fs=2.0)
    refuse(path, "50 steps", "100 fs", "80 fs", timestep_fs=80.0, md_timestep_fs=2.0)
    refuse(path, "steps between frames (50)")


def test_frames_numbered_one_by_one_may_be_written_rarely(frames, tmp_path):
    path = xdatcar(tmp_path / "XDATCAR", frames, range(1, N_FRAMES + 1))
    found = read_trajectory(path, ReadOptions(timestep_fs=20.0, md_timestep_fs=2.0))
    assert (found.timestep_fs, found.md_timestep_fs) == (20.0, 2.0)
    assert read_trajectory(path, ReadOptions(md_timestep_fs=2.0)).timestep_fs == 2.0


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([*range(1, 21), *range(31, 51)], ("missing", "20 is followed by 31")),
        ([*range(1, 31), *range(40, 140, 10)], ("interval", "changes", "30 is followed by 40")),
        ([1, 1, *range(2, 40)], ("1 twice", "other positions")),
    ],
)
def test_gaps_and_changes_of_nblock_are_refused(numbers, words, frames, tmp_path):
    refuse(xdatcar(tmp_path / "XDATCAR", frames, numbers), *words, timestep_fs=100.0)


def test_a_restart_that_overlaps_is_used_once(frames, tmp_path):
    again = [*range(25), *range(20, N_FRAMES)]
    path = xdatcar(tmp_path / "XDATCAR", frames[again], [i + 1 for i in again])
    found = read_trajectory(path, ReadOptions(timestep_fs=100.0))
    assert "5 frames from configuration 21" in found.notes[0]
    assert_same_paths(found, walk())


def test_frames_written_twice_are_used_once_or_refused(frames, tmp_path):
    twice = np.repeat(np.arange(N_FRAMES), 2)
    path = xdatcar(tmp_path / "XDATCAR", frames[twice], twice + 1)
    found = read_trajectory(path, ReadOptions(timestep_fs=100.0))
    assert "there twice" in found.notes[0]
    assert_same_paths(found, walk())
    path = xdatcar(tmp_path / "XDATCAR", frames[twice], range(1, 2 * N_FRAMES + 1))
    refuse(path, "the same", "write each frame once", timestep_fs=100.0)


def test_pieces_in_one_file_are_joined_if_one_follows_the_other(frames, tmp_path):
    numbers = [*range(1, 21), *range(1, 21)]
    path = xdatcar(tmp_path / "XDATCAR", frames, numbers, header_at=(0, 20))
    found = read_trajectory(path, ReadOptions(timestep_fs=100.0))
    assert "start anew after configuration 20" in found.notes[0]
    assert_same_paths(found, walk())
    calm = wrapped(slow(N_FRAMES))
    swapped = np.concatenate([calm[20:], calm[:20]])
    refuse(xdatcar(path, swapped, numbers), "swapped", timestep_fs=100.0)
    run_twice = np.concatenate([frames[:20], frames[:20]])
    once = read_trajectory(xdatcar(path, run_twice, numbers), ReadOptions(timestep_fs=100.0))
    assert once.n_frames == 20


def test_more_ions_than_the_header_tells_are_refused(frames, tmp_path):
    path = xdatcar(tmp_path / "XDATCAR", frames, range(1, N_FRAMES + 1))
    path.write_text(path.read_text().replace("    3    2\n", "    3    1\n", 1))
    refuse(path, "header can't be read", timestep_fs=100.0)


# Extended xyz


def extxyz(path, paths, properties, columns, species=SPECIES, between="", comment=""):
    text = ""
    for frame in paths:
        text += f"{len(species)}\n"
        text += f'Lattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" {properties} {comment}\n'
        for ion, (symbol, row) in enumerate(zip(species, frame, strict=True)):
            text += columns(ion, symbol, "{:.6f} {:.6f} {:.6f}".format(*row)) + "\n"
        text += between
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("properties", "columns"),
    [
        ("", lambda ion, s, xyz: f"{s} {xyz}"),
        ("Properties=species:S:1:pos:R:3", lambda ion, s, xyz: f"{s} {xyz}"),
        ("Properties=species:S:1:id:I:1:pos:R:3", lambda ion, s, xyz: f"{s} {ion + 1} {xyz}"),
        ("Properties=id:I:1:species:S:1:pos:R:3", lambda ion, s, xyz: f"{ion + 1} {s} {xyz}"),
        ("Properties=forces:R:3:pos:R:3:species:S:1", lambda ion, s, xyz: f"9 8 7 {xyz} {s}"),
        ("Properties=vel:R:3:species:S:1:pos:R:3:Z:I:1", lambda i, s, xyz: f"9 8 7 {s} {xyz} 11"),
        ("Properties=pos:R:3:Z:I:1", lambda i, s, xyz: f"{xyz} {ase.Atom(s).number}"),
    ],
)
@pytest.mark.parametrize("between", ["", "\n", "  \n\n"])
def test_columns_in_any_order_and_blank_lines(properties, columns, between, tmp_path):
    path = extxyz(tmp_path / "run.extxyz", walk(), properties, columns, between=between)
    found = read_trajectory(path, ReadOptions(timestep_fs=100.0))
    assert found.species == tuple(SPECIES)
    assert found.notes == ()
    assert_same_paths(found, walk())


def test_xyz_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "run.xyz"
    plain = lambda ion, s, xyz: f"{s} {xyz}"  # noqa: E731
    extxyz(path, walk(), "Properties=species:S:1:force:R:3", plain)
    refuse(path, "no pos", "species, force", timestep_fs=100.0)
    extxyz(path, walk(), "", plain)
    refuse(path, "diagonal", "12", "15", timestep_fs=100.0, cell=tuple(map(tuple, 15 * np.eye(3))))
    text = path.read_text().splitlines()
    text[2], text[6] = text[6], text[2]
    path.write_text("\n".join(text) + "\n")
    refuse(path, "frame 2", "not S as in the first", timestep_fs=100.0)
    lines = extxyz(path, walk(), "", plain).read_text().splitlines()
    lines[10] = "Na 1.0 oops 2.0"
    path.write_text("\n".join(lines) + "\n")
    refuse(path, "frame 2", "can't be read", timestep_fs=100.0)


def test_ids_in_extxyz_sort_the_ions(tmp_path):
    paths, rng = walk(), np.random.default_rng(1)
    text = ""
    for frame in paths:
        text += f'5\nLattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" '
        text += "Properties=species:S:1:id:I:1:pos:R:3\n"
        for ion in rng.permutation(5):
            text += f"{SPECIES[ion]} {ion + 1} " + " ".join(f"{x:.6f}" for x in frame[ion]) + "\n"
    (tmp_path / "run.xyz").write_text(text)
    found = read_trajectory(tmp_path / "run.xyz", ReadOptions(timestep_fs=100.0))
    assert found.species == tuple(SPECIES)
    assert_same_paths(found, paths)


# CP2K


def cp2k(path, paths, steps, fs_per_step, labels=SPECIES):
    text = ""
    for frame, step in zip(paths, steps, strict=True):
        text += f"{len(labels):8d}\n i = {step:8d}, time = {step * fs_per_step:12.3f}, "
        text += "E =      -231.1234567890\n"
        for label, row in zip(labels, frame, strict=True):
            text += f"{label:>3s}" + "".join(f"{x:20.10f}" for x in row) + "\n"
    path.write_text(text)
    return path


def test_cp2k_tells_step_time_and_kinds(tmp_path):
    labels = ["Na1", "Na1", "Na2", "S_a", "S2"]
    path = cp2k(tmp_path / "x-pos-1.xyz", walk(), range(0, 10 * N_FRAMES, 10), 0.5, labels)
    found = read_trajectory(path, ReadOptions(cell=CUBE))
    assert (found.timestep_fs, found.md_timestep_fs) == (5.0, 0.5)
    assert found.species == tuple(SPECIES)
    assert "Na1, Na2, S_a, S2 are taken as Na, S" in found.notes[0]
    refuse(path, "5 fs", "50 fs", cell=CUBE, timestep_fs=50.0)
    refuse(path, "5 fs", "10 steps", "20 fs", cell=CUBE, md_timestep_fs=2.0)


def test_cp2k_restarts_are_used_once_and_gaps_refused(tmp_path):
    steps = [*range(25), *range(24, N_FRAMES)]
    path = cp2k(tmp_path / "x-pos-1.xyz", walk()[steps], steps, 0.5)
    assert_same_paths(read_trajectory(path, ReadOptions(cell=CUBE)), walk())
    steps = [*range(25), *range(20, N_FRAMES)]
    found = read_trajectory(cp2k(path, walk()[steps], steps, 0.5), ReadOptions(cell=CUBE))
    assert "written again by a restart" in found.notes[0]
    assert_same_paths(found, walk())
    steps = [*range(10), *range(15, N_FRAMES)]
    refuse(cp2k(path, walk()[steps], steps, 0.5), "missing", "4.5", "7.5", cell=CUBE)


# Other formats, and compression


def test_npz_and_pymatgen_contradictions(tmp_path):
    paths = walk().astype(np.float32)
    np.savez(tmp_path / "a.npz", positions=paths, cell=CELL, species=SPECIES, timestep_fs=200.0)
    refuse(tmp_path / "a.npz", "200 fs", "2000 fs", timestep_fs=2000.0)
    segment = Trajectory.from_arrays(paths, CELL, SPECIES, 200.0, temperature_k=600.0)
    (tmp_path / "b.npz").write_bytes(segment.to_bytes())
    refuse(tmp_path / "b.npz", "600 K", "300 K", temperature_k=300.0)
    run = PymatgenTrajectory(SPECIES, wrapped(paths), lattice=Lattice(CELL), time_step=200.0)
    (tmp_path / "c.json").write_text(run.to_json())
    refuse(tmp_path / "c.json", "200 fs", "100 fs", timestep_fs=100.0)


def test_pymatgen_displacements_and_molecules(tmp_path):
    paths, path = walk(), tmp_path / "run.json"
    run = PymatgenTrajectory(SPECIES, wrapped(paths), lattice=Lattice(CELL), time_step=200.0)
    run.to_displacements()
    path.write_text(run.to_json())
    assert_same_paths(read_trajectory(path), paths)
    molecules = [Molecule(SPECIES, frame) for frame in paths]
    path.write_text(PymatgenTrajectory.from_molecules(molecules, time_step=200.0).to_json())
    refuse(path, "molecules", "no cell", timestep_fs=200.0)


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    "name", ["XDATCAR", "run.extxyz", "run.lammpstrj", "run.traj", "run.json", "run.npz"]
)
def test_every_format_may_be_compressed(name, suffix, frames, tmp_path):
    plain, paths = tmp_path / name, walk()
    if name == "XDATCAR":
        xdatcar(plain, frames, range(1, N_FRAMES + 1))
    elif name == "run.lammpstrj":
        dump(plain, paths)
    elif name == "run.npz":
        np.savez(plain, positions=paths, cell=CELL, species=SPECIES)
    elif name == "run.json":
        run = PymatgenTrajectory(SPECIES, frames, lattice=Lattice(CELL), time_step=200.0)
        plain.write_text(run.to_json())
    else:
        ase.io.write(plain, [ase.Atoms(SPECIES, p, cell=CELL, pbc=True) for p in paths])
    packed = tmp_path / f"packed_{name}.{suffix}"
    packed.write_bytes(PACKERS[suffix](plain.read_bytes()))
    assert_same_paths(read_trajectory(packed, ReadOptions(timestep_fs=200.0)), paths)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_cut_archive_is_used_as_far_as_it_goes(suffix, tmp_path):
    plain = xdatcar(tmp_path / "XDATCAR", wrapped(walk(n_frames=4000)), range(1, 4001))
    packed = PACKERS[suffix](plain.read_bytes())
    path = tmp_path / f"XDATCAR.{suffix}"
    path.write_bytes(packed[: int(0.9 * len(packed))])
    if suffix == "bz2":  # gives nothing before the end of a block of 900 kB
        refuse(path, "nothing in it", timestep_fs=200.0)
        return
    found = read_trajectory(path, ReadOptions(timestep_fs=200.0))
    assert found.n_frames < 4000
    assert any("damaged" in note for note in found.notes)


# Binary formats through MDAnalysis


def test_binary_formats_are_read_with_their_times(tmp_path):
    mda = pytest.importorskip("MDAnalysis")
    paths = walk()
    universe = mda.Universe.empty(len(SPECIES), trajectory=True)
    universe.add_TopologyAttr("names", SPECIES)
    universe.add_TopologyAttr("elements", SPECIES)
    universe.dimensions = [EDGE] * 3 + [90.0] * 3
    universe.atoms.positions = paths[0]
    universe.atoms.write(tmp_path / "run.pdb")
    with mda.Writer(str(tmp_path / "run.xtc"), len(SPECIES)) as writer:
        for number, frame in enumerate(paths):
            universe.atoms.positions = frame
            universe.trajectory.ts.time = 0.2 * number
            universe.trajectory.ts.frame = number
            writer.write(universe.atoms)
    found = read_trajectory(tmp_path / "run.xtc", ReadOptions(topology=tmp_path / "run.pdb"))
    assert found.species == tuple(SPECIES)
    assert found.timestep_fs == pytest.approx(200.0)
    assert_same_paths(found, paths, atol=0.02)
    refuse(
        tmp_path / "run.xtc", "200 fs", "100 fs", timestep_fs=100.0, topology=tmp_path / "run.pdb"
    )
    refuse(tmp_path / "run.xtc", "--topology")


def test_what_binary_formats_need_is_named(tmp_path):
    path = tmp_path / "run.dcd"
    path.write_bytes(b"T\x00\x00\x00CORD" + bytes(100))
    with pytest.raises(InputError, match=r"MDAnalysis|topology"):
        read_trajectory(path, ReadOptions(timestep_fs=2.0))
