"""Conditions and queries against Python's own eval and sorting."""

from __future__ import annotations

import ast
import csv
import functools
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
from ionsieve.workflows.results.collections import DEFAULT_COLUMNS, collection_model
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.results.language import fields_of, parse_where
from ionsieve.workflows.results.presentation import is_measured, result_table
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, compositions, screening

CONDUCTOR = collection_model("conductors")

NUMBERS = ("e_hull_ev_atom", "sigma_short_s_cm", "sigma_short_s_cm_hi", "n_mobile_removed")
TEXTS = ("formula", "verdict_short")
FLAGS = ("passed", "passed_short", "e_hull_is_lower_bound")


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
texts = st.sampled_from(["", "Na", "Na3PS4", "Na3(PS4", "diffusing", "upper_bound", "a.c"])
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
    assert filter_applies(parse_where(condition, CONDUCTOR, bounds=True), document) == expected


class Unknown:
    """The third truth value: what can't be told, nor its opposite."""

    def __bool__(self):
        return False


UNKNOWN = Unknown()


def both(left, right):
    if left is False or right is False:
        return False
    return UNKNOWN if UNKNOWN in (left, right) else True


def opposite(value):
    return UNKNOWN if value is UNKNOWN else not value


def three_valued(node, document):
    """Evaluate a condition by Python, link by link, where a bound's comparison is unknown."""
    if isinstance(node, ast.BoolOp):
        values = [three_valued(value, document) for value in node.values]
        if isinstance(node.op, ast.And):
            return functools.reduce(both, values)
        return opposite(functools.reduce(both, map(opposite, values)))
    if isinstance(node, ast.UnaryOp):
        return opposite(three_valued(node.operand, document))
    if isinstance(node, ast.Name):
        return document[node.id] is True
    sides = [node.left, *node.comparators]
    links = []
    for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
        link = ast.unparse(ast.Compare(left, [op], [right]))
        names = {name: Maybe(value) for name, value in document.items()}
        truth = bool(eval(link, {"__builtins__": {}}, names))
        (name,) = (side.id for side in (left, right) if isinstance(side, ast.Name))
        if "None" in (ast.unparse(left), ast.unparse(right)) or is_sound(name, document):
            links.append(truth)
        else:
            links.append(UNKNOWN)
    return functools.reduce(both, links)


def is_sound(name, document):
    """Return whether a comparison of a field means something, spelt out for the tested fields."""
    if name == "e_hull_ev_atom":
        return document["e_hull_is_lower_bound"] is not True
    if name == "sigma_short_s_cm":
        return document["verdict_short"] == "diffusing"
    if name == "sigma_short_s_cm_hi":
        return document["verdict_short"] in ("diffusing", "upper_bound")
    return True


@settings(max_examples=400, deadline=None)
@given(documents, conditions)
def test_without_bounds_what_is_no_measurement_is_neither_true_nor_false(document, condition):
    expected = three_valued(ast.parse(condition, mode="eval").body, document) is True
    assert filter_applies(parse_where(condition, CONDUCTOR, bounds=False), document) == expected
    opposite_ = parse_where(f"not ({condition})", CONDUCTOR, bounds=False)
    assert not (expected and filter_applies(opposite_, document))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="passed()<>=!'. andotrin[],0123", max_size=60))
def test_any_text_is_either_understood_or_refused_in_one_line(text):
    try:
        found = parse_where(text, CONDUCTOR)
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
        parse_where(condition, CONDUCTOR)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arithmetic_of_numbers_is_done_before_asking():
    assert parse_where("doping_level == 1/8", CONDUCTOR) == {"doping_level": {"$eq": 0.125}}
    assert parse_where("n_ions < 10**2 - 1".replace("**", "*"), CONDUCTOR) == {
        "n_ions": {"$lt": 19}
    }
    large = parse_where(f"n_ions < {10**30}", CONDUCTOR)["n_ions"]["$lt"]
    assert isinstance(large, float)
    assert math.isclose(large, 1e30)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return the results and the screening file; one row each of a bound and of a melt."""
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
        imagined = Imagined(settings_, job_store)
        imagined.run(8)
        for composition, sigma, verdict in zip(
            compositions()[8:10], (0.23, 1e-4), ("framework_unstable", "upper_bound"), strict=True
        ):
            imagined.rank(composition)
            imagined.relax(composition)
            imagined.hull(composition, 0.02)
            imagined.transport(composition, "short_md", sigma, verdict)
    return Results.open(settings_), path


def query(results, *arguments, **options):
    return results.find(*("conductors", *arguments), **options).rows


def test_filter_sort_columns_and_limit(filled):
    results, _ = filled
    everything = query(results)
    assert len(everything) == 10
    where = "passed and sigma_long_s_cm > 1.5e-3 and n_phases > 3"
    found = results.find(
        "conductors",
        where,
        "-sigma_long_s_cm",
        columns=["formula", "sigma_long_s_cm"],
        limit=2,
        offset=1,
    )
    expected = sorted(
        (
            document["sigma_long_s_cm"]
            for document in everything
            if document["passed"] and document["sigma_long_s_cm"] > 1.5e-3
        ),
        reverse=True,
    )
    assert found.total == len(expected) > 3
    assert [document["sigma_long_s_cm"] for document in found.rows] == expected[1:3]
    assert set(found.rows[0]) == {"formula", "sigma_long_s_cm"}


def test_a_condition_on_a_quantity_selects_measurements_only(filled):
    results, _ = filled
    melted, bound = (composition.composition_id for composition in compositions()[8:10])
    ids = lambda *a, **k: {row["composition_id"] for row in query(results, *a, **k)}  # noqa: E731
    assert melted not in ids("sigma_short_s_cm > 1e-9")
    assert melted not in ids("not sigma_short_s_cm > 1e-9")
    assert melted in ids("sigma_short_s_cm > 1e-9", bounds=True)
    assert bound not in ids("sigma_short_s_cm < 1")
    assert {bound} == ids("sigma_short_s_cm_hi < 1e-3 and verdict_short == 'upper_bound'")
    # W: WS3 has no energy, the hull is a lower bound.
    lower = {row["composition_id"] for row in query(results) if row["e_hull_is_lower_bound"]}
    assert lower
    assert not lower & ids("e_hull_ev_atom < 100")
    assert lower < ids("e_hull_ev_atom < 100", bounds=True)
    for row in query(results, "sigma_short_s_cm > 0 and e_hull_ev_atom > -9"):
        assert is_measured(row, CONDUCTOR, "sigma_short_s_cm")
        assert is_measured(row, CONDUCTOR, "e_hull_ev_atom")


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
        ({"offset": -1}, "start at 0"),
    ],
)
def test_bad_requests_name_the_remedy(filled, arguments, words):
    with pytest.raises(InputError) as caught:
        filled[0].find(**arguments)
    assert words in str(caught.value)


def test_every_collection_has_a_table(filled):
    for name in DEFAULT_COLUMNS:
        rows = filled[0].find(name).rows
        table = result_table(rows, collection=name)
        assert table.row_count == len(rows) > 0
        assert set(rows[0]) == set(fields_of(collection_model(name)))


def run(path, *arguments):
    result = CliRunner().invoke(command, [str(path), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_prints_json_csv_tables_and_fields(filled):
    results, path = filled
    arguments = ("--where", "'W6+' in dopants", "--sort", "-e_hull_ev_atom")
    expected = query(results, arguments[1], arguments[3])
    assert json.loads(run(path, *arguments, "--json")) == expected
    rows = list(csv.DictReader(io.StringIO(run(path, *arguments, "--csv"))))
    assert [float(row["e_hull_ev_atom"]) for row in rows] == [
        document["e_hull_ev_atom"] for document in expected
    ]
    table = run(path, *arguments, "--columns", "composition_id,e_hull_ev_atom")
    assert "eV/atom" in table
    assert "≥" in table
    assert all(document["composition_id"] in table for document in expected)
    assert "sigma_300k_s_cm" in run(path, "--fields")
    assert json.loads(run(path, "--where", "e_hull_ev_atom > 9", "--json")) == []


def test_a_number_never_leaves_the_command_without_its_verdict(filled, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path = filled[1]
    melted, bound = (composition.composition_id for composition in compositions()[8:10])
    lines = run(path, "--columns", "composition_id,sigma_short_s_cm").splitlines()
    (line,) = (line for line in lines if melted in line)
    assert "[2.3e-01 (1.6e-01 to 3.2e-01): framework_unstable]" in line
    (line,) = (line for line in lines if bound in line)
    assert "< 1.4e-04" in line
    # Machines read the same: columns bring what they must not stand without.
    (row, *_) = json.loads(run(path, "--columns", "sigma_short_s_cm,e_hull_ev_atom", "--json"))
    assert set(row) == {
        *("sigma_short_s_cm", "sigma_short_s_cm_lo", "sigma_short_s_cm_hi", "verdict_short"),
        *("e_hull_ev_atom", "e_hull_is_lower_bound"),
    }
    text = run(path, "--columns", "sigma_short_s_cm", "--csv")
    assert text.splitlines()[0] == (
        "sigma_short_s_cm,sigma_short_s_cm_lo,sigma_short_s_cm_hi,verdict_short"
    )
    assert "verdict" in run(path) or "long MD" in run(path)
    shown = json.loads(run(path, "--where", "sigma_short_s_cm > 1e-9", "--json"))
    assert melted not in {row["composition_id"] for row in shown}
    shown = json.loads(run(path, "--where", "sigma_short_s_cm > 1e-9", "--bounds", "--json"))
    assert melted in {row["composition_id"] for row in shown}


def test_settings_newer_than_the_results_are_noted(filled, tmp_path):
    _, path = filled
    changed = path.parent / "changed.yaml"
    text = path.read_text() + "long_md: {temperature_k: 450}\nhull: {max_e_hull_ev_atom: 0.05}\n"
    changed.write_text(text + "compute: {workers: 7}\n")
    result = CliRunner().invoke(command, [str(changed)], catch_exceptions=False)
    notes = [line for line in result.stderr.splitlines() if line.startswith("note:")]
    assert len(notes) == 2
    assert "hull.max_e_hull_ev_atom: 0.1 when last run, 0.05 now (already judged" in notes[0]
    assert "long_md.temperature_k: 300.0 when last run, 450.0 now (computed anew" in notes[1]
