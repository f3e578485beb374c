"""The backends: atomate2's jobs with the stand-in, and what is refused beforehand."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.io.vasp import Kpoints, Oszicar

from ionsieve.errors import InputError
from ionsieve.workflows.backends.mock_vasp.backend import MockVaspBackend
from ionsieve.workflows.backends.mock_vasp.faults import VARIABLE
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.backends.vasp.backend import VaspBackend, VaspSettings
from ionsieve.workflows.backends.vasp.continuation import BatchLimitHandler
from ionsieve.workflows.settings.schema import Screening

FAST = {"polling_time_step": 0.05, "monitor_freq": 4}


@pytest.fixture
def backend():
    return MockVaspBackend(VaspSettings(double_relax=False, custodian=FAST))


@pytest.fixture
def execute(tmp_path):
    """Run a job or flow in a folder of its own; give the outputs by job name."""

    def run(flow):
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        responses = run_locally(
            flow, store=store, create_folders=True, root_dir=tmp_path, raise_immediately=True
        )
        jobs = flow.jobs if hasattr(flow, "jobs") else [flow]
        return [responses[job.uuid][1].output for job in jobs]

    return run


def folder_of(document):
    return Path(document.dir_name.split(":", 1)[-1])


def test_double_relaxation_and_static(execute, salt):
    backend = MockVaspBackend(VaspSettings(custodian=FAST))
    backend.check()
    flow = backend.relax(salt, name="relax salt")
    assert flow.name == "relax salt"
    first, second = execute(flow)
    assert first.state == second.state == "successful"
    assert first.output.energy_per_atom >= second.output.energy_per_atom - 1e-6
    assert np.abs(second.calcs_reversed[0].output.ionic_steps[-1].forces).max() < 0.02
    kpoints = Kpoints.from_file(folder_of(second) / "KPOINTS.gz")
    assert kpoints.kpts == [(1, 1, 1)]
    (static,) = execute(backend.static(second.structure, prev_dir=second.dir_name))
    assert static.state == "successful"
    assert static.output.energy_per_atom == pytest.approx(second.output.energy_per_atom, abs=1e-4)


def test_chained_dynamics_is_one_long_run(execute, backend, salt):
    salt.make_supercell(2)
    options = {"temperature_k": 300, "timestep_fs": 2, "seed": 3}
    (long,) = execute(backend.md(salt, n_steps=40, **options))
    (first,) = execute(backend.md(salt, n_steps=20, **options))
    (second,) = execute(backend.md(salt, n_steps=20, continue_from=first, **options))
    assert {d.state for d in (long, first, second)} == {"successful"}
    ends = [d.structure for d in (long, second)]
    difference = ends[0].frac_coords - ends[1].frac_coords
    assert np.abs(difference - np.round(difference)).max() < 1e-12
    velocities = [np.array(end.site_properties["velocities"]) for end in ends]
    assert velocities[0] == pytest.approx(velocities[1], abs=1e-14)
    whole, *parts = (
        Oszicar(folder_of(d) / "OSZICAR.gz").ionic_steps for d in (long, first, second)
    )
    energies = [step["E"] for part in parts for step in part]
    assert energies == pytest.approx([step["E"] for step in whole], rel=1e-7)
    # One ionic step only: documents stay small however long the run.
    assert len(long.calcs_reversed[0].output.ionic_steps) == 1


def test_phonon_flow_is_atomate2s_without_born_charges(backend, salt):
    names = [job.name for job in backend.phonons(salt).jobs]
    assert "tight relax" in names[0]
    assert names[-1] == "generate_frequencies_eigenvectors"
    assert not any("born" in name for name in names)


@pytest.mark.parametrize(
    ("fault", "handler"),
    [
        ("error:eddrmm@2;first=1", "VaspErrorHandler"),
        ("unconverged@1;first=1", "UnconvergedErrorHandler"),
        ("hang@2;first=1", "FrozenJobErrorHandler"),
    ],
)
def test_custodian_repairs(execute, salt, monkeypatch, fault, handler):
    # Ten seconds without output: long enough for a start on a busy machine.
    settings = VaspSettings(double_relax=False, custodian=FAST, frozen_after_seconds=10)
    backend = MockVaspBackend(settings)
    monkeypatch.setenv(VARIABLE, fault)
    (document,) = execute(backend.relax(salt))
    assert document.state == "successful"
    corrections = [c for run in document.custodian for c in run.corrections]
    assert handler in {type(c["handler"]).__name__ for c in corrections} | {
        c["handler"].get("@class") for c in corrections if isinstance(c["handler"], dict)
    }


@pytest.mark.parametrize("fault", ["crash@2", "truncate@2"])
def test_what_custodian_cannot_repair_fails_and_then_succeeds(
    execute, backend, salt, monkeypatch, tmp_path, fault
):
    counter = tmp_path / "attempts"
    monkeypatch.setenv(VARIABLE, f"{fault};first=1;counter={counter}")
    with pytest.raises(Exception, match=r"Validation failed|return code"):
        execute(backend.relax(salt))
    (document,) = execute(backend.relax(salt))
    assert document.state == "successful"
    assert counter.read_text() == "2"


def test_fault_for_another_formula_does_nothing(execute, backend, salt, monkeypatch):
    monkeypatch.setenv(VARIABLE, "crash@1;formula=Na3PS4")
    (document,) = execute(backend.static(salt))
    assert document.state == "successful"


def test_killed_worker_leaves_no_vasp(tmp_path, salt):
    """Kill -9 of a worker in the middle of a run, through custodian."""
    salt.to_file(str(tmp_path / "salt.json"))
    worker = tmp_path / "worker.py"
    worker.write_text(
        "from jobflow import run_locally\nfrom pymatgen.core import Structure\n"
        "from ionsieve.workflows.backends.mock_vasp.backend import MockVaspBackend\n"
        "from ionsieve.workflows.backends.vasp.backend import VaspSettings\n"
        "structure = Structure.from_file('salt.json')\n"
        "run_locally(MockVaspBackend(VaspSettings()).md(structure, 300, 1.0, 10**7))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(worker)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def grown():
        path = tmp_path / "OSZICAR"
        size = path.stat().st_size if path.exists() else 0
        time.sleep(0.8)
        return path.exists() and path.stat().st_size > size

    end = time.monotonic() + 90
    while not grown():
        assert time.monotonic() < end
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while grown():
        assert time.monotonic() < end


def screening(**backend):
    return Screening.model_validate(
        {
            "mothers": {"files": ["x.cif"]},
            "doping": {"rules": [{"host": "P5+", "dopants": ["Si4+"]}]},
            "backend": backend,
        }
    )


def test_registry_gives_the_backend_of_the_screening():
    assert type(get_backend(screening())) is MockVaspBackend
    chosen = get_backend(screening(name="vasp", vasp_cmd="srun my_vasp", incar={"ENCUT": 400}))
    assert type(chosen) is VaspBackend
    assert chosen.settings.vasp_cmd == "srun my_vasp"
    assert not chosen.settings.potcar_spec
    job = chosen.static(None)
    maker = job.maker
    assert maker.input_set_generator.user_incar_settings["ENCUT"] == 400
    assert maker.run_vasp_kwargs["vasp_cmd"].endswith("tether.py srun my_vasp")


def test_missing_command_is_named_with_the_remedy():
    backend = VaspBackend(VaspSettings(vasp_cmd="mpirun-of-nowhere -n 4 vasp_std"))
    with pytest.raises(InputError, match=r"'(mpirun-of-nowhere|vasp_std)' is not on the PATH"):
        backend.check()
    with pytest.raises(InputError, match="vasp_gamma_cmd is empty"):
        VaspBackend(VaspSettings(vasp_cmd=sys.executable, vasp_gamma_cmd="")).check()


@pytest.mark.parametrize("folder", [None, "/nowhere/at/all"])
def test_missing_potentials_are_named_with_the_remedy(monkeypatch, folder):
    from ionsieve.workflows.backends.vasp import backend as vasp

    monkeypatch.setitem(vasp.SETTINGS, "PMG_VASP_PSP_DIR", folder)
    backend = VaspBackend(VaspSettings(vasp_cmd=sys.executable, vasp_gamma_cmd=sys.executable))
    with pytest.raises(InputError, match="PMG_VASP_PSP_DIR"):
        backend.check()


def test_real_vasp_keeps_walltime_and_overrides(salt):
    settings = VaspSettings(walltime_seconds=3600, incar={"NPAR": 4}, md_incar={"ALGO": "VeryFast"})
    maker = VaspBackend(settings).md(salt, 600, 2.0, 100, seed=5, frame_interval=5).maker
    (limit,) = (
        handler
        for handler in maker.run_vasp_kwargs["handlers"]
        if isinstance(handler, BatchLimitHandler)
    )
    assert (limit.wall_time, limit.buffer_time) == (3600, 300)
    generator = maker.input_set_generator
    assert (generator.start_temp, generator.time_step, generator.nsteps) == (600, 2.0, 100)
    tags = generator.user_incar_settings
    assert tags["RANDOM_SEED"] == [5, 0, 0]
    assert (tags["NBLOCK"], tags["NPAR"], tags["ALGO"]) == (5, 4, "VeryFast")
    assert "ML_OUTBLOCK" not in tags
