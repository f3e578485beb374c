"""The ``backend:`` section: which backends there are, and what each of them validates."""

import json
import subprocess
import sys

import pytest
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError

from ionsieve.errors import InputError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.settings.backend_section import backend_class, backend_names
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import Phonons, Screening
from ionsieve.workflows.settings.template import screening_text
from toy_backend import EmtBackend, EmtSettings


def screening(**backend):
    return Screening.model_validate(
        {
            "mothers": {"files": ["x.cif"]},
            "doping": {"rules": [{"host": "P5+", "dopants": ["Si4+"]}]},
            "backend": backend,
        }
    )


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages that offer backends, as pip leaves them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(package, **backends):
        folder = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in backends.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[ionsieve.backends]", *lines]))
        return tmp_path

    return put


def test_backends_of_other_packages_are_found(install):
    assert backend_names() == ["mock_vasp", "vasp"]
    install("ionsieve-emt", emt="toy_backend:EmtBackend")
    assert backend_names() == ["emt", "mock_vasp", "vasp"]
    settings = screening(name="emt", asap_cutoff=True)
    assert settings.backend == EmtSettings(asap_cutoff=True)
    backend = get_backend(settings)
    assert type(backend) is EmtBackend
    assert backend.identity()["asap_cutoff"] is True


@pytest.mark.parametrize(
    ("section", "place", "message"),
    [
        ({"name": "mock_vsap"}, "backend.name", "did you mean 'mock_vasp'?"),
        ({"name": "cp2k"}, "backend.name", "no such backend; known backends: mock_vasp, vasp"),
        ({"name": 7}, "backend.name", "no such backend"),
        (
            {"name": "vasp", "vasp_comand": "srun vasp"},
            "backend.vasp_comand",
            "unknown key of the backend 'vasp'; did you mean 'vasp_cmd'?",
        ),
        (
            {"zzz": 1},
            "backend.zzz",
            "unknown key of the backend 'mock_vasp'; known keys: name, vasp_cmd, vasp_gamma_cmd, "
            "incar",
        ),
        ({"incar": {"encut": 400, "ENCUT": 500}}, "backend.incar", "write it as ENCUT"),
        ({"incar": {"NSW": 3}}, "backend.incar", "NSW can't be overridden"),
        ({"vasp_cmd": 3}, "backend.vasp_cmd", "should be a valid string"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(section, place, message):
    with pytest.raises(ValidationError) as caught:
        screening(**section)
    (error,) = caught.value.errors()
    assert ".".join(error["loc"]) == place
    assert message in error["msg"]


def test_keys_are_those_of_the_backend_that_is_named(install):
    install("ionsieve-emt", emt="toy_backend:EmtBackend")
    with pytest.raises(ValidationError, match="unknown key of the backend 'emt'"):
        screening(name="emt", vasp_cmd="vasp_std")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_anywhere:Backend", "ModuleNotFoundError: No module named"),
        ("toy_backend:NoBackend", "AttributeError"),
        ("toy_backend:EmtSettings", "AttributeError"),
        ("broken_backend:Backend", "RuntimeError: first line second line"),
    ],
)
def test_broken_package_is_one_line_with_its_name(install, target, reason):
    folder = install("ionsieve-mlip", mlip=target)
    (folder / "broken_backend.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    with pytest.raises(InputError) as caught:
        screening(name="mlip")
    message = str(caught.value)
    assert "'mlip' of the package ionsieve-mlip 1.2 can't be loaded" in message
    assert reason in message
    assert "\n" not in message
    # The others work as before.
    assert screening().backend.name == "mock_vasp"


def test_settings_that_are_no_section_and_two_of_one_name_are_refused(install):
    folder = install("ionsieve-odd", odd="odd_backend:Odd")
    (folder / "odd_backend.py").write_text("class Odd:\n    Settings = dict\n")
    with pytest.raises(InputError, match=r"ionsieve-odd 1\.2 can't be used: its Settings"):
        backend_class("odd")
    install("ionsieve-other", odd="toy_backend:EmtBackend")
    with pytest.raises(InputError, match=r"offered by ionsieve-o\w+ 1\.2 and ionsieve-o\w+ 1\.2"):
        backend_class("odd")


def test_what_the_backend_cannot_do_is_refused_beforehand(install):
    folder = install("ionsieve-emt", emt="toy_backend:EmtBackend", still="still_backend:Still")
    settings = screening(name="emt")
    wanted = settings.model_copy(update={"phonons": Phonons(enabled=True)})
    with pytest.raises(InputError, match=r"^phonons\.enabled = true, but the backend 'emt' has no"):
        get_backend(wanted)
    (folder / "still_backend.py").write_text(
        "from toy_backend import EmtBackend\n"
        "class Still(EmtBackend):\n    capabilities = frozenset({'relax', 'static'})\n"
    )
    with pytest.raises(InputError, match=r"'still' can't do what every screening needs \(md\)"):
        get_backend(screening(name="still"))


def test_required_key_of_a_backend_is_asked_for(install, tmp_path):
    folder = install("ionsieve-mlip", mlip="mlip_backend:Mlip")
    (folder / "mlip_backend.py").write_text(
        "from ionsieve.workflows.settings.backend_section import BackendSection\n"
        "class Settings(BackendSection):\n    weights: str\n"
        "class Mlip:\n    Settings = Settings\n"
    )
    path = tmp_path / "screening.yaml"
    path.write_text(screening_text(screening()).replace("name: mock_vasp", "name: mlip"))
    lines = path.read_text().splitlines()
    section = lines.index("backend:")
    path.write_text("\n".join(lines[:section] + ["backend: {name: mlip}"]))
    with pytest.raises(InputError, match=r"'backend\.weights' is missing; add it"):
        read_screening(path)


def test_section_keeps_its_own_fields_on_the_way_into_a_job(install):
    install("ionsieve-emt", emt="toy_backend:EmtBackend")
    for settings in (
        screening(name="emt", asap_cutoff=True),
        screening(name="vasp", vasp_cmd="srun vasp", incar={"ENCUT": 400, "LDAUU": [1, 2]}),
        screening(),
    ):
        text = json.dumps(settings, cls=MontyEncoder)
        again = json.loads(text, cls=MontyDecoder)
        assert type(again.backend) is type(settings.backend)
        assert again.backend == settings.backend
        assert Screening.model_validate_json(settings.model_dump_json()) == settings
        assert settings.model_copy(deep=True) == settings


@pytest.mark.parametrize("name", ["vasp", "mock_vasp", "emt"])
def test_template_writes_the_keys_of_the_backend_with_their_meaning(install, tmp_path, name):
    install("ionsieve-emt", emt="toy_backend:EmtBackend")
    original = screening(name=name)
    text = screening_text(original)
    section = text[text.index("\nbackend:\n") :].split("\n\n")[0]
    for key, field in type(original.backend).model_fields.items():
        assert f"  # {field.description.split(';')[0][:40]}" in section
        assert f"\n  {key}: " in section
    path = tmp_path / "screening.yaml"
    path.write_text(text)
    assert read_screening(path).backend == original.backend


def test_reading_settings_imports_no_engine():
    """Start-up time: atomate2 takes seconds."""
    code = (
        "import sys; from ionsieve.workflows.settings.schema import Screening\n"
        "rules = [{'host': 'P5+', 'dopants': ['W6+']}]\n"
        "Screening(mothers={'files': ['x']}, doping={'rules': rules})\n"
        "print(sorted({'atomate2', 'custodian', 'numba', 'pymatgen.io.vasp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
