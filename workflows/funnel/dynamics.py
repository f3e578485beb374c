"""Molecular dynamics in restartable segments; the gate looks at a run, and ends or extends it."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jobflow import CURRENT_JOB, Flow, Job, JobConfig, JobStore, OutputReference, Response, job
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar

from ionsieve.md_analysis import Trajectory, TransportResult, analyze
from ionsieve.md_analysis.diagnosis import GateDecision, LongGate, ShortGate
from ionsieve.md_analysis.energy import read_energy_drift
from ionsieve.md_analysis.stored import to_plain
from ionsieve.md_analysis.van_hove import radial_distribution, van_hove
from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.backends.vasp.continuation import is_continued, read_segment
from ionsieve.workflows.documents.raw import EndReason, Look, SegmentDocument, TransportDocument
from ionsieve.workflows.funnel.candidate import Candidate, neutral
from ionsieve.workflows.funnel.run_length import Gate, Schedule, end_reason, is_settled
from ionsieve.workflows.settings.schema import LongMD, MolecularDynamics, ShortMD

Stage = Literal["short_md", "long_md", "arrhenius"]


class Run(BaseModel):
    """One molecular dynamics run of a candidate; an argument of its jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate: Candidate
    stage: Stage
    temperature_k: float
    fastest_phonon_thz: float | None = None

    @property
    def settings(self) -> ShortMD | LongMD:
        """The section of the config it follows."""
        screening = self.candidate.screening
        return screening.short_md if self.stage == "short_md" else screening.long_md

    @property
    def gate(self) -> Gate:
        """What decides on the run; at further temperatures only the error of D counts."""
        settings = self.settings
        if isinstance(settings, ShortMD):
            return ShortGate(sigma_min_s_cm=settings.min_sigma_s_cm)
        wanted = 0.0 if self.stage == "arrhenius" else settings.min_sigma_s_cm
        return LongGate(sigma_min_s_cm=wanted, relative_error=settings.max_relative_error)

    @property
    def schedule(self) -> Schedule:
        """When the gate looks; an Arrhenius fit wants its points of the set length."""
        settings = self.settings
        return Schedule.of(settings, settings.stop_early and self.stage != "arrhenius")


@dataclass(frozen=True)
class SegmentEnd:
    """Where the next segment goes on: last structure and folder of a finished one."""

    structure: Structure | OutputReference
    dir_name: str | OutputReference


@job(output_schema=SegmentDocument, data="trajectory")
def store_segment(run: Run, index: int, dir_name: str, md_uuid: str) -> SegmentDocument:
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
    trajectory = _read_segment(folder, run.settings)
    return SegmentDocument(
        composition_id=run.candidate.composition.composition_id,
        stage=run.stage,
        index=index,
        temperature_k=run.temperature_k,
        timestep_fs=trajectory.md_timestep_fs or run.settings.timestep_fs,
        n_frames=trajectory.n_frames,
        dir_name=str(folder),
        md_uuid=md_uuid,
        trajectory=base64.b64encode(trajectory.to_bytes()).decode(),
    )


def _read_segment(folder: Path, settings: MolecularDynamics) -> Trajectory:
    """Read a segment's positions and the drift of its energy.

    Custodian repairs some runs by halving the time step: the step that counts is that of the files,
    and frames that are then too many are left out.
    """
    step_fs = float(Incar.from_file(_existing(folder, "INCAR"))["POTIM"])
    trajectory = read_segment(folder, step_fs, settings.frame_interval)
    oszicar = _existing(folder, "OSZICAR")
    drift = None if is_continued(folder) else read_energy_drift(oszicar, trajectory)
    every = max(1, round(settings.timestep_fs / step_fs))
    return replace(trajectory[::every], energy_drift=drift)


def _existing(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


@job(config=JobConfig(expose_store=True))
def diagnose(
    run: Run,
    structure: Structure,
    looks: list[Look],
    segment_uuids: list[str],
    newest: list[int],
    end: Structure,
    end_dir_name: str,
) -> Response:
    """Analyse a run as far as it has come; end it and add what comes next, or let it go on.

    A run that goes on replaces this job by further segments and the same job at their end, so that
    a reference to its output always leads to the last analysis. Its output until then is a
    :class:`Look`, at the end a :class:`TransportDocument`.

    Parameters
    ----------
    structure
        The relaxed structure the run started from.
    looks
        Earlier looks at the run.
    segment_uuids
        Jobs that stored the segments, in order.
    newest
        Indices of the segments since the last look; makes the job wait for them.
    end, end_dir_name
        Last structure and folder of the newest segment.
    """
    # The next stage imports this module.
    from ionsieve.workflows.funnel.order import after_long, after_short

    assert newest[-1] == len(segment_uuids)
    whole = _joined(CURRENT_JOB.store, segment_uuids)
    n_equilibration = round(run.settings.equilibration_ps * 1e3 / whole.timestep_fs)
    trajectory = whole.skip(n_equilibration)
    result = _analyzed(run, trajectory)
    gate, schedule = run.gate, run.schedule
    decision = gate.decide(result)
    settled = is_settled(result, decision, gate)
    look = Look(
        run_length_ps=whole.n_frames * whole.timestep_fs / 1e3,
        verdict=result.verdict,
        sigma_ne_s_cm=result.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=result.sigma_ne_ci95_s_cm,
        action=decision.action,
        settled=settled,
    )
    looks = [*looks, look]
    reason = end_reason(schedule, len(segment_uuids), decision, settled)
    if reason is None:
        jobs = _next_jobs(run, structure, looks, segment_uuids, SegmentEnd(end, end_dir_name))
        jobs[-1].set_uuid(CURRENT_JOB.job.uuid)
        jobs[-1].index = CURRENT_JOB.job.index + 1
        return Response(output=look, replace=Flow([*jobs], name=run.stage))
    document = _transport_document(run, result, decision, looks, reason, segment_uuids)
    document.mechanism = _mechanism(trajectory, result.species)
    CURRENT_JOB.job.update_metadata({"document": TransportDocument.__name__}, dynamic=False)
    if run.stage == "arrhenius" or not document.passed:
        return Response(output=document)
    if run.stage == "short_md":
        more = after_short(run.candidate, structure, run.fastest_phonon_thz)
        return Response(output=document, addition=more)
    return Response(output=document, addition=after_long(run.candidate, structure, document))


def _joined(store: JobStore, segment_uuids: list[str]) -> Trajectory:
    blobs = [OutputReference(uuid).trajectory.resolve(store) for uuid in segment_uuids]
    return Trajectory.join([Trajectory.from_bytes(base64.b64decode(blob)) for blob in blobs])


def _analyzed(run: Run, trajectory: Trajectory) -> TransportResult:
    ion = run.candidate.mobile_species
    return analyze(
        trajectory,
        species=ion.element.symbol,
        temperature_k=run.temperature_k,
        charge=round(ion.oxi_state or 0),
        fastest_phonon_thz=run.fastest_phonon_thz,
    )


def _mechanism(trajectory: Trajectory, species: str) -> dict[str, Any]:
    """Return how the mobile ions are surrounded, and how they move."""
    others = Counter(name for name in trajectory.species if name != species)
    neighbour = others.most_common(1)[0][0] if others else species
    return {
        "radial_distribution": to_plain(radial_distribution(trajectory, species, neighbour)),
        "van_hove": to_plain(van_hove(trajectory, species)),
    }


def _transport_document(
    run: Run,
    result: TransportResult,
    decision: GateDecision,
    looks: list[Look],
    reason: EndReason,
    segment_uuids: list[str],
) -> TransportDocument:
    candidate = run.candidate
    return TransportDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition.formula,
        stage=run.stage,
        temperature_k=run.temperature_k,
        timestep_fs=run.settings.timestep_fs,
        length_ps=result.n_frames * result.timestep_fs / 1e3,
        run_length_ps=looks[-1].run_length_ps,
        end_reason=reason,
        looks=looks,
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


def _next_jobs(
    run: Run,
    structure: Structure,
    looks: list[Look],
    segment_uuids: list[str],
    end: SegmentEnd | None,
) -> list[Job]:
    """Return the chained segments up to the next look, and that look."""
    candidate, settings, schedule = run.candidate, run.settings, run.schedule
    n_done = len(segment_uuids)
    jobs: list[Job] = []
    segments: list[Job] = []
    for index in range(n_done + 1, schedule.next_look(n_done) + 1):
        dynamics = candidate.backend(run.stage).md(
            neutral(structure),
            temperature_k=run.temperature_k,
            timestep_fs=settings.timestep_fs,
            n_steps=schedule.n_frames * settings.frame_interval,
            continue_from=end,
            seed=settings.seed,
            frame_interval=settings.frame_interval,
            name=f"{run.temperature_k:g} K segment {index}",
        )
        segment = store_segment(run, index, fields(dynamics.output).dir_name, dynamics.uuid)
        end = SegmentEnd(fields(dynamics.output).structure, fields(dynamics.output).dir_name)
        jobs += [
            candidate.tag(dynamics, run.stage),
            candidate.tag(segment, run.stage, SegmentDocument),
        ]
        segments.append(segment)
    assert end is not None
    diagnosis = diagnose(
        run,
        structure,
        looks,
        [*segment_uuids, *(segment.uuid for segment in segments)],
        [fields(segment.output).index for segment in segments],
        end.structure,
        end.dir_name,
    )
    return [*jobs, candidate.tag(diagnosis, run.stage, Look)]


def molecular_dynamics_flow(
    candidate: Candidate,
    structure: Structure,
    stage: Stage,
    temperature_k: float | None = None,
    fastest_phonon_thz: float | None = None,
) -> Flow:
    """Return the chained segments up to the gate's first look, each stored, and that look.

    The last job's output is the analysis of the whole run, however long it gets.

    Parameters
    ----------
    temperature_k
        Instead of the stage's own.
    fastest_phonon_thz
        Highest harmonic frequency, if phonons were computed.
    """
    settings: MolecularDynamics = (
        candidate.screening.short_md if stage == "short_md" else candidate.screening.long_md
    )
    temperature_k = settings.temperature_k if temperature_k is None else temperature_k
    run = Run(
        candidate=candidate,
        stage=stage,
        temperature_k=temperature_k,
        fastest_phonon_thz=fastest_phonon_thz,
    )
    return Flow([*_next_jobs(run, structure, [], [], None)], name=stage)
