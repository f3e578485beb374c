"""Names and error texts are printed as they are, whatever rich would make of them."""

import io
from pathlib import Path

import pytest
from rich.table import Table

from ionsieve.workflows.cli import status
from ionsieve.workflows.cli.printing import console, marked

TEXTS = [
    "OSError: cannot read [/scratch/user/POSCAR]",
    "1 validation error [type=missing, input_value={}]",
    "[bold]not bold[/bold]",
    "[/]",
    "[red",
    ":smile: :warning:",
    "\\[escaped]",
    "https://example.org/[x]",
]


def _printed(thing):
    out = console()
    out.file = io.StringIO()
    out.width = 200
    out.print(thing)
    return out.file.getvalue()


@pytest.mark.parametrize("text", TEXTS)
def test_texts_stay(text):
    assert _printed(text).strip() == text
    assert _printed(marked(("failed", "red"), f" {text}")).strip() == f"failed {text}"
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    assert _printed(table).count(text) == 4


def test_control_characters_are_written_out():
    assert _printed("a\x1b[31mb\x07\r") == "a\\x1b[31mb\\x07\\r\n"
    assert _printed(marked(("a\x1b", "red"))) == "a\\x1b\n"


@pytest.mark.parametrize("text", TEXTS)
def test_status_shows_errors_as_they_are(capsys, monkeypatch, text):
    monkeypatch.setenv("COLUMNS", "200")
    stage = {"stage": "hull", "title": "Hull", "entered": 1, "failed": 1}
    row = {"composition_id": "Na3PS4_W6+_1-8", "state": "failed", "reason": None, "failure": text}
    phase = {"phase_id": "Na2S", "state": "failed", "reason": text}
    answer = {"stages": [stage], "compositions": [row], "phases": [phase], "flows": []}
    status._print({**answer, "removable_bytes": 0}, [text], Path("screening.yaml"))
    shown = capsys.readouterr().out
    assert shown.count(text) == 3
    assert f"competing phase Na2S failed: {text}" in shown


def test_no_other_module_makes_a_console():
    """One that takes strings for markup would drop parts of them, or raise."""
    folder = Path(status.__file__).parents[1]
    makers = [p.name for p in folder.rglob("*.py") if "import Console" in p.read_text()]
    assert makers == ["printing.py"]
