"""Schema of the collections people query; built from raw job outputs by the builders.

One class per collection. Scalars are flat so that they can be queried and sorted; titles, units and
formats of the fields are what tables and reports print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from ionsieve.workflows.documents.raw import Document, StructureDict


def column(
    default: Any,
    title: str,
    unit: str = "",
    form: str = "",
    about: str = "",
    *,
    interval: bool = False,
    bound: str = "",
    measured_if: Mapping[str, list[str]] | None = None,
) -> Any:
    """Return a pydantic field that knows how it is printed.

    Parameters
    ----------
    interval
        Fields of the same name with ``_lo`` and ``_hi`` hold its 95 % interval.
    bound
        Field that says whether it is a lower bound only.
    measured_if
        Field -> its values with which this is a measurement; otherwise it is a bound, or means
        nothing.
    """
    extra: Any = {"unit": unit, "form": form}
    if interval:
        extra["interval"] = True
    if bound:
        extra["bound"] = bound
    if measured_if:
        extra["measured_if"] = {name: list(values) for name, values in measured_if.items()}
    return Field(default, title=title, description=about or None, json_schema_extra=extra)


class Source(Document):
    """The raw job output a built document took its numbers from."""

    uuid: str
    index: int
    completed_at: str
    input_uuids: list[str] = Field(default_factory=list)
    settings_hash: str = ""
    backend: str = ""
    versions: dict[str, str] = Field(default_factory=dict)


class BuiltDocument(Document):
    """Base of all built documents.

    ``document_id`` is unique over all screenings that share a store; ``provenance`` maps each
    source to the job that made it; ``source_hash`` says whether a rebuild would change anything.
    """

    document_id: str
    screening: str
    last_updated: str = Field("", description="when the newest source was completed, ISO format")
    source_hash: str = ""
    provenance: dict[str, Source] = Field(default_factory=dict)


class BuiltMother(BuiltDocument):
    """One structure read from the mothers' files, accepted or not."""

    mother_id: str | None = column(None, "mother")
    accepted: bool = column(False, "accepted")
    reason: str = column("", "rejected because")
    formula: str = column("", "formula")
    space_group: str | None = column(None, "space group")
    n_elements: int | None = column(None, "elements")
    mobile_ion: str | None = column(None, "mobile ion")
    anions: list[str] = column([], "anions")
    is_ordered: bool | None = column(None, "ordered")
    oxidation_source: str | None = column(None, "oxidation states from")
    database_code: str | None = column(None, "database code")
    source_file: str = column("", "file")
    source_block: str = column("", "data block")
    energy_ev_atom: float | None = column(None, "energy", "eV/atom", ".4f")
    n_compositions: int = column(0, "compositions")
    notes: list[str] = column([], "notes", about="what was guessed or changed in reading the file")
    structure: StructureDict | None = None
    cell_from_file: list[list[float]] | None = None


class CompositionFields(BuiltDocument):
    """What a composition is; the head of several collections."""

    composition_id: str = column("", "composition")
    mother_id: str = column("", "mother")
    formula: str = column("", "formula", about="reduced formula")
    host_formula: str = column("", "formula per mother unit")
    hosts: list[str] = column([], "replaced", about="species replaced")
    dopants: list[str] = column([], "dopants")
    levels: list[str] = column([], "levels", about="fraction of the host's sites, per dopant")
    doping_level: float = column(
        0.0, "level", "", ".4g", "replaced fraction of the host's sites, all dopants"
    )
    n_ions: int = column(0, "ions", about="ions in the doped supercell")
    n_mobile_removed: int = column(0, "vacancies", about="mobile-ion vacancies made")
    n_mobile_added: int = column(0, "extra ions", about="mobile ions added on interstitials")
    log10_n_arrangements: float = column(0.0, "log10 of arrangements", "", ".2f")


class BuiltComposition(CompositionFields):
    """One planned composition and where it stands."""

    state: str = column("waiting", "state")
    stage_reached: str = column("plan", "last stage finished")
    passages: dict[str, str] = Field(
        default_factory=dict, description="stage -> what became of it there"
    )
    reason: str = column("", "reason", about="why it stopped: gate's verdict or failure")
    failure: str = column("", "failure", about="error of the failed job, also if others went on")
    passed: bool = column(False, "passed", about="passed all gates")
    n_arrangements: str = column("", "arrangements", about="exact count, as text")


class BuiltArrangement(BuiltDocument):
    """One ranked arrangement of one composition."""

    composition_id: str = column("", "composition")
    mother_id: str = column("", "mother")
    formula: str = column("", "formula")
    rank: int = column(0, "rank", about="1 is the lowest in point-charge energy")
    ewald_energy_ev: float = column(0.0, "Ewald energy", "eV", ".6f")
    above_lowest_ev: float = column(0.0, "above the lowest", "eV", ".4f")
    degeneracy: int = column(0, "degeneracy")
    method: str = column("", "method")
    certified: bool = column(False, "certified", about="proven lowest of the full space")
    n_arrangements: str = column("", "of")
    n_covered: str = column("", "covered")
    energy_ev_atom: float | None = column(None, "relaxed energy", "eV/atom", ".5f")
    selected: bool = column(False, "selected", about="lowest after relaxation")
    reason: str = column("", "failed because")
    structure: StructureDict | None = None


class BuiltMaterial(CompositionFields):
    """The lowest relaxed arrangement of one composition, with its hull energy once known."""

    energy_ev_atom: float = column(0.0, "energy", "eV/atom", ".5f")
    e_hull_ev_atom: float | None = column(
        None, "E hull", "eV/atom", ".4f", bound="e_hull_is_lower_bound"
    )
    e_hull_is_lower_bound: bool = column(False, "lower bound", about="competing phases missing")
    density_g_cm3: float | None = column(None, "density", "g/cm³", ".3f")
    volume_change: float = column(0.0, "volume change on relaxing", "", "+.1%")
    ewald_rank: int = column(0, "Ewald rank")
    n_relaxed: int = column(0, "arrangements relaxed")
    n_failed: int = column(0, "relaxations failed")
    structure: StructureDict | None = None


class ConductorFields(CompositionFields):
    """What stands before the columns of the stages in the collection of conductors."""

    state: str = column("", "state")
    stage_reached: str = column("hull", "last stage finished")
    passed: bool = column(False, "passed", about="went through all gates")
    reasons: list[str] = column([], "reasons", about="of the last gate")
    uuids: list[str] = column([], "jobs", about="uuids of the jobs behind the numbers")


class BuiltPhase(BuiltDocument):
    """One competing phase: computed, or failed with its reason."""

    phase_id: str = column("", "phase")
    formula: str = column("", "formula")
    state: Literal["computed", "failed"] = column("computed", "state")
    reason: str = column("", "reason")
    energy_ev_atom: float | None = column(None, "energy", "eV/atom", ".5f")
    origin: str = column("", "starting structure from")


def printed_as(model: type[BaseModel], field: str) -> tuple[str, str, str]:
    """Return title, unit and format specification of a field."""
    info = model.model_fields[field]
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return info.title or field, str(extra.get("unit", "")), str(extra.get("form", ""))
