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
from jobflow.managers.fireworks import flow_to_workflow
from pymatgen.core import Structure

from ionsieve.workflows.documents.flows import NewFlow
from ionsieve.workflows.documents.raw import Arrangement, CompositionDocument
from ionsieve.workflows.funnel.dynamics import molecular_dynamics_flow
from ionsieve.workflows.funnel.flows import Funnel
from ionsieve.workflows.funnel.relaxation import relaxation_flow
from ionsieve.workflows.planning.doping import solid_solution
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad
from ionsieve.workflows.runners.refresh import refresh_collections
from ionsieve.workflows.settings.reading import read_screening
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import open_job_store

EXAMPLE = Path(__file__).parents[1] / "examples" / "na_sulfides" / "screening.yaml"
N_COMPOSITIONS, N_ARRANGEMENTS = 170, 5


def peak_gb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def arrangements(funnel: Funnel, composition: CompositionDocument) -> list[Arrangement]:
    """Return the first arrangements of a composition, unranked: only their number matters."""
    candidate = funnel.candidates[composition.composition_id]
    space = solid_solution(candidate.mother, composition)
    parts = [np.repeat(range(len(s.counts)), s.counts) for s in space.sublattices]
    structure = space.structure(np.concatenate(parts).astype(np.uint8)).as_dict()
    return [
        Arrangement(rank=n, energy_ev=0.0, degeneracy=1, structure=structure)
        for n in range(1, N_ARRANGEMENTS + 1)
    ]


def flows(funnel: Funnel) -> list[NewFlow]:
    """Return every flow of the screening, also those that come into being while it runs."""
    found = funnel.next_flows([])
    for composition in funnel.plan.compositions[:N_COMPOSITIONS]:
        candidate = funnel.candidates[composition.composition_id]
        kept = arrangements(funnel, composition)
        relaxations = relaxation_flow(candidate, kept, "ranking")
        structure = kept[0].structure
        dynamics = [
            molecular_dynamics_flow(candidate, Structure.from_dict(structure), stage)
            for stage in ("short_md", "long_md")
        ]
        for number, flow in enumerate([relaxations, *dynamics]):
            key = f"{candidate.flow_key}-{number}"
            found.append(NewFlow(key, flow, label=composition.composition_id, stage="relax"))
    return found


def build(screening: ScreeningFile) -> list[NewFlow]:
    """Time the plan and the flows, and their conversion."""
    start = time.perf_counter()
    plan = make_plan(screening)
    job_store = open_job_store(screening)
    funnel = Funnel(screening, plan, job_store)
    planned = time.perf_counter()
    found = flows(funnel)
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
        refresh_collections(screening)
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
