"""The language of injected faults."""

import pytest

from ionsieve.workflows.backends.mock_vasp.faults import (
    FILE_NAME,
    VARIABLE,
    Fault,
    InjectedError,
    read_fault,
)
from ionsieve.workflows.backends.mock_vasp.inputs import VaspInputError

SULFIDE = {"Na": 24, "P": 8, "S": 32}


def test_no_fault_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_fault(tmp_path, SULFIDE) is None


def test_file_goes_before_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "crash@5")
    assert read_fault(tmp_path, SULFIDE) == Fault("crash", 5)
    (tmp_path / FILE_NAME).write_text("error:brmix@2\n")
    assert read_fault(tmp_path, SULFIDE) == Fault("error", 2, "brmix")


@pytest.mark.parametrize(
    ("formula", "applies"), [("Na3PS4", True), ("Na3P1S4", True), ("Na4PS4", False), ("S", False)]
)
def test_formula_counts_in_any_multiple(tmp_path, monkeypatch, formula, applies):
    monkeypatch.setenv(VARIABLE, f"hang;formula={formula}")
    assert (read_fault(tmp_path, SULFIDE) is not None) == applies


def test_first_counts_the_runs_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "crash;first=2")
    found = [read_fault(tmp_path, SULFIDE) is not None for _ in range(4)]
    assert found == [True, True, False, False]
    (tmp_path / "other").mkdir()
    assert read_fault(tmp_path / "other", SULFIDE) is not None


@pytest.mark.parametrize("text", ["explode", "error:unheard", "crash@", "crash;last=2"])
def test_nonsense_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(VaspInputError, match=VARIABLE):
        read_fault(tmp_path, SULFIDE)


def test_faults_strike_in_their_step_only():
    error = Fault("error", 3)
    assert not error.strike(2, lambda: None)
    with pytest.raises(InjectedError, match="EDDRMM"):
        error.strike(3, lambda: None)
    spoiled = Fault("nan", 3)
    assert [spoiled.spoils_energy(n) for n in (2, 3, 4)] == [False, True, True]
    assert not spoiled.strike(3, lambda: None)
    unconverged = Fault("unconverged", 3)
    assert [unconverged.is_unconverged(n) for n in (2, 3, 4)] == [False, True, True]
    assert not unconverged.strike(3, lambda: None)
