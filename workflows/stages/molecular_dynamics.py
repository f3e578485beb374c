"""Molecular dynamics in restartable segments, its analysis, and the gates on it."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Literal

from jobflow import CURRENT_JOB, Flow, Job, Response, job
from pymatgen.core import Structure

from ionsieve.md_analysis import Trajectory, analyze, read_xdatcar
from ionsieve.md_analysis.diagnosis import LongGate, ShortGate
from ionsieve.workflows.config import LongMD, MolecularDynamics, ShortMD
from ionsieve.workflows.documents import SegmentDocument, TransportDocument
from ionsieve.workflows.stages.context import Candidate, neutral

Stage = Literal["short_md", "long_md", "arrhenius"]


@job(output_schema=SegmentDocument, data="trajectory")
def store_segment(
    candidate: Candidate,
    stage: Stage,
    index: int,
    temperature_k: float,
    settings: MolecularDynamics,
    dir_name: str,
    md_uuid: str,
) -> SegmentDocument:
    """Read one finished segment's positions into a blob of the additional store.

    Parameters
    ----------
    dir_name
        Folder of the calculation, as atomate2 gives it (``host:path`` or a path).

    Returns
    -------
    SegmentDocument
        With the trajectory as base64 text of :meth:`Trajectory.to_bytes`.
    """
    folder = Path(dir_name.split(":", 1)[-1])
    frame_fs = settings.timestep_fs * settings.frame_interval
    trajectory = read_xdatcar(
        _existing(folder, "XDATCAR"), timestep_fs=frame_fs, md_timestep_fs=settings.timestep_fs
    )
    return SegmentDocument(
        composition_id=candidate.composition.composition_id,
        stage=stage,
        index=index,
        temperature_k=temperature_k,
        timestep_fs=settings.timestep_fs,
        n_frames=trajectory.n_frames,
        dir_name=str(folder),
        md_uuid=md_uuid,
        trajectory=base64.b64encode(trajectory.to_bytes()).decode(),
    )


def _existing(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


@job(output_schema=TransportDocument)
def diagnose(
    candidate: Candidate,
    stage: Stage,
    temperature_k: float,
    settings: MolecularDynamics,
    trajectories: list[str],
    segment_uuids: list[str],
    structure: Structure,
) -> Response:
    """Analyse one whole run, decide on it, and add what comes next.

    Parameters
    ----------
    trajectories
        The segments' blobs, in order.
    structure
        The relaxed structure the run started from.
    """
    # The next stage imports this module.
    from ionsieve.workflows.stages.funnel import after_long, after_short

    document = transport_document(
        candidate, stage, temperature_k, settings, trajectories, segment_uuids
    )
    if stage == "arrhenius" or not document.passed:
        return Response(output=document)
    if stage == "short_md":
        return Response(output=document, addition=after_short(candidate, structure))
    return Response(output=document, addition=after_long(candidate, structure, document))


def transport_document(
    candidate: Candidate,
    stage: Stage,
    temperature_k: float,
    settings: MolecularDynamics,
    trajectories: list[str],
    segment_uuids: list[str],
) -> TransportDocument:
    """Analyse joined segments after equilibration and apply the stage's gate."""
    segments = [Trajectory.from_bytes(base64.b64decode(text)) for text in trajectories]
    trajectory = Trajectory.join(segments)
    trajectory = trajectory.skip(round(settings.equilibration_ps * 1e3 / trajectory.timestep_fs))
    ion = candidate.mobile_species
    result = analyze(
        trajectory,
        species=ion.element.symbol,
        temperature_k=temperature_k,
        charge=round(ion.oxi_state or 0),
    )
    gate = (
        LongGate(sigma_min_s_cm=settings.min_sigma_s_cm, relative_error=settings.max_relative_error)
        if isinstance(settings, LongMD)
        else ShortGate(sigma_min_s_cm=settings.min_sigma_s_cm)
    )
    decision = gate.decide(result)
    return TransportDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition.formula,
        stage=stage,
        temperature_k=temperature_k,
        timestep_fs=settings.timestep_fs,
        length_ps=trajectory.n_frames * trajectory.timestep_fs / 1e3,
        verdict=result.verdict,
        reasons=list(result.reasons),
        diffusivity_cm2_s=result.diffusivity_cm2_s,
        diffusivity_ci95_cm2_s=result.diffusivity_ci95_cm2_s,
        sigma_ne_s_cm=result.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=result.sigma_ne_ci95_s_cm,
        sigma_collective_s_cm=result.sigma_collective_s_cm,
        haven_ratio=result.haven_ratio,
        analysis=result.to_dict(),
        passed=decision.passed,
        gate_reasons=list(decision.reasons),
        segment_uuids=segment_uuids,
        provenance=candidate.provenance([CURRENT_JOB.job.uuid, *segment_uuids]),
    )


def molecular_dynamics_flow(
    candidate: Candidate,
    structure: Structure,
    stage: Stage,
    settings: MolecularDynamics,
    temperature_k: float | None = None,
) -> Flow:
    """Return the chained segments of one run, each stored, and the diagnosis at the end."""
    temperature_k = settings.temperature_k if temperature_k is None else temperature_k
    backend = candidate.backend
    n_segments = math.ceil(settings.length_ps / settings.segment_ps - 1e-9)
    interval = settings.frame_interval
    n_frames = round(settings.length_ps * 1e3 / settings.timestep_fs / interval / n_segments)
    jobs: list[Job] = []
    segments: list[Job] = []
    previous: Job | None = None
    for index in range(1, n_segments + 1):
        previous = backend.md(
            neutral(structure),
            temperature_k=temperature_k,
            timestep_fs=settings.timestep_fs,
            n_steps=n_frames * interval,
            continue_from=previous.output if previous else None,
            seed=settings.seed,
            frame_interval=interval,
            name=f"{temperature_k:g} K segment {index}",
        )
        segment = store_segment(
            candidate,
            stage,
            index,
            temperature_k,
            settings,
            previous.output.dir_name,
            previous.uuid,
        )
        jobs += [
            candidate.tag(previous, stage),
            candidate.tag(segment, stage, SegmentDocument),
        ]
        segments.append(segment)
    diagnosis = diagnose(
        candidate,
        stage,
        temperature_k,
        settings,
        [segment.output.trajectory for segment in segments],
        [segment.uuid for segment in segments],
        structure,
    )
    return Flow([*jobs, candidate.tag(diagnosis, stage, TransportDocument)], name=stage)


def short_md_flow(candidate: Candidate, structure: Structure) -> Flow:
    """Return the short diagnosis."""
    settings: ShortMD = candidate.screening.short_md
    return molecular_dynamics_flow(candidate, structure, "short_md", settings)


def long_md_flow(candidate: Candidate, structure: Structure) -> Flow:
    """Return the long diagnosis."""
    settings: LongMD = candidate.screening.long_md
    return molecular_dynamics_flow(candidate, structure, "long_md", settings)
