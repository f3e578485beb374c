"""The one rule of how a number is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ionsieve.workflows.funnel.conclusion import barrier_verdict, conductivity_verdict
from ionsieve.workflows.results.collections import collection_model
from ionsieve.workflows.results.language import fields_of
from ionsieve.workflows.results.presentation import companions, format_value, is_measured, shown

CONDUCTOR = collection_model("conductors")


def row(value, low=None, high=None, verdict="diffusing"):
    return {
        "sigma_long_s_cm": value,
        "sigma_long_s_cm_lo": low,
        "sigma_long_s_cm_hi": high,
        "verdict_long": verdict,
    }


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (row(None, verdict=None), "-"),
        (row(2e-3, 1e-3, 3e-3), "2.0e-03 (1.0e-03 to 3.0e-03)"),
        (row(2e-3, 0.0, None), "2.0e-03 (0.0e+00 to ∞)"),
        (row(2e-3), "2.0e-03 (interval unknown)"),
        (row(1.1e-4, 0.0, 9.9e-3, "upper_bound"), "< 9.9e-03"),
        (row(None, None, 9.9e-3, "upper_bound"), "< 9.9e-03"),
        (row(1.1e-4, 0.0, None, "upper_bound"), "< ∞"),
        (row(0.2, 0.1, 0.4, "framework_unstable"),
         "[2.0e-01 (1.0e-01 to 4.0e-01): framework_unstable]"),
        (row(2e-3, 1e-3, 3e-3, "not_converged"), "[2.0e-03 (1.0e-03 to 3.0e-03): not_converged]"),
        (row(2e-3, 1e-3, 3e-3, None), "[2.0e-03 (1.0e-03 to 3.0e-03): no verdict]"),
    ],
)  # fmt: skip
def test_a_conductivity_stands_with_interval_bound_or_verdict(document, text):
    assert shown(document, CONDUCTOR, "sigma_long_s_cm") == text


@pytest.mark.parametrize(
    ("value", "is_bound", "text"),
    [
        (0.026, False, "0.0260"),
        (0.026, True, "≥ 0.0260"),
        (-1e-6, False, "0.0000"),
        (None, True, "-"),
    ],
)
def test_a_hull_with_missing_phases_is_a_lower_bound(value, is_bound, text):
    document = {"e_hull_ev_atom": value, "e_hull_is_lower_bound": is_bound}
    assert shown(document, CONDUCTOR, "e_hull_ev_atom") == text


def test_the_haven_ratio_of_a_melt_stands_with_its_verdict():
    document = {"haven_ratio": 0.6, "verdict_long": "framework_unstable"}
    assert shown(document, CONDUCTOR, "haven_ratio") == "[0.60: framework_unstable]"
    assert shown({**document, "verdict_long": "diffusing"}, CONDUCTOR, "haven_ratio") == "0.60"


@pytest.mark.parametrize(
    ("value", "low", "high", "is_bound", "is_extrapolated", "verdict"),
    [
        (None, None, None, False, False, None),
        (5e-3, 4e-3, 6e-3, False, False, "measured"),
        (5e-3, 1e-3, 2e-2, False, True, "extrapolated"),
        (5.0e-3, 2.4e-7, 106.0, False, True, "undetermined"),
        (5e-3, 0.0, 6e-3, False, False, "undetermined"),
        (5e-3, None, None, False, True, "undetermined"),
        (5e-3, 0.0, 6e-3, True, False, "upper_bound"),
    ],
)
def test_a_conductivity_at_300_k_is_worth_what_its_interval_says(
    value, low, high, is_bound, is_extrapolated, verdict
):
    flags = {"sigma_300k_is_upper_bound": is_bound, "sigma_300k_is_extrapolated": is_extrapolated}
    assert conductivity_verdict(value, low, high, flags) == verdict
    document = {
        "sigma_300k_s_cm": value,
        "sigma_300k_s_cm_lo": low,
        "sigma_300k_s_cm_hi": high,
        "verdict_300k": verdict,
    }
    sound = verdict in ("measured", "extrapolated")
    assert is_measured(document, CONDUCTOR, "sigma_300k_s_cm") == sound


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.17, 0.25, "measured"), (-0.19, 0.61, "undetermined"), (None, None, "undetermined")],
)
def test_a_barrier_whose_interval_holds_zero_is_undetermined(low, high, verdict):
    assert barrier_verdict(0.207, low, high) == verdict


names = st.sampled_from(sorted(fields_of(CONDUCTOR)))


@given(st.lists(names, min_size=1, max_size=6))
def test_companions_are_all_that_a_field_must_not_stand_without(chosen):
    found = companions(CONDUCTOR, chosen)
    assert set(chosen) <= set(found)
    assert len(found) == len(set(found))
    for name in chosen:
        extra = CONDUCTOR.model_fields[name].json_schema_extra or {}
        wanted = {extra.get("bound"), *extra.get("measured_if", {})} - {None}
        if extra.get("interval"):
            wanted |= {f"{name}_lo", f"{name}_hi"}
        assert wanted <= set(found)
    # Nothing but companions is added.
    assert companions(CONDUCTOR, found) == found


def test_every_quantity_of_a_run_or_a_fit_has_interval_and_verdict():
    for name in fields_of(CONDUCTOR):
        is_end = name.endswith(("_lo", "_hi"))
        quantity = name.startswith(("sigma_", "diffusivity_", "activation_")) and not is_end
        if quantity and fields_of(CONDUCTOR)[name] == "number":
            extra = CONDUCTOR.model_fields[name].json_schema_extra
            assert extra["interval"], name
            assert extra["measured_if"], name


@given(st.floats(-1e-3, 1e-3))
def test_nothing_is_shown_as_minus_zero(value):
    text = format_value(value, ".2f")
    assert text == "0.00"
