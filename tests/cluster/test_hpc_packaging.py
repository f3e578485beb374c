"""The templates are in what is installed: in the sdist, and in the wheel made from it."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("ewald", "hpc_configs", "md_analysis", "src", "workflows")


def test_templates_are_packaged_as_real_files(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Without further words: the sdist, then the wheel from the sdist.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "-o", tmp_path, source],
        check=True,
        capture_output=True,
    )
    expected = {
        f"ionsieve/hpc_configs/{path.relative_to(ROOT / 'hpc_configs')}"
        for path in (ROOT / "hpc_configs").rglob("*")
        if path.is_file()
    }
    (wheel,) = tmp_path.glob("*.whl")
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        packed = {
            member.name.partition("/src/")[2]: member
            for member in archive
            if "/src/ionsieve/hpc_configs/" in member.name
        }
    assert expected <= set(packed)
    assert all(packed[name].isfile() for name in expected)

    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-m", "ionsieve", "hpc-init", "laptop", tmp_path / "laptop", "--json"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert json.loads(done.stdout)["ok"]
