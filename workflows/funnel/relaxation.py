"""Relax the kept arrangements, compute their energies, and select the lowest."""

from __future__ import annotations

from jobflow import Flow, Job, JobConfig, OnMissing, job
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.protocol import Backend
from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.documents.raw import Arrangement, MaterialDocument, RelaxedArrangement
from ionsieve.workflows.funnel.candidate import Candidate, neutral

#: A failed relaxation is recorded, it does not fail the composition.
_TOLERANT = JobConfig(on_missing_references=OnMissing.NONE)


@job(output_schema=MaterialDocument, config=_TOLERANT)
def select_lowest(
    candidate: Candidate,
    relaxed: list[RelaxedArrangement],
    energies_ev_atom: list[float | None],
    structures: list[Structure | None],
    starting_volumes: list[float],
    ranking_uuid: str,
) -> MaterialDocument:
    """Return the relaxed arrangement with the lowest energy per atom.

    Parameters
    ----------
    relaxed
        Identity of each relaxation, in the order of the other lists.
    energies_ev_atom, structures
        Results; None where the calculation failed.
    starting_volumes
        Volumes before relaxation, in cubic Angstrom.

    Raises
    ------
    IonSieveError
        All relaxations failed.
    """
    outcomes = [
        entry.model_copy(
            update={"energy_ev_atom": energy}
            if energy is not None
            else {"reason": "the relaxation or static calculation failed"}
        )
        for entry, energy in zip(relaxed, energies_ev_atom, strict=True)
    ]
    finished = [index for index, energy in enumerate(energies_ev_atom) if energy is not None]
    if not finished:
        raise IonSieveError(
            f"all {len(relaxed)} relaxations of {candidate.composition.composition_id} failed; "
            "see the failed jobs' folders"
        )
    best = min(finished, key=lambda index: (energies_ev_atom[index], index))
    structure = structures[best]
    assert structure is not None
    return MaterialDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition.formula,
        structure=structure.as_dict(),
        energy_ev_atom=energies_ev_atom[best],
        n_ions=len(structure),
        density_g_cm3=float(structure.density),
        volume_change=structure.volume / starting_volumes[best] - 1.0,
        ewald_rank=relaxed[best].rank,
        candidates=outcomes,
        provenance=candidate.provenance(
            [ranking_uuid, relaxed[best].static_uuid],
            settings_hash=candidate.screening.energy_settings_hash(),
        ),
    )


def relax_and_static(
    backend: Backend, structure: Structure, name: str
) -> tuple[list[Flow | Job], Job]:
    """Return the relaxation and the static calculation after it: all jobs, and the last."""
    relaxation = backend.relax(structure, name=f"relax {name}")
    relaxed = fields(relaxation.output)
    static = backend.static(relaxed.structure, name=f"static {name}", prev_dir=relaxed.dir_name)
    return [relaxation, static], static


def relaxation_flow(
    candidate: Candidate, arrangements: list[Arrangement], ranking_uuid: str
) -> Flow:
    """Return relaxation and static calculation of each arrangement, and the selection."""
    backend = candidate.backend("relax")
    jobs: list[Flow | Job] = []
    relaxed, statics, volumes = [], [], []
    for arrangement in arrangements:
        structure = neutral(Structure.from_dict(arrangement.structure))
        pair, static = relax_and_static(backend, structure, f"arrangement {arrangement.rank}")
        jobs.extend(pair)
        statics.append(static)
        volumes.append(structure.volume)
        relaxed.append(
            RelaxedArrangement(
                rank=arrangement.rank,
                ewald_energy_ev=arrangement.energy_ev,
                static_uuid=static.uuid,
            )
        )
    selection = select_lowest(
        candidate,
        relaxed,
        [fields(static.output).output.energy_per_atom for static in statics],
        [fields(static.output).structure for static in statics],
        volumes,
        ranking_uuid,
    )
    flow = Flow([*jobs, selection])
    for job_, _ in flow.iterflow():
        candidate.tag(job_, "relax", MaterialDocument if job_ is selection else None)
    return flow
