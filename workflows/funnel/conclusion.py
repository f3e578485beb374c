"""The last word on a conductor: its conductivity at 300 K where the runs allow one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from jobflow import CURRENT_JOB, Flow, JobConfig, job
from pydantic import BaseModel

from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import ConductorDocument, TransportDocument
from ionsieve.workflows.funnel.candidate import Subject
from ionsieve.workflows.funnel.dynamics import with_interval
from ionsieve.workflows.funnel.hull import stored_output
from ionsieve.workflows.funnel.stage import Case, Outcome, Stage
from ionsieve.workflows.settings.identity import settings_hash

if TYPE_CHECKING:
    from ionsieve.md_analysis.arrhenius import ArrheniusPoint

#: Within this of 300 K a run is a measurement at room temperature, not an extrapolation.
_ROOM_TEMPERATURE_K = 300.0
_TOLERANCE_K = 5.0
#: An interval whose ends differ by more says neither conductor nor insulator.
_WIDEST = 100.0

Verdict300K = Literal["measured", "extrapolated", "upper_bound", "undetermined"]


@job(output_schema=ConductorDocument, config=JobConfig(expose_store=True))
def conclude(
    subject: Subject, key: str, long_uuid: str, other_uuids: list[str]
) -> ConductorDocument:
    """Return the conductor with its conductivity at 300 K where the runs allow one.

    Parameters
    ----------
    long_uuid, other_uuids
        Jobs that analysed the long run, and those at further temperatures.
    """
    uuids = [long_uuid, *other_uuids]
    runs = [TransportDocument(**stored_output(CURRENT_JOB.store, uuid)) for uuid in uuids]
    return concluded(subject, key, runs, uuids)


def concluded(
    subject: Subject, key: str, runs: list[TransportDocument], uuids: list[str]
) -> ConductorDocument:
    """Return the conductor of some runs, the long one first."""
    # For start-up time: the analysis takes a second to import.
    from ionsieve.md_analysis.arrhenius import fit_arrhenius
    from ionsieve.md_analysis.stored import to_plain

    long_run = runs[0]
    usable = [run for run in runs if run.verdict in ("diffusing", "upper_bound")]
    at_room = [r for r in usable if abs(r.temperature_k - _ROOM_TEMPERATURE_K) <= _TOLERANCE_K]
    room = next((run for run in at_room if run.verdict == "diffusing"), None)
    extra: dict[str, Any] = {}
    if room is not None:
        extra = _at_300_k(room)
    elif at_room:
        # All that is known if nothing is fitted.
        extra = {**_at_300_k(at_room[0]), "sigma_300k_is_upper_bound": True}
    if len({run.temperature_k for run in usable if run.verdict == "diffusing"}) >= 2:
        fit = fit_arrhenius([_point(run) for run in usable])
        extra["arrhenius"] = to_plain(fit)
        extra["activation_energy_ev"] = fit.activation_energy_ev
        extra["activation_energy_ci95_ev"] = fit.activation_energy_ci95_ev
        if room is None:
            extra["sigma_300k_s_cm"] = fit.sigma_300k_s_cm
            extra["sigma_300k_ci95_s_cm"] = fit.sigma_300k_ci95_s_cm
            extra["sigma_300k_is_extrapolated"] = fit.is_extrapolated
            extra["sigma_300k_is_upper_bound"] = False
    return ConductorDocument(
        composition_id=subject.composition_id,
        mother_id=subject.mother_id,
        composition=subject.formula,
        temperature_k=long_run.temperature_k,
        sigma_ne_s_cm=long_run.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=long_run.sigma_ne_ci95_s_cm,
        provenance=subject.provenance(uuids, key),
        **extra,
    )


def _at_300_k(run: TransportDocument) -> dict[str, Any]:
    return {
        "sigma_300k_s_cm": run.sigma_ne_s_cm,
        "sigma_300k_ci95_s_cm": run.sigma_ne_ci95_s_cm,
    }


def _point(run: TransportDocument) -> ArrheniusPoint:
    from ionsieve.md_analysis.arrhenius import ArrheniusPoint

    return ArrheniusPoint(
        temperature_k=run.temperature_k,
        diffusivity_cm2_s=run.diffusivity_cm2_s,
        diffusivity_ci95_cm2_s=run.diffusivity_ci95_cm2_s,
        is_upper_bound=run.verdict == "upper_bound",
        sigma_ne_ci95_s_cm=run.sigma_ne_ci95_s_cm,
    )


def conductivity_verdict(
    value: float | None, low: float | None, high: float | None, flags: Mapping[str, Any]
) -> Verdict300K | None:
    """Return what a conductivity at 300 K is worth; None without one.

    Parameters
    ----------
    value, low, high
        With its 95 % interval; None: not finite.
    flags
        ``sigma_300k_is_upper_bound`` and ``sigma_300k_is_extrapolated``.
    """
    if value is None:
        return None
    if flags["sigma_300k_is_upper_bound"]:
        return "upper_bound"
    if low is None or high is None or not 0 < high <= _WIDEST * low:
        return "undetermined"
    return "extrapolated" if flags["sigma_300k_is_extrapolated"] else "measured"


def barrier_verdict(value: float | None, low: float | None, high: float | None) -> str | None:
    """Return whether an activation energy is told from none; None without one."""
    if value is None:
        return None
    return "measured" if low is not None and high is not None and low > 0 else "undetermined"


def _triple(quantity: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    value, low, high = quantity.values()
    return value, low, high


def _quantity(title: str, unit: str, form: str, verdict: str = "") -> Any:
    if not verdict:
        return column(None, title, unit, form)
    return column(
        None, title, unit, form, interval=True, measured_if={verdict: ["measured", "extrapolated"]}
    )


class ConclusionColumns(BaseModel):
    """What people see of the conclusion."""

    verdict_300k: Verdict300K | None = column(
        None, "at 300 K", about="undetermined: the 95 % interval spans more than a factor of 100"
    )
    sigma_300k_s_cm: float | None = _quantity("σ 300 K", "S/cm", ".1e", "verdict_300k")
    sigma_300k_s_cm_lo: float | None = _quantity("σ 300 K, 95 % low", "S/cm", ".1e")
    sigma_300k_s_cm_hi: float | None = _quantity("σ 300 K, 95 % high", "S/cm", ".1e")
    sigma_300k_is_extrapolated: bool | None = column(None, "extrapolated")
    verdict_activation_energy: Literal["measured", "undetermined"] | None = column(
        None, "Ea is", about="undetermined: the 95 % interval holds 0"
    )
    activation_energy_ev: float | None = _quantity(
        "activation energy", "eV", ".3f", "verdict_activation_energy"
    )
    activation_energy_ev_lo: float | None = _quantity("Ea, 95 % low", "eV", ".3f")
    activation_energy_ev_hi: float | None = _quantity("Ea, 95 % high", "eV", ".3f")


class ConcludeStage(Stage):
    """Conductors concluded from their runs at all temperatures."""

    name = "conductor"
    title = "Concluded"
    stem = "conductor"
    document = ConductorDocument
    scalars = (
        *("sigma_300k_s_cm", "sigma_300k_ci95_s_cm"),
        *("sigma_300k_is_extrapolated", "sigma_300k_is_upper_bound"),
        *("activation_energy_ev", "activation_energy_ci95_ev"),
    )
    columns = ConclusionColumns
    priority = 40

    def key(self, case: Case) -> str:
        """Return the hash of the runs it rests on."""
        long_run, others = self._runs(case)
        return settings_hash(self.name, long_run.key, sorted(run.key for run in others))

    def flow(self, case: Case, key: str) -> Flow:
        """Return the conclusion as one job."""
        long_run, others = self._runs(case)
        uuids = [run.uuid for run in others]
        conclusion = conclude(case.candidate.subject, key, long_run.uuid, uuids)
        return Flow([self.tags(case, key).record(conclusion, ConductorDocument)], name=self.name)

    @staticmethod
    def _runs(case: Case) -> tuple[Any, list[Any]]:
        further = case.outcomes.get("arrhenius")
        return case.result("long_md"), list(further.sources.values()) if further else []

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return conductivity at 300 K and activation energy, with intervals and verdicts."""
        entry: Mapping[str, Any] = outcome.result.output
        sigma = with_interval(
            "sigma_300k_s_cm", entry["sigma_300k_s_cm"], entry["sigma_300k_ci95_s_cm"]
        )
        barrier = with_interval(
            "activation_energy_ev",
            entry["activation_energy_ev"],
            entry["activation_energy_ci95_ev"],
        )
        return {
            "sigma_300k_is_extrapolated": entry["sigma_300k_is_extrapolated"],
            "verdict_300k": conductivity_verdict(*_triple(sigma), entry),
            "verdict_activation_energy": barrier_verdict(*_triple(barrier)),
            **sigma,
            **barrier,
        }
