"""Building, submitting and watching a screening of thousands of jobs.

A server of the MongoDB protocol stands in for the database: ``python tests/mongo_server.py`` starts
the tests' own. Usage: ``python benchmarks/cluster.py mongodb://127.0.0.1:PORT``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from fireworks import LaunchPad
from jobflow import JobStore
from jobflow.managers.fireworks import flow_to_workflow
from pymatgen.core import Structure

from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.documents.raw import Arrangement, RankingDocument
from ionsieve.workflows.funnel.asked import extra_phases, new_funnel
from ionsieve.workflows.funnel.dynamics import DynamicsStage, LongStage, ShortStage
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.phases import starting_structures
from ionsieve.workflows.funnel.ranking import RankStage
from ionsieve.workflows.funnel.records import stored_document
from ionsieve.workflows.funnel.schedule import Schedule
from ionsieve.workflows.funnel.segments import Run, run_flow
from ionsieve.workflows.funnel.stage import Case
from ionsieve.workflows.planning.doping import solid_solution
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store

EXAMPLE = Path(__file__).parents[1] / "examples" / "na_sulfides" / "screening.yaml"
N_COMPOSITIONS, N_ARRANGEMENTS = 170, 5


def peak_gb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def ranking(case: Case) -> RankingDocument:
    """Return the first arrangements of a composition, unranked: only their number matters."""
    candidate = case.candidate
    space = solid_solution(candidate.mother, candidate.composition)
    parts = [np.repeat(range(len(s.counts)), s.counts) for s in space.sublattices]
    structure = space.structure(np.concatenate(parts).astype(np.uint8)).as_dict()
    numbers = range(1, N_ARRANGEMENTS + 1)
    name = candidate.composition.composition_id
    return RankingDocument(
        composition_id=name,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition,
        method="none",
        certified=False,
        n_arrangements=candidate.composition.n_arrangements,
        n_covered="0",
        seconds=0.0,
        n_kept=N_ARRANGEMENTS,
        arrangement_keys=[f"{name} {n}" for n in numbers],
        ewald_energies_ev=[0.0] * N_ARRANGEMENTS,
        arrangements=[
            Arrangement(rank=n, energy_ev=0.0, degeneracy=1, structure=structure) for n in numbers
        ],
        provenance=candidate.subject.provenance([], ""),
    )


def dynamics(case: Case, stage: DynamicsStage, structure: Structure) -> NewFlow:
    """Return a run of the set length, as one flow."""
    candidate, settings = case.candidate, stage.settings(case.screening)
    schedule = Schedule.of(settings)
    label = candidate.composition.composition_id
    run = Run(
        subject=candidate.subject,
        key=f"{label} {stage.name}",
        stage=stage.name,
        species=candidate.composition.mobile_ion,
        temperature_k=settings.temperature_k,
        timestep_fs=settings.timestep_fs,
        frame_interval=settings.frame_interval,
        seed=settings.seed,
        equilibration_ps=settings.equilibration_ps,
    )
    n_frames = schedule.n_set * schedule.n_frames
    tags = stage.tags(case, run.look_key(n_frames))
    flow = run_flow(run, case.screening, tags, [], structure, n_frames, schedule.n_frames)
    return NewFlow(tags.key, flow, label=label, stage=stage.name)


def flows(funnel: Funnel, job_store: JobStore) -> list[NewFlow]:
    """Return every flow of the screening, also those that come into being while it runs."""
    found = funnel.next_flows([])
    cases = list(funnel.cases.values())[:N_COMPOSITIONS]
    documents = [ranking(case) for case in cases]
    for case, document in zip(cases, documents, strict=True):
        name, key = document.composition_id, RankStage().key(case)
        job_store.update(stored_document(document, f"ranking-{name}", key, "rank"))
    known = [FlowStatus(new.key, new.label, new.stage, "completed", 1, 1) for new in found]
    found += funnel.next_flows(known)
    for case, document in zip(cases, documents, strict=True):
        structure = Structure.from_dict(document.arrangements[0].structure)
        found += [dynamics(case, stage, structure) for stage in (ShortStage(), LongStage())]
    return found


def build(screening: ScreeningFile) -> list[NewFlow]:
    """Time the plan and the flows, and their conversion."""
    start = time.perf_counter()
    plan = make_plan(screening)
    job_store = open_job_store(screening)
    phases = starting_structures(plan, screening, extra_phases(screening))
    funnel = new_funnel(screening, plan, job_store, phases)
    planned = time.perf_counter()
    found = flows(funnel, job_store)
    built = time.perf_counter()
    workflows = [flow_to_workflow(new.flow, job_store) for new in found]
    n_jobs = sum(len(workflow.id_fw) for workflow in workflows)
    converted = time.perf_counter()
    print(
        f"plan {planned - start:.1f} s; {len(found)} flows of {n_jobs} jobs built in "
        f"{built - planned:.1f} s, converted in {converted - built:.1f} s; peak {peak_gb():.2f} GB"
    )
    return found


def submit(queue: WorkflowQueue, found: list[NewFlow], screening: ScreeningFile) -> None:
    """Time the submission, a second one that adds nothing, and the states."""
    job_store = open_job_store(screening)
    start = time.perf_counter()
    n_added = sum(queue.add(new, job_store) for new in found)
    added = time.perf_counter()
    n_again = sum(queue.add(new, job_store) for new in found)
    again = time.perf_counter()
    states = Counter(status.state for status in queue.flows())
    print(
        f"submitted {n_added} in {added - start:.1f} s, again {n_again} in {again - added:.1f} s; "
        f"states {dict(states)} in {time.perf_counter() - again:.2f} s; peak {peak_gb():.2f} GB"
    )


def status(queue: WorkflowQueue, screening: ScreeningFile, n_documents: int) -> None:
    """Time what ``ionsieve status`` does with many documents in the store."""
    with open_job_store(screening) as job_store:
        present = job_store.count()
        documents = (
            {
                "uuid": f"benchmark-{n}",
                "index": 1,
                "output": {"energy": n},
                "completed_at": "2026-01-01T00:00:00",
                "metadata": {"screening": screening.name, "stage": "relax", "document": ""},
            }
            for n in range(present, n_documents)
        )
        while batch := [d for d, _ in zip(documents, range(5000), strict=False)]:
            job_store.docs_store._collection.insert_many(batch)
        start = time.perf_counter()
        queue.flows()
        results = Results.open(screening)
        results.counts()
        results.find("compositions", columns=["composition_id", "state", "reason"])
        print(
            f"status with {job_store.count()} documents: {time.perf_counter() - start:.2f} s; "
            f"peak {peak_gb():.2f} GB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of a MongoDB server without login")
    host, port = parser.parse_args().address.removeprefix("mongodb://").split(":")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        launchpad: LaunchPad = _launchpad(folder, host, int(port))
        screening = read_screening(EXAMPLE)
        compute = screening.compute.model_copy(
            update={"launchpad": str(folder / "my_launchpad.yaml")}
        )
        screening = screening.model_copy(
            update={"compute": compute, "store": f"mongodb://{host}:{port}/benchmark"}
        )
        found = build(screening)
        queue = WorkflowQueue(launchpad, "benchmark")
        submit(queue, found, screening)
        for n_documents in (1_000, 10_000, 100_000):
            status(queue, screening, n_documents)


def _launchpad(folder: Path, host: str, port: int) -> LaunchPad:
    path = folder / "my_launchpad.yaml"
    path.write_text(yaml.safe_dump({"host": host, "port": port, "name": "benchmark_jobs"}))
    return open_launchpad(path)


if __name__ == "__main__":
    main()
