"""`ionsieve hpc-check` with a database, MPI and Slurm that are there, and with what is not."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import local_slurm
from ionsieve.workflows.cli import main
from ionsieve.workflows.clusters import probes as hpc_probes
from mongo_server import MongoServer

USER, PASSWORD = "me", "s3cr:t p@ss/ü"
MOCK = ("--set", "vasp_std=ionsieve-mock-vasp", "--set", "vasp_gam=ionsieve-mock-vasp")
HAS_MPI = importlib.util.find_spec("mpi4py") is not None
OFFLINE = ("secret files", "FireWorks' settings", "queue adapter", "shell scripts")


@pytest.fixture
def ionsieve(monkeypatch, capfd):
    monkeypatch.setenv("IONSIEVE_MONGO_PASSWORD", PASSWORD)
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setattr(hpc_probes, "_MONGO_TIMEOUT_MS", 300)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ionsieve", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        printed = capfd.readouterr()
        assert "s3cr" not in printed.out + printed.err
        return code, printed.out, printed.err

    return run


@pytest.fixture
def check(ionsieve):
    """Return exit code and rows by name."""

    def run(folder):
        code, out, err = ionsieve("hpc-check", folder, "--json")
        assert err == ""
        printed = json.loads(out)
        rows = {row["name"]: row for row in printed["checks"]}
        failed = [row for row in rows.values() if row["outcome"] == "failed"]
        assert code == (1 if failed else 0)
        assert printed["ok"] == (not failed)
        assert all(row["remedy"] for row in failed)
        assert all("\n" not in row["seen"] for row in rows.values())
        return code, rows

    return run


@pytest.fixture(scope="module")
def mongo():
    with MongoServer(USER, PASSWORD) as server:
        yield server


@pytest.fixture
def make(ionsieve, tmp_path, mongo):
    def write(scheduler, *more):
        folder = tmp_path / "cluster"
        port = ("--set", f"mongo_port={mongo.port}", "--set", f"mongo_user={USER}")
        code, out, err = ionsieve(
            "hpc-init", scheduler, folder, "--set", "mongo_host=127.0.0.1", *port, *more
        )
        assert (code, err) == (0, ""), out
        return folder

    return write


def outcomes(rows):
    return {name: row["outcome"] for name, row in rows.items()}


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MPI, reason="mpi4py is not installed")
def test_all_is_well_on_one_machine(make, check):
    code, rows = check(make("laptop"))
    assert code == 0
    assert outcomes(rows) == {
        "secret files": "OK",
        "FireWorks' settings": "OK",
        "queue adapter": "skipped",
        "shell scripts": "OK",
        "LaunchPad": "OK",
        "results store": "OK",
        "scheduler": "skipped",
        "batch job accepted": "skipped",
        "Python environment": "OK",
        "VASP": "OK",
        "potentials": "skipped",
        "MPI": "OK",
    }
    assert rows["MPI"]["seen"].startswith("2 ranks")


def test_report_for_people(make, ionsieve, only):
    only("_check_launchpad")
    folder = make("laptop")
    (folder / "jobflow.yaml").chmod(0o644)
    code, out, err = ionsieve("hpc-check", folder)
    assert (code, err) == (1, "")
    assert "failed  secret files" in out
    assert f"-> chmod 600 {folder}/jobflow.yaml" in out
    assert "OK      LaunchPad" in out


def test_nothing_is_there(make, check, monkeypatch):
    """Every failure says what to do; nothing hangs."""
    folder = make(
        "laptop", "--set", "vasp_std=nosuch-vasp", "--set", "mpi_launcher=nosuch-mpiexec -n {ranks}"
    )
    for name in ("my_launchpad.yaml", "jobflow.yaml"):
        text = (folder / name).read_text()
        port = yaml.safe_load((folder / "values.yaml").read_text())["mongo_port"]
        # Port 9 is that of the discard service, which nobody runs.
        (folder / name).write_text(text.replace(f"port: {port}", "port: 9"))
    code, rows = check(folder)
    assert code == 1
    assert rows["LaunchPad"]["seen"] == "nothing answers at 127.0.0.1:9, database ionsieve"
    assert rows["results store"]["seen"] == "nothing answers at 127.0.0.1:9"
    assert "no nosuch-vasp on the PATH" in rows["VASP"]["seen"]
    assert "pymatgen knows no folder" in rows["potentials"]["seen"]
    assert "nosuch-mpiexec" in rows["MPI"]["seen"]


def test_wrong_password(make, check, only, monkeypatch):
    only("_check_launchpad", "_check_job_store")
    monkeypatch.setenv("IONSIEVE_MONGO_PASSWORD", "wrong-s3cret")
    code, rows = check(make("laptop"))
    assert code == 1
    for name in ("LaunchPad", "results store"):
        assert "refuses (code 18)" in rows[name]["seen"]
        assert "password" in rows[name]["remedy"]


def test_passwords_are_hidden_wherever_they_show(tmp_path):
    from ionsieve.workflows.clusters.checks import run_check

    row = run_check("x", lambda: "user:hunter2@host\nhunter2", ["hunter2"])
    assert row.seen == "user:***@host ***"


def offline_rows(check, folder):
    return {name: row for name, row in check(folder)[1].items() if name in OFFLINE}


@pytest.fixture
def only(monkeypatch):
    """Leave out the checks that are not looked at."""

    def leave_out_others(*names):
        checks = {name for name in vars(hpc_probes) if name.startswith("_check_")}
        for name in checks - set(names):
            monkeypatch.setattr(hpc_probes, name, lambda *_: "")
        answer = {"version": 1, "python": 1}
        if "_check_potentials" not in names:
            monkeypatch.setattr(hpc_probes._AskedOnce, "answer", lambda _: answer)

    return leave_out_others


@pytest.fixture
def quick(only):
    only("_check_scheduler", "_check_accepts")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("file", "old", "new", "row", "words"),
    [
        ("FW_config.yaml", "PING_TIME_SECS", "PING_TIME", "FireWorks' settings", "no 'PING_TIME'"),
        ("FW_config.yaml", "my_fworker", "your_fworker", "FireWorks' settings", "is not there"),
        ("my_fworker.yaml", "name:", "title:", "FireWorks' settings", "my_fworker.yaml"),
        ("my_qadapter.yaml", "nodes:", "#", "queue adapter", "ask for nodes"),
        ("my_qadapter.yaml", "walltime:", "#", "queue adapter", "ask for walltime"),
        ("my_qadapter.yaml", "CommonAdapter", "'{{nosuch.X}}'", "queue adapter", "can't load it"),
        ("my_qadapter.yaml", "type: SLURM", "type: PJM", "queue adapter", "can't load it"),
        ("my_qadapter.yaml", "rlaunch singleshot", "rlaunch (", "queue adapter", "syntax error"),
        ("my_qadapter.yaml", "rlaunch singleshot", "'{{ x }}'", "queue adapter", "not filled in"),
        ("my_qadapter.yaml", "nodes:", "[", "queue adapter", "not valid YAML"),
        ("environment.sh", "export PATH", "if true", "shell scripts", "environment.sh"),
    ],
)
def test_faulty_files(make, check, file, old, new, row, words):
    folder = make("slurm")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    rows = offline_rows(check, folder)
    assert rows[row]["outcome"] == "failed"
    assert words in rows[row]["seen"]
    others = {name for name, each in rows.items() if each["outcome"] == "failed"} - {row}
    assert not others


@pytest.mark.usefixtures("quick")
def test_moved_folder(make, check):
    folder = make("slurm")
    moved = folder.rename(folder.with_name("elsewhere"))
    row = check(moved)[1]["FireWorks' settings"]
    assert row["outcome"] == "failed"
    assert "was moved" in row["remedy"]


@pytest.mark.parametrize("kind", ["missing", "empty", "no description"])
def test_not_such_a_folder(ionsieve, tmp_path, kind):
    folder = tmp_path / "x"
    if kind != "missing":
        folder.mkdir()
    if kind == "no description":
        (folder / "scheduler.yaml").write_text("title: x\n")
        (folder / "values.yaml").write_text("nodes: 1\n")
    code, out, err = ionsieve("hpc-check", folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder}")
    assert err.count("\n") == 1


def test_potentials(make, check, tmp_path, only):
    only("_check_potentials")
    potentials = tmp_path / "potentials"
    (potentials / "POT_GGA_PAW_PBE_54").mkdir(parents=True)
    row = check(
        make("laptop", "--set", f"potcar_dir={potentials}", "--set", "vasp_std=true")
    )[1]["potentials"]  # fmt: skip
    assert (row["outcome"], row["seen"]) == ("OK", f"{potentials}: POT_GGA_PAW_PBE_54")
    (potentials / "POT_GGA_PAW_PBE_54").rmdir()
    row = check(tmp_path / "cluster")[1]["potentials"]
    assert "holds no set" in row["seen"]


# Schedulers that can't run here: stand-ins for their commands, with what the real ones print.


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(name, text):
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)

    return install


GRID_ENGINE = ("grid_engine", "--set", "parallel_environment=mpi")
FUGAKU = ("fujitsu_pjm", "--set", "account=hp000000", "--set", f"environment={sys.prefix}")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("scheduler", "commands", "accepted", "seen"),
    [
        (
            GRID_ENGINE,
            {"qstat": "echo GE 8.1.9", "qsub": "echo 'verification: found suitable queue(s)'"},
            "OK",
            "verification: found suitable queue(s)",
        ),
        (
            GRID_ENGINE,
            {"qstat": "echo GE 8.1.9", "qsub": "echo 'verification: no suitable queues'"},
            "failed",
            "refused: verification: no suitable queues",
        ),
        (
            ("pbs_pro", "--set", "queue=nosuch"),
            {"qstat": '[ "$1" != -Q ] || { echo "qstat: Unknown queue nosuch" >&2; exit 170; }',
             "qsub": "exit 1"},
            "failed",
            "refused: qstat: Unknown queue nosuch",
        ),
        (("pbs_pro",), {"qstat": "true", "qsub": "exit 1"}, "skipped", "without submitting"),
        (FUGAKU, {"pjstat": "true", "pjsub": "exit 1", "pjacl": "echo ok"}, "OK", "ok"),
    ],
)  # fmt: skip
def test_scheduler_is_asked(make, check, tools, scheduler, commands, accepted, seen):
    for name, text in commands.items():
        tools(name, text)
    rows = check(make(*scheduler))[1]
    assert rows["scheduler"]["outcome"] == "OK"
    assert rows["batch job accepted"]["outcome"] == accepted
    assert seen in rows["batch job accepted"]["seen"]


@pytest.mark.usefixtures("quick")
def test_scheduler_that_is_down_or_silent(make, check, tools, monkeypatch):
    folder = make(*GRID_ENGINE)
    tools("qsub", "true")
    tools("qstat", "echo 'error: commlib error: got select error (Connection refused)' >&2; exit 1")
    row = check(folder)[1]["scheduler"]
    assert row["outcome"] == "failed"
    assert "Connection refused" in row["seen"]
    monkeypatch.setattr(hpc_probes._run, "__defaults__", (0.5,))
    tools("qstat", "sleep 30")
    row = check(folder)[1]["scheduler"]
    assert "no answer in 0.5 s" in row["seen"]


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(shutil.which("pjsub") is not None, reason="this is a PJM machine")
def test_scheduler_that_is_not_here(make, check):
    row = check(make(*FUGAKU))[1]["scheduler"]
    assert row["outcome"] == "failed"
    assert "no pjsub here" in row["seen"]


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MPI, reason="mpi4py is not installed")
def test_mpi_waits_for_a_job_where_login_nodes_have_none(make, check, only, monkeypatch):
    only("_check_mpi")
    folder = make("pbs_pro")
    row = check(folder)[1]["MPI"]
    assert row["outcome"] == "skipped"
    assert "interactive" in row["seen"]
    monkeypatch.setenv("PBS_JOBID", "1.server")
    assert check(folder)[1]["MPI"]["outcome"] == "OK"


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MPI, reason="mpi4py is not installed")
def test_mpi_of_another_kind_than_its_launcher(make, check, tools, only):
    only("_check_mpi")
    # Starts two processes that know nothing of each other, as another MPI's mpiexec does.
    tools("other-mpiexec", 'shift 2; "$@" & "$@"; wait')
    row = check(make("laptop", "--set", "mpi_launcher=other-mpiexec -n {ranks}"))[1]["MPI"]
    assert row["outcome"] == "failed"
    assert row["seen"] == "2 separate processes instead of one job of 2"
    assert "different MPIs" in row["remedy"]


# The real Slurm.


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    if lacking := local_slurm.missing():
        pytest.skip(f"Slurm is not installed: {', '.join(lacking)}")
    with local_slurm.LocalSlurm(tmp_path / "slurm", cpus=4) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MPI, reason="mpi4py is not installed")
def test_slurm(make, check, only, slurm):
    settings = ("--set", "queue=batch", "--set", "ranks_per_node=2", *MOCK)
    folder = make("slurm", *settings)
    code, rows = check(folder)
    assert code == 0, rows
    assert rows["scheduler"]["seen"].startswith("slurm")
    assert "to start at" in rows["batch job accepted"]["seen"]
    assert rows["MPI"]["seen"] == "2 ranks see each other (srun)"
    ranked(folder, slurm)
    # What the user can get wrong.
    only("_check_accepts")
    for wrong in ("queue=nosuch", "nodes=9", "ranks_per_node=99"):
        shutil.rmtree(folder)
        rows = check(make("slurm", *settings, "--set", wrong))[1]
        assert rows["batch job accepted"]["outcome"] == "failed", wrong
        assert "refused: " in rows["batch job accepted"]["seen"]


def ranked(folder, slurm):
    """Submit the Ewald script as it is and look at what two MPI processes found."""
    mother = Path(hpc_probes.__file__).parents[1] / "data/mothers/Na3SbS4-cubic.cif"
    shutil.copy(mother, slurm.directory / "Na3SbS4.cif")
    answer = slurm.run("sbatch", "--parsable", folder / "ewald_mpi.sh", cwd=slurm.directory)
    state = slurm.wait(answer)
    output = (slurm.directory / f"ewald-{answer}.out").read_text()
    assert state == "COMPLETED", output
    assert "certified: nothing lower exists" in output
    assert len(list((slurm.directory / "ranked").glob("*.cif"))) == 5, output
