"""What `pip install ionsieve` without extras gives, and how fast commands start."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ionsieve.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIGHT = {"click", "gemmi", "numba", "numpy", "pymatgen", "scipy", "zstandard"}

#: Refuses every package that the light install doesn't bring, as if it were not there.
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _brought_by(names):
    """Return what installing some distributions installs, by distribution name."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting |= {_name(r) for r in needed if "extra ==" not in r} - found
    return found


@pytest.fixture(scope="module")
def absent():
    """Return the importable packages of this environment that the light install lacks."""
    light = _brought_by(LIGHT)
    return {
        package
        for package, owners in importlib.metadata.packages_distributions().items()
        if not {_name(owner) for owner in owners} & (light | {"ionsieve"})
    }


def _run(code, absent=(), **kwargs):
    start = f"ABSENT = {set(absent)!r}\n{BLOCK}" if absent else ""
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, **kwargs
    )


def _command(absent, *arguments, **kwargs):
    code = f"sys.argv = {['ionsieve', *map(str, arguments)]!r}\n"
    code = f"import sys\n{code}from ionsieve.workflows.cli import main\nmain()\n"
    return _run(code, absent, **kwargs)


def test_the_light_set():
    assert {_name(requirement) for requirement in PROJECT["dependencies"]} == LIGHT


def test_extras_bring_what_the_messages_promise():
    """Each package of the table comes with its extra, and each of an extra is in the table."""
    owners = importlib.metadata.packages_distributions()
    given = {
        extra: {_name(r) for r in requirements} - {"ionsieve"}
        for extra, requirements in PROJECT["optional-dependencies"].items()
    }
    assert set(EXTRAS) == set(given) - {"all", "dev"}
    for extra, packages in EXTRAS.items():
        for package in packages:
            promised = {_name(owner) for owner in owners[package]}
            assert promised & _brought_by(given[extra]), f"{extra} doesn't bring {package}"


def test_dev_pulls_all():
    extras = PROJECT["optional-dependencies"]
    assert "ionsieve[all]" in extras["dev"]
    (every,) = extras["all"]
    named = set(re.search(r"\[(.*)\]", every)[1].split(","))
    assert named == set(extras) - {"all", "dev"}


def test_engine_and_analysis_are_in_the_light_install(absent):
    assert {"pydantic", "yaml", "rich", "jobflow", "ase"} <= absent
    code = (
        "import ionsieve.ewald, ionsieve.md_analysis\n"
        "from ionsieve.md_analysis.trajectory import Trajectory\n"
        "import ionsieve.md_analysis.plots, ionsieve.ewald.structure_files\n"
    )
    done = _run(code, absent)
    assert done.returncode == 0, done.stderr


def test_rank_is_in_the_light_install(absent):
    mother = ROOT / "workflows" / "data" / "mothers" / "Na3SbS4-cubic.cif"
    done = _command(
        absent,
        *("rank", mother, "--charges", "Na+ Sb5+ S2-", "--supercell", "2 2 2"),
        *("--replace", "Sb=W6+:1", "--vacate", "Na:1", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranking"][0]["energy_ev"] < 0


def test_diffusion_is_in_the_light_install(absent, tmp_path):
    steps = np.random.default_rng(0).normal(scale=0.01, size=(200, 8, 3))
    positions = np.linspace(0, 0.9, 24).reshape(1, 8, 3) + np.cumsum(steps, axis=0)
    np.savez(
        tmp_path / "run.npz",
        positions=positions,
        cell=10 * np.eye(3),
        species=["Na"] * 4 + ["S"] * 4,
        timestep_fs=100.0,
    )
    done = _command(
        absent,
        *("diffusion", tmp_path / "run.npz", "--species", "Na", "--temperature", 600, "--json"),
        *("--plots", tmp_path / "plots"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]
    assert list((tmp_path / "plots").glob("*.png"))


@pytest.mark.parametrize(
    "command", ["plan", "run", "submit", "status", "list", "clean", "query", "report", "init"]
)
def test_what_needs_an_extra_says_what_to_type(absent, tmp_path, command):
    done = _command(absent, command, "screening", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: this needs ")
    assert done.stderr.endswith('; type: pip install "ionsieve[workflows]"\n')
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_is_in_the_light_install(absent):
    done = _command(absent, "--help")
    assert done.returncode == 0, done.stderr
    assert "rank" in done.stdout


#: Seconds to import; no command needs them to say what it does.
HEAVY = {"matplotlib", "jinja2", "pymatgen", "numba", "scipy", "jobflow", "pydantic", "atomate2"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["submit", "--help"], ["run", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['ionsieve', *{arguments!r}]\n"
        "from ionsieve.workflows.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = _run(code)
    assert done.stderr.strip() == "[]"


def test_submit_draws_nothing():
    """What runs beside a cluster's queue makes neither figures nor pages.

    FireWorks itself imports jinja2 for a task of its own; nothing here does.
    """
    code = (
        "import sys, fireworks\n"
        "sys.modules['jinja2'] = None\n"
        "import ionsieve.workflows.cli.submit, ionsieve.workflows.runners.fireworks.submit\n"
        "print([m for m in sys.modules if m.startswith(('matplotlib.', 'ionsieve.workflows.rep'))])"
    )
    done = _run(code)
    assert done.stdout.strip() == "[]", done.stderr
