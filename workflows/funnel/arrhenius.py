"""Further temperatures for a conductor, the Arrhenius fit, and the last word on it."""

from __future__ import annotations

from jobflow import Flow, JobConfig, OnMissing, job
from pymatgen.core import Structure

from ionsieve.md_analysis.arrhenius import ArrheniusPoint, fit_arrhenius
from ionsieve.md_analysis.stored import to_plain
from ionsieve.workflows.documents.raw import ConductorDocument, Look, TransportDocument
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.dynamics import molecular_dynamics_flow

#: Within this of 300 K a run is a measurement at room temperature, not an extrapolation.
_ROOM_TEMPERATURE_K = 300.0
_TOLERANCE_K = 5.0


@job(
    output_schema=ConductorDocument,
    config=JobConfig(on_missing_references=OnMissing.NONE),
)
def conclude(
    candidate: Candidate,
    long_run: TransportDocument,
    others: list[TransportDocument | Look | None],
) -> ConductorDocument:
    """Return the conductor with its conductivity at 300 K where the runs allow one.

    Parameters
    ----------
    others
        Runs at further temperatures; None, or the last look at it, where one failed.
    """
    runs = [long_run, *(run for run in others if isinstance(run, TransportDocument))]
    room = next(
        (r for r in runs if abs(r.temperature_k - _ROOM_TEMPERATURE_K) <= _TOLERANCE_K), None
    )
    extra: dict[str, object] = {}
    if room is not None:
        extra = {
            "sigma_300k_s_cm": room.sigma_ne_s_cm,
            "sigma_300k_ci95_s_cm": room.sigma_ne_ci95_s_cm,
        }
    usable = [run for run in runs if run.verdict in ("diffusing", "upper_bound")]
    if len({run.temperature_k for run in usable if run.verdict == "diffusing"}) >= 2:
        fit = fit_arrhenius([_point(run) for run in usable])
        extra["arrhenius"] = to_plain(fit)
        extra["activation_energy_ev"] = fit.activation_energy_ev
        extra["activation_energy_ci95_ev"] = fit.activation_energy_ci95_ev
        if room is None:
            extra["sigma_300k_s_cm"] = fit.sigma_300k_s_cm
            extra["sigma_300k_ci95_s_cm"] = fit.sigma_300k_ci95_s_cm
            extra["sigma_300k_is_extrapolated"] = fit.is_extrapolated
    return ConductorDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition.formula,
        temperature_k=long_run.temperature_k,
        sigma_ne_s_cm=long_run.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=long_run.sigma_ne_ci95_s_cm,
        provenance=candidate.provenance(
            [uuid for run in runs for uuid in run.provenance.input_uuids[:1]]
        ),
        **extra,
    )


def _point(run: TransportDocument) -> ArrheniusPoint:
    return ArrheniusPoint(
        temperature_k=run.temperature_k,
        diffusivity_cm2_s=run.diffusivity_cm2_s,
        diffusivity_ci95_cm2_s=run.diffusivity_ci95_cm2_s,
        is_upper_bound=run.verdict == "upper_bound",
        sigma_ne_ci95_s_cm=run.sigma_ne_ci95_s_cm,
    )


def conclusion_flow(
    candidate: Candidate, structure: Structure, long_run: TransportDocument
) -> Flow:
    """Return the runs at further temperatures, if any are wanted, and the conclusion."""
    screening = candidate.screening
    runs = [
        molecular_dynamics_flow(candidate, structure, "arrhenius", temperature)
        for temperature in screening.arrhenius.temperatures_k
    ]
    conclusion = conclude(candidate, long_run, [run.jobs[-1].output for run in runs])
    return Flow(
        [*runs, candidate.tag(conclusion, "conductor", ConductorDocument)], name="conclusion"
    )
