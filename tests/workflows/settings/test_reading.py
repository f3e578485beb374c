"""screening.yaml: defaults, validation, and what bad input looks like on the command line."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from ionsieve.errors import InputError
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import Screening

ROOT = Path(__file__).parents[3]
CIFS = ROOT / "tests" / "data" / "cif"
MOTHER = str(ROOT / "workflows" / "data" / "mothers" / "Na3PS4-cubic.cif")


def _data(**changes):
    data = {
        "mothers": {"files": [MOTHER]},
        "doping": {"rules": [{"host": "P5+", "dopants": ["W6+"]}]},
    }
    return data | changes


def _read(tmp_path, data):
    path = tmp_path / "screening.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return read_screening(path)


def test_thresholds_of_the_reference_are_defaults():
    screening = Screening(**_data())
    assert screening.doping.levels == [Fraction(n, 8) for n in (1, 2, 3, 4)]
    assert screening.supercell.n_ions == 200
    assert screening.ewald.keep == 5
    assert screening.hull.max_e_hull_ev_atom == 0.1
    assert (screening.short_md.timestep_fs, screening.short_md.length_ps) == (10, 100)
    assert (screening.long_md.timestep_fs, screening.long_md.length_ps) == (1, 250)
    assert screening.long_md.temperature_k == 300


def test_paths_count_from_the_file(tmp_path):
    screening = _read(tmp_path, _data())
    assert screening.resolve("mothers/a.cif") == (tmp_path / "mothers" / "a.cif").resolve()
    assert screening.resolve("/etc/hosts") == Path("/etc/hosts").resolve()


@pytest.mark.parametrize("level", ["1/8", 0.125, "0.125"])
def test_levels_are_exact_fractions(level):
    doping = _data()["doping"] | {"levels": [level]}
    assert Screening(**_data(doping=doping)).doping.levels == [Fraction(1, 8)]


def _rule(**changes):
    return {"rules": [{"host": "P5+", "dopants": ["W6+"], **changes}]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("temperature_k: 5e2", 500),
        ("temperature_k: 0500", 500),
        ("temperature_k: 500.", 500),
        ("temperature_k: +5.0E+2", 500),
    ],
)
def test_numbers_are_those_of_yaml_1_2(tmp_path, text, value):
    text = f"long_md: {{{text}}}\n" + yaml.safe_dump(_data())
    assert _read(tmp_path, text).long_md.temperature_k == value


def test_a_wall_time_needs_no_quotes(tmp_path):
    text = "compute: {resources: {small: {walltime: 12:00:00}}}\n" + yaml.safe_dump(_data())
    assert _read(tmp_path, text).compute.resources.small.walltime_seconds == 12 * 3600


def test_what_is_said_once_and_used_twice(tmp_path):
    text = (
        "short_md: &run {length_ps: 50, temperature_k: 700}\n"
        "long_md: {<<: *run, length_ps: 90}\n" + yaml.safe_dump(_data())
    )
    screening = _read(tmp_path, text)
    assert (screening.short_md.length_ps, screening.short_md.temperature_k) == (50, 700)
    assert (screening.long_md.length_ps, screening.long_md.temperature_k) == (90, 700)


def test_a_default_may_be_longer_than_a_short_run(tmp_path):
    run = {"length_ps": 8, "equilibration_ps": 1}
    screening = _read(tmp_path, _data(short_md=run, long_md=run))
    assert (screening.short_md.n_segments, screening.long_md.n_segments) == (1, 1)
    # What was a default stays one on the way into a job, where every field is written out.
    assert Screening(**screening.settings.model_dump()) == screening.settings


def test_absent_file(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; give the path"):
        read_screening(tmp_path / "absent.yaml")


BAD_INPUT = {
    "unreadable CIF": (
        {"mothers": {"files": [str(CIFS / "unreadable.cif")]}},
        "unreadable.cif: unreadable CIF",
    ),
    "no mobile ion": (
        {"mothers": {"files": [str(CIFS / "no_sodium.cif")]}},
        "has no Na, the element of the mobile ion",
    ),
    "oxidation state": ({"doping": _rule(dopants=["W9+"])}, "no oxidation state 9+; known ones"),
    "level": ({"doping": _rule(levels=["1/97"])}, "nearest levels that fit"),
    "unknown key": ({"mobile_io": "Na+"}, "did you mean 'mobile_ion'?"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_on_the_command_line(tmp_path, case):
    """One line on stderr, exit code 2, nothing left behind."""
    changes, message = BAD_INPUT[case]
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump(_data(**changes)), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "ionsieve", "plan", str(path)], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == [path]
