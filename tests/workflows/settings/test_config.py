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
    ("changes", "message"),
    [
        ({"mohters": {}}, "unknown key 'mohters'; did you mean 'mothers'?"),
        ({"ewald": {"kep": 3}}, "unknown key 'ewald.kep'; did you mean 'keep'?"),
        ({"doping": _rule(level=[1])}, "rules.0.level'; did you mean 'levels'?"),
        ({"hull": {"zzz": 1}}, "unknown key 'hull.zzz'; known keys: max_e_hull_ev_atom, phases"),
        ({"mothers": {}}, "'mothers.files' is missing"),
        ({"supercell": {"n_ions": 2}}, "'supercell.n_ions' = 2"),
        ({"doping": _rule(levels=["9/8"])}, "level 9/8 is outside (0, 1]"),
        ({"doping": _rule(levels=["much"])}, "'doping.rules.0.levels.0' = 'much'"),
        ({"doping": _rule(pair_levels=[["1/8", "1/8"]])}, "pair_levels without co-doping"),
        (
            {"doping": _rule(dopants=[["Ga3+", "P5+"]], pair_levels=[["1/2", "5/8"]])},
            "1/2 + 5/8 exceed 1",
        ),
        ({"doping": _rule(dopants=[["Ga3+", "P5+", "W6+"]])}, "give one species, or two"),
        ({"backend": {"name": "abacus"}}, "'backend.name' = 'abacus'"),
    ],
)
def test_wrong_keys_and_values_are_one_line_with_the_remedy(tmp_path, changes, message):
    with pytest.raises(InputError) as error:
        _read(tmp_path, _data(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "not valid YAML"), ("just words", "expected sections such as 'mothers:'")],
)
def test_what_is_no_screening(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        _read(tmp_path, text)
    assert "\n" not in str(error.value)


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
