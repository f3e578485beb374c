"""Every field says what it does to stored results; jobs carry no places of a machine."""

import json
from pathlib import Path

import pytest
from monty.json import MontyDecoder, MontyEncoder
from pydantic import BaseModel

from ionsieve.workflows.settings.dynamics import LongMD, MolecularDynamics, ShortMD
from ionsieve.workflows.settings.roles import fields_with, leaves, role_of, section_of, setting
from ionsieve.workflows.settings.schema import Doping, DopingRule, Resources, Screening
from ionsieve.workflows.settings.schema import ScreeningFile as File
from ionsieve.workflows.settings.section import Section

DATA = {
    "mothers": {"files": ["*.cif"]},
    "doping": {"rules": [{"host": "P5+", "dopants": ["W6+"]}]},
}
#: Settings on which every stored result hangs: what another value would repeat is decided here.
COMPUTING = {
    "ewald": {"method", "seconds", "seed"},
    "relax": {"double_relax"},
    "short_md": {"temperature_k", "timestep_fs", "frame_fs", "seed"},
    "long_md": {"temperature_k", "timestep_fs", "frame_fs", "seed"},
}


def _all_sections(model=File):
    yield model
    for field in model.model_fields.values():
        section = section_of(field)
        if section is not None:
            yield from _all_sections(section)


def test_every_field_has_a_role():
    for path, model, name in leaves(File):
        assert role_of(model, name), f"{path} doesn't say what it does to stored results"
    for model in (DopingRule, Resources):
        for name in model.model_fields:
            assert role_of(model, name), f"{model.__name__}.{name}"


def test_no_section_is_missed():
    seen = {model for _, model, _ in leaves(File)} | {DopingRule, Resources}
    for model in set(_all_sections()) - seen:
        fields = model.model_fields.values()
        assert all(section_of(field) is not None for field in fields), model.__name__
    assert Doping in seen


def test_a_field_without_a_role_is_seen():
    class Forgetful(Section):
        known: int = setting("runs", 1)
        forgotten: int = 2

    assert [role_of(model, name) for _, model, name in leaves(Forgetful)] == ["runs", None]


def test_a_field_that_is_given_anew_keeps_its_role():
    for model in (ShortMD, LongMD):
        for name in MolecularDynamics.model_fields:
            assert role_of(model, name) == role_of(MolecularDynamics, name)


@pytest.mark.parametrize("section", COMPUTING)
def test_what_computes(section):
    screening = Screening(**DATA)
    assert set(fields_with(getattr(screening, section), "computes")) == COMPUTING[section]


def test_values_of_a_role_are_plain():
    values = fields_with(Screening(**DATA).long_md, "judges", "analyses")
    assert values == {"min_sigma_s_cm": 1e-3, "max_relative_error": 0.5, "equilibration_ps": 10}
    assert json.loads(json.dumps(values)) == values


def _travel(thing):
    """Return what a job sees of what it was given."""
    return json.loads(json.dumps(thing, cls=MontyEncoder), cls=MontyDecoder)


def test_settings_travel_without_places():
    file = File(root=Path("/home/me"), store="mongodb://me:pw@host/db", **DATA)
    travelled = _travel(file.settings)
    assert type(travelled) is Screening
    assert travelled == file.settings
    assert "/home/me" not in json.dumps(file.settings, cls=MontyEncoder)
    assert "pw" not in json.dumps(file.settings, cls=MontyEncoder)


def test_what_travels_has_no_places_to_ask_for():
    settings = File(root=Path("/home/me"), **DATA).settings
    for name in ("root", "store", "resolve"):
        assert not hasattr(settings, name)


def test_a_document_that_holds_settings_takes_them_without_places():
    class Document(BaseModel):
        screening: Screening

    file = File(root=Path("/home/me"), **DATA)
    assert "root" not in Document(screening=file).model_dump()["screening"]


def test_a_file_does_not_travel():
    with pytest.raises(ValueError, match=r"doesn't travel; give jobs its \.settings"):
        _travel(File(root=Path("/home/me"), **DATA))
