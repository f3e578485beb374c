"""The package has one import name, and a wheel holds real files."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE_NAMES = ("ewald", "md_analysis", "workflows")


def test_wheel_installs_and_imports_elsewhere(tmp_path):
    source = tmp_path / "source"
    # A copy, so that the build's leftovers don't end up in the checkout.
    left_out = shutil.ignore_patterns(".*", "build", "demo", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for package in BARE_NAMES:
        assert f"ionsieve/{package}/__init__.py" in names
    assert not [name for name in names if name.startswith(BARE_NAMES)]
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    code = (
        "import ionsieve.ewald, ionsieve.md_analysis, ionsieve.workflows.cli as cli, pathlib;"
        "print(pathlib.Path(cli.__file__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.stdout.startswith(str(target))


def test_no_module_has_two_names():
    code = (
        "import sys, ionsieve.workflows.funnel.flows;"
        f"print([name for name in {BARE_NAMES!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_sources_never_import_bare_names():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--quiet", ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
