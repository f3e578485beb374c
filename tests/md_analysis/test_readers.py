"""One reference trajectory, written in every format by its own library or by the book."""

import gzip
from dataclasses import replace

import ase
import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice
from pymatgen.core.trajectory import Trajectory as PymatgenTrajectory

from ionsieve.errors import InputError, IonSieveError
from ionsieve.md_analysis import ReadOptions, Trajectory, read_trajectory, read_xdatcar

OPTIONS = ReadOptions(timestep_fs=2.0, species=("Na", "S"))


def wrapped(known):
    return (known.positions @ np.linalg.inv(known.cell)) % 1.0


def breathing(known):
    """One cell per frame, one per cent up and down."""
    factor = 1 + 0.01 * np.sin(np.arange(len(known.positions)) / 5)
    return known.cell * factor[:, None, None]


def write_xdatcar(path, known, cells=None):
    n = known.species.count("Na")
    lines = []
    for i, frame in enumerate(wrapped(known)):
        if i == 0 or cells is not None:
            cell = known.cell if cells is None else cells[i]
            lines += ["test", "  1.0", *(" ".join(f"{x:12.6f}" for x in row) for row in cell)]
            lines += [" Na S", f" {n} {len(known.species) - n}"]
        lines.append(f"Direct configuration= {i + 1:5d}")
        lines += [" ".join(f"{x:11.8f}" for x in row) for row in frame]
    path.write_text("\n".join(lines) + "\n")


def write_vasprun(path, known):
    atoms = "\n".join(f"<rc><c>{s}</c><c>   1</c></rc>" for s in known.species)
    rows = lambda table: "\n".join(  # noqa: E731
        "<v>" + "".join(f" {x:15.8f}" for x in row) + " </v>" for row in table
    )
    text = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <incar><i type="int" name="IBRION">     0</i><i name="POTIM">      2.00000000</i></incar>
 <atominfo><atoms>12</atoms><array name="atoms" ><set>
{atoms}
 </set></array></atominfo>
 <parameters><i name="TEBEG">    650.00000000</i></parameters>
"""
    for frame in wrapped(known):
        text += f""" <calculation>
  <structure><crystal><varray name="basis" >
{rows(known.cell)}
  </varray></crystal><varray name="positions" >
{rows(frame)}
  </varray></structure>
  <varray name="forces" >
{rows(frame)}
  </varray>
 </calculation>
"""
    path.write_text(text + "</modeling>\n")


def write_lammps(path, known, columns):
    rng = np.random.default_rng(0)
    fractional = wrapped(known)
    edge = known.cell[0, 0]
    text = []
    for i, frame in enumerate(fractional):
        text += ["ITEM: TIMESTEP", str(10 * i), "ITEM: NUMBER OF ATOMS", str(len(frame))]
        text += ["ITEM: BOX BOUNDS pp pp pp", *[f"1.0 {1.0 + edge:.10f}"] * 3]
        text.append(f"ITEM: ATOMS id {columns}")
        for j in rng.permutation(len(frame)):
            kind = known.species[j] if "element" in columns else 1 + (known.species[j] == "S")
            shown = {"xs": frame[j], "x": frame[j] * edge + 1, "xu": known.positions[i, j] + 1}
            place = shown[columns.split()[1]]
            text.append(f"{j + 1} {kind} " + " ".join(f"{x:.9f}" for x in place))
    path.write_text("\n".join(text) + "\n")


def write_cp2k(path, known):
    text, cell = [], ["# Step Time Ax Ay Az Bx By Bz Cx Cy Cz Volume"]
    for i, frame in enumerate(known.positions):
        text += [str(len(frame)), f" i = {i:8d}, time = {2.0 * i:12.3f}, E = -1.0"]
        text += [
            f" {s} {p[0]:.10f} {p[1]:.10f} {p[2]:.10f}"
            for s, p in zip(known.species, frame, strict=True)
        ]
        cell.append(f"{i} {2.0 * i} " + " ".join(f"{x:.9f}" for x in known.cell.ravel()) + " 1.0")
    path.write_text("\n".join(text) + "\n")
    path.with_name("run-1.cell").write_text("\n".join(cell) + "\n")


def as_atoms(known):
    return [
        ase.Atoms(known.species, positions=frame, cell=known.cell, pbc=True)
        for frame in known.positions
    ]


def write_pymatgen(path, known):
    run = PymatgenTrajectory(
        known.species, wrapped(known), lattice=Lattice(known.cell), time_step=2.0
    )
    path.write_text(run.to_json())


WRITERS = {
    "XDATCAR": write_xdatcar,
    "vasprun.xml": write_vasprun,
    "run.lammpstrj": lambda p, k: write_lammps(p, k, "type xs ys zs"),
    "dump.wrapped": lambda p, k: write_lammps(p, k, "type x y z"),
    "dump.element": lambda p, k: write_lammps(p, k, "element xu yu zu"),
    "run-pos-1.xyz": write_cp2k,
    "run.traj": lambda p, k: ase.io.write(p, as_atoms(k)),
    "run.extxyz": lambda p, k: ase.io.write(p, as_atoms(k)),
    "run.json": write_pymatgen,
    "run.npz": lambda p, k: np.savez(
        p, positions=k.positions, cell=k.cell, species=k.species, timestep_fs=2.0
    ),
    "segment.npz": lambda p, k: p.write_bytes(
        Trajectory.from_arrays(k.positions, k.cell, k.species, 2.0).to_bytes()
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_gives_the_same_paths(name, reference, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, reference)
    # Dumps are written every ten steps.
    dump = name.startswith("dump") or name.endswith("lammpstrj")
    found = read_trajectory(path, replace(OPTIONS, md_timestep_fs=0.2) if dump else OPTIONS)
    expected = Trajectory.from_arrays(reference.positions, reference.cell, reference.species, 2.0)
    assert found.species == expected.species
    assert found.timestep_fs == 2.0
    assert found.notes == ()
    np.testing.assert_allclose(found.mean_cell, expected.mean_cell, atol=1e-6)
    moved = [t.fractional - t.fractional[:, :, :1] for t in (found, expected)]
    np.testing.assert_allclose(moved[0], moved[1], atol=3e-6)


@pytest.mark.parametrize("name", ["XDATCAR", "vasprun.xml", "run.lammpstrj", "run.extxyz"])
def test_a_file_cut_in_the_middle_is_used_as_far_as_whole(name, reference, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, reference)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.603 * len(whole))])
    found = read_trajectory(path, OPTIONS)
    assert 100 < found.n_frames < 200
    assert "cut" in found.notes[0]


@pytest.mark.parametrize("name", ["XDATCAR", "vasprun.xml"])
def test_gzipped_files_whole_and_cut(name, reference, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, reference)
    packed = gzip.compress(path.read_bytes())
    path = tmp_path / f"{name}.gz"
    path.write_bytes(packed)
    assert read_trajectory(path, OPTIONS).n_frames == 300
    path.write_bytes(packed[: len(packed) // 2])
    cut = read_trajectory(path, OPTIONS)
    assert 50 < cut.n_frames < 250
    assert any("damaged" in note for note in cut.notes)


def test_vasprun_tells_time_step_and_temperature(reference, tmp_path):
    path = tmp_path / "vasprun.xml"
    write_vasprun(path, reference)
    found = read_trajectory(path)
    assert (found.timestep_fs, found.md_timestep_fs, found.temperature_k) == (2.0, 2.0, 650.0)


def test_xdatcar_of_a_breathing_cell(reference, tmp_path):
    path = tmp_path / "XDATCAR"
    cells = breathing(reference)
    write_xdatcar(path, reference, cells)
    found = read_xdatcar(path, 2.0)
    np.testing.assert_allclose(found.cell, cells, atol=1e-6)


def test_xdatcar_scale_and_negative_volume(reference, tmp_path):
    path = tmp_path / "XDATCAR"
    write_xdatcar(path, reference)
    text = path.read_text()
    path.write_text(text.replace("  1.0\n", " 2.0\n", 1))
    np.testing.assert_allclose(read_xdatcar(path, 2.0).cell, 2 * reference.cell)
    path.write_text(text.replace("  1.0\n", " -1000.0\n", 1))
    assert read_xdatcar(path, 2.0).volume_angstrom3 == pytest.approx(1000.0)


def test_lammps_times_come_from_step_numbers(reference, tmp_path):
    path = tmp_path / "dump.lammpstrj"
    write_lammps(path, reference, "type xs ys zs")
    found = read_trajectory(path, ReadOptions(md_timestep_fs=0.5, species=("Na", "S")))
    assert found.timestep_fs == 5.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("XDATCAR", ReadOptions(), "timestep_fs"),
        ("run.lammpstrj", ReadOptions(timestep_fs=2.0), "elements"),
        ("run.lammpstrj", ReadOptions(species=("Na", "S")), "timestep_fs"),
        ("run.lammpstrj", ReadOptions(timestep_fs=2.0, species=("Na",)), "one element per type"),
    ],
)
def test_what_is_missing_is_asked_for(name, options, message, reference, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, reference)
    with pytest.raises(InputError, match=message):
        read_trajectory(path, options)


@pytest.mark.parametrize(
    "name", ["XDATCAR", "vasprun.xml", "a.lammpstrj", "a.xyz", "a.traj", "a.json", "a.npz", "a.bin"]
)
@pytest.mark.parametrize("content", [b"", b"nonsense\nnonsense\n" * 20, b"\x1f\x8b nonsense"])
def test_nonsense_is_one_clear_error(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_trajectory(path, OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["XDATCAR", "vasprun.xml", "run.lammpstrj", "run.extxyz", "run.npz"]
)
def test_damaged_files_are_read_or_refused_in_one_line(name, reference, tmp_path):
    """A line lost, doubled or cut, a word exchanged, bytes overwritten: never a traceback."""
    path = tmp_path / name
    WRITERS[name](path, reference)
    whole, rng, refusals = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(30):
        damaged = bytearray(whole)
        lines = whole.split(b"\n")
        at = int(rng.integers(min(len(lines), rng.choice([12, 60, 600]))))
        kind = rng.integers(4)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[at])
        elif kind == 2:
            words = lines[at].split()
            word = rng.choice([b"nan", b"1e400", b"xx", b"0", b"-3", b"99999999999999999999"])
            lines[at] = b" ".join([*words[:-1], bytes(word)])
        if kind < 3:
            damaged = bytearray(b"\n".join(lines))
        else:
            start = int(rng.integers(len(damaged) - 20))
            damaged[start : start + 20] = rng.integers(0, 256, 20, dtype=np.uint8).tobytes()
        path.write_bytes(bytes(damaged))
        try:
            read_trajectory(path, OPTIONS)
        except IonSieveError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in text for text in refusals)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_trajectory(tmp_path / "XDATCAR", OPTIONS)
