"""What is wrong is found before anything runs: one line with the remedy, exit code 2."""

import os
import subprocess
import sys

import pytest

from ionsieve.workflows.settings.template import write_example


@pytest.fixture
def example(tmp_path):
    """Return the settings file that ``ionsieve init`` writes."""
    write_example(tmp_path / "example")
    return tmp_path / "example" / "screening.yaml"


def run(settings):
    return subprocess.run(
        [sys.executable, "-m", "ionsieve", "run", str(settings)],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(settings.parent.parent),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: mock_vasp", "name: vasp", ["backend.vasp_cmd", "vasp_std", "PATH"]),
        ("store: results.sqlite", "store: no/such/folder/x.sqlite", ["no/such/folder", "make it"]),
        ("store: results.sqlite", "store: mongodb://u:pw@127.0.0.1:1/db", ["127.0.0.1:1", "start"]),
        ("phases: []", "phases: [none.cif]", ["none.cif"]),
    ],
)
def test_found_before_anything_runs(example, old, new, words):
    text = example.read_text()
    assert old in text
    example.write_text(text.replace(old, new))
    # Else a warning comes first: one of the stores has a password.
    example.chmod(0o600)
    before = sorted(example.parent.iterdir())
    done = run(example)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert "pw" not in done.stderr
    assert not (example.parent / "work").exists()
    if "phases" not in old:
        assert sorted(example.parent.iterdir()) == before


def test_missing_settings_file(tmp_path):
    done = run(tmp_path / "nothing.yaml")
    assert done.returncode == 2
    assert "nothing.yaml" in done.stderr
