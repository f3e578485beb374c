"""What ``ionsieve run`` says of failures in the end."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ionsieve.workflows.cli.run import _print_failures
from ionsieve.workflows.documents.flows import FlowStatus


def failed(label, retriable):
    return FlowStatus(
        key=label,
        label=label,
        stage="phase",
        state="failed",
        n_jobs=3,
        n_done=0,
        error="VASP crashed with SIGSEGV; see vasp.out there",
        failed_folder=f"/work/phase/{label}/01_relax",
        retriable=retriable,
    )


@pytest.mark.parametrize("retriable", [False, True])
def test_failures_name_stage_cause_folder_and_what_waits(capsys, monkeypatch, retriable):
    monkeypatch.setenv("COLUMNS", "60")
    done = FlowStatus("x", "x", "relax", "completed", 3, 3)
    names = [f"composition {n}" for n in range(7)]
    result = SimpleNamespace(
        statuses=[done, failed("Na", retriable), failed("Na2S", False)],
        blocked=dict.fromkeys(names, "no energy of the element Na (failed: Na)"),
    )
    _print_failures(Path("screening.yaml"), result)
    first, second, blocked, *advice = capsys.readouterr().out.splitlines()
    assert first == (
        "failed competing phases Na: VASP crashed with SIGSEGV; see vasp.out there "
        "(/work/phase/Na/01_relax)"
    )
    assert second.startswith("failed competing phases Na2S: ")
    assert blocked == (
        f"blocked {', '.join(names[:5])} and 2 more: no energy of the element Na (failed: Na)"
    )
    expected = "1 of these may succeed another time: ionsieve run screening.yaml --retry-failed"
    assert advice == ([expected] if retriable else [])
