"""What the gates of molecular dynamics decide from a run's numbers; plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import scipy.constants as const

from ionsieve.workflows.documents.raw import Verdict

_BOLTZMANN_EV_K = const.k / const.e
#: Within this of 300 K a run is at room temperature.
_ROOM_TEMPERATURE_K = 300.0


@dataclass(frozen=True)
class Measured:
    """The numbers of a run that a gate asks for.

    Attributes
    ----------
    verdict, reasons
        Of the analysis.
    temperature_k, length_ps
        Of the run; analysed.
    sigma_ne_s_cm, sigma_ne_ci95_s_cm
        Nernst-Einstein conductivity with its 95 % interval.
    relative_error
        Half the 95 % interval of D over D; None where it is unknown.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    temperature_k: float
    length_ps: float
    sigma_ne_s_cm: float
    sigma_ne_ci95_s_cm: tuple[float, float]
    relative_error: float | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Measured:
        """Return the numbers of a stored TransportDocument."""
        low, high = document["sigma_ne_ci95_s_cm"]
        return cls(
            verdict=document["verdict"],
            reasons=tuple(document["reasons"]),
            temperature_k=document["temperature_k"],
            length_ps=document["length_ps"],
            sigma_ne_s_cm=_number(document["sigma_ne_s_cm"], math.nan),
            # JSON has no infinity.
            sigma_ne_ci95_s_cm=(_number(low, 0.0), _number(high, math.inf)),
            relative_error=document["relative_error"],
        )


def _number(value: float | None, absent: float) -> float:
    return absent if value is None else value


@dataclass(frozen=True)
class GateDecision:
    """What to do with a run.

    Attributes
    ----------
    passed : bool
        The material goes on to the next stage.
    action : ``continue``, ``stop`` or ``extend``
        Go on, give up, or run longer before deciding.
    """

    passed: bool
    action: Literal["continue", "stop", "extend"]
    reasons: tuple[str, ...]


def _refused(run: Measured) -> GateDecision | None:
    if run.verdict in ("framework_unstable", "timestep_too_long"):
        reason = run.reasons[0] if run.reasons else "see the run's analysis"
        return GateDecision(False, "stop", (f"{run.verdict}: {reason}",))
    return None


@dataclass(frozen=True)
class ShortGate:
    """Whether this material could reach the wanted conductivity at 300 K.

    Attributes
    ----------
    sigma_min_s_cm : float
    lowest_activation_energy_ev : float
        Optimistic barrier for cooling from the run's temperature to 300 K.
    pass_unseen : bool
        Let a run pass in which no diffusion was seen if its bound allows ``sigma_min_s_cm``.
    """

    sigma_min_s_cm: float = 1e-4
    lowest_activation_energy_ev: float = 0.15
    pass_unseen: bool = False

    def decide(self, run: Measured) -> GateDecision:
        """Return the decision; a conductivity that could still be enough passes."""
        refused = _refused(run)
        if refused:
            return refused
        best = run.sigma_ne_ci95_s_cm[1] * self._cooling(run.temperature_k)
        text = f"at most {best:.1e} S/cm at 300 K (wanted {self.sigma_min_s_cm:.1e})"
        if best < self.sigma_min_s_cm:
            return GateDecision(False, "stop", (text,))
        if run.verdict == "upper_bound":
            seen = f"no diffusion seen in {run.length_ps:.3g} ps; {text}"
            return GateDecision(self.pass_unseen, "extend", (seen,))
        worst = run.sigma_ne_ci95_s_cm[0] * self._cooling(run.temperature_k)
        action: Literal["continue", "extend"] = (
            "continue" if worst >= self.sigma_min_s_cm else "extend"
        )
        return GateDecision(True, action, (text,))

    def _cooling(self, temperature_k: float) -> float:
        """Largest sigma(300 K) / sigma(T)."""
        if temperature_k <= _ROOM_TEMPERATURE_K:
            return 1.0
        barrier = self.lowest_activation_energy_ev / _BOLTZMANN_EV_K
        factor = math.exp(-barrier * (1 / _ROOM_TEMPERATURE_K - 1 / temperature_k))
        return temperature_k / _ROOM_TEMPERATURE_K * factor


@dataclass(frozen=True)
class LongGate:
    """Whether the conductivity at the run's temperature is high enough and known well enough.

    Attributes
    ----------
    sigma_min_s_cm : float
    relative_error : float
        Half the 95 % interval of D over D; a larger error does not pass.
    """

    sigma_min_s_cm: float = 1e-3
    relative_error: float = 0.5

    def decide(self, run: Measured) -> GateDecision:
        """Return the decision; only a settled verdict passes."""
        refused = _refused(run)
        if refused:
            return refused
        low, high = run.sigma_ne_ci95_s_cm
        text = f"{run.sigma_ne_s_cm:.1e} S/cm ({low:.1e} to {high:.1e})"
        if high < self.sigma_min_s_cm:
            return GateDecision(False, "stop", (f"{text}, wanted {self.sigma_min_s_cm:.1e}",))
        error = run.relative_error
        if run.verdict != "diffusing" or error is None or not error <= self.relative_error:
            known = "unknown" if error is None else f"{error:.0%}"
            reason = f"{run.verdict}: {text}, error {known} (limit {self.relative_error:.0%})"
            return GateDecision(False, "extend", (reason,))
        if run.sigma_ne_s_cm < self.sigma_min_s_cm:
            return GateDecision(False, "stop", (f"{text}, wanted {self.sigma_min_s_cm:.1e}",))
        return GateDecision(True, "continue", (text,))


Gate = ShortGate | LongGate


def is_settled(run: Measured, decision: GateDecision, gate: Gate) -> bool:
    """Return whether the gate's answer holds for the whole 95 % interval.

    An answer that rests on the value alone may turn when more data come: until the set length is
    reached, a run with the wanted conductivity inside its interval goes on. A pass also needs a
    diffusivity that is known, so that short and long runs can be compared.
    """
    if decision.action == "extend":
        return False
    if run.verdict in ("framework_unstable", "timestep_too_long"):
        return True
    if decision.passed and run.verdict != "diffusing":
        return False
    if isinstance(gate, ShortGate):
        return True  # it asks the ends of the interval only
    low, high = run.sigma_ne_ci95_s_cm
    return low >= gate.sigma_min_s_cm if decision.passed else high < gate.sigma_min_s_cm
