"""The whole plan, and the command that prints it."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.cli import cli
from ionsieve.workflows.cli.plan import readable_count
from ionsieve.workflows.funnel.estimate import estimate
from ionsieve.workflows.funnel.phases import starting_structures
from ionsieve.workflows.planning.plan import average_structure, make_plan
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import ScreeningFile

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "workflows" / "data" / "mothers"
CIFS = ROOT / "tests" / "data" / "cif"
SMALL = {"n_ions": 64, "tolerance": 0.3}


def _data(rules, *mothers, levels=("1/4",), **sections):
    return {
        "mothers": {"files": [str(EXAMPLES / f"{name}.cif") for name in mothers]},
        "doping": {"levels": list(levels), "rules": rules},
        "supercell": SMALL,
        **sections,
    }


def _plan(*args, **kwargs):
    return make_plan(ScreeningFile(root=EXAMPLES, **_data(*args, **kwargs)))


def test_half_and_half_from_both_sides_is_one():
    rules = [{"host": "P5+", "dopants": ["Sb5+"]}, {"host": "Sb5+", "dopants": ["P5+"]}]
    mothers = ["Na3PS4-cubic", "Na3SbS4-cubic", "Na3SbS4-tetragonal"]
    plan = _plan(rules, *mothers, levels=["1/4", "1/2"])
    assert {c.composition_id: c.merged_from for c in plan.compositions} == {
        "Na3PS4-cubic_Sb5+_1-4": [],
        "Na3PS4-cubic_Sb5+_1-2": ["Na3SbS4-cubic_P5+_1-2"],
        "Na3SbS4-cubic_P5+_1-4": [],
        "Na3SbS4-tetragonal_P5+_1-4": [],
        "Na3SbS4-tetragonal_P5+_1-2": [],
    }


def test_same_formula_in_another_structure_stays():
    rules = [{"host": "P5+", "dopants": ["Sn4+"]}, {"host": "Sn4+", "dopants": ["P5+"]}]
    plan = _plan(rules, "Na3PS4-tetragonal", "Na4SnS4", levels=["1/2"])
    assert len({c.formula for c in plan.compositions}) == 1
    assert len(plan.compositions) == 2


def test_rule_written_twice_counts_once():
    rules = [{"host": "P5+", "dopants": ["W6+", "W6+"]}]
    plan = _plan(rules, "Na3PS4-cubic")
    assert [c.merged_from for c in plan.compositions] == [[]]


def test_one_dopant_on_two_hosts_has_two_names():
    rules = [{"host": host, "dopants": ["Sn4+"]} for host in ("P5+", "Na+")]
    plan = _plan(rules, "Na3PS4-cubic", levels=["1/12"], supercell={"n_ions": 192})
    names = [c.composition_id for c in plan.compositions]
    assert names == ["Na3PS4-cubic_Sn4+_1-12", "Na3PS4-cubic_Sn4+_1-12_for-Na+"]


def test_average_structure_shares_sites():
    plan = _plan([{"host": "P5+", "dopants": ["W6+"]}], "Na3PS4-cubic")
    average = average_structure(plan.mothers[0], plan.compositions[0])
    composition = average.composition
    assert composition["W6+"] == pytest.approx(composition["P5+"] / 3)
    assert composition["Na+"] == pytest.approx(2.75)
    assert len(average) == len(Structure.from_dict(plan.mothers[0].structure))


def test_unknown_host_names_those_there_are():
    with pytest.raises(
        InputError, match=r"no mother has the host Si4\+; there are Na\+, P5\+, S2-"
    ):
        _plan([{"host": "Si4+", "dopants": ["Ta5+"]}], "Na3PS4-cubic")


def test_nothing_left_says_why():
    with pytest.raises(InputError, match=r"no composition is left: NaInS2_Cl-_1-2: needs"):
        _plan([{"host": "S2-", "dopants": ["Cl-"]}], "NaInS2", levels=["1/2"])


def test_paper_case_has_the_numbers_of_its_readme():
    plan = make_plan(read_screening(ROOT / "examples" / "na_sulfides" / "screening.yaml"))
    assert (len(plan.mothers), len(plan.rejected)) == (7, 0)
    assert len(plan.compositions) == 175
    assert not plan.rejected_compositions
    assert {(c.n_mobile_removed > 0) - (c.n_mobile_added > 0) for c in plan.compositions} == {
        -1,
        0,
        1,
    }
    sizes = [c.n_ions for c in plan.compositions]
    assert (min(sizes), max(sizes)) == (168, 228)
    assert len({c.composition_id for c in plan.compositions}) == 175
    total = sum(int(c.n_arrangements) for c in plan.compositions)
    assert f"{total:.1e}" == "4.4e+44"


def test_work_is_counted():
    sections = {
        "ewald": {"keep": 3},
        "short_md": {"length_ps": 100, "segment_ps": 30, "max_length_ps": 100},
        "long_md": {"length_ps": 250, "segment_ps": 10},
        "arrhenius": {"temperatures_k": [500, 700]},
        "phonons": {"enabled": True},
    }
    rules = [{"host": "P5+", "dopants": ["W6+"]}]
    data = _data(rules, "Na3PS4-cubic", levels=["1/4", "1/2"], **sections)
    screening = ScreeningFile(root=EXAMPLES, **data)
    plan = make_plan(screening)
    stages = {stage.stage: stage for stage in estimate(plan, screening, [])}
    ions = sum(c.n_ions for c in plan.compositions)
    n_phases = len(starting_structures(plan, screening, [])[0].phases)
    assert n_phases > 5
    assert {name: (s.n_items, s.n_jobs) for name, s in stages.items()} == {
        "rank": (2, 2),
        "relax": (2, 2 * 3 * 3),
        "hull": (n_phases, 3 * n_phases),
        "phonons": (2, 6 * ions),
        "short_md": (2, 2 * 4),
        # Twice the set length where the gate asks for more.
        "long_md": (2, 2 * 50),
        "arrhenius": (2, 2 * 50 * 2),
    }
    assert all(stage.core_hours > 0 for stage in stages.values())


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (999_999_999, "999,999,999"), (4856481552780, "4.85e12")]
)
def test_readable_count(count, text):
    assert readable_count(count) == text


def _write(tmp_path, data):
    path = tmp_path / "screening.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def _invoke(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_command_prints_tables_for_people(tmp_path):
    data = _data([{"host": "P5+", "dopants": ["W6+"]}], "Na3PS4-cubic")
    data["mothers"]["files"].append(str(CIFS / "no_sodium.cif"))
    result = _invoke("plan", _write(tmp_path, data))
    assert result.exit_code == 0
    assert "Na2.75P0.75W0.25S4" in result.output
    # The width of the terminal decides where lines break.
    assert "has no Na" in " ".join(result.output.split())
    assert "1 mothers, 1 compositions, " in result.output


def test_command_prints_exact_integers_as_json(tmp_path):
    rules = [{"host": "P5+", "dopants": ["W6+"]}]
    data = _data(rules, "Na3PS4-cubic", levels=["1/2"], supercell={"n_ions": 192})
    result = _invoke("plan", _write(tmp_path, data), "--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    (composition,) = printed["compositions"]
    assert printed["n_arrangements"] == composition["n_arrangements"] > 2**63
    assert printed["n_mothers"] == printed["n_compositions"] == 1
    assert [stage["stage"] for stage in printed["stages"]][:3] == ["rank", "relax", "hull"]
