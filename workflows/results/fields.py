"""Fields of built documents, computed from raw outputs: plain functions of dictionaries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ionsieve.workflows.documents.collections import ReachedStage, State

Outputs = Mapping[str, Mapping[str, Any]]

#: Gate -> states when it was passed and when not.
_GATES: dict[ReachedStage, tuple[State, State]] = {
    "hull": ("hull_passed", "hull_failed"),
    "short_md": ("short_passed", "short_failed"),
    "long_md": ("long_passed", "long_failed"),
}
_FINAL: tuple[State, ...] = ("hull_failed", "short_failed", "long_failed", "conductor")


@dataclass(frozen=True)
class Standing:
    """How far one composition has come."""

    state: State
    stage_reached: ReachedStage
    passed: bool
    reasons: list[str]


def standing(outputs: Outputs, failure: str = "") -> Standing:
    """Return how far a composition has come.

    Parameters
    ----------
    outputs
        Stage -> its raw output, for the stages that have one.
    failure
        Why its calculations failed; decides unless a gate or the conclusion was reached already.
    """
    state: State = "waiting"
    reached: ReachedStage = "plan"
    reasons: list[str] = []
    if "rank" in outputs:
        state, reached = "ranked", "rank"
    if "relax" in outputs:
        state, reached = "relaxed", "relax"
    for stage, (passed_state, failed_state) in _GATES.items():
        if stage in outputs:
            output = outputs[stage]
            state, reached = (passed_state if output["passed"] else failed_state), stage
            reasons = list(output["reasons" if stage == "hull" else "gate_reasons"])
            if not output["passed"]:
                # A hull energy computed again ends what had got further.
                break
    passed = all(stage in outputs and bool(outputs[stage]["passed"]) for stage in _GATES)
    if "conductor" in outputs and state not in _FINAL:
        state, reached = "conductor", "conductor"
    if failure and state not in _FINAL:
        state, reasons = "failed", [failure]
    return Standing(state, reached, passed, reasons)


def composition_fields(composition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a composition is, flat."""
    substitutions = composition["substitutions"]
    per_host: dict[str, Fraction] = {}
    for entry in substitutions:
        per_host[entry["host"]] = per_host.get(entry["host"], Fraction(0)) + Fraction(
            entry["level"]
        )
    same = (
        "composition_id",
        "mother_id",
        "formula",
        "host_formula",
        "n_ions",
        "n_mobile_removed",
        "n_mobile_added",
        "log10_n_arrangements",
    )
    return {
        **{name: composition[name] for name in same},
        "hosts": list(per_host),
        "dopants": [entry["dopant"] for entry in substitutions],
        "levels": [entry["level"] for entry in substitutions],
        "doping_level": float(max(per_host.values(), default=Fraction(0))),
    }


def transport_fields(output: Mapping[str, Any] | None, suffix: str) -> dict[str, Any]:
    """Return the scalars of a short or long run; ``suffix`` is ``short`` or ``long``."""
    if output is None:
        return {}
    fields = {
        f"passed_{suffix}": output["passed"],
        f"verdict_{suffix}": output["verdict"],
        f"temperature_{suffix}_k": output["temperature_k"],
        f"length_{suffix}_ps": output["length_ps"],
        f"end_reason_{suffix}": output["end_reason"],
        "haven_ratio" if suffix == "long" else "haven_ratio_short": finite(output["haven_ratio"]),
    }
    fields |= with_interval(
        f"diffusivity_{suffix}_cm2_s",
        output["diffusivity_cm2_s"],
        output["diffusivity_ci95_cm2_s"],
    )
    fields |= with_interval(
        f"sigma_{suffix}_s_cm", output["sigma_ne_s_cm"], output["sigma_ne_ci95_s_cm"]
    )
    return fields


def conductor_fields(outputs: Outputs) -> dict[str, Any]:
    """Return the scalars of one composition from all stages it has been through."""
    hull, relaxed, ranking = outputs["hull"], outputs.get("relax", {}), outputs.get("rank", {})
    last = outputs.get("conductor", {})
    fields = {
        "certified": ranking.get("certified"),
        "energy_ev_atom": relaxed.get("energy_ev_atom"),
        "volume_change": relaxed.get("volume_change"),
        "e_hull_ev_atom": hull["e_hull_ev_atom"],
        "e_hull_is_lower_bound": hull["is_lower_bound"],
        "formation_energy_ev_atom": hull["formation_energy_ev_atom"],
        "passed_hull": hull["passed"],
        "n_phases": hull["n_phases"],
        "missing_phases": hull["missing_phases"],
        "decomposition": hull["decomposition"],
        "sigma_300k_is_extrapolated": last.get("sigma_300k_is_extrapolated"),
    }
    for suffix in ("short", "long"):
        fields |= transport_fields(outputs.get(f"{suffix}_md"), suffix)
    for name, interval in (
        ("sigma_300k_s_cm", "sigma_300k_ci95_s_cm"),
        ("activation_energy_ev", "activation_energy_ci95_ev"),
    ):
        fields |= with_interval(name, last.get(name), last.get(interval))
    return fields


def with_interval(name: str, value: Any, interval: Any) -> dict[str, Any]:
    """Return a value and the ends of its interval as three fields."""
    low, high = interval or (None, None)
    return {name: finite(value), f"{name}_lo": finite(low), f"{name}_hi": finite(high)}


def finite(value: float | None) -> float | None:
    """Return None for what JSON and database comparisons can't express: NaN and infinities."""
    return None if value is None or not math.isfinite(value) else value
