"""Check a folder written by hpc-init: the files themselves, without asking anybody."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.clusters.folder import SECRET_FILES, VALUES_FILE
from ionsieve.workflows.clusters.schedulers import DESCRIPTION, Scheduler, parse_scheduler

Outcome = Literal["OK", "failed", "skipped"]

ADAPTER_FILE = "my_qadapter.yaml"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes
    ----------
    name : str
        What was looked at.
    outcome : str
        ``OK``, ``failed`` or ``skipped``.
    seen : str
        What was found, in one line.
    remedy : str
        What to do about a failure.
    """

    name: str
    outcome: Outcome
    seen: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the fields."""
        return asdict(self)


class Failed(Exception):
    """A check failed: what was seen, and the remedy."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen, self.remedy = seen, remedy


class Skipped(Exception):
    """A check could not be made, and why."""


@dataclass(frozen=True)
class ClusterFolder:
    """A folder written by hpc-init.

    Attributes
    ----------
    path : Path
        The folder, absolute.
    scheduler : Scheduler
        Its scheduler.yaml.
    values : dict
        Its values.yaml: name -> value.
    """

    path: Path
    scheduler: Scheduler
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> ClusterFolder:
        """Read the folder's description.

        Raises
        ------
        InputError
            It is not a folder written by hpc-init.
        """
        path = path.absolute()
        raw = {}
        for name in (DESCRIPTION, VALUES_FILE):
            try:
                raw[name] = read_mapping(path / name)
            except Failed as error:
                raise InputError(
                    f"{path}: {name} {error.seen}; give a folder written by ionsieve hpc-init"
                ) from None
        try:
            # What was asked is in values.yaml.
            described = {k: v for k, v in raw[DESCRIPTION].items() if k != "values"}
            scheduler = parse_scheduler(described, str(path))
        except IonSieveError as error:
            raise InputError(str(error)) from None
        return cls(path, scheduler, raw[VALUES_FILE])

    def passwords(self) -> list[str]:
        """Return every password in the folder, to hide it in whatever is shown."""
        found: set[str] = set()
        for name in SECRET_FILES:
            try:
                _collect_passwords(read_mapping(self.path / name), found)
            except Failed:
                continue
        return sorted(found, key=len, reverse=True)


def _collect_passwords(node: Any, found: set[str]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "password" and value:
                found.add(str(value))
            _collect_passwords(value, found)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file says.

    Raises
    ------
    Failed
        It is not there, or not a mapping in YAML; its content is not shown.
    """
    remedy = "write the folder again with ionsieve hpc-init --force"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failed(f"can't be read ({error.strerror})", remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise Failed("is not valid YAML", f"correct it, or {remedy}") from None
    if not isinstance(raw, dict):
        raise Failed("has no keys", remedy)
    return raw


def run_check(name: str, check: Callable[[], str], passwords: Iterable[str] = ()) -> Check:
    """Return the outcome of one check, with passwords hidden.

    Parameters
    ----------
    name
        For the report.
    check
        Returns what it saw; raises `Failed` or `Skipped`.
    passwords
        Never shown.
    """
    try:
        result = Check(name, "OK", check())
    except Failed as error:
        result = Check(name, "failed", error.seen, error.remedy)
    except Skipped as reason:
        result = Check(name, "skipped", str(reason))
    seen = " ".join(result.seen.split())
    for password in passwords:
        seen = seen.replace(password, "***")
    return Check(name, result.outcome, seen, result.remedy)


def run_checks(
    folder: ClusterFolder, checks: Iterable[tuple[str, Callable[[], str]]]
) -> list[Check]:
    """Return the outcomes of named checks, with the folder's passwords hidden."""
    passwords = folder.passwords()
    return [run_check(name, check, passwords) for name, check in checks]


def check_files(path: Path) -> list[Check]:
    """Check the files of a folder: permissions, FireWorks' settings, scripts and the batch script.

    Raises
    ------
    InputError
        It is not a folder written by hpc-init.
    """
    folder = ClusterFolder.read(path)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("secret files", lambda: _check_permissions(folder)),
        ("FireWorks' settings", lambda: _check_fireworks(folder)),
        ("queue adapter", lambda: _check_adapter(folder)),
        ("shell scripts", lambda: _check_scripts(folder)),
    ]
    return run_checks(folder, checks)


def _check_permissions(folder: ClusterFolder) -> str:
    for name in SECRET_FILES:
        try:
            mode = stat.S_IMODE((folder.path / name).stat().st_mode)
        except OSError as error:
            remedy = "write the folder again with ionsieve hpc-init --force"
            raise Failed(f"{name}: {error.strerror}", remedy) from None
        if mode & 0o077:
            raise Failed(
                f"{name} has mode {mode:04o}: others can read it",
                f"chmod 600 {folder.path / name}, and change the password if others could log in",
            )
    return f"{', '.join(SECRET_FILES)}: mode 0600"


def _check_fireworks(folder: ClusterFolder) -> str:
    from fireworks import FWorker, fw_config

    settings = read_mapping(folder.path / "FW_config.yaml")
    known = set(vars(fw_config)) | {"ADD_USER_PACKAGES", "ECHO_TEST"}
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise Failed(
            f"FW_config.yaml: FireWorks knows no '{unknown[0]}'", "correct or remove this line"
        )
    for key, value in settings.items():
        if not key.endswith("_LOC"):
            continue
        path = Path(str(value))
        if not path.parent.is_dir() or not path.parent.samefile(folder.path):
            raise Failed(
                f"FW_config.yaml: {key} is {value}, not in this folder",
                "the folder was moved: write it with ionsieve hpc-init --values values.yaml",
            )
        if not path.is_file():
            raise Failed(f"FW_config.yaml: {key} {value} is not there", "write the folder again")
    try:
        worker = FWorker.from_file(str(folder.path / "my_fworker.yaml"))
    except Exception as error:
        raise Failed(
            f"my_fworker.yaml: {type(error).__name__} in FireWorks", "write the folder again"
        ) from None
    return f"FW_config.yaml and my_fworker.yaml ({worker.name}) load"


def render_job(folder: ClusterFolder, launch_dir: str) -> str:
    """Return a batch script as FireWorks would write it.

    Raises
    ------
    Failed
        FireWorks can't load the adapter, or its script lacks what a job asks for.
    Skipped
        There is no batch system.
    """
    if not (folder.path / ADAPTER_FILE).is_file() and not folder.scheduler.directives:
        raise Skipped("no batch system; rlaunch runs the jobs")
    adapter = load_adapter(folder)
    try:
        script: str = adapter.get_script_str(launch_dir)
    except Exception as error:
        raise Failed(
            f"its template: {type(error).__name__}", "compare it with the one in hpc_configs"
        ) from None
    for what, directive in folder.scheduler.directives.items():
        if directive not in script:
            raise Failed(
                f"the batch script does not ask for {what} ('{directive}' is missing)",
                f"add the key for {what} to {ADAPTER_FILE} or its template",
            )
    unfilled = re.search(r"\$\$\{?\w+|\{\{.*?\}\}", script)
    if unfilled:
        raise Failed(f"'{unfilled[0]}' is not filled in", f"give it in {ADAPTER_FILE}")
    _check_syntax(script, "the batch script")
    return script


def load_adapter(folder: ClusterFolder) -> Any:
    """Load my_qadapter.yaml as qlaunch does.

    Raises
    ------
    Failed
        FireWorks can't.
    """
    from fireworks.utilities.fw_serializers import load_object

    described = read_mapping(folder.path / ADAPTER_FILE)
    template = described.get("_fw_template_file")
    if template is not None and not Path(template).is_file():
        raise Failed(f"{template} is not there", "write the folder again with ionsieve hpc-init")
    try:
        return load_object(described)
    except Exception as error:
        raise Failed(
            f"FireWorks can't load it ({type(error).__name__}: {error})",
            f"correct {folder.path / ADAPTER_FILE}",
        ) from None


def _check_adapter(folder: ClusterFolder) -> str:
    script = render_job(folder, str(folder.path))
    prefixes = {directive.split()[0] for directive in folder.scheduler.directives.values()}
    directives = [line for line in script.splitlines() if line.split(" ")[0] in prefixes]
    return f"batch script with {len(directives)} directives"


def _check_scripts(folder: ClusterFolder) -> str:
    names = sorted(path.name for path in folder.path.glob("*.sh"))
    for name in names:
        _check_syntax((folder.path / name).read_text(encoding="utf-8"), name)
    return f"{', '.join(names)}: no syntax errors"


def _check_syntax(script: str, what: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["bash -n fails"]
        raise Failed(f"{what}: {lines[0]}", "correct the line")


def write_script(script: str) -> str:
    """Write a batch script to a temporary file and return its path; the caller removes it."""
    descriptor, name = tempfile.mkstemp(prefix="ionsieve-check-", suffix=".sh")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(script)
    return name
