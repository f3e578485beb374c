"""Runs that end early, at the set length, or are extended: the rules."""

from dataclasses import replace
from typing import get_args

import pytest
from pydantic import ValidationError

from ionsieve.md_analysis import verdict as verdicts
from ionsieve.workflows.documents import raw
from ionsieve.workflows.funnel.gates import LongGate, Measured, ShortGate, is_settled
from ionsieve.workflows.funnel.schedule import Schedule, end_reason
from ionsieve.workflows.settings.schema import LongMD, ShortMD


def looks(schedule):
    """Return after how many segments the gate looks at a run that is never decided."""
    found = [schedule.next_look(0)]
    while found[-1] < schedule.n_longest:
        found.append(schedule.next_look(found[-1]))
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 5 ps equilibration + 25 ps, in segments of 25 ps; twice the 100 ps at most.
        (ShortMD(), [2, 3, 4, 5, 6, 7, 8]),
        (LongMD(), [6, 11, 16, 21, 25, 30, 35, 40, 45, 50]),
        (LongMD(max_length_ps=250), [6, 11, 16, 21, 25]),
        (LongMD(max_length_ps=300, stop_early=False), [25, 30]),
        # Shorter than the first look would be.
        (LongMD(length_ps=40, segment_ps=20), [2, 4]),
        (ShortMD(length_ps=100, segment_ps=30, max_length_ps=130), [2, 3, 4, 5]),
    ],
)
def test_looks_fall_on_whole_segments_and_on_the_set_length(settings, expected):
    assert looks(Schedule.of(settings, settings.stop_early)) == expected


def test_segments_add_up_to_the_set_length():
    schedule = Schedule.of(ShortMD(length_ps=100, segment_ps=30))
    assert (schedule.n_set, schedule.n_frames) == (4, 2500)


def test_longest_run_is_not_below_the_set_length():
    with pytest.raises(ValidationError, match="max_length_ps 50 is below length_ps 100"):
        ShortMD(max_length_ps=50)


RUN = Measured(
    verdict="diffusing",
    reasons=("a reason",),
    temperature_k=300.0,
    length_ps=20.0,
    sigma_ne_s_cm=2e-3,
    sigma_ne_ci95_s_cm=(1e-3, 3e-3),
    relative_error=0.5,
)
LONG, SHORT = LongGate(1e-3), ShortGate(1e-3)


@pytest.mark.parametrize(
    ("gate", "verdict", "sigma", "settled"),
    [
        (LONG, "diffusing", (1.2e-3, 2e-3, 2.8e-3), True),  # surely above
        (LONG, "diffusing", (0.8e-3, 1.2e-3, 1.6e-3), False),  # passes by its value only
        (LONG, "diffusing", (0.6e-3, 0.9e-3, 1.2e-3), False),  # fails by its value only
        (LONG, "diffusing", (0.2e-3, 0.3e-3, 0.4e-3), True),  # surely below
        (LONG, "upper_bound", (0.0, 0.1e-3, 0.2e-3), True),
        (LONG, "upper_bound", (0.0, 0.1e-3, 3e-3), False),
        (LONG, "not_converged", (2e-3, 4e-3, 9e-3), False),
        (LONG, "framework_unstable", (2e-3, 4e-3, 9e-3), True),
        (LONG, "timestep_too_long", (0.5e-3, 1e-3, 2e-3), True),
        (SHORT, "diffusing", (1.2e-3, 2e-3, 2.8e-3), True),
        (SHORT, "diffusing", (0.5e-3, 2e-3, 2.8e-3), False),
        (SHORT, "not_converged", (1.2e-3, 2e-3, 2.8e-3), False),  # enough, but D is unknown
        (SHORT, "not_converged", (0.0, 0.2e-3, 0.9e-3), True),
        (SHORT, "upper_bound", (0.0, 0.0, 2e-3), False),
    ],
)
def test_only_whole_intervals_settle_an_answer(gate, verdict, sigma, settled):
    low, value, high = sigma
    run = replace(
        RUN,
        verdict=verdict,
        sigma_ne_s_cm=value,
        sigma_ne_ci95_s_cm=(low, high),
        relative_error=(high - low) / 2 / value if value else None,
    )
    assert is_settled(run, gate.decide(run), gate) is settled


def test_reasons_to_end():
    schedule = Schedule.of(LongMD())
    extend = LONG.decide(replace(RUN, verdict="not_converged"))
    stop = LONG.decide(replace(RUN, verdict="framework_unstable"))
    assert (extend.action, stop.action) == ("extend", "stop")
    assert end_reason(schedule, 6, stop, True) == "decided"
    assert end_reason(schedule, 6, stop, False) is None
    assert end_reason(schedule, 25, stop, False) == "length"
    assert end_reason(schedule, 25, extend, False) is None
    assert end_reason(schedule, 30, stop, False) == "decided"
    assert end_reason(schedule, 50, extend, False) == "max_length"


def test_verdicts_are_those_of_the_analysis():
    """Written twice: importing the analysis takes a second that no command should need."""
    assert get_args(raw.Verdict) == get_args(verdicts.Verdict)


def test_infinity_and_nothing_survive_json():
    stored = {
        "verdict": "upper_bound",
        "reasons": [],
        "temperature_k": 800.0,
        "length_ps": 9.0,
        "sigma_ne_s_cm": None,
        "sigma_ne_ci95_s_cm": [0.0, None],
        "relative_error": None,
    }
    run = Measured.of(stored)
    assert run.sigma_ne_ci95_s_cm == (0.0, float("inf"))
    assert SHORT.decide(run).action == "extend"
