"""Conditions and queries against Python's own eval and sorting."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mongomock_ng.filtering import filter_applies

from ionsieve.errors import InputError
from ionsieve.workflows.cli.query import command
from ionsieve.workflows.documents.collections import COLLECTIONS, BuiltConductor
from ionsieve.workflows.results.builders import build_collections
from ionsieve.workflows.results.language import fields_of, parse_where
from ionsieve.workflows.results.query import query, result_table
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, screening

NUMBERS = ("e_hull_ev_atom", "sigma_short_s_cm", "n_mobile_removed")
TEXTS = ("formula", "verdict_short")
FLAGS = ("passed", "passed_short")


class Maybe:
    """A field's value for Python's eval: no order with None, as a database has it."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other

    def __hash__(self):
        return hash(self.value)

    def __bool__(self):
        return self.value is True

    def __contains__(self, item):
        return self.value is not None and item in self.value

    def _ordered(self, other, compare):
        return self.value is not None and compare(self.value, other)

    def __lt__(self, other):
        return self._ordered(other, lambda a, b: a < b)

    def __le__(self, other):
        return self._ordered(other, lambda a, b: a <= b)

    def __gt__(self, other):
        return self._ordered(other, lambda a, b: a > b)

    def __ge__(self, other):
        return self._ordered(other, lambda a, b: a >= b)


numbers = st.sampled_from([-1, 0, 1, 2, 0.5, 1e-3, -2.5])
texts = st.sampled_from(["", "Na", "Na3PS4", "Na3(PS4", "diffusing", "a.c"])
documents = st.fixed_dictionaries(
    {
        **{name: st.none() | numbers for name in NUMBERS},
        **{name: st.none() | texts for name in TEXTS},
        **{name: st.none() | st.booleans() for name in FLAGS},
        "dopants": st.lists(st.sampled_from(["W6+", "P5+", "Ga3+"]), max_size=2),
    }
)


def _comparison(fields, values, operators):
    field, operator = st.sampled_from(fields), st.sampled_from(operators)
    literal = values.map(repr)
    return st.one_of(
        st.builds("{} {} {}".format, field, operator, literal),
        st.builds("{} {} {}".format, literal, operator, field),
    )


ORDERS = ["<", "<=", ">", ">=", "==", "!="]
leaves = st.one_of(
    _comparison(NUMBERS, numbers, ORDERS),
    _comparison(TEXTS, texts, ORDERS),
    _comparison(FLAGS, st.booleans() | st.none(), ["==", "!="]),
    st.builds("{} < {} <= {}".format, numbers, st.sampled_from(NUMBERS), numbers),
    st.builds("{} {} {!r}".format, st.sampled_from(NUMBERS), st.sampled_from(["in", "not in"]),
              st.lists(st.none() | numbers, max_size=3)),
    st.builds("{!r} {} {}".format, texts, st.sampled_from(["in", "not in"]), st.just("formula")),
    st.builds("{!r} in dopants".format, st.sampled_from(["W6+", "P5+"])),
    st.builds("{} == None".format, st.sampled_from(NUMBERS + TEXTS)),
    st.sampled_from(FLAGS),
)  # fmt: skip
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(documents, conditions)
def test_conditions_mean_what_python_means(document, condition):
    names = {name: Maybe(value) for name, value in document.items()}
    expected = bool(eval(condition, {"__builtins__": {}}, names))
    assert filter_applies(parse_where(condition, BuiltConductor), document) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="passed()<>=!'. andotrin[],0123", max_size=60))
def test_any_text_is_either_understood_or_refused_in_one_line(text):
    try:
        found = parse_where(text, BuiltConductor)
    except InputError as error:
        message = str(error)
    else:
        filter_applies(found, {"passed": True})
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("sigma_300k > 1", "did you mean 'sigma_300k_s_cm'?"),
        ("e_hul_ev_atom < 0.1", "did you mean 'e_hull_ev_atom'?"),
        ("e_hull_ev_atom < 'a'", "compares with a number"),
        ("e_hull_ev_atom < None", "can't be ordered"),
        ("passed == 1", "compares with True or False"),
        ("passed > False", "can't be ordered"),
        ("formula", "can't stand alone"),
        ("formula == Na3PS4", "must compare a field with a value"),
        ("formula == 3", "compares with a quoted text"),
        ("dopants == 'W6+'", "is a list"),
        ("3 in formula", "takes a quoted text"),
        ("e_hull_ev_atom in 3", "FIELD in [VALUES]"),
        ("sigma_short_s_cm > sigma_long_s_cm", "must compare a field with a value"),
        ("e_hull_ev_atom = 3", "invalid syntax"),
        ("e_hull_ev_atom < ", "invalid syntax"),
        ("e_hull_ev_atom < 1/0", "divides by zero"),
        ("e_hull_ev_atom < 1e999", "too large"),
        ("__import__('os').system('true')", "is not understood"),
        ("formula.upper() == 'NA'", "must compare a field with a value"),
        ("(lambda: passed)()", "is not understood"),
        ("e_hull_ev_atom < 9**9**9", "is not understood"),
        ("[passed for passed in formula]", "is not understood"),
        ("structure == 1", "unknown field"),
        ("decomposition == 1", "compares with None"),
        ("passed and " * 500 + "passed", "at most 2000"),
        ("(" * 900 + "passed" + ")" * 900, "too many nested parentheses"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_remedy(condition, words):
    with pytest.raises(InputError) as caught:
        parse_where(condition, BuiltConductor)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arithmetic_of_numbers_is_done_before_asking():
    assert parse_where("doping_level == 1/8", BuiltConductor) == {"doping_level": {"$eq": 0.125}}
    assert parse_where("n_ions < 10**2 - 1".replace("**", "*"), BuiltConductor) == {
        "n_ions": {"$lt": 19}
    }
    large = parse_where(f"n_ions < {10**30}", BuiltConductor)["n_ions"]["$lt"]
    assert isinstance(large, float)
    assert math.isclose(large, 1e30)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return the settings and their file; the store holds 32 compositions."""
    folder = tmp_path_factory.mktemp("query")
    path = folder / "screening.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "imagined",
                "mothers": {"files": ["*.cif"]},
                "doping": {"rules": [{"host": "Sb5+", "dopants": ["W6+"]}]},
            }
        )
    )
    settings_ = screening(folder)
    with open_job_store(settings_) as job_store:
        Imagined(job_store).run()
        build_collections(settings_, job_store, {"WS3": "no energy"})
    return settings_, path


def test_filter_sort_columns_and_limit(filled):
    settings_, _ = filled
    everything = query(settings_)
    assert len(everything) == 32
    where = "passed and sigma_long_s_cm > 2e-3 and e_hull_ev_atom < 0.05"
    found = query(
        settings_, where, "-sigma_long_s_cm", columns=["formula", "sigma_long_s_cm"], limit=3
    )
    expected = sorted(
        (
            document["sigma_long_s_cm"]
            for document in everything
            if document["passed"]
            and document["sigma_long_s_cm"] > 2e-3
            and document["e_hull_ev_atom"] < 0.05
        ),
        reverse=True,
    )
    assert [document["sigma_long_s_cm"] for document in found] == expected[:3]
    assert set(found[0]) == {"formula", "sigma_long_s_cm"}


@pytest.mark.parametrize("sort", ["sigma_long_s_cm", "-sigma_long_s_cm"])
def test_what_has_no_value_is_sorted_last(filled, sort):
    values = [document["sigma_long_s_cm"] for document in query(filled[0], sort=sort)]
    n_values = sum(value is not None for value in values)
    assert 0 < n_values < len(values)
    assert values[n_values:] == [None] * (len(values) - n_values)
    assert values[:n_values] == sorted(values[:n_values], reverse=sort.startswith("-"))


def test_sorting_by_two_fields(filled):
    found = query(filled[0], sort="mother_id,-e_hull_ev_atom")
    keys = [(document["mother_id"], -document["e_hull_ev_atom"]) for document in found]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"collection": "conduct"}, "unknown collection 'conduct'"),
        ({"sort": "-sigma"}, "unknown field 'sigma'"),
        ({"sort": "dopants"}, "can't be sorted by"),
        ({"columns": ["e_hull"]}, "did you mean 'e_hull_ev_atom'?"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_bad_requests_name_the_remedy(filled, arguments, words):
    with pytest.raises(InputError) as caught:
        query(filled[0], **arguments)
    assert words in str(caught.value)


def test_every_collection_has_a_table(filled):
    for name, model in COLLECTIONS.items():
        rows = query(filled[0], collection=name)
        table = result_table(rows, collection=name)
        assert table.row_count == len(rows) > 0
        assert set(rows[0]) == set(fields_of(model))


def run(path, *arguments):
    result = CliRunner().invoke(command, [str(path), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_prints_json_csv_tables_and_fields(filled):
    settings_, path = filled
    arguments = ("--where", "'W6+' in dopants", "--sort", "-e_hull_ev_atom")
    expected = query(settings_, arguments[1], arguments[3])
    assert json.loads(run(path, *arguments, "--json")) == expected
    rows = list(csv.DictReader(io.StringIO(run(path, *arguments, "--csv"))))
    assert [float(row["e_hull_ev_atom"]) for row in rows] == [
        document["e_hull_ev_atom"] for document in expected
    ]
    table = run(path, *arguments, "--columns", "composition_id,e_hull_ev_atom")
    assert "eV/atom" in table
    assert all(document["composition_id"] in table for document in expected)
    assert "sigma_300k_s_cm" in run(path, "--fields")
    assert json.loads(run(path, "--where", "e_hull_ev_atom > 9", "--json")) == []
