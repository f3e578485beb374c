"""The competing phases of a screening, each computed with its own backend and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobflow import Flow, job
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.raw import (
    PhaseBookDocument,
    PhaseDocument,
    PhaseEntry,
    PlanDocument,
    Provenance,
)
from ionsieve.workflows.funnel.candidate import energy_key, neutral
from ionsieve.workflows.funnel.records import Entry, Records
from ionsieve.workflows.funnel.requests import Request, Tags
from ionsieve.workflows.funnel.soundness import calculation_fault
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening
from ionsieve.workflows.thermodynamics.competing_phases import (
    elements_of,
    known_missing,
    lacking_elements,
    phases_for,
)

#: Before the rankings and relaxations, whose hull energies wait for them.
PRIORITY = 20
STAGE, TITLE = "phase", "Competing phases"
#: Fields of a phase's document that hulls and collections are made from.
SCALARS = ("formula", "energy_ev_atom", "source")


@job(output_schema=PhaseDocument)
def record_phase(
    settings: Screening,
    phase_id: str,
    source: str,
    key: str,
    engine: dict[str, Any],
    structure: Structure,
    energy_ev_atom: float,
    static_uuid: str,
    folder: str,
    asked: str,
) -> PhaseDocument:
    """Return the relaxed phase and its energy.

    Parameters
    ----------
    folder
        Of the static calculation.
    asked
        Formula of the cell, with its numbers of ions.

    Raises
    ------
    IonSieveError
        The outcome is nonsense.
    """
    if fault := calculation_fault(structure, energy_ev_atom, asked):
        raise IonSieveError(f"{folder}: {fault}")
    return PhaseDocument(
        phase_id=phase_id,
        formula=structure.composition.reduced_formula,
        structure=structure.as_dict(),
        energy_ev_atom=energy_ev_atom,
        source=source,
        energy_identity=get_backend(settings).energy_identity(engine),
        provenance=Provenance(
            input_uuids=[static_uuid], settings_hash=key, backend=settings.backend.name
        ),
    )


@dataclass(frozen=True)
class PhaseBook:
    """Which competing phases there are, for every chemical system of a screening.

    Attributes
    ----------
    energy_key
        Hash of what decides an energy.
    document
        What is stored of it.
    """

    energy_key: str
    document: PhaseBookDocument
    _elements: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: PhaseBookDocument, screening: Screening) -> PhaseBook:
        """Return the book of a stored document."""
        elements = {entry.key: elements_of(entry.formula) for entry in document.phases}
        return cls(energy_key(screening), document, elements)

    def within(self, formula: str) -> list[PhaseEntry]:
        """Return the phases in the chemical system of a composition."""
        system = elements_of(formula)
        return [entry for entry in self.document.phases if self._elements[entry.key] <= system]

    def missing(self, formula: str) -> list[str]:
        """Return the phases that are known to exist in its system and can't be computed."""
        return self.document.missing.get(system_name(elements_of(formula)), [])

    def lacking(self, formula: str, keys: list[str]) -> list[str]:
        """Return the elements of a chemical system of which none of some phases consists."""
        return lacking_elements(elements_of(formula), [self._elements[key] for key in keys])


def system_name(elements: frozenset[str]) -> str:
    """Return the name of a chemical system, such as Na-S-W."""
    return "-".join(sorted(elements))


def starting_structures(
    plan: PlanDocument, screening: Screening, extra: Sequence[Path]
) -> tuple[PhaseBookDocument, dict[str, Structure]]:
    """Return the competing phases of a plan, the mothers among them, and where each starts.

    Parameters
    ----------
    extra
        Paths of CIF files of further phases.

    Raises
    ------
    InputError
        An element has no structure, or a file is unfit.
    """
    systems = {elements_of(composition.formula) for composition in plan.compositions}
    library = phases_for(frozenset[str]().union(*systems), extra=extra)
    found = [(phase.phase_id, phase.structure, phase.source) for phase in library]
    found += [
        (mother.mother_id, Structure.from_dict(mother.structure), mother.source_file)
        for mother in plan.mothers
        if mother.is_ordered
    ]
    energies = energy_key(screening)
    entries, structures = [], {}
    for phase_id, structure, source in found:
        formula = structure.composition.reduced_formula
        if not any(elements_of(formula) <= system for system in systems):
            continue
        key = settings_hash(STAGE, neutral(structure).as_dict(), energies)
        if key not in structures:
            entries.append(PhaseEntry(key=key, phase_id=phase_id, formula=formula, source=source))
            structures[key] = structure
    missing = {system_name(system): known_missing(system, library) for system in systems}
    return PhaseBookDocument(phases=entries, missing=missing), structures


def phase_requests(
    book: PhaseBook,
    records: Records,
    screening: Screening,
    structure_of: Callable[[str], Structure],
) -> list[Request]:
    """Return the phases that are not stored."""

    def request(entry: PhaseEntry) -> Request:
        def make() -> Flow:
            return phase_flow(screening, entry, structure_of(entry.key))

        return Request(entry.key, STAGE, entry.phase_id, PRIORITY, make)

    return [
        request(entry)
        for entry in book.document.phases
        if records.newest(PhaseDocument, entry.key) is None
    ]


def stored_phases(phases: Sequence[PhaseEntry], records: Records) -> dict[str, Entry]:
    """Return key -> document of those of some phases that are stored."""
    found = {phase.key: records.newest(PhaseDocument, phase.key) for phase in phases}
    return {key: entry for key, entry in found.items() if entry is not None}


def phase_flow(screening: Screening, entry: PhaseEntry, structure: Structure) -> Flow:
    """Return relaxation, static calculation and record of one phase."""
    backend = get_backend(screening)
    start = neutral(structure)
    relaxed = backend.relax(start, f"relax {entry.phase_id}")
    static = backend.static(relaxed.structure, f"static {entry.phase_id}", after=relaxed)
    record = record_phase(
        screening,
        entry.phase_id,
        entry.source,
        entry.key,
        static.engine,
        static.structure,
        static.energy_ev_atom,
        static.uuid,
        static.folder,
        start.formula,
    )
    labels = {"phase_id": entry.phase_id}
    tags = Tags(screening, STAGE, PRIORITY, entry.key, "relaxation", labels)
    jobs = tags.calculations([*relaxed.jobs, *static.jobs])
    return Flow([*jobs, tags.record(record, PhaseDocument)], name=f"phase {entry.phase_id}")
