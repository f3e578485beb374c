"""Nonsense in a screening.yaml: each is refused in one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ionsieve.errors import InputError
from ionsieve.workflows.settings.reading import read_screening

MOTHER = str(Path(__file__).parents[3] / "workflows" / "data" / "mothers" / "Na3PS4-cubic.cif")
NAN, INF = float("nan"), float("inf")


def _data():
    return {
        "mothers": {"files": [MOTHER]},
        "doping": {"rules": [{"host": "P5+", "dopants": ["W6+"]}]},
    }


def _rule(**changes):
    return {"rules": [{"host": "P5+", "dopants": ["W6+"], **changes}]}


def _refusal(tmp_path, content):
    path = tmp_path / "screening.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_screening(path)
    text = str(error.value)
    assert text.isprintable(), "one line without control characters"
    assert len(text) < 600
    assert text.startswith(f"{path}: ")
    return text


#: Section, field -> numbers beyond what makes sense.
LIMITS = {
    ("supercell", "n_ions"): [0, -1, 7, 2001, 1e8, 100.5, NAN, INF, True, "many", None, [1]],
    ("supercell", "tolerance"): [0, 1, -0.1, NAN, INF, 1e30, False],
    ("ewald", "keep"): [0, -1, 1e9, 2.5, NAN],
    ("ewald", "seconds"): [0, -1, NAN, INF, 1e30],
    ("ewald", "seed"): [-1, 1.5, 2**32, NAN, INF],
    ("hull", "max_e_hull_ev_atom"): [-0.1, NAN, INF, -INF, 1e30, True],
    ("phonons", "min_frequency_thz"): [1, NAN, -INF, -1e30],
    ("short_md", "temperature_k"): [0, -1, NAN, INF, 1e30, 6000, True, "hot"],
    ("short_md", "timestep_fs"): [0, -1, NAN, INF, 1e-9, 21],
    ("short_md", "length_ps"): [0, -1, NAN, INF, 1e30],
    ("short_md", "equilibration_ps"): [-1, NAN, INF, 1e30],
    ("short_md", "segment_ps"): [0, -1, NAN, INF, 1e30, 1e-9],
    ("short_md", "max_length_ps"): [0, -1, NAN, INF, 1e30],
    ("short_md", "look_ps"): [0, -1, NAN, INF, 1e30],
    ("short_md", "min_sigma_s_cm"): [0, -1, NAN, INF, 1e30],
    ("short_md", "frame_fs"): [0, -1, NAN, INF, 1e30],
    ("short_md", "seed"): [-1, 1.5, 1e9],
    ("long_md", "temperature_k"): [0, -1, NAN, INF, 1e30],
    ("long_md", "max_relative_error"): [0, -1, NAN, INF, 1e30],
    ("compute", "workers"): [0, -1, 1.5, 1e9, NAN, True],
    ("compute", "walltime_buffer_seconds"): [0, -1, 1e9, NAN],
}


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [(*where, value) for where, values in LIMITS.items() for value in values],
)
def test_numbers_beyond_their_limits(tmp_path, section, field, value):
    text = _refusal(tmp_path, yaml.safe_dump({**_data(), section: {field: value}}))
    assert field in text


WRONG = [
    # Keys.
    ({"mohters": {}}, "unknown key 'mohters'; did you mean 'mothers'?"),
    ({"ewald": {"kep": 3}}, "unknown key 'ewald.kep'; did you mean 'keep'?"),
    ({"doping": _rule(level=[1])}, "rules.0.level'; did you mean 'levels'?"),
    (
        {"hull": {"zzz": 1}},
        "unknown key 'hull.zzz'; known keys: max_e_hull_ev_atom, go_on_if_unknown, phases",
    ),
    ({"compute": {"resources": {"small": {"rank": 2}}}}, "did you mean 'ranks'?"),
    ({"root": "/"}, "unknown key 'root'"),
    ({"a\nb": 1}, "unknown key 'a\\nb'"),
    ({"mothers": {}}, "'mothers.files' is missing"),
    ({"mothers": None}, "'mothers' = None"),
    ({"ewald": [1]}, "'ewald' = [1]"),
    # Names.
    ({"name": "../../evil"}, "no / or \\"),
    ({"name": "a/b"}, "no / or \\"),
    ({"name": "a\\b"}, "no / or \\"),
    ({"name": ".."}, "no . - ~ in front"),
    ({"name": "-rf"}, "no . - ~ in front"),
    ({"name": ""}, "empty"),
    ({"name": "  "}, "empty"),
    ({"name": " a"}, "spaces around it"),
    ({"name": "a\nb"}, "control characters"),
    ({"name": "a\x1b[31m"}, "control characters"),
    ({"name": "a\u2028b"}, "control characters"),
    ({"name": "n" * 101}, "101 bytes, at most 100"),
    ({"name": "ü" * 60}, "120 bytes, at most 100"),
    ({"name": 5}, "'name' = 5"),
    ({"name": None}, "'name' = None"),
    # Species.
    ({"mobile_ion": "Na"}, "not a species with a charge"),
    ({"mobile_ion": "S9z"}, "not a species with a charge"),
    ({"mobile_ion": "Na0+"}, "not a species with a charge"),
    ({"mobile_ion": "Na99+"}, "not a species with a charge"),
    ({"mobile_ion": ""}, "not a species with a charge"),
    ({"mobile_ion": ["Na+"]}, "'mobile_ion' = ['Na+']"),
    ({"mothers": {"files": [MOTHER], "anions": ["S9z"]}}, "'mothers.anions.0' = 'S9z'"),
    ({"mothers": {"files": [MOTHER], "anions": ["Na+"]}}, "Na+ is no anion"),
    ({"doping": _rule(host="P")}, "'doping.rules.0.host' = 'P'"),
    ({"doping": _rule(dopants=["S9z"])}, "'doping.rules.0.dopants.0' = 'S9z'"),
    ({"doping": _rule(dopants=[True])}, "doping.rules.0.dopants"),
    ({"doping": _rule(dopants=[])}, "doping.rules.0.dopants"),
    ({"doping": _rule(dopants=[["Ga3+", "P5+", "W6+"]])}, "give one species, or two"),
    ({"doping": _rule(host="Na+", dopants=["K+"])}, "rules.0.host Na+ is the mobile ion"),
    ({"doping": _rule(host="Na1+", dopants=["K+"])}, "rules.0.host Na1+ is the mobile ion"),
    ({"doping": {"rules": []}}, "doping.rules"),
    # Levels.
    ({"doping": _rule(levels=["9/8"])}, "level 9/8 is outside (0, 1]"),
    ({"doping": _rule(levels=["much"])}, "'doping.rules.0.levels.0' = 'much'"),
    ({"doping": _rule(levels=["1/0"])}, "divides by zero"),
    ({"doping": _rule(levels=["0/0"])}, "divides by zero"),
    ({"doping": _rule(levels=["0/8"])}, "outside (0, 1]"),
    ({"doping": _rule(levels=[0])}, "outside (0, 1]"),
    ({"doping": _rule(levels=["-1/8"])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=[NAN])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=[INF])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=[True])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=[None])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=["1e999999999"])}, "give a fraction such as 1/8"),
    ({"doping": _rule(levels=[1e-9])}, "below 1/1000"),
    ({"doping": _rule(levels=["1/2001"])}, "finer than 1/1000"),
    ({"doping": _rule(levels=["1/8", 0.125])}, "level 1/8 is given twice"),
    ({"doping": _rule(levels=[])}, "doping.rules.0.levels"),
    ({"doping": _rule(pair_levels=[["1/8", "1/8"]])}, "pair_levels without co-doping"),
    (
        {"doping": _rule(dopants=[["Ga3+", "P5+"]], pair_levels=[["1/2", "5/8"]])},
        "1/2 + 5/8 exceed 1",
    ),
    # Mothers and paths.
    ({"mothers": {"files": []}}, "mothers.files"),
    ({"mothers": {"files": [""]}}, "empty; give a path"),
    ({"mothers": {"files": ["a\0b"]}}, "control characters"),
    ({"mothers": {"files": ["x" * 1001]}}, "at most 1000"),
    ({"mothers": {"files": [MOTHER], "n_elements": [6, 2]}}, "6 to 2 is no range"),
    ({"mothers": {"files": [MOTHER], "n_elements": [0, 2]}}, "mothers.n_elements.0"),
    ({"mothers": {"files": [MOTHER], "n_elements": [True, 2]}}, "give a number"),
    ({"mothers": {"files": [MOTHER], "n_elements": [2]}}, "mothers.n_elements"),
    ({"mothers": {"files": [MOTHER], "allow_disorder": "perhaps"}}, "mothers.allow_disorder"),
    ({"hull": {"phases": ["a\x07.cif"]}}, "control characters"),
    ({"hull": {"phases": "a.cif"}}, "'hull.phases' = 'a.cif'"),
    ({"store": ""}, "empty; give a path"),
    ({"store": "a\nb"}, "control characters"),
    ({"compute": {"work_dir": ""}}, "empty; give a path"),
    ({"compute": {"work_dir": MOTHER}}, "Na3PS4-cubic.cif is a file; give a folder"),
    ({"compute": {"work_dir": f"{MOTHER}/work"}}, "Na3PS4-cubic.cif is a file; give a folder"),
    # Lengths that contradict each other.
    ({"short_md": {"length_ps": 5}}, "equilibration_ps 5 leaves nothing of length_ps 5"),
    ({"long_md": {"equilibration_ps": 300}}, "equilibration_ps 300 leaves nothing"),
    ({"short_md": {"segment_ps": 101}}, "segment_ps 101 is above length_ps 100"),
    ({"short_md": {"look_ps": 201}}, "look_ps 201 is above the longest run, 200 ps"),
    ({"short_md": {"look_ps": 101, "max_length_ps": 100}}, "the longest run, 100 ps"),
    ({"short_md": {"max_length_ps": 50}}, "max_length_ps 50 is below length_ps 100"),
    ({"short_md": {"segment_ps": 0.01}}, "20000 jobs of one run, at most 10000"),
    ({"short_md": {"frame_fs": 2}}, "frame_fs 2 is shorter than timestep_fs 10"),
    ({"short_md": {"frame_fs": 26_000}}, "frame_fs 26000 is longer than segment_ps 25"),
    ({"short_md": {"frame_fs": 20_000}}, "leaves 4.75 frames after equilibration"),
    (
        {"short_md": {"length_ps": 1, "equilibration_ps": 0, "segment_ps": 0.005}},
        "segment_ps 0.005 is shorter than timestep_fs 10",
    ),
    # Temperatures.
    ({"arrhenius": {"temperatures_k": [400, 400]}}, "400 K is given twice"),
    ({"arrhenius": {"temperatures_k": [400, 400.5]}}, "400.5 K is given twice"),
    ({"arrhenius": {"temperatures_k": [300]}}, "is long_md.temperature_k 300"),
    ({"arrhenius": {"temperatures_k": [0]}}, "arrhenius.temperatures_k.0"),
    ({"arrhenius": {"temperatures_k": [NAN]}}, "arrhenius.temperatures_k.0"),
    ({"arrhenius": {"temperatures_k": [True]}}, "give a number"),
    ({"arrhenius": {"temperatures_k": 400}}, "arrhenius.temperatures_k"),
    ({"arrhenius": {"temperatures_k": list(range(400, 422))}}, "at most 20 items"),
    # Engine.
    ({"backend": {"name": "abacus"}}, "'backend.name' = 'abacus'"),
    ({"backend": {"name": ["vasp"]}}, "backend.name"),
    # Machine.
    ({"compute": {"mpi_launcher": "mpiexec -n {rank}"}}, "as {ranks}"),
    ({"compute": {"mpi_launcher": "mpiexec -n {ranks.x}"}}, "as {ranks}"),
    ({"compute": {"mpi_launcher": 'mpiexec "-n {ranks}'}}, "No closing quotation"),
    ({"compute": {"mpi_launcher": " "}}, "give a command line"),
    ({"compute": {"resources": {"small": {"nodes": 0}}}}, "resources.small.nodes"),
    ({"compute": {"resources": {"small": {"nodes": 2, "ranks": 3}}}}, "3 ranks don't share out"),
    ({"compute": {"resources": {"small": {"walltime": "1:00"}}}}, "'12:00:00'"),
    ({"compute": {"resources": {"small": {"walltime": "00:00:00"}}}}, "leaves no time for work"),
    ({"compute": {"resources": {"small": {"walltime": 3600}}}}, "resources.small.walltime"),
    ({"compute": {"resources": {"small": {"queue": "a b"}}}}, "one word"),
    ({"compute": {"resources": {"small": {"account": "$(rm)"}}}}, "one word"),
    ({"compute": {"resources": {"small": {"account": "a\n#SBATCH"}}}}, "one word"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_keys_and_values(tmp_path, changes, message):
    assert message in _refusal(tmp_path, yaml.safe_dump({**_data(), **changes}))


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
DEEP = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [[*a{n - 1}]]\n" for n in range(1, 60))

TEXTS = [
    ("a: [1", "not valid YAML ("),
    ("a: b: c", "line 1, column 5"),
    ("just words", "expected sections such as 'mothers:', got str"),
    ("", "got NoneType"),
    ("- a\n- b", "got list"),
    ("a: 1\na: 2", "the key 'a' is given twice; remove one, line 2, column 1"),
    ("ewald: {keep: 1, keep: 2}", "the key 'keep' is given twice"),
    ("a: 1\n'a': 2", "the key 'a' is given twice"),
    ("1: 2", "the key '1' is no word"),
    ("1.5: 2", "the key '1.5' is no word"),
    ("null: 2", "the key 'null' is no word"),
    ("true: 2", "the key 'true' is no word"),
    ("backend: {incar: {1: 2}}", "the key '1' is no word"),
    ("[1, 2]: 3", "the key 'a list or mapping' is no word"),
    ("a: *x", "*x stands for nothing, or for itself"),
    ("a: &x [*x]", "*x stands for nothing, or for itself"),
    ("a: &x {b: {c: *x}}", "*x stands for nothing, or for itself"),
    (BOMB, "more than 100000 values"),
    (DEEP, "more than 20 levels deep"),
    ("a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}", "the key 'd' is given twice"),
    ("a: &x 1\nc: {<<: *x}", "not valid YAML ("),
    ("a: " + "[" * 21 + "]" * 21, "more than 20 levels deep"),
    ("a: " + "[" * 100_000, "more than 20 levels deep"),
    ("a: [" + "1, " * 100_001 + "]", "more than 100000 values"),
    ("#" * 1_000_001, "larger than 1,000,000 bytes"),
    ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ("a: !!int many", "doesn't fit its tag"),
    ("a: " + "9" * 5000, "a number of 5000 characters"),
    ("a: 1\n---\nb: 2", "not valid YAML ("),
    ("a: \x07", "special characters are not allowed"),
    (b"a: \xff", "byte 3 is no UTF-8"),
    ("a: 'open", "not valid YAML ("),
    ("a:\n\t- b", "not valid YAML ("),
    ("%YAML 9.9\n---\na: 1", "not valid YAML ("),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_what_is_no_yaml_or_too_much_of_it(tmp_path, text, message):
    assert message in _refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["temperature_k: 5:00", "temperature_k: 0x10", "temperature_k: 1:0.5"]
)
def test_what_only_yaml_1_1_takes_for_a_number(tmp_path, text):
    _refusal(tmp_path, f"long_md: {{{text}}}\n" + yaml.safe_dump(_data()))


INCAR = [
    ({"ENCUTT": 500}, "ENCUTT' is unknown to pymatgen; did you mean ENCUT?"),
    ({"encut": 500}, "write it as ENCUT"),
    ({"nsw": 5}, "write it as NSW"),
    ({"QWXYZV": 1}, "is unknown to pymatgen; see VASP's list of tags"),
    ({"NSW": 5}, "NSW can't be overridden"),
    ({"IBRION": 2}, "IBRION can't be overridden"),
    ({"ISIF": 2}, "ISIF can't be overridden"),
    ({"MDALGO": 2}, "MDALGO can't be overridden"),
    ({"SMASS": 0}, "SMASS can't be overridden"),
    ({"POTIM": 1}, "set timestep_fs"),
    ({"TEBEG": 900}, "set temperature_k"),
    ({"TEEND": 900}, "set temperature_k"),
    ({"NBLOCK": 5}, "set frame_fs"),
    ({"ENCUT": "much"}, "ENCUT"),
    ({"ENCUT": NAN}, "give a finite number"),
    ({"ENCUT": -1}, "give 50 to 5000"),
    ({"ENCUT": 1e30}, "give 50 to 5000"),
    ({"ENCUT": True}, "it is no float"),
    ({"ENCUT": [500]}, "ENCUT"),
    ({"NELM": 1.5}, "NELM"),
    ({"NELM": 0}, "give 1 to 10000"),
    ({"EDIFF": 0}, "give 1e-12 to 1"),
    ({"LREAL": 5}, "LREAL"),
    ({"ISPIN": 3}, "ISPIN"),
    ({"LWAVE": "perhaps"}, "LWAVE"),
    ({"ALGO": "a\nNSW = 5"}, "give one line of text"),
    ({"MAGMOM": {"Fe": "up"}}, "give a number for each element"),
    ({"MAGMOM": {}}, "give a number for each element"),
    ({"ENCUT": {"Fe": 500}}, "ENCUT"),
]


@pytest.mark.parametrize(("tags", "message"), INCAR)
def test_wrong_incar_tags(tmp_path, tags, message):
    text = yaml.safe_dump({**_data(), "backend": {"incar": tags}})
    assert message in _refusal(tmp_path, text)


def test_incar_tags_that_are_right(tmp_path):
    tags = {
        "ENCUT": 520,
        "EDIFF": 1e-6,
        "ALGO": "Fast",
        "LREAL": "Auto",
        "LWAVE": False,
        "ISPIN": 1,
        "NCORE": 4,
        "KPAR": 2,
        "GGA": "PS",
        "MAGMOM": {"Fe": 5, "S": 0.6},
        "LDAUU": {"Fe": 4},
        "METAGGA": "R2scan",
        "IVDW": 11,
        "KSPACING": 0.3,
        "LASPH": True,
        "NPAR": None,
    }
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump({**_data(), "backend": {"incar": tags}}))
    assert read_screening(path).backend.incar == tags


def test_a_password_is_never_quoted(tmp_path):
    login = "mongodb://me:pw1234@host/db"
    for store in (f"{login}\n", [login], {"a": login}):
        text = _refusal(tmp_path, yaml.safe_dump({**_data(), "store": store}))
        assert "pw1234" not in text
    assert "pw1234" not in _refusal(tmp_path, f"store: {login}\nstore: x")
    assert "pw1234" not in _refusal(tmp_path, f"store: '{login}")


@pytest.mark.parametrize(
    ("mode", "store", "warned"),
    [
        (0o644, "mongodb://me:pw1234@host/db", True),
        (0o640, "mongodb+srv://me:pw1234@host/db", True),
        (0o600, "mongodb://me:pw1234@host/db", False),
        (0o644, "mongodb://me@host/db", False),
        (0o644, "mongodb://host:27017/db", False),
        (0o644, "results.sqlite", False),
    ],
)
def test_a_password_that_others_can_read(tmp_path, caplog, mode, store, warned):
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump({**_data(), "store": store}))
    path.chmod(mode)
    read_screening(path)
    assert ("chmod 600" in caplog.text) is warned
    assert "pw1234" not in caplog.text


@pytest.mark.parametrize("command", ["plan", "run", "status"])
def test_on_the_command_line(tmp_path, command):
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump({**_data(), "short_md": {"length_ps": INF}}))
    done = subprocess.run(
        [sys.executable, "-m", "ionsieve", command, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == [path]
