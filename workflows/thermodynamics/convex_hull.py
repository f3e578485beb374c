"""Distance of a material to the convex hull of its competing phases.

Zero-temperature, zero-pressure energies of one engine with one set of settings; the hull is
pymatgen's (S. P. Ong et al., Chem. Mater. 20, 1798 (2008), doi:10.1021/cm702327g).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pymatgen.core.composition import Composition

from ionsieve.errors import IonSieveError
from ionsieve.workflows.documents.raw import (
    HullDocument,
    MaterialDocument,
    PhaseDocument,
    Provenance,
)
from ionsieve.workflows.thermodynamics.competing_phases import elements_of, lacking_elements

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

#: Parts of a decomposition below this atomic fraction are numerical noise.
_SMALLEST_FRACTION = 1e-8


def _check_energies(material: MaterialDocument, phases: Sequence[PhaseDocument]) -> None:
    """Refuse energies that are not finite or not on the material's energy scale."""
    if not math.isfinite(material.energy_ev_atom):
        raise IonSieveError(
            f"{material.composition_id} has the energy {material.energy_ev_atom} eV/atom; "
            "its static calculation must be repeated"
        )
    for phase in phases:
        if not math.isfinite(phase.energy_ev_atom):
            raise IonSieveError(
                f"competing phase {phase.phase_id} has the energy {phase.energy_ev_atom} eV/atom; "
                "its static calculation must be repeated"
            )
        if difference := disagreement(_identity(material), _identity(phase)):
            what, ours, theirs = difference
            raise IonSieveError(
                f"competing phase {phase.phase_id} was computed with {what} {theirs}, "
                f"{material.composition_id} with {ours}: their energies can't be compared; compute "
                "both with the same engine, potentials and settings (in a new store, if only the "
                "engine was exchanged)"
            )


def _identity(document: MaterialDocument | PhaseDocument) -> dict[str, Any]:
    if document.energy_identity:
        return document.energy_identity
    origin = document.provenance
    return {"backend": origin.backend, "settings": origin.settings_hash, "engine": "unknown"}


def disagreement(first: Any, second: Any, place: str = "") -> tuple[str, str, str] | None:
    """Return the first difference that keeps two energies apart; None if there is none.

    Engines of one name agree if their versions do in the first two parts: 6.4.2 goes with 6.4.3,
    not with 6.3.0. Potentials are compared for the elements that both have.

    Parameters
    ----------
    first, second
        What :meth:`ionsieve.workflows.backends.protocol.Backend.energy_identity` returned, or parts
        of it.
    place
        Where the parts stand in it.

    Returns
    -------
    tuple of str
        What differs, and both values.
    """
    name = place.rpartition(".")[2]
    if isinstance(first, dict) and isinstance(second, dict):
        # Compounds differ in elements; everything else both must have.
        keys = (
            first.keys() & second.keys() if name == "potentials" else first.keys() | second.keys()
        )
        for key in sorted(keys):
            inner = f"{place}.{key}" if place else str(key)
            if found := disagreement(first.get(key), second.get(key), inner):
                return found
        return None
    ours, theirs = (_series(v) if name == "engine" else v for v in (first, second))
    if ours == theirs:
        return None
    return place, _word(first), _word(second)


def _series(engine: Any) -> str:
    """Return name and version of an engine without the number of the patch."""
    name, _, version = str(engine).rpartition(" ")
    return f"{name} {'.'.join(version.split('.')[:2])}"


def _word(value: Any) -> str:
    return "unknown" if value is None or isinstance(value, dict) else str(value)


def _phase_diagram(
    material: MaterialDocument, phases: Sequence[PhaseDocument], failed_phases: Sequence[str]
) -> PhaseDiagram:
    """Return the diagram of the phases within the material's chemical system."""
    system = elements_of(material.composition)
    within = [phase for phase in phases if elements_of(phase.formula) <= system]
    if lacking := lacking_elements(system, [elements_of(phase.formula) for phase in within]):
        failed = f" (failed: {', '.join(failed_phases)})" if failed_phases else ""
        raise IonSieveError(
            f"no energy of the element {', '.join(lacking)}{failed}: the hull of "
            f"{material.composition} can't be built; repeat the failed phase or add a CIF file "
            "of the element to hull.phases"
        )
    # Imported when a hull is needed: it brings plotly and matplotlib.
    from pymatgen.analysis.phase_diagram import PhaseDiagram

    return PhaseDiagram(
        [_entry(phase.formula, phase.energy_ev_atom, phase.phase_id) for phase in within]
    )


def _entry(formula: str, energy_ev_atom: float, name: str) -> PDEntry:
    from pymatgen.analysis.phase_diagram import PDEntry

    composition = Composition(formula)
    return PDEntry(composition, energy_ev_atom * composition.num_atoms, name=name)


def hull_distance(
    material: MaterialDocument,
    phases: Sequence[PhaseDocument],
    *,
    known_missing: Sequence[str],
    failed_phases: Sequence[str],
    provenance: Provenance,
) -> HullDocument:
    """Return how far a material lies above (or below) its competing phases.

    The material itself is not part of the hull, so that a new stable phase has a negative
    distance: what it gains over the best mixture of the others.

    Parameters
    ----------
    material
        The relaxed composition.
    phases
        Competing phases and mothers with energies of the same backend and settings; those with
        elements the material has not are ignored.
    known_missing
        Phases known to exist that were not computed (:func:`..competing_phases.known_missing`).
    failed_phases
        Phases whose calculation failed.
    provenance
        Of the document to make.

    Returns
    -------
    HullDocument
        A lower bound if any phase is missing or failed.

    Raises
    ------
    IonSieveError
        An energy is not finite, energies of different backends or settings would be mixed, or an
        element has no energy.
    """
    _check_energies(material, phases)
    diagram = _phase_diagram(material, phases, failed_phases)
    composition = Composition(material.composition)
    entry = _entry(material.composition, material.energy_ev_atom, material.composition_id)
    parts = diagram.get_decomposition(composition)
    # Not PhaseDiagram.get_e_above_hull: it refuses energies below the hull.
    hull_energy_ev_atom = sum(part.energy_per_atom * amount for part, amount in parts.items())
    e_hull_ev_atom = float(material.energy_ev_atom - hull_energy_ev_atom)
    missing = [*known_missing, *(f"{phase} (calculation failed)" for phase in failed_phases)]
    return HullDocument(
        composition_id=material.composition_id,
        mother_id=material.mother_id,
        composition=material.composition,
        e_hull_ev_atom=e_hull_ev_atom,
        formation_energy_ev_atom=float(diagram.get_form_energy_per_atom(entry)),
        decomposition={
            str(part.name): float(amount)  # type: ignore[attr-defined]
            for part, amount in sorted(parts.items(), key=lambda item: -item[1])
            if amount > _SMALLEST_FRACTION
        },
        n_phases=len(diagram.all_entries),
        missing_phases=missing,
        is_lower_bound=bool(missing),
        provenance=provenance,
    )
