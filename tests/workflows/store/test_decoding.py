"""A store that somebody else wrote can't make anyone import and call its code."""

import json
import sqlite3
import sys

import pytest
from jobflow import JobStore, OutputReference, job
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.store.decoding import (
    ForbiddenModuleError,
    check_modules,
    decode,
    decode_json,
    is_allowed,
)
from ionsieve.workflows.store.mongo import as_checked
from ionsieve.workflows.store.opening import open_job_store
from ionsieve.workflows.store.sqlite.store import SQLiteStore
from synthetic_results import screening

PLANTED = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()

class Bomb:
    @classmethod
    def from_dict(cls, d):
        pathlib.Path(__file__).with_name("called").touch()
        return cls()

def function():
    pass
"""
BOMB = {"@module": "planted_module", "@class": "Bomb", "x": 1}
HIDDEN = [
    BOMB,
    {"a": [{"b": [[BOMB]]}]},
    {"@module": "planted_module", "@callable": "function"},
    {"@module": "planted_module.inside", "@callable": "function", "@bound": None},
    # An allowed class around it, whose from_dict decodes what is inside.
    {"@module": "pymatgen.core.structure", "@class": "Structure", "properties": {"p": BOMB}},
    {"@module": "ionsieve.errors", "@callable": "x.f", "@bound": BOMB},
    {"long": ["x" * 3000, BOMB] * 3},
]


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module that tells when it is imported, in the path of modules."""
    (tmp_path / "planted_module.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("planted_module", None)


@pytest.fixture(params=["file", "mongodb"])
def settings(request, tmp_path, mongo):
    address = {} if request.param == "file" else {"store": "mongodb://localhost/results"}
    return screening(tmp_path, **address)


@pytest.mark.parametrize("output", HIDDEN)
@pytest.mark.parametrize("saved", [True, False])
def test_a_planted_module_never_leaves_a_store(settings, planted, output, saved):
    with open_job_store(settings) as store:
        document = {"uuid": "a", "index": 1, "output": {"data": output, "n": 1}}
        store.update(document, save={"data": "data"} if saved else None)
        reference = OutputReference("a")
        for action in (
            lambda: reference.resolve(store),
            lambda: reference.data.resolve(store),
            lambda: store.query_one({"uuid": "a"}, load=True),
            lambda: store.get_output("a", load=True),
        ):
            with pytest.raises(ForbiddenModuleError, match="IONSIEVE_ALLOWED_MODULES=planted"):
                action()
        # What doesn't touch it is still there.
        assert store.query_one({"uuid": "a"}, ["output.n"])["output"]["n"] == 1
    assert not (planted / "imported").exists()


def test_a_name_written_another_way_is_found(tmp_path, planted):
    path = tmp_path / "s.sqlite"
    with SQLiteStore(path, "jobs", key="uuid") as store:
        store.update({"uuid": "a", "output": {"x": "HERE"}})
        with sqlite3.connect(path) as connection:
            text = '{"\\u0040module" : "planted_module", "@\\u0063lass":"Bomb"}'
            connection.execute("""UPDATE jobs SET doc = replace(doc, '"HERE"', ?)""", (text,))
        connection.close()
        with pytest.raises(ForbiddenModuleError):
            store.query_one({"uuid": "a"})


def test_what_is_trusted_can_be_allowed(settings, planted, monkeypatch):
    monkeypatch.setenv("IONSIEVE_ALLOWED_MODULES", "other, planted_module")
    with open_job_store(settings) as store:
        store.update({"uuid": "a", "index": 1, "output": BOMB})
        assert type(OutputReference("a").resolve(store)).__name__ == "Bomb"


def test_stores_of_a_jobflow_yaml_are_checked_whatever_their_kind(planted):
    with as_checked(MemoryStore(key="uuid"), ordered=True) as docs:
        store = JobStore(docs)
        store.update({"uuid": "a", "index": 1, "output": BOMB})
        with pytest.raises(ForbiddenModuleError):
            OutputReference("a").resolve(store)


@pytest.mark.parametrize("wrapped", [False, True])
def test_filters_with_code_are_not_run(tmp_path, wrapped):
    criteria = {"$where": "1/0"}
    with SQLiteStore(tmp_path / "s.sqlite", key="n") as store:
        store.update({"n": 1})
        with pytest.raises(IonSieveError, match="not run"):
            list(store.query({"$and": [{"n": 1}, criteria]} if wrapped else criteria))


def test_modules_are_allowed_by_whole_names():
    assert is_allowed("pymatgen")
    assert is_allowed("pymatgen.core.structure")
    for module in ("pymatgenx", "os", "subprocess", "builtins", "", ".pymatgen", "x.pymatgen", 5):
        assert not is_allowed(module)
    with pytest.raises(ForbiddenModuleError) as caught:
        check_modules({"a": ({"@module": ["os"], "@callable": "system"},)}, "here")
    assert "\n" not in str(caught.value)
    # jobflow writes this for "no class", and monty reads it as that.
    assert check_modules({"@module": "", "@class": ""}, "here")


def test_decoding_gives_what_monty_gives():
    structure = Structure(Lattice.cubic(3), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])

    @job
    def add(a, b):
        return a + b

    for thing in (structure, {"a": [structure]}, [1, None, "x"]):
        text = json.dumps(thing, cls=MontyEncoder)
        assert decode_json(text) == json.loads(text, cls=MontyDecoder) == thing
        assert decode(json.loads(text)) == thing
    reference = add(1, 2).output
    assert decode_json(json.dumps(reference, cls=MontyEncoder)) == reference


def test_planted_json_is_refused_before_anything_is_imported(planted):
    for thing in HIDDEN:
        with pytest.raises(ForbiddenModuleError):
            decode_json(json.dumps(thing))
    assert not (planted / "imported").exists()
