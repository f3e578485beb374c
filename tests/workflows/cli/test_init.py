"""The example that ``ionsieve init`` writes."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from ionsieve.workflows.cli import cli
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import DopingRule, Screening
from ionsieve.workflows.settings.template import screening_text

EXAMPLES = Path(__file__).parents[3] / "examples"


def _init(folder):
    return CliRunner().invoke(cli, ["init", str(folder)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init") / "mine"
    assert _init(folder).exit_code == 0
    return folder


def test_says_what_to_type_next(tmp_path):
    result = _init(tmp_path / "new")
    assert f"ionsieve plan {tmp_path / 'new' / 'screening.yaml'}" in result.output
    assert f"ionsieve run {tmp_path / 'new' / 'screening.yaml'}" in result.output


def test_example_can_be_planned(folder):
    screening = read_screening(folder / "screening.yaml")
    assert screening.name == "mine"
    assert screening.backend.name == "mock_vasp"
    plan = make_plan(screening)
    assert len(plan.mothers) == 7
    assert 8 <= len(plan.compositions) <= 14
    assert any(c.n_mobile_added for c in plan.compositions)
    assert any(len(c.substitutions) == 2 for c in plan.compositions)


def _keys(model, indent=""):
    for name, field in model.model_fields.items():
        if name == "root":
            continue
        yield f"{indent}{name}:"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{indent}  ")
        else:
            assert field.description, f"{model.__name__}.{name} has no description"


def test_every_key_is_written_with_its_meaning(folder):
    lines = (folder / "screening.yaml").read_text().splitlines()
    # The resources of a kind of job are on one line: key by key they would fill a page.
    keys = [key for key in _keys(Screening) if not key.startswith(" " * 6)]
    assert any("walltime (HH:MM:SS" in line for line in lines)
    for key in keys:
        assert any(line.startswith(key) for line in lines), key
    for name in DopingRule.model_fields:
        assert any(line.startswith(f"  # - {name}:") for line in lines)


def test_what_differs_from_the_default_says_so(folder):
    text = (folder / "screening.yaml").read_text()
    assert "# wanted number of ions (default: 200)\n  n_ions: 128\n" in text
    assert "# fewest and most elements\n  n_elements: [2, 6]\n" in text


def test_text_reads_back_unchanged(tmp_path):
    original = read_screening(EXAMPLES / "na_sulfides" / "screening.yaml")
    path = tmp_path / "screening.yaml"
    path.write_text(screening_text(original))
    assert read_screening(path).model_dump() == original.model_dump()


def test_nothing_is_overwritten(folder):
    before = (folder / "screening.yaml").read_text()
    result = _init(folder)
    assert result.exit_code != 0
    assert "exists already; give another name or remove it" in str(result.exception)
    assert (folder / "screening.yaml").read_text() == before


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = _init(tmp_path / "file" / "new")
    assert "give a folder you may write" in str(result.exception)
