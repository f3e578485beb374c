"""Molecular dynamics in restartable segments, each stored, and the analysis of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, Flow, Job, JobConfig, JobStore, OutputReference, job
from pydantic import ConfigDict
from pymatgen.core import Species, Structure

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.backends.protocol import Checkpoint, MDSpec
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import Document, SegmentDocument, TransportDocument
from ionsieve.workflows.funnel.candidate import Subject, neutral
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.requests import Tags
from ionsieve.workflows.funnel.soundness import trajectory_fault
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening
from ionsieve.workflows.store.blobs import stored_bytes

if TYPE_CHECKING:
    from ionsieve.md_analysis import Trajectory, TransportResult


class Run(Document):
    """One molecular dynamics run of a composition; an argument of its jobs.

    Attributes
    ----------
    key
        Hash of material, temperature, step, frames and seed: runs of any length, of any stage and
        screening, are pieces of one.
    stage
        For whom it runs.
    ions
        Formula of the cell, with its numbers of ions.
    equilibration_ps
        Discarded before the analysis.
    fastest_phonon_thz
        Highest harmonic frequency, if phonons were computed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Subject
    key: str
    stage: str
    species: str
    ions: str
    temperature_k: float
    timestep_fs: float
    frame_interval: int
    seed: int
    equilibration_ps: float
    fastest_phonon_thz: float | None = None

    @property
    def frame_ps(self) -> float:
        """Time between frames."""
        return self.frame_interval * self.timestep_fs / 1e3

    def spec(self, n_frames: int) -> MDSpec:
        """Return a segment of so many frames."""
        return MDSpec(
            temperature_k=self.temperature_k,
            timestep_fs=self.timestep_fs,
            n_steps=n_frames * self.frame_interval,
            frame_interval=self.frame_interval,
            seed=self.seed,
        )

    def look_key(self, n_frames: int) -> str:
        """Return the key of the analysis of the first frames."""
        return settings_hash(
            "look", self.key, n_frames, self.equilibration_ps, self.fastest_phonon_thz, self.species
        )


@job(output_schema=SegmentDocument, data="trajectory")
def store_segment(
    run: Run,
    settings: Screening,
    index: int,
    n_frames: int,
    previous_uuid: str,
    end: Checkpoint,
    md_uuid: str,
) -> SegmentDocument:
    """Read one finished segment's positions into a blob of the additional store.

    Parameters
    ----------
    previous_uuid
        The job that stored the segment before.
    end
        Where the calculation ended.

    Raises
    ------
    IonSieveError
        The segment is nonsense: no numbers, other ions, or an exploded run.
    """
    backend = get_backend(settings)
    try:
        trajectory = backend.read_segment(end, run.spec(n_frames))
    except InputError as error:
        # What readers of files advise is not for a run of our own.
        cause = str(error).partition(";")[0]
        raise IonSieveError(f"{end.folder}: the segment is of no use: {cause}") from error
    if fault := trajectory_fault(trajectory, run.ions, run.temperature_k):
        raise IonSieveError(f"{end.folder}: {fault}")
    return SegmentDocument(
        composition_id=run.subject.composition_id,
        stage=run.stage,
        index=index,
        previous_uuid=previous_uuid,
        temperature_k=run.temperature_k,
        timestep_fs=trajectory.md_timestep_fs or run.timestep_fs,
        n_frames=trajectory.n_frames,
        dir_name=str(end.folder),
        md_uuid=md_uuid,
        checkpoint=backend.keep(end).model_dump(mode="json"),
        trajectory=trajectory.to_bytes(),
        provenance=run.subject.provenance([md_uuid], run.key),
    )


@job(output_schema=TransportDocument, config=JobConfig(expose_store=True))
def analyse_run(
    run: Run, key: str, n_frames: int, segment_uuids: list[str], newest: list[int]
) -> TransportDocument:
    """Analyse the first frames of a run.

    Parameters
    ----------
    key
        Of the analysis.
    segment_uuids
        Jobs that stored the segments, in order.
    newest
        Indices of segments that are computed just before; makes the job wait for them.
    """
    whole = joined(CURRENT_JOB.store, segment_uuids)[:n_frames]
    return analysis_document(run, key, whole, segment_uuids, CURRENT_JOB.job.uuid)


def analysis_document(
    run: Run, key: str, whole: Trajectory, segment_uuids: list[str], uuid: str
) -> TransportDocument:
    """Return the analysis of a trajectory, equilibration included.

    Parameters
    ----------
    uuid
        Of who analyses.
    """
    n_equilibration = round(run.equilibration_ps * 1e3 / whole.timestep_fs)
    trajectory = whole.skip(n_equilibration)
    result = _analyzed(run, trajectory)
    return TransportDocument(
        composition_id=run.subject.composition_id,
        mother_id=run.subject.mother_id,
        composition=run.subject.formula,
        stage=run.stage,
        temperature_k=run.temperature_k,
        timestep_fs=run.timestep_fs,
        length_ps=result.n_frames * result.timestep_fs / 1e3,
        run_length_ps=whole.n_frames * whole.timestep_fs / 1e3,
        verdict=result.verdict,
        reasons=list(result.reasons),
        diffusivity_cm2_s=result.diffusivity_cm2_s,
        diffusivity_ci95_cm2_s=result.diffusivity_ci95_cm2_s,
        relative_error=result.relative_error,
        sigma_ne_s_cm=result.sigma_ne_s_cm,
        sigma_ne_ci95_s_cm=result.sigma_ne_ci95_s_cm,
        sigma_collective_s_cm=result.sigma_collective_s_cm,
        haven_ratio=result.haven_ratio,
        analysis=result.to_dict(),
        mechanism=_mechanism(trajectory, result.species),
        segment_uuids=segment_uuids,
        provenance=run.subject.provenance([uuid, *segment_uuids], key),
    )


def joined(store: JobStore, segment_uuids: Sequence[str]) -> Trajectory:
    """Return the stored segments as one trajectory."""
    # For start-up time: the analysis takes a second to import.
    from ionsieve.md_analysis import Trajectory

    packed = [OutputReference(uuid).trajectory.resolve(store) for uuid in segment_uuids]
    segments = [Trajectory.from_bytes(stored_bytes(blob)) for blob in packed]
    # Custodian halves the step of a run that breaks.
    return Trajectory.join(segments, may_change_step=True)


def _analyzed(run: Run, trajectory: Trajectory) -> TransportResult:
    from ionsieve.md_analysis import analyze

    ion = Species.from_str(run.species)
    return analyze(
        trajectory,
        species=ion.element.symbol,
        temperature_k=run.temperature_k,
        charge=round(ion.oxi_state or 0),
        fastest_phonon_thz=run.fastest_phonon_thz,
    )


def _mechanism(trajectory: Trajectory, species: str) -> dict[str, Any]:
    """Return how the mobile ions are surrounded, and how they move."""
    from ionsieve.md_analysis.stored import to_plain
    from ionsieve.md_analysis.van_hove import radial_distribution, van_hove

    others = Counter(name for name in trajectory.species if name != species)
    neighbour = others.most_common(1)[0][0] if others else species
    return {
        "radial_distribution": to_plain(radial_distribution(trajectory, species, neighbour)),
        "van_hove": to_plain(van_hove(trajectory, species)),
    }


def stored_chain(segments: Sequence[Entry]) -> list[Entry]:
    """Return the longest chain of segments, each the continuation of the one before.

    Two screenings may have computed the same run at the same time; their segments never mix.
    """
    following: dict[str, list[Entry]] = {}
    for segment in segments:
        following.setdefault(segment["previous_uuid"], []).append(segment)

    def longest(before: str) -> tuple[int, list[Entry]]:
        chains = []
        for segment in following.get(before, []):
            n_frames, rest = longest(segment.uuid)
            chains.append((segment["n_frames"] + n_frames, [segment, *rest]))
        return max(chains, key=lambda chain: chain[0], default=(0, []))

    return longest("")[1]


def run_flow(
    run: Run,
    settings: Screening,
    tags: Tags,
    chain: Sequence[Entry],
    start: Structure | Checkpoint,
    n_frames: int,
    n_segment_frames: int,
) -> Flow:
    """Return the segments that a run lacks, chained and stored, and its analysis.

    Parameters
    ----------
    tags
        Of the analysis' flow.
    chain
        Stored segments.
    start
        Where the first new segment begins.
    n_frames
        To be analysed.
    n_segment_frames
        At most, of one segment.
    """
    backend = get_backend(settings, tags.size)
    jobs: list[Job | Flow] = []
    uuids = [entry.uuid for entry in chain]
    newest: list[OutputReference] = []
    n_stored = sum(entry["n_frames"] for entry in chain)
    if isinstance(start, Structure):
        start = neutral(start)
    while n_stored < n_frames:
        length = min(n_segment_frames, n_frames - n_stored)
        index = len(uuids) + 1
        name = f"{run.temperature_k:g} K segment {index}"
        dynamics = backend.md(run.spec(length), start, name)
        start = dynamics.end
        segment = store_segment(
            run,
            settings,
            index,
            length,
            uuids[-1] if uuids else "",
            dynamics.end,
            dynamics.uuid,
        )
        jobs += tags.calculations(dynamics.jobs)
        jobs.append(tags.record(segment, SegmentDocument, run.key))
        uuids.append(segment.uuid)
        newest.append(OutputReference(segment.uuid).index)
        n_stored += length
    analysis = analyse_run(run, tags.key, n_frames, uuids, newest)
    jobs.append(tags.record(analysis, TransportDocument))
    return Flow(jobs, name=run.stage)
