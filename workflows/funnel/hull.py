"""The thermodynamic gate: distance to the convex hull of the competing phases."""

from __future__ import annotations

from jobflow import Flow, Response, job
from pymatgen.core import Structure

from ionsieve.workflows.documents.raw import HullDocument, MaterialDocument, PhaseDocument
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.funnel.order import after_hull
from ionsieve.workflows.thermodynamics.convex_hull import hull_distance


@job(output_schema=HullDocument)
def hull_gate(
    candidate: Candidate,
    material: MaterialDocument,
    phases: list[PhaseDocument],
    input_uuids: list[str],
    known_missing: list[str],
    failed_phases: list[str],
    is_renewal: bool = False,
) -> Response:
    """Compute the hull energy and, where it is low enough, add the short diagnosis.

    Parameters
    ----------
    phases
        Competing phases computed with the same backend and settings.
    input_uuids
        Jobs that made the material and the phases.
    known_missing, failed_phases
        Known phases without an energy: not in the library, or their calculation failed.
    is_renewal
        The gate was passed or failed before with fewer phases. More phases never lower a hull
        energy, so whatever has to follow has been added then.
    """
    document = hull_distance(
        material,
        phases,
        known_missing=known_missing,
        failed_phases=failed_phases,
        max_e_hull_ev_atom=candidate.screening.hull.max_e_hull_ev_atom,
        provenance=candidate.provenance(input_uuids),
    )
    if is_renewal or not document.passed:
        return Response(output=document)
    structure = Structure.from_dict(material.structure)
    return Response(output=document, addition=after_hull(candidate, structure))


def conductivity_flow(
    candidate: Candidate,
    material: MaterialDocument,
    phases: list[PhaseDocument],
    input_uuids: list[str],
    known_missing: list[str],
    failed_phases: list[str],
    is_renewal: bool = False,
) -> Flow:
    """Return the flow of one relaxed material: hull gate, then molecular dynamics.

    A renewal, of the hull energy when a failed phase was retried, ends with the gate.
    """
    gate = hull_gate(
        candidate, material, phases, input_uuids, known_missing, failed_phases, is_renewal
    )
    candidate.tag(gate, "hull", HullDocument)
    what = "hull energy" if is_renewal else "conductivity"
    return Flow([gate], name=f"{what} of {candidate.composition.composition_id}")
