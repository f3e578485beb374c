"""``ionsieve rank`` on files as they come."""

import json

import pytest
from click.testing import CliRunner

from cif_text import cif
from ionsieve.workflows.cli.rank import command

SULFIDE = (
    "Na1 Na 0.5 0.5 0 0.95",
    "Sb1 Sb 0 0 0 0.85",
    "W1 W 0 0 0 0.15",
    "S1 S 0.185 0.185 0.185 1",
)


def _rank(tmp_path, text, *options):
    path = tmp_path / "crystal.cif"
    path.write_text(text)
    return CliRunner().invoke(command, [str(path), "--seconds", "2", *options])


def _text(block="x"):
    symmetry = "_space_group_name_H-M_alt 'I -4 3 m'"
    return cif(SULFIDE, (7.191,) * 3 + (90,) * 3, symmetry, block=block)


def test_disordered_file_needs_no_flags_and_tells_what_was_done(tmp_path):
    result = _rank(tmp_path, _text(), "--supercell", "2 2 1", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    # 8 sites for Sb and W, 24 for Na: 7 + 1 and 23.
    assert printed["n_arrangements"] == 8 * 24
    assert printed["certified"]
    assert any("W6+ 0.15 in the file, 0.125 here" in note for note in printed["notes"])
    assert "note: oxidation states guessed: Na+ Sb5+ W6+ S2-" in result.stderr


def test_whole_numbers_only_on_request(tmp_path):
    result = _rank(tmp_path, _text(), "--supercell", "2 2 1", "--occupancy-tolerance", "0")
    assert result.exit_code != 0
    assert "nearest occupancies for this supercell" in str(result.exception)


def test_block_is_named_or_refused(tmp_path):
    two = _text("one") + _text("two")
    refused = _rank(tmp_path, two, "--supercell", "2 2 1")
    assert "choose one: one, two" in str(refused.exception)
    assert _rank(tmp_path, two, "--supercell", "2 2 1", "--block", "two").exit_code == 0


def test_sublattices_by_hand(tmp_path):
    options = ("--arrange", "Na1=Na+:11", "--arrange", "Sb1/W1=Sb5+:3", "--arrange", "Sb1/W1=W6+:1")
    result = _rank(tmp_path, _text(), "--supercell", "2 1 1", *options, "--json")
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["n_arrangements"] == 12 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--arrange", "Na1:11"), "write it as Li1"),
        (("--interstitial-site", "0.1 0.2"), "three fractional coordinates"),
        (("--charges", "Na+ Sb5+ W6+ W5+ S2-"), "name the sites"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, options, message):
    result = _rank(tmp_path, _text(), *options)
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
