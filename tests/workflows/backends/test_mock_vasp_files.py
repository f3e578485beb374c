"""The stand-in's files: as pymatgen reads them, and as VASP would have written them."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Oszicar, Outcar, Poscar, Vasprun, Xdatcar

from ionsieve.workflows.backends.mock_vasp.backend import program_path
from ionsieve.workflows.backends.mock_vasp.inputs import (
    VaspInputError,
    read_incar,
    read_poscar,
)
from ionsieve.workflows.backends.mock_vasp.run import run

RELAX = {"IBRION": 2, "ISIF": 3, "NSW": 99, "EDIFFG": -0.001}
DYNAMICS = {
    "IBRION": 0,
    "MDALGO": 2,
    "SMASS": 0,
    "NSW": 20,
    "POTIM": 2,
    "TEBEG": 300,
    "RANDOM_SEED": "7 0 0",
}


def test_relaxation_as_the_parsers_see_it(write_inputs, salt):
    folder = write_inputs(RELAX)
    run(folder)
    vasprun = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert vasprun.converged
    assert 1 < len(vasprun.ionic_steps) < 99
    last = vasprun.ionic_steps[-1]
    assert np.abs(last["forces"]).max() < 0.001
    assert vasprun.get_band_structure().get_band_gap()["energy"] == pytest.approx(3)
    outcar = Outcar(folder / "OUTCAR")
    assert outcar.final_energy == pytest.approx(float(vasprun.final_energy), abs=1e-6)
    assert len(outcar.drift) == len(vasprun.ionic_steps)
    assert outcar.run_stats["cores"] == 1
    oszicar = Oszicar(folder / "OSZICAR")
    assert len(oszicar.ionic_steps) == len(vasprun.ionic_steps)
    assert oszicar.final_energy == pytest.approx(float(vasprun.final_energy), abs=1e-5)
    contcar = Structure.from_file(folder / "CONTCAR")
    assert contcar.volume == pytest.approx(vasprun.final_structure.volume, rel=1e-10)
    assert contcar.volume != pytest.approx(salt.volume, rel=1e-3)
    assert len(Xdatcar(folder / "XDATCAR").structures) == len(vasprun.ionic_steps)
    assert (folder / "WAVECAR").exists()


def test_stress_has_vasps_sign(write_inputs, salt):
    salt.scale_lattice(salt.volume * 0.8)
    folder = write_inputs({"NSW": 0}, salt)
    run(folder)
    stress = Vasprun(folder / "vasprun.xml", parse_potcar_file=False).ionic_steps[-1]["stress"]
    assert np.trace(stress) > 0


def test_dynamics_as_the_parsers_see_it(write_inputs, salt):
    salt.make_supercell(2)
    folder = write_inputs({**DYNAMICS, "NBLOCK": 2}, salt)
    run(folder)
    vasprun = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert vasprun.converged
    assert len(vasprun.ionic_steps) == 20
    frames = Xdatcar(folder / "XDATCAR").structures
    assert len(frames) == 10
    # Step 2 is the first of which XDATCAR has a frame.
    second = vasprun.ionic_steps[1]["structure"]
    assert frames[0].frac_coords == pytest.approx(second.frac_coords, abs=1e-7)
    steps = Oszicar(folder / "OSZICAR").ionic_steps
    assert steps[0]["T"] == pytest.approx(300)
    assert all({"T", "E", "F", "E0", "EK", "SP", "SK"} <= set(step) for step in steps)
    assert steps[-1]["E"] == pytest.approx(steps[0]["E"], abs=0.02)


def test_thinned_output_keeps_all_energies(write_inputs):
    folder = write_inputs({**DYNAMICS, "ML_OUTBLOCK": 8})
    run(folder)
    vasprun = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert vasprun.converged
    full = [k + 1 for k, s in enumerate(vasprun.ionic_steps) if s["structure"] is not None]
    assert full == [1, 8, 16, 20]
    energies = [step["e_0_energy"] for step in vasprun.ionic_steps]
    assert [s["E0"] for s in Oszicar(folder / "OSZICAR").ionic_steps] == pytest.approx(
        energies, rel=1e-7
    )
    last = Vasprun(folder / "vasprun.xml", ionic_step_offset=-1, parse_potcar_file=False)
    assert last.nionic_steps == 20
    assert last.final_energy == vasprun.final_energy


def test_a_chain_of_runs_is_one_long_run(write_inputs, salt):
    salt.make_supercell(2)
    long = write_inputs({**DYNAMICS, "NSW": 60}, salt, "long")
    first = write_inputs({**DYNAMICS, "NSW": 30}, salt, "first")
    second = write_inputs({**DYNAMICS, "NSW": 30}, salt, "second")
    run(long)
    run(first)
    # Through pymatgen, as atomate2 hands structures on.
    Poscar.from_file(first / "CONTCAR").write_file(second / "POSCAR")
    run(second)
    ends = [read_poscar(folder / "CONTCAR", []) for folder in (long, second)]
    assert ends[0].fractional == pytest.approx(ends[1].fractional, abs=1e-12)
    assert ends[0].velocities == pytest.approx(ends[1].velocities, abs=1e-14)
    assert ends[0].thermostat.values == pytest.approx(ends[1].thermostat.values, abs=1e-12)
    frames = [Xdatcar(folder / "XDATCAR").structures for folder in (long, first, second)]
    joined = frames[1] + frames[2]
    for one, other in zip(frames[0], joined, strict=True):
        assert one.frac_coords == pytest.approx(other.frac_coords, abs=1.1e-8)


def test_header_is_repeated_when_the_cell_changes(write_inputs):
    npt = {
        "IBRION": 0,
        "MDALGO": 3,
        "ISIF": 3,
        "LANGEVIN_GAMMA": "10 10",
        "LANGEVIN_GAMMA_L": 1,
        "PMASS": 10,
        "NSW": 5,
        "POTIM": 1,
        "TEBEG": 300,
    }
    folder = write_inputs(npt)
    run(folder)
    text = (folder / "XDATCAR").read_text()
    assert text.count("\n   1.0\n") == text.count("Direct configuration=") == 5
    lattices = [frame.lattice for frame in Xdatcar(folder / "XDATCAR").structures]
    assert lattices[0] != lattices[-1]
    contcar = Poscar.from_file(folder / "CONTCAR")
    assert np.shape(contcar.lattice_velocities) == (6, 3)
    assert np.shape(contcar.velocities) == (8, 3)
    assert read_poscar(folder / "CONTCAR", []).lattice_velocities is not None


def test_finite_differences_give_a_stable_crystal(write_inputs, salt):
    folder = write_inputs(RELAX)
    run(folder)
    relaxed = Structure.from_file(folder / "CONTCAR")
    folder = write_inputs({"IBRION": 6, "NSW": 1, "POTIM": 0.01}, relaxed, "hessian")
    run(folder)
    vasprun = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert vasprun.force_constants.shape == (8, 8, 3, 3)
    squared_thz = np.sort(-vasprun.normalmode_eigenvals)
    assert np.abs(squared_thz[:3]).max() < 0.01
    assert 1 < squared_thz[3] < squared_thz[-1] < 10**2


def test_selective_dynamics_is_read_and_written(write_inputs, salt):
    flags = [[True] * 3] * 8
    flags[2] = [False, True, False]
    salt.add_site_property("selective_dynamics", flags)
    salt.perturb(0.1)
    folder = write_inputs(RELAX | {"ISIF": 2}, salt)
    run(folder)
    contcar = Poscar.from_file(folder / "CONTCAR")
    assert list(contcar.selective_dynamics[2]) == [False, True, False]
    moved = contcar.structure.frac_coords[2] - salt.frac_coords[2]
    moved -= np.round(moved)
    assert np.abs(moved[[0, 2]]).max() < 1e-12


def test_poscar_variants(tmp_path, write_inputs, salt):
    reference = read_poscar(write_inputs({}) / "POSCAR", [])
    lines = ["salt", f"{-salt.volume}", "1 0 0", "0 1 0", "0 0 1", "4 4", "Cartesian"]
    scale = salt.volume ** (1 / 3)
    lines += [" ".join(f"{x / scale:.12f}" for x in site.coords) for site in salt]
    (tmp_path / "POSCAR").write_text("\n".join(lines))
    other = read_poscar(tmp_path / "POSCAR", ["Na", "Cl"])
    assert other.cell == pytest.approx(reference.cell)
    assert other.fractional == pytest.approx(reference.fractional, abs=1e-9)
    assert other.symbols == reference.symbols


def test_incar_syntax(tmp_path):
    text = "nsw = 5 ! steps\nLWAVE=.FALSE.; EDIFF = 1d-5 # loose\nMAGMOM = 2*0.5 3\nALGO=Fast\n"
    (tmp_path / "INCAR").write_text(text)
    assert read_incar(tmp_path / "INCAR") == {
        "NSW": 5,
        "LWAVE": False,
        "EDIFF": 1e-5,
        "MAGMOM": [0.5, 0.5, 3],
        "ALGO": "Fast",
    }


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"IBRION": 0, "NSW": 5, "POTIM": 1, "MDALGO": 11, "TEBEG": 300}, "MDALGO = 11"),
        ({"IBRION": 8, "NSW": 1}, "IBRION = 8"),
        ({"IBRION": 0, "NSW": 5, "TEBEG": 300}, "POTIM"),
        ({"IBRION": 0, "NSW": 5, "POTIM": 1, "ISIF": 3, "MDALGO": 2}, "MDALGO = 3"),
        ({"NSW": "many"}, "NSW"),
        ({"ISIF": 12}, "ISIF = 12"),
    ],
)
def test_bad_tags_are_named(write_inputs, tags, named):
    with pytest.raises(VaspInputError, match=named):
        run(write_inputs(tags))


@pytest.mark.parametrize("name", ["POSCAR", "INCAR", "POTCAR.spec"])
def test_missing_files_are_named(write_inputs, name):
    folder = write_inputs({"NSW": 0})
    (folder / name).unlink()
    with pytest.raises(VaspInputError, match=name.split(".")[0]):
        run(folder)


def test_unreadable_poscar_is_named(write_inputs):
    folder = write_inputs({"NSW": 0})
    (folder / "POSCAR").write_text("nothing\n1.0\n1 0\n")
    with pytest.raises(VaspInputError, match="mistake in POSCAR"):
        run(folder)


def program(folder, *arguments):
    return subprocess.run(
        [program_path(), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_program_help_and_errors(write_inputs, tmp_path):
    assert "POSCAR" in program(tmp_path, "--help").stdout
    assert program(tmp_path, "--nonsense").returncode == 2
    refused = program(tmp_path)
    assert refused.returncode == 1
    assert "cannot read INCAR" in refused.stdout
    done = program(write_inputs({"NSW": 0}))
    assert (done.returncode, done.stderr) == (0, "")
    assert "F=" in done.stdout


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_dynamics_leaves_usable_files_and_stopcar_ends_it(write_inputs):
    folder = write_inputs({**DYNAMICS, "NSW": 10_000_000, "ML_OUTBLOCK": 100})

    def started():
        process = subprocess.Popen([program_path()], cwd=folder, stdout=subprocess.DEVNULL)
        wait_for(lambda: (folder / "OSZICAR").exists())
        wait_for(lambda: (folder / "OSZICAR").stat().st_size > 10_000)
        # Written after the other files.
        wait_for(lambda: (folder / "CONTCAR").exists())
        return process

    process = started()
    process.kill()
    process.wait()
    # The last line may be cut, as in VASP's own files.
    assert (folder / "OSZICAR").read_text().count(" T= ") > 50
    assert Poscar.from_file(folder / "CONTCAR").velocities is not None
    assert (folder / "XDATCAR").stat().st_size > 1000
    shutil.copy(folder / "CONTCAR", folder / "POSCAR")
    (folder / "OSZICAR").unlink()
    process = started()
    (folder / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    assert process.wait(timeout=30) == 0
    assert not (folder / "STOPCAR").exists()
    assert Outcar(folder / "OUTCAR").is_stopped
    stopped = Vasprun(folder / "vasprun.xml", ionic_step_offset=-1, parse_potcar_file=False)
    assert 1 < stopped.nionic_steps < 10_000_000


def test_start_up_stays_light():
    program = (
        "import sys; import ionsieve.workflows.backends.mock_vasp.run; "
        "print([m for m in ('pymatgen', 'pydantic', 'ase', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_program_is_the_one_of_this_interpreter():
    assert Path(program_path()).parent == Path(sys.executable).parent
