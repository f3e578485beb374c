"""Compute one competing phase with the screening's own backend and settings."""

from __future__ import annotations

from jobflow import Flow, job
from pymatgen.core import Structure

from ionsieve.workflows.backends.references import fields
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import PhaseDocument, Provenance
from ionsieve.workflows.funnel.candidate import neutral
from ionsieve.workflows.funnel.relaxation import relax_and_static
from ionsieve.workflows.funnel.requests import manager_config
from ionsieve.workflows.settings.schema import Screening


@job(output_schema=PhaseDocument)
def record_phase(
    screening: Screening,
    phase_id: str,
    source: str,
    flow_key: str,
    structure: Structure,
    energy_ev_atom: float,
    static_uuid: str,
) -> PhaseDocument:
    """Return the relaxed phase and its energy."""
    return PhaseDocument(
        phase_id=phase_id,
        formula=structure.composition.reduced_formula,
        structure=structure.as_dict(),
        energy_ev_atom=energy_ev_atom,
        source=source,
        provenance=Provenance(
            input_uuids=[static_uuid],
            settings_hash=screening.energy_settings_hash(),
            backend=screening.backend.name,
        ),
    )


def phase_flow(
    screening: Screening, phase_id: str, structure: Structure, source: str, flow_key: str
) -> Flow:
    """Return relaxation, static calculation and record of one phase."""
    calculations, static = relax_and_static(
        get_backend(screening, "relaxation"), neutral(structure), phase_id
    )
    record = record_phase(
        screening,
        phase_id,
        source,
        flow_key,
        fields(static.output).structure,
        fields(static.output).output.energy_per_atom,
        static.uuid,
    )
    flow = Flow([*calculations, record], name=f"phase {phase_id}")
    flow.update_config({"manager_config": manager_config(screening, "phase", is_calculation=True)})
    record.update_config(
        {"manager_config": manager_config(screening, "phase", is_calculation=False)}, dynamic=False
    )
    flow.update_metadata(
        {"screening": screening.name, "stage": "phase", "phase_id": phase_id, "flow_key": flow_key}
    )
    record.update_metadata({"document": "PhaseDocument"}, dynamic=False)
    return flow
