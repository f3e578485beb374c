"""The backends: atomate2's jobs with the stand-in, and what is refused beforehand."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from emmet.core.vasp.calculation import PotcarSpec
from jobflow import Flow, JobStore, job, run_locally
from jobflow.core.reference import find_and_resolve_references
from maggma.stores import MemoryStore
from pydantic import ValidationError
from pymatgen.core import SETTINGS, Lattice, Structure
from pymatgen.io.vasp import Incar, Kpoints, Oszicar

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.backends.mock_vasp.backend import (
    CODE_VERSION,
    SHORT_RUNS,
    MockVaspBackend,
)
from ionsieve.workflows.backends.mock_vasp.faults import VARIABLE
from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.protocol import Checkpoint, Limits, MDSpec
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.backends.vasp.backend import VaspBackend
from ionsieve.workflows.backends.vasp.continuation import BatchLimitHandler
from ionsieve.workflows.backends.vasp.reading import local_path
from ionsieve.workflows.backends.vasp.settings import VaspSettings
from ionsieve.workflows.settings.schema import Relax, Screening

FAST = replace(SHORT_RUNS, custodian={"polling_time_step": 0.05, "monitor_freq": 4})
ONCE = Relax(double_relax=False)
#: Of the stand-in with the code version 1, eV/atom.
PINNED_EV_ATOM = {"NaCl": -4.110016132169, "Li2S": 1.136073369012, "Na": -1.724671895390}


@pytest.fixture
def backend():
    return MockVaspBackend(relax=ONCE, execution=FAST)


class Runner:
    """Runs calculations in folders of their own, over one store."""

    def __init__(self, folder):
        self.folder = folder
        self.store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        self.store.connect()

    def __call__(self, *calculations):
        """Run all jobs; give their outputs in order."""
        jobs = [job for calculation in calculations for job in calculation.jobs]
        responses = run_locally(
            Flow(jobs),
            store=self.store,
            create_folders=True,
            root_dir=self.folder,
            raise_immediately=True,
            log=False,
        )
        return [responses[job.uuid][1].output for job in jobs]

    def resolve(self, reference):
        """Return what a job with this argument would get."""
        return find_and_resolve_references(reference, self.store)


@pytest.fixture
def execute(tmp_path):
    return Runner(tmp_path)


def folder_of(document):
    return local_path(document.dir_name)


def test_double_relaxation_and_static(execute, salt):
    backend = MockVaspBackend(execution=FAST)
    backend.check()
    relaxation = backend.relax(salt, name="relax salt")
    static = backend.static(relaxation.structure, after=relaxation)
    assert [job.name for job in relaxation.jobs] == ["relax salt 1", "relax salt 2"]
    first, second, last = execute(relaxation, static)
    assert first.state == second.state == "successful"
    assert first.output.energy_per_atom >= second.output.energy_per_atom - 1e-6
    assert np.abs(second.calcs_reversed[0].output.ionic_steps[-1].forces).max() < 0.02
    kpoints = Kpoints.from_file(folder_of(second) / "KPOINTS.gz")
    assert kpoints.kpts == [(1, 1, 1)]
    assert last.state == "successful"
    assert last.output.energy_per_atom == pytest.approx(second.output.energy_per_atom, abs=1e-4)
    assert execute.resolve(static.energy_ev_atom) == last.output.energy_per_atom
    assert execute.resolve(static.folder) == last.dir_name
    assert execute.resolve(relaxation.structure) == second.structure
    assert static.uuid == static.jobs[-1].uuid
    found = backend.energy_identity(execute.resolve(static.engine))
    assert found["engine"] == "ionsieve-mock-vasp 6.4.3"
    assert found["potentials"] == {"Na": "PAW_PBE Na_pv mock", "Cl": "PAW_PBE Cl mock"}
    assert found["tags"]["GGA"] == "PS"
    assert found["settings"] == backend.identity()


def test_chained_dynamics_is_one_long_run(execute, backend, salt):
    salt.make_supercell(2)
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=20, seed=3)
    whole = backend.md(replace(spec, n_steps=40), salt)
    one = backend.md(spec, salt)
    two = backend.md(spec, one.end)
    long, first, second = execute(whole, one, two)
    assert {d.state for d in (long, first, second)} == {"successful"}
    ends = [d.structure for d in (long, second)]
    difference = ends[0].frac_coords - ends[1].frac_coords
    assert np.abs(difference - np.round(difference)).max() < 1e-12
    velocities = [np.array(end.site_properties["velocities"]) for end in ends]
    assert velocities[0] == pytest.approx(velocities[1], abs=1e-14)
    all_steps, *parts = (
        Oszicar(folder_of(d) / "OSZICAR.gz").ionic_steps for d in (long, first, second)
    )
    energies = [step["E"] for part in parts for step in part]
    assert energies == pytest.approx([step["E"] for step in all_steps], rel=1e-7)
    # One ionic step only: documents stay small however long the run.
    assert len(long.calcs_reversed[0].output.ionic_steps) == 1


def test_run_goes_on_without_its_folder_as_with_it(execute, backend, salt):
    salt.make_supercell(2)
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=20, seed=3)
    one = backend.md(spec, salt)
    with_folder = backend.md(spec, one.end)
    (first, second) = execute(one, with_folder)
    kept = backend.keep(execute.resolve(one.end))
    # Stored as JSON, like the document it is part of.
    kept = Checkpoint.model_validate_json(kept.model_dump_json())
    shutil.rmtree(folder_of(first))
    without_folder = backend.md(spec, kept)
    (again,) = execute(without_folder)
    assert not folder_of(first).exists()
    incars = [Incar.from_file(folder_of(d) / "INCAR.gz") for d in (second, again)]
    assert incars[0] == incars[1]
    # What atomate2 finds in the folder before is not what it takes without one.
    assert (
        incars[0]["SIGMA"]
        != Incar.from_str(
            backend.md(spec, salt)
            .jobs[0]
            .maker.input_set_generator.get_input_set(salt, potcar_spec=True)
            .incar.get_str()
        )["SIGMA"]
    )
    expected, found = (
        backend.read_segment(execute.resolve(run.end), spec)
        for run in (with_folder, without_folder)
    )
    assert np.array_equal(found.fractional, expected.fractional)
    assert execute.resolve(without_folder.end.structure) == second.structure


@job
def look_at(end: Checkpoint, spec: MDSpec):
    """Do what the funnel's jobs do with a finished segment."""
    backend = MockVaspBackend(execution=FAST)
    return {"n_frames": backend.read_segment(end, spec).n_frames, "end": backend.keep(end)}


def test_jobs_get_the_checkpoint_and_give_it_back_through_the_store(execute, backend, salt):
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=6, frame_interval=2)
    run = backend.md(spec, salt)
    look = look_at(run.end, spec)
    execute(run, SimpleNamespace(jobs=(look,)))
    stored = execute.store.query_one({"uuid": look.uuid})["output"]
    assert stored["n_frames"] == 3
    fields = {key: value for key, value in stored["end"].items() if not key.startswith("@")}
    end = Checkpoint(**fields)
    assert end.is_stored
    (document,) = execute(backend.md(spec, end))
    assert document.state == "successful"


def test_checkpoint_that_was_not_kept_is_refused(execute, backend, salt):
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=2)
    run = backend.md(spec, salt)
    (document,) = execute(run)
    end = execute.resolve(run.end)
    with pytest.raises(IonSieveError, match="velocities or tags were not kept"):
        backend.md(spec, end)
    (folder_of(document) / "vasprun.xml.gz").unlink()
    with pytest.raises(IonSieveError, match=r"no vasprun\.xml of the finished segment"):
        backend.keep(end)


def test_segment_with_too_few_frames_is_refused(execute, backend, salt):
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=20, frame_interval=5)
    run = backend.md(spec, salt)
    (document,) = execute(run)
    end = execute.resolve(run.end)
    trajectory = backend.read_segment(end, spec)
    assert (trajectory.n_frames, trajectory.timestep_fs, trajectory.md_timestep_fs) == (4, 10, 2)
    with pytest.raises(IonSieveError, match="4 frames of 5"):
        backend.read_segment(end, replace(spec, n_steps=25))
    # Custodian's repairs halve the time step: that of the files counts.
    incar = folder_of(document) / "INCAR.gz"
    tags = gzip.decompress(incar.read_bytes())
    incar.write_bytes(gzip.compress(tags.replace(b"POTIM = 2", b"POTIM = 1")))
    halved = backend.read_segment(end, spec)
    assert (halved.n_frames, halved.timestep_fs, halved.md_timestep_fs) == (2, 10, 1)
    path = folder_of(document) / "XDATCAR.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text[: text.rindex("Direct configuration")].encode()))
    with pytest.raises(IonSieveError, match=r"3 frames of 4 asked for \(20 steps"):
        backend.read_segment(end, spec)
    shutil.rmtree(folder_of(document))
    with pytest.raises(IonSieveError, match="the segment's folder is gone"):
        backend.read_segment(end, spec)


def test_phonon_flow_is_atomate2s_without_born_charges(backend, salt):
    phonons = backend.phonons(salt)
    (flow,) = phonons.jobs
    names = [job.name for job in flow.jobs]
    assert phonons.uuid == flow.jobs[-1].uuid
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
    backend = MockVaspBackend(relax=ONCE, execution=replace(FAST, frozen_after_seconds=10))
    monkeypatch.setenv(VARIABLE, fault)
    (document,) = execute(backend.relax(salt))
    assert document.state == "successful"
    corrections = [c for run in document.custodian for c in run.corrections]
    assert handler in {type(c["handler"]).__name__ for c in corrections} | {
        c["handler"].get("@class") for c in corrections if isinstance(c["handler"], dict)
    }


@pytest.mark.parametrize(
    ("fault", "reason"), [("crash@2", "crashed with SIGSEGV"), ("truncate@2", "is cut short")]
)
def test_what_custodian_cannot_repair_fails_and_then_succeeds(
    execute, backend, salt, monkeypatch, tmp_path, fault, reason
):
    counter = tmp_path / "attempts"
    monkeypatch.setenv(VARIABLE, f"{fault};first=1;counter={counter}")
    with pytest.raises(IonSieveError, match=reason):
        execute(backend.relax(salt))
    (document,) = execute(backend.relax(salt))
    assert document.state == "successful"
    assert counter.read_text() == "2"


def test_cycle_that_never_converges_is_named_with_the_repairs(execute, backend, salt, monkeypatch):
    monkeypatch.setenv(VARIABLE, "unconverged@1")
    with pytest.raises(IonSieveError) as found:
        execute(backend.static(salt))
    assert type(found.value) is IonSieveError
    reason = (
        r"the electronic steps did not converge within NELM = \d+ after \d+ repairs by custodian"
    )
    assert re.match(rf"{reason} \(\.\.\.; .*ALGO = \w+.*\); ", str(found.value))


def test_segment_whose_energy_is_no_number_is_refused(execute, backend, salt, monkeypatch):
    spec = MDSpec(temperature_k=300, timestep_fs=2, n_steps=20, frame_interval=5)
    monkeypatch.setenv(VARIABLE, "nan@7")
    run = backend.md(spec, salt)
    execute(run)
    with pytest.raises(IonSieveError, match="temperature or energy of step 7 is no number"):
        backend.read_segment(execute.resolve(run.end), spec)


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
        "from ionsieve.workflows.backends.protocol import MDSpec\n"
        "structure = Structure.from_file('salt.json')\n"
        "run_locally(MockVaspBackend().md(MDSpec(300, 1.0, 10**7), structure).jobs[0])\n"
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


def test_registry_gives_the_backend_of_the_screening(salt):
    assert type(get_backend(screening())) is MockVaspBackend
    chosen = get_backend(screening(name="vasp", vasp_cmd="srun my_vasp", incar={"ENCUT": 400}))
    assert type(chosen) is VaspBackend
    assert chosen.settings.vasp_cmd == "srun my_vasp"
    (job,) = chosen.static(salt).jobs
    maker = job.maker
    assert maker.input_set_generator.user_incar_settings["ENCUT"] == 400
    assert maker.run_vasp_kwargs["vasp_cmd"].endswith("tether.py srun my_vasp")
    assert not maker.write_input_set_kwargs["potcar_spec"]


def test_missing_command_is_named_with_the_remedy():
    backend = VaspBackend(VaspSettings(vasp_cmd="mpirun-of-nowhere -n 4 vasp_std"))
    with pytest.raises(InputError, match=r"'(mpirun-of-nowhere|vasp_std)' is not on the PATH"):
        backend.check()
    with pytest.raises(ValidationError, match=r"vasp_gamma_cmd\n.*give a command line"):
        VaspSettings(vasp_cmd=sys.executable, vasp_gamma_cmd="")
    with pytest.raises(ValidationError, match="vasp_cmd\n"):
        VaspSettings(vasp_cmd="srun 'vasp_std")


@pytest.mark.parametrize("folder", [None, "/nowhere/at/all"])
def test_missing_potentials_are_named_with_the_remedy(monkeypatch, folder):
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", folder)
    backend = VaspBackend(VaspSettings(vasp_cmd=sys.executable, vasp_gamma_cmd=sys.executable))
    with pytest.raises(InputError, match="PMG_VASP_PSP_DIR"):
        backend.check()


def test_real_vasp_keeps_walltime_and_overrides(salt):
    settings = VaspSettings(incar={"NPAR": 4, "ALGO": "VeryFast"})
    backend = VaspBackend(settings, limits=Limits(walltime_seconds=3600))
    spec = MDSpec(temperature_k=600, timestep_fs=2.0, n_steps=100, frame_interval=5, seed=5)
    (job,) = backend.md(spec, salt).jobs
    maker = job.maker
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


def test_identity_is_what_decides_an_energy_and_nothing_else():
    plain = VaspBackend().identity()
    same = VaspBackend(
        VaspSettings(vasp_cmd="srun vasp", incar={"NCORE": 4, "KPAR": 2, "LWAVE": True}),
        limits=Limits(walltime_seconds=3600),
    )
    assert same.identity() == plain
    others = [
        VaspBackend(VaspSettings(incar={"ENCUT": 400})),
        VaspBackend(VaspSettings(incar={"GGA": "PE"})),
        VaspBackend(relax=ONCE),
        MockVaspBackend(),
    ]
    identities = [plain, *(other.identity() for other in others)]
    assert all(a != b for n, a in enumerate(identities) for b in identities[:n])
    assert (plain["functional"], identities[2]["functional"]) == ("PBEsol", "PE")


def test_identity_tells_what_atomate2_does(salt):
    (job,) = VaspBackend().static(salt).jobs
    generator = job.maker.input_set_generator
    assert f"PAW {generator.user_potcar_functional}" == VaspBackend().identity()["potentials"]
    assert generator.get_input_set(salt, potcar_spec=True).incar["GGA"].upper() == "PS"


def test_energy_is_labelled_by_the_outputs():
    backend = VaspBackend(VaspSettings(incar={"ENCUT": 400}))
    sodium = {"titel": "PAW_PBE Na_pv 19Sep2006", "hash": None, "summary_stats": None}
    engine = {
        "version": "6.3.0 ",
        "potentials": [sodium, PotcarSpec(titel="PAW_PBE S 06Sep2000", hash="0123456789abcdef")],
        "incar": {"ENCUT": 400, "GGA": "Ps", "NCORE": 4},
    }
    found = backend.energy_identity(engine)
    assert found == {
        "engine": "vasp 6.3.0",
        "potentials": {
            "Na": "PAW_PBE Na_pv 19Sep2006",
            "S": "PAW_PBE S 06Sep2000 0123456789ab",
        },
        "tags": {"ENCUT": 400, "GGA": "PS"},
        "settings": backend.identity(),
    }
    statistics = [{"stats": {"header": {"MEAN": mean}}} for mean in (1.0, 2.0)]
    one, two = (
        backend.energy_identity({**engine, "potentials": [{**sodium, "summary_stats": values}]})
        for values in statistics
    )
    assert one["potentials"]["Na"] != two["potentials"]["Na"]
    with pytest.raises(IonSieveError, match="don't tell VASP's version"):
        backend.energy_identity({**engine, "version": None})


def test_stand_in_with_other_energies_has_another_version():
    """If this fails after a change of the stand-in, raise CODE_VERSION and pin the new energies."""
    crystals = {
        "NaCl": Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
        ),
        "Li2S": Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.7), ["S", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]]
        ),
        "Na": Structure.from_spacegroup("Im-3m", Lattice.cubic(4.2), ["Na"], [[0, 0, 0]]),
    }
    energies = {
        name: ForceField([site.specie.symbol for site in crystal])
        .evaluate(crystal.frac_coords, crystal.lattice.matrix)
        .energy_ev
        / len(crystal)
        for name, crystal in crystals.items()
    }
    assert (CODE_VERSION, energies) == (2, pytest.approx(PINNED_EV_ATOM, abs=1e-6))
