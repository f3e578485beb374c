"""Check what a folder of hpc-init refers to: stores, scheduler, VASP, potentials and MPI."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ionsieve.workflows.clusters.checks import (
    Check,
    ClusterFolder,
    Failed,
    Skipped,
    check_files,
    read_mapping,
    render_job,
    run_checks,
    write_script,
)

_TIMEOUT_SECONDS = 30.0
_MONGO_TIMEOUT_MS = 5000
_MOCK = "ionsieve-mock-vasp"

#: Run by the Python of environment.sh: which ionsieve is it, and where does it find potentials?
_ASK_PYTHON = """
import json, sys, ionsieve
from pymatgen.core import SETTINGS
from pymatgen.io.vasp.inputs import PotcarSingle
sets = list(PotcarSingle.functional_dir.values())
print(json.dumps({"python": sys.prefix, "version": ionsieve.__version__,
    "folder": SETTINGS.get("PMG_VASP_PSP_DIR"), "sets": sets}))
"""
_ASK_MPI = "from mpi4py import MPI; print(f'ranks-seen={MPI.COMM_WORLD.Get_size()}', flush=True)"


def check_folder(path: Path) -> list[Check]:
    """Check a folder's files, then all they refer to.

    Raises
    ------
    InputError
        It is not a folder written by hpc-init.
    """
    folder = ClusterFolder.read(path)
    python = _AskedOnce(folder)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("LaunchPad", lambda: _check_launchpad(folder)),
        ("results store", lambda: _check_job_store(folder)),
        ("scheduler", lambda: _check_scheduler(folder)),
        ("batch job accepted", lambda: _check_accepts(folder)),
        ("Python environment", python.check),
        ("VASP", lambda: _check_vasp(folder)),
        ("potentials", lambda: _check_potentials(folder, python)),
        ("MPI", lambda: _check_mpi(folder)),
    ]
    return [*check_files(path), *run_checks(folder, checks)]


def _check_launchpad(folder: ClusterFolder) -> str:
    from fireworks import LaunchPad
    from pymongo.errors import PyMongoError

    path = folder.path / "my_launchpad.yaml"
    settings = read_mapping(path)
    options = settings.get("mongoclient_kwargs") or {}
    settings["mongoclient_kwargs"] = {**options, "serverSelectionTimeoutMS": _MONGO_TIMEOUT_MS}
    where = f"{settings.get('host')}:{settings.get('port')}, database {settings.get('name')}"
    try:
        database = LaunchPad.from_dict(settings).db
        version = database.client.server_info()["version"]
        database["ionsieve_check"].insert_one({"_id": "check"})
        database["ionsieve_check"].drop()
    except (PyMongoError, ValueError, TypeError) as error:
        raise _mongo_failure(error, where, path) from None
    return f"{where}: MongoDB {version}, reads and writes"


def _check_job_store(folder: ClusterFolder) -> str:
    from pymongo.errors import PyMongoError

    from ionsieve.errors import InputError
    from ionsieve.workflows.store.configured import ConfiguredJobStore

    path = folder.path / "jobflow.yaml"
    try:
        store = ConfiguredJobStore(path)
    except InputError as error:
        raise Failed(str(error), f"correct {path}, or write the folder again") from None
    documents: Any = store.docs_store
    blobs: Any = store.additional_stores  # type: ignore[has-type]
    for part in (documents, *blobs.values()):
        options = getattr(part, "mongoclient_kwargs", None)
        if options is not None:
            part.mongoclient_kwargs = {**options, "serverSelectionTimeoutMS": _MONGO_TIMEOUT_MS}
    described = documents.as_dict()
    where = f"{described.get('host', '')}:{described.get('port', '')}"
    try:
        store.connect()
        count = store.count()
    except (PyMongoError, ValueError, OSError) as error:
        raise _mongo_failure(error, where, path) from None
    finally:
        store.close()
    return f"{where}, {documents.collection_name}: {count} documents"


def _mongo_failure(error: Exception, where: str, path: Path) -> Failed:
    """Return what is wrong with a database; pymongo's own text may hold the password."""
    from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

    if isinstance(error, ServerSelectionTimeoutError):
        return Failed(
            f"nothing answers at {where}",
            f"start MongoDB, let its firewall admit this host, or correct host and port in {path}",
        )
    if isinstance(error, OperationFailure):
        return Failed(
            f"{where} refuses (code {error.code})",
            f"correct user, password and the database that knows the user in {path}, or have the "
            "user given readWrite",
        )
    return Failed(f"{where}: {type(error).__name__}", f"correct {path}")


def _run(
    folder: ClusterFolder, command: str, timeout_seconds: float = _TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command line as a batch job would, after environment.sh.

    Raises
    ------
    Failed
        It takes too long; it is ended with all it started.
    """
    line = f'source "$0" >/dev/null; {command}'
    process = subprocess.Popen(
        ["bash", "-c", line, str(folder.path / "environment.sh")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Failed(
            f"'{command}' gave no answer in {timeout_seconds:g} s",
            "try it by hand; is the service up?",
        ) from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a command printed: schedulers say there what is wrong."""
    lines = (done.stdout + "\n" + done.stderr).strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def _check_scheduler(folder: ClusterFolder) -> str:
    commands = folder.scheduler.commands
    if commands.answers is None:
        raise Skipped("no batch system; rlaunch runs the jobs")
    program = shlex.split(commands.submit)[0]
    if _run(folder, f"command -v {shlex.quote(program)}").returncode:
        raise Failed(
            f"no {program} here",
            f"run this on a login node, or load the scheduler's module in "
            f"{folder.path / 'environment.sh'}",
        )
    done = _run(folder, commands.answers)
    if done.returncode:
        raise Failed(
            f"'{commands.answers}' fails: {_last_line(done)}",
            "the scheduler is down or not set up on this host: ask the operators",
        )
    if commands.version is None:
        return f"'{commands.answers}' answers"
    version = _run(folder, commands.version)
    lines = (version.stdout + version.stderr).strip().splitlines() or ["answers"]
    return lines[0]


def _check_accepts(folder: ClusterFolder) -> str:
    commands = folder.scheduler.commands
    if not commands.accepts or not commands.accepts.strip():
        raise Skipped("this scheduler can't be asked without submitting a job")
    script = write_script(render_job(folder, str(folder.path)))
    try:
        command = commands.accepts.replace("{script}", shlex.quote(script))
        done = _run(folder, command)
    finally:
        Path(script).unlink()
    seen = _last_line(done)
    pattern = commands.accepts_pattern
    refused = pattern is not None and not re.search(pattern, done.stdout + done.stderr)
    if done.returncode or refused:
        raise Failed(
            f"refused: {seen}",
            "correct account, queue, nodes, ranks_per_node or walltime (in my_qadapter.yaml, and "
            "under compute.resources in screening.yaml)",
        )
    return seen


class _AskedOnce:
    """The answer of the Python in environment.sh; importing pymatgen takes a second or more."""

    def __init__(self, folder: ClusterFolder) -> None:
        self.folder = folder
        self._answer: dict[str, Any] | None = None

    def answer(self) -> dict[str, Any]:
        """Return version, prefix and the folder of potentials."""
        if self._answer is None:
            done = _run(self.folder, f"python -c {shlex.quote(_ASK_PYTHON)}", 120.0)
            if done.returncode:
                raise Failed(
                    f"its Python can't import ionsieve: {_last_line(done)}",
                    f"install ionsieve there, or correct PATH in "
                    f"{self.folder.path / 'environment.sh'}",
                )
            answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
            self._answer = answer
        return self._answer

    def check(self) -> str:
        """Return which ionsieve a job would run."""
        answer = self.answer()
        return f"ionsieve {answer['version']} in {answer['python']}"


def _check_vasp(folder: ClusterFolder) -> str:
    settings = read_mapping(folder.path / "atomate2.yaml")
    found = []
    for key in ("VASP_CMD", "VASP_GAMMA_CMD"):
        words = shlex.split(str(settings.get(key) or ""))
        if not words:
            raise Failed(f"{key} is empty", f"give it in {folder.path / 'atomate2.yaml'}")
        for word in dict.fromkeys((words[0], words[-1])):
            done = _run(folder, f"command -v -- {shlex.quote(word)}")
            if done.returncode:
                raise Failed(
                    f"{key} = '{shlex.join(words)}': no {word} on the PATH",
                    "load its module or extend PATH in environment.sh, or give the full path "
                    "(--set vasp_std=..., vasp_gam=...)",
                )
            found.append(done.stdout.strip())
    return ", ".join(dict.fromkeys(found))


def _check_potentials(folder: ClusterFolder, python: _AskedOnce) -> str:
    command = str(read_mapping(folder.path / "atomate2.yaml").get("VASP_CMD"))
    if shlex.split(command)[-1:] == [_MOCK]:
        raise Skipped("the mocked VASP needs none")
    answer = python.answer()
    if not answer["folder"]:
        raise Failed(
            "pymatgen knows no folder of potentials",
            "--set potcar_dir=FOLDER, or: pmg config --add PMG_VASP_PSP_DIR FOLDER",
        )
    path = Path(answer["folder"]).expanduser()
    if not path.is_dir():
        raise Failed(f"{path} is not a folder", "correct PMG_VASP_PSP_DIR")
    sets = [name for name in dict.fromkeys(answer["sets"]) if (path / name).is_dir()]
    if not sets:
        raise Failed(
            f"{path} holds no set that pymatgen knows, such as POT_GGA_PAW_PBE_54",
            "make it from VASP's own files: pmg config -p VASP_FOLDER OUTPUT_FOLDER",
        )
    return f"{path}: {', '.join(sets)}"


def _check_mpi(folder: ClusterFolder) -> str:
    scheduler = folder.scheduler
    launcher = str(folder.values.get("mpi_launcher", ""))
    variable = scheduler.job_variable
    if variable is not None and variable not in os.environ:
        if scheduler.mpi_outside_job is None:
            raise Skipped(
                f"needs a job: run ionsieve hpc-check {folder.path} in an interactive one"
            )
        launcher = scheduler.mpi_outside_job
    command = f"{launcher.replace('{ranks}', '2')} python -m mpi4py -c {shlex.quote(_ASK_MPI)}"
    done = _run(folder, command, 2 * _TIMEOUT_SECONDS)
    sizes = re.findall(r"ranks-seen=(\d+)", done.stdout)
    if sizes == ["2", "2"] and done.returncode == 0:
        return f"2 ranks see each other ({launcher.split()[0]})"
    if not sizes and scheduler.mpi_busy and re.search(scheduler.mpi_busy, done.stderr):
        raise Skipped(f"no node free at once; try again, or in a job: {_last_line(done)}")
    if set(sizes) == {"1"}:
        raise Failed(
            f"{len(sizes)} separate processes instead of one job of 2",
            "launcher and mpi4py belong to different MPIs: pip install --no-binary mpi4py mpi4py "
            "with the cluster's mpicc, or --set mpi_launcher=... of the MPI that mpi4py uses",
        )
    raise Failed(
        _last_line(done), "install ionsieve[mpi], or correct mpi_launcher (ionsieve hpc-init)"
    )
