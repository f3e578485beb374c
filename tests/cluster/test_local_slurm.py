"""The tests' own Slurm does what clusters do: batch jobs, steps, MPI, signals, requeues."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import local_slurm
from local_slurm import LocalSlurm

HELLO = """\
from mpi4py import MPI
ranks = MPI.COMM_WORLD.gather(MPI.COMM_WORLD.rank)
if ranks:
    print("ranks", *ranks, "of", MPI.COMM_WORLD.size, flush=True)
"""


@pytest.fixture(scope="module")
def installed():
    if absent := local_slurm.missing():
        pytest.skip(f"Slurm is not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def slurm(installed, tmp_path_factory):
    with LocalSlurm(tmp_path_factory.mktemp("slurm"), cpus=6) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def limited(slurm):
    """Two one-processor jobs that meet a time limit; asked for early, since that takes 30 s."""
    warned = slurm.submit(
        "trap 'echo warned; exit 0' USR1; while :; do sleep 0.1; done",
        "--time=1",
        "--signal=B:USR1@60",
    )
    killed = slurm.submit("sleep 1000", "--time=60")
    slurm.wait(killed, {"RUNNING"})
    slurm.reach_time_limit(killed)
    return warned, killed


@pytest.fixture
def hello(tmp_path):
    pytest.importorskip("mpi4py")
    if not Path(sys.executable).with_name("mpiexec").exists():
        pytest.skip("no mpiexec beside this Python")
    (tmp_path / "hello.py").write_text(HELLO)
    return tmp_path / "hello.py"


def output(slurm, job):
    path = slurm.directory / f"job-{job}.out"
    return path.read_text() if path.exists() else ""


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def wait_for_output(slurm, job, text):
    try:
        wait_for(lambda: output(slurm, job).endswith(text))
    except AssertionError:
        raise AssertionError(f"{output(slurm, job)!r}, {slurm.describe(job)}") from None


def running(marker):
    """Whether a process with this marker among its arguments is alive."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                return True
    return False


@pytest.mark.usefixtures("limited")
def test_batch_job_runs_and_is_listed(slurm):
    job = slurm.submit("echo processors $SLURM_CPUS_ON_NODE; sleep 30", "--ntasks=3")
    slurm.wait(job, {"RUNNING"})
    listed = slurm.run("squeue", "--noheader", "--format=%i %P %T %C")
    assert f"{job} batch RUNNING 3" in listed.splitlines()
    wait_for_output(slurm, job, "processors 3\n")
    slurm.run("scancel", job)
    assert slurm.wait(job) == "CANCELLED"


def test_exit_code_and_dependency(slurm):
    failing = slurm.submit("exit 3")
    child = slurm.submit("true", f"--dependency=afternotok:{failing}")
    assert slurm.wait(failing) == "FAILED"
    assert "ExitCode=3:0" in slurm.run("scontrol", "show", "job", failing)
    assert slurm.wait(child) == "COMPLETED"


def test_jobs_beyond_the_processors_wait(slurm):
    first = slurm.submit("sleep 30", "--ntasks=4")
    second = slurm.submit("true", "--ntasks=1")
    slurm.wait(first, {"RUNNING"})
    assert slurm.state(second) == "PENDING"
    slurm.run("scancel", first)
    assert slurm.wait(second) == "COMPLETED"


@pytest.mark.mpi
def test_srun_starts_mpi_ranks(slurm, hello):
    job = slurm.submit(f"srun --mpi=pmi2 {sys.executable} {hello}", "--ntasks=2")
    assert slurm.wait(job) == "COMPLETED", output(slurm, job)
    assert output(slurm, job) == "ranks 0 1 of 2\n"


@pytest.mark.mpi
def test_mpiexec_inside_a_job(slurm, hello):
    mpiexec = Path(sys.executable).with_name("mpiexec")
    job = slurm.submit(f"{mpiexec} -n 2 {sys.executable} {hello}", "--ntasks=2")
    assert slurm.wait(job) == "COMPLETED", output(slurm, job)
    assert output(slurm, job) == "ranks 0 1 of 2\n"


def test_scancel_sends_a_signal_to_the_program(slurm):
    program = slurm.directory / "waits.py"
    program.write_text(
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "print('up', flush=True)\n"
        "signal.sigwait([signal.SIGUSR1])\n"
        "print('warned')\n"
    )
    job = slurm.submit(f"exec {sys.executable} {program}")
    slurm.wait(job, {"RUNNING"})
    wait_for_output(slurm, job, "up\n")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    assert slurm.wait(job) == "COMPLETED"
    assert output(slurm, job) == "up\nwarned\n"


def test_requeued_job_can_start_at_once(slurm):
    job = slurm.submit("echo run $SLURM_RESTART_COUNT; sleep 30", "--open-mode=append")
    slurm.wait(job, {"RUNNING"})
    wait_for_output(slurm, job, "run\n")
    slurm.run("scontrol", "requeue", job)
    slurm.wait(job, {"PENDING"})
    slurm.start_now(job)
    wait_for_output(slurm, job, "run 1\n")
    slurm.run("scancel", job)
    slurm.wait(job)


def test_time_limits(slurm, limited):
    warned, killed = limited
    assert slurm.wait(warned) == "COMPLETED"
    assert output(slurm, warned) == "warned\n"
    assert slurm.wait(killed) == "TIMEOUT"


def test_nothing_remains_after_an_error(installed, tmp_path):
    slurm = LocalSlurm(tmp_path / "own", cpus=1)
    daemons = []

    def fail_while_a_job_runs():
        with slurm:
            daemons.extend(slurm.daemons)
            slurm.submit('trap "" TERM; sleep 4321.25 & sleep 4321.5')
            wait_for(lambda: running("sleep 4321.25"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_a_job_runs()
    assert [daemon.poll() is not None for daemon in daemons] == [True] * 3
    assert not slurm.run_directory.exists()
    wait_for(lambda: not running("sleep 4321."))


def test_daemons_end_with_a_killed_test_run(installed, tmp_path):
    code = (
        "import sys, time; from local_slurm import LocalSlurm\n"
        "with LocalSlurm(sys.argv[1]) as slurm:\n"
        "    print(slurm.run_directory, *(each.pid for each in slurm.daemons), flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(local_slurm.__file__).parent)}
    command = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as killed:
        run_directory, *daemons = killed.stdout.readline().split()
        killed.send_signal(signal.SIGKILL)
    assert len(daemons) == 3

    def alive(pid):
        status = Path(f"/proc/{pid}/stat")
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"

    wait_for(lambda: not any(map(alive, daemons)))
    shutil.rmtree(run_directory)


def test_missing_programs_are_named(monkeypatch):
    monkeypatch.setattr(local_slurm, "SEARCH_PATH", "/nonexistent")
    assert local_slurm.missing() == local_slurm.PROGRAMS
