"""The whole funnel on a real Slurm: FireWorks, MPI ranking, a killed job, a job cut short."""

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

import local_slurm
import sodium_sulfide
from ionsieve.workflows.backends.protocol import MDSpec
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.backends.vasp.reading import read_positions
from ionsieve.workflows.settings.schema import Screening
from local_slurm import LocalSlurm
from mongo_server import MongoServer

PASSWORD = "s3cr-et"
PROGRAMS = Path(sys.executable).parent
MOLECULAR_DYNAMICS = {
    "temperature_k": 700,
    "equilibration_ps": 1,
    "look_ps": 8,
    "stop_early": False,
    "min_sigma_s_cm": 1e-9,
}
SETTINGS = {
    **sodium_sulfide.SETTINGS,
    "name": "tiny",
    "hull": {"max_e_hull_ev_atom": 5.0},
    "short_md": {
        **MOLECULAR_DYNAMICS,
        "timestep_fs": 4,
        "length_ps": 8,
        "max_length_ps": 8,
        "segment_ps": 4,
    },
    "long_md": {
        **MOLECULAR_DYNAMICS,
        "timestep_fs": 1,
        "length_ps": 60,
        "max_length_ps": 60,
        "segment_ps": 60,
        "max_relative_error": 10,
    },
}
COLUMNS = [
    "composition_id",
    "passed",
    "e_hull_ev_atom",
    "sigma_short_s_cm",
    "sigma_long_s_cm",
    "sigma_long_s_cm_lo",
    "sigma_long_s_cm_hi",
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if absent := local_slurm.missing():
        pytest.skip(f"Slurm is not installed: {', '.join(absent)}")
    pytest.importorskip("mpi4py")
    with LocalSlurm(tmp_path_factory.mktemp("slurm"), cpus=4) as slurm:
        yield slurm


class Cluster:
    """A login node: its commands, with the settings that ``hpc-init`` wrote."""

    def __init__(self, folder, slurm, server):
        self.folder, self.slurm = folder, slurm
        self.launches = folder / "launches"
        self.launches.mkdir()
        self.environment = {
            **os.environ,
            **slurm.environment,
            "IONSIEVE_MONGO_PASSWORD": PASSWORD,
            "FW_CONFIG_FILE": str(folder / "site" / "FW_config.yaml"),
        }
        self.environment["PATH"] = f"{PROGRAMS}{os.pathsep}{self.environment['PATH']}"
        values = {
            "environment": PROGRAMS.parent,
            "mongo_host": server.host,
            "mongo_port": server.port,
            "mongo_user": server.user,
            "queue": "batch",
            "ranks_per_node": 1,
            "walltime": "00:20:00",
        }
        options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        self.run("ionsieve", "hpc-init", "slurm", "site", *options)
        self._hurry()

    def run(self, *command, folder=None, timeout=120):
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    def _hurry(self):
        """Notice killed jobs soon, and let the scheduler's signal reach Python."""
        settings = self.folder / "site" / "FW_config.yaml"
        changes = {"PING_TIME_SECS": 2, "RUN_EXPIRATION_SECS": 15, "QUEUE_UPDATE_INTERVAL": 0}
        settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **changes}))
        adapter = self.folder / "site" / "my_qadapter.yaml"
        changes = {"rocket_launch": "exec rlaunch singleshot"}
        adapter.write_text(yaml.safe_dump({**yaml.safe_load(adapter.read_text()), **changes}))

    def submit(self):
        return json.loads(self.run("ionsieve", "submit", "screening.yaml", "--json"))

    @contextlib.contextmanager
    def launcher(self):
        """Hand every job that is ready to Slurm, as long as this lasts."""
        command = ("qlaunch", "--reserve", "rapidfire", "--nlaunches", "infinite", "--sleep", "1")
        with (self.folder / "qlaunch.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.launches, env=self.environment, stdout=log, stderr=log
            )
            try:
                yield
            finally:
                process.kill()
                process.wait()

    def jobs(self):
        """Return (number, name) of the running batch jobs."""
        lines = self.slurm.run("squeue", "--noheader", "--states=R", "--format=%i %200j")
        return [tuple(line.split(maxsplit=1)) for line in lines.splitlines()]

    def folder_of(self, job):
        return Path(self.slurm.describe(job)["WorkDir"])


def mock_vasp_steps(folder):
    """Return the ionic steps that the calculation below a batch job's folder has made."""
    with contextlib.suppress(OSError):
        return sum(" F= " in line for line in (folder / "OSZICAR").read_text().splitlines())
    return 0


def disturb(cluster, disturbed):
    """Kill one calculation, and signal one long run as Slurm does before its limit."""
    for job, name in cluster.jobs():
        if "killed" not in disturbed and (cluster.folder_of(job) / "OUTCAR").exists():
            cluster.slurm.run("scancel", "--signal=KILL", "--full", job)
            disturbed["killed"] = name
        elif "signalled" in disturbed or not name.startswith("long"):
            continue
        elif mock_vasp_steps(cluster.folder_of(job)) > 200:
            cluster.slurm.run("scancel", "--signal=USR1", "--batch", job)
            disturbed["signalled"] = name


@contextlib.contextmanager
def disturbing(cluster, disturbed):
    """Disturb all the time: submitting takes as long as some jobs."""
    end = threading.Event()

    def go_on():
        while not end.wait(0.3):
            disturb(cluster, disturbed)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def results(folder, environment=None):
    command = [PROGRAMS / "ionsieve", "query", "screening.yaml", "--json"]
    command += ["--columns", ",".join(COLUMNS)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.timeout(900)
def test_funnel_on_slurm_finds_what_a_local_run_finds(slurm, tmp_path):
    local, remote = tmp_path / "local", tmp_path / "remote"
    for folder in (local, remote):
        folder.mkdir()
        sodium_sulfide.write_mother(folder)
    (local / "screening.yaml").write_text(yaml.safe_dump(SETTINGS))
    subprocess.run(
        [PROGRAMS / "ionsieve", "run", "screening.yaml"], cwd=local, check=True, timeout=300
    )
    with MongoServer(user="ion", password=PASSWORD) as server:
        cluster = Cluster(remote, slurm, server)
        sections = yaml.safe_load((remote / "site" / "screening_sections.yaml").read_text())
        compute = sections["compute"]
        compute["resources"]["ranking"].update(ranks=2)
        (remote / "screening.yaml").write_text(
            yaml.safe_dump({**SETTINGS, "store": sections["store"], "compute": compute})
        )
        disturbed, n_rerun = {}, 0
        with cluster.launcher(), disturbing(cluster, disturbed):
            while True:
                submitted = cluster.submit()
                n_rerun += len(submitted["rerun"])
                if set(submitted["flows"]) <= {"completed", "failed"} and not submitted["added"]:
                    break
                time.sleep(2)
        assert submitted["flows"].get("failed", 0) == 0
        assert set(disturbed) == {"killed", "signalled"}
        assert n_rerun == 1
        (expected,), (found,) = results(local), results(remote, cluster.environment)
        assert found["composition_id"] == expected["composition_id"]
        for column in ("passed", "e_hull_ev_atom", "sigma_short_s_cm"):
            assert found[column] == pytest.approx(expected[column], rel=1e-6), column
        # The cut rounds positions to CONTCAR's digits; in a chaotic system that grows with time,
        # to two independent runs. Three half widths of one interval are 4.2 sigma of the ratio.
        half_width = math.log(expected["sigma_long_s_cm_hi"] / expected["sigma_long_s_cm_lo"]) / 2
        ratio = found["sigma_long_s_cm"] / expected["sigma_long_s_cm"]
        assert abs(math.log(ratio)) < 3 * half_width < 0.5
        assert found["passed"]
        log = next(cluster.launches.rglob("ranking.log"))
        assert log.with_name("ranking.json").exists()
        pieces = list(cluster.launches.rglob("earlier_pieces.json*"))
        assert len(pieces) == 1


#: Runs one job; what would replace it waits for the next batch job.
ONE_JOB = """\
import json
from pathlib import Path

from jobflow import JobStore
from monty.json import MontyDecoder, MontyEncoder
from ionsieve.workflows.store.sqlite.store import SQLiteStore

store = JobStore(SQLiteStore("results.sqlite", "jobs"))
store.connect()
waiting = Path("job.json")
response = json.loads(waiting.read_text(), cls=MontyDecoder).run(store=store)
waiting.unlink()
if response.replace:
    waiting.write_text(json.dumps(response.replace.jobs[0], cls=MontyEncoder))
else:
    Path("folder.txt").write_text(response.output.dir_name.split(":", 1)[-1])
"""


def run_in_batch_job(slurm, folder, job):
    """Run a job in a folder, with the signal before a limit of one minute."""
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job, cls=MontyEncoder))
    (folder / "one_job.py").write_text(ONE_JOB)
    # Slurm looks at the limits every 30 s: the signal comes after 20 to 50 s.
    number = slurm.submit(
        f"cd {folder}\nexec {sys.executable} one_job.py", "--time=1", "--signal=B:USR1@40"
    )
    assert slurm.wait(number, seconds=200) == "COMPLETED"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_stops_at_slurms_signal_before_the_limit_and_goes_on(slurm, tmp_path):
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    # No machine does that many in a minute; most of what is left then is cancelled.
    n_steps, n_steps_left, interval = 10**7, 6_000, 60
    backend = get_backend(Screening(mothers={"files": ["-"]}, doping=SETTINGS["doping"]), "long_md")
    spec = MDSpec(600, 1.0, n_steps, frame_interval=interval)
    (job,) = backend.md(spec, salt.make_supercell(3), "salt").jobs
    first, second = tmp_path / "first", tmp_path / "second"
    run_in_batch_job(slurm, first, job)
    rest = json.loads((first / "job.json").read_text(), cls=MontyDecoder)
    n_before = n_steps - rest.maker.input_set_generator.nsteps
    assert n_before > 0
    left = {"input_set_generator->nsteps": n_steps_left}
    rest.update_maker_kwargs({"_set": left}, dict_mod=True)
    run_in_batch_job(slurm, second, rest)
    assert not (second / "job.json").exists()
    folder = Path((second / "folder.txt").read_text())
    run = read_positions(folder, 1.0, interval)
    assert run.n_frames == (n_before + n_steps_left) // interval
