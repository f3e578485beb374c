"""Work sharing, checkpoints and the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from click.testing import CliRunner
from pymatgen.core import Structure

from ionsieve.errors import InputError, IonSieveError
from ionsieve.ewald import checkpoint, energy_histogram, rank, sample, tree_search
from ionsieve.ewald.parallel import world
from ionsieve.workflows.cli import cli
from sulfide import case_a, cubic_sulfide

BIN = Path(sys.executable).parent
RULES = ["--supercell", "2 2 2", "--replace", "Sb=W6+:8", "--vacate", "Na:8"]


@pytest.fixture
def cif(tmp_path):
    path = tmp_path / "mother.cif"
    cubic_sulfide().to(str(path))
    return path


def as_tuples(ranking):
    return [(e.labels.tobytes(), e.degeneracy) for e in ranking.entries]


class Killed(Exception):
    pass


@pytest.mark.parametrize(("method", "d"), [("exhaustive", 4), ("bound", 8)])
def test_killed_search_goes_on_where_it_was(tmp_path, monkeypatch, method, d):
    monkeypatch.setattr(checkpoint, "_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(tree_search, "_UNIT_COMPLETIONS", 500_000)
    path = tmp_path / "search.npz"
    space = case_a(d)
    n_reports = 0

    def kill(progress):
        nonlocal n_reports
        n_reports += 1
        if n_reports == 3:
            raise Killed

    with pytest.raises(Killed):
        rank(space, 5, method, checkpoint=path, report=kill)
    assert path.exists()
    n_units = 0

    def count(progress):
        nonlocal n_units
        n_units += 1

    resumed = rank(space, 5, method, checkpoint=path, report=count)
    assert not path.exists()
    n_resumed, n_units = n_units, 0
    whole = rank(space, 5, method, report=count)
    assert n_resumed == n_units - 3
    assert as_tuples(resumed) == as_tuples(whole)
    assert resumed.certified
    assert resumed.n_covered == whole.n_covered == space.n_arrangements


def test_checkpoint_of_another_search_is_refused(tmp_path):
    path = tmp_path / "search.npz"
    rank(case_a(8), 5, "exhaustive", seconds=0.2, checkpoint=path)
    with pytest.raises(InputError, match="another search"):
        rank(case_a(7), 5, "exhaustive", checkpoint=path)
    path.write_text("junk")
    with pytest.raises(InputError, match="not a checkpoint"):
        rank(case_a(8), 5, "exhaustive", checkpoint=path)


def run_ranks(n_ranks, *command):
    pytest.importorskip("mpi4py")
    launcher = BIN / "mpiexec"
    if not launcher.exists():
        pytest.skip("no mpiexec beside this Python")
    return subprocess.run(
        [launcher, "-n", str(n_ranks), *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.mpi
def test_same_result_for_any_number_of_ranks(cif):
    results = []
    for n_ranks in (1, 2, 3):
        done = run_ranks(n_ranks, BIN / "ionsieve", "rank", cif, *RULES, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["certified"]
        results.append([(e["degeneracy"], e["structure"]) for e in result["ranking"]])
    assert results[0] == results[1] == results[2]
    assert [d for d, _ in results[0]] == [12, 48, 24, 24, 96]


@pytest.mark.mpi
def test_annealing_on_two_ranks(tmp_path):
    script = tmp_path / "anneal.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from mpi4py import MPI\n"
        "from ionsieve.ewald import rank\n"
        "from sulfide import case_a\n"
        "ranking = rank(case_a(8), 3, 'anneal', comm=MPI.COMM_WORLD)\n"
        "found = MPI.COMM_WORLD.gather([e.degeneracy for e in ranking.entries])\n"
        "print(found or '', end='')\n"
    )
    done = run_ranks(2, sys.executable, script)
    alone = [e.degeneracy for e in rank(case_a(8), 3, "anneal").entries]
    assert done.stdout == str([alone, alone])


@pytest.mark.mpi
def test_histogram_and_samples_on_two_ranks(tmp_path):
    script = tmp_path / "spectrum.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from mpi4py import MPI\n"
        "from ionsieve.ewald import energy_histogram, sample, spectrum\n"
        "from sulfide import case_a\n"
        "spectrum._UNIT_COMPLETIONS = 1\n"
        "comm = MPI.COMM_WORLD\n"
        "counts = energy_histogram(case_a(2), 20, comm).counts\n"
        "drawn = [e.labels.tobytes().hex() for e in sample(case_a(2), 3e4, 9, 1, comm)]\n"
        "found = comm.gather((counts, drawn))\n"
        "print(found or '', end='')\n"
    )
    done = run_ranks(2, sys.executable, script)
    drawn = [e.labels.tobytes().hex() for e in sample(case_a(2), 3e4, 9, 1)]
    alone = energy_histogram(case_a(2), 20).counts, drawn
    assert len(set(drawn)) > 5
    assert done.stdout == str([alone, alone]), done.stderr


@pytest.mark.mpi
def test_a_failing_rank_ends_the_run(tmp_path):
    script = tmp_path / "fail.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from mpi4py import MPI\n"
        "from ionsieve.ewald import rank\n"
        "from sulfide import case_a\n"
        "from ionsieve.ewald import tree_search\n"
        "if MPI.COMM_WORLD.Get_rank() == 1:\n"
        "    def broken(*arguments): raise RuntimeError('disk on fire')\n"
        "    from ionsieve.ewald import search\n"
        "    search._compile = lambda method: setattr(tree_search, 'search_nodes', broken) or 0.0\n"
        f"rank(case_a(8), 3, 'bound', comm=MPI.COMM_WORLD, checkpoint={str(tmp_path / 'c')!r})\n"
    )
    done = run_ranks(2, sys.executable, script)
    assert done.returncode != 0
    assert "disk on fire" in done.stderr
    assert "rank 1 failed" in done.stderr


def test_launcher_of_another_mpi_is_refused(monkeypatch):
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(IonSieveError, match="different MPIs"):
        world()


def test_without_mpi(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "MPI_LOCALNRANKS"):
        monkeypatch.delenv(name, raising=False)
    assert world() is None
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(IonSieveError, match=r"install ionsieve\[mpi\]"):
        world()


def test_command_writes_structures_and_histogram(cif, tmp_path):
    out = tmp_path / "ranked"
    arguments = ["rank", str(cif), "--supercell", "2 2 1", "--replace", "Sb=W6+:1"]
    arguments += ["--vacate", "Na:1", "--top", "2", "--out", str(out), "--histogram", "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["n_arrangements"] == result["n_covered"] == 8 * 24
    assert result == json.loads((out / "ranking.json").read_text())
    names = {p.name for p in out.iterdir()}
    assert names >= {"rank_001.cif", "rank_001.vasp", "rank_001.extxyz", "rank_002.cif"}
    assert (out / "histogram.png").stat().st_size > 1000
    assert sum(json.loads((out / "histogram.json").read_text())["counts"]) == 192
    again = Structure.from_file(out / "rank_001.cif")
    first = Structure.from_dict(result["ranking"][0]["structure"])
    assert again.composition == first.composition
    atoms = ase.io.read(out / "rank_001.extxyz")
    np.testing.assert_allclose(atoms.cell.array, first.lattice.matrix, atol=1e-8)
    np.testing.assert_allclose(atoms.positions, first.cart_coords, atol=1e-7)
    assert atoms.get_chemical_symbols() == [site.specie.symbol for site in first]
    assert list(atoms.get_initial_charges()) == [site.specie.oxi_state for site in first]
    assert atoms.info["ewald_energy_ev"] == pytest.approx(result["ranking"][0]["energy_ev"])
    assert all(atoms.pbc)
    table = CliRunner().invoke(cli, arguments[:-1])
    assert "certified: nothing lower exists" in table.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--supercell", "2 2"], "--supercell '2 2'"),
        (["--replace", "Sb:2"], "--replace 'Sb:2'"),
        (["--vacate", "Na"], "--vacate 'Na'"),
        (["--vacate", "Na:1"], "net charge"),
        (["--vacate", "Na:1", "--histogram"], "--out"),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(cif, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "ionsieve", "rank", str(cif), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
