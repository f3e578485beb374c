"""A real Slurm for tests only: one node on loopback with daemons, ports and keys of its own.

It starts Debian's munged, slurmctld and slurmd as children of this process, as root or as an
ordinary user, without systemd, cgroups or database, and stops them and every job on leaving. They
also end with the thread that started them, so start them from the main thread. There is no
accounting: `sacct` knows nothing, `scontrol show job` keeps finished jobs for five minutes.

    if local_slurm.missing():
        pytest.skip(f"Slurm is not installed: {', '.join(local_slurm.missing())}")
    with LocalSlurm(tmp_path, cpus=4) as slurm:  # one partition, "batch"
        subprocess.run(["sbatch", "job.sh"], env={**os.environ, **slurm.environment})

Slurm's own delays that no setting shortens: time limits are whole minutes and looked at every 30 s,
as is the moment of `--signal=...@seconds` (`reach_time_limit` spares the minute); a requeued job
waits up to two minutes (`start_now` sends it off).
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = [
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "scancel",
    "scontrol",
    "sinfo",
    "squeue",
    "srun",
    "setpriv",
]
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START_SECONDS = 30
STOP_SECONDS = 10
FINISHED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
}

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
# No cgroups, and as many processors as asked for rather than those there are.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=pmi2
ReturnToService=2
# As quick as it can be.
KillWait=1
OverTimeLimit=0
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=batch Nodes={host} Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
"""


def missing():
    """Return the names of the programs that a local Slurm needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


def _free_ports(count):
    with contextlib.ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


class LocalSlurm:
    """One-node cluster; its configuration and logs are in `directory`."""

    def __init__(self, directory, cpus=4):
        self.directory = Path(directory)
        self.cpus = cpus
        self.environment = {
            "SLURM_CONF": str(self.directory / "slurm.conf"),
            "PATH": SEARCH_PATH,
        }
        self.daemons = []
        # Sockets live there: their paths may not exceed 107 bytes.
        self.run_directory = None

    def __enter__(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.run_directory = Path(tempfile.mkdtemp(prefix="slurm-"))
        try:
            self._configure()
            run = self.run_directory
            self._start("munged", "--foreground", "--force", "--num-threads=2",
                        f"--key-file={run}/munge.key", f"--socket={run}/munge.socket",
                        f"--pid-file={run}/munged.pid", f"--seed-file={run}/munge.seed",
                        f"--log-file={self.directory}/munged.log")  # fmt: skip
            self._await(lambda: (run / "munge.socket").exists(), "munged")
            self._start("slurmctld", "-D", "-c")
            self._start("slurmd", "-D", "-c")
            self._await(self._is_idle, "the node")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *command, **options):
        """Run a command of Slurm; return what it prints, or raise with what it complains of."""
        result = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )
        if result.returncode:
            raise RuntimeError(
                f"{command[0]} failed ({result.returncode}): {result.stderr.strip()}"
            )
        return result.stdout.strip()

    def submit(self, script, *options):
        """Submit the text of a shell script, run in `directory`; return the number of the job."""
        return self.run(
            "sbatch", "--parsable", "--output=job-%j.out", *options,
            input=f"#!/bin/sh\n{script}\n", cwd=self.directory,
        )  # fmt: skip

    def state(self, job):
        """Return the state of a job, for instance RUNNING."""
        return self.describe(job)["JobState"]

    def describe(self, job):
        """Return what `scontrol show job` tells of a job."""
        fields = self.run("scontrol", "show", "job", "--oneliner", job).split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def wait(self, job, states=FINISHED, seconds=60):
        """Wait until a job is in one of the states (any final one); return which."""
        deadline = time.monotonic() + seconds
        while (state := self.state(job)) not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is {state} after {seconds} s")
            time.sleep(0.1)
        return state

    def start_now(self, job):
        """Spare a requeued job Slurm's pause of two minutes."""
        self.wait(job, FINISHED | {"PENDING", "RUNNING"})
        # slurmd knows the second of the first run's end, and refuses a start within it.
        time.sleep(2)
        while True:
            self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                if self.describe(job)["Reason"] != "BeginTime":
                    return
                time.sleep(0.1)

    def reach_time_limit(self, job):
        """Let a running job time out at Slurm's next look at the limits: within 30 s."""
        self.run("scontrol", "update", f"JobId={job}", "EndTime=now")

    def stop(self):
        """Kill all jobs and stop the daemons."""
        if len(self.daemons) == 3:
            with contextlib.suppress(Exception):
                self.run("scancel", "--user", _user())
        self._kill_job_processes()
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        self._kill_job_processes()
        shutil.rmtree(self.run_directory, ignore_errors=True)

    def _configure(self):
        run = self.run_directory
        for name in ("state", "spool"):
            (run / name).mkdir()
        key = run / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        controller_port, node_port = _free_ports(2)
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            user=_user(),
            run=run,
            controller_port=controller_port,
            node_port=node_port,
            cpus=self.cpus,
            memory_mb=memory_bytes // 2**20,
        )
        (self.directory / "slurm.conf").write_text(text)

    def _start(self, *command):
        """Start a daemon that ends with this process, even where that is killed."""
        with (self.directory / f"{command[0]}.log").open("ab") as log:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.daemons.append(daemon)

    def _await(self, is_ready, what):
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            dead = any(daemon.poll() is not None for daemon in self.daemons)
            if dead or time.monotonic() > deadline:
                logs = (path.read_text()[-1000:] for path in sorted(self.directory.glob("*.log")))
                raise RuntimeError(f"{what} did not come up:\n" + "\n".join(logs))
            time.sleep(0.05)

    def _is_idle(self):
        try:
            return self.run("sinfo", "--noheader", "--format=%t") == "idle"
        except RuntimeError:
            return False

    def _kill_job_processes(self):
        """Kill what jobs of this cluster have left: both variables are in their environment."""
        ours = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                variables = path.read_bytes().split(b"\0")
                if ours in variables and any(v.startswith(b"SLURM_JOB_ID=") for v in variables):
                    os.kill(int(path.parent.name), signal.SIGKILL)


def _user():
    return pwd.getpwuid(os.getuid()).pw_name
