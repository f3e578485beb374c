"""Schema of the collections people query; built from raw job outputs by the builders.

One class per collection. Scalars are flat so that they can be queried and sorted; titles, units and
formats of the fields are what tables and reports print.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ionsieve.workflows.documents.raw import Document, EndReason, StructureDict, Verdict

State = Literal[
    "waiting",
    "ranked",
    "relaxed",
    "hull_passed",
    "hull_failed",
    "short_passed",
    "short_failed",
    "long_passed",
    "long_failed",
    "conductor",
    "failed",
]
ReachedStage = Literal["plan", "rank", "relax", "hull", "short_md", "long_md", "conductor"]


def _column(default: Any, title: str, unit: str = "", form: str = "", about: str = "") -> Any:
    """Return a pydantic field that knows how it is printed."""
    return Field(
        default,
        title=title,
        description=about or None,
        json_schema_extra={"unit": unit, "form": form},
    )


class Source(Document):
    """The raw job output a built document took its numbers from."""

    uuid: str
    index: int
    completed_at: str
    input_uuids: list[str] = Field(default_factory=list)
    settings_hash: str = ""
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

    mother_id: str | None = _column(None, "mother")
    accepted: bool = _column(False, "accepted")
    reason: str = _column("", "rejected because")
    formula: str = _column("", "formula")
    space_group: str | None = _column(None, "space group")
    n_elements: int | None = _column(None, "elements")
    mobile_ion: str | None = _column(None, "mobile ion")
    anions: list[str] = _column([], "anions")
    is_ordered: bool | None = _column(None, "ordered")
    oxidation_source: str | None = _column(None, "oxidation states from")
    database_code: str | None = _column(None, "database code")
    source_file: str = _column("", "file")
    source_block: str = _column("", "data block")
    energy_ev_atom: float | None = _column(None, "energy", "eV/atom", ".4f")
    n_compositions: int = _column(0, "compositions")
    notes: list[str] = _column([], "notes", about="what was guessed or changed in reading the file")
    structure: StructureDict | None = None
    cell_from_file: list[list[float]] | None = None


class CompositionFields(BuiltDocument):
    """What a composition is; the head of several collections."""

    composition_id: str = _column("", "composition")
    mother_id: str = _column("", "mother")
    formula: str = _column("", "formula", about="reduced formula")
    host_formula: str = _column("", "formula per mother unit")
    hosts: list[str] = _column([], "replaced", about="species replaced")
    dopants: list[str] = _column([], "dopants")
    levels: list[str] = _column([], "levels", about="fraction of the host's sites, per dopant")
    doping_level: float = _column(
        0.0, "level", "", ".4g", "replaced fraction of the host's sites, all dopants"
    )
    n_ions: int = _column(0, "ions", about="ions in the doped supercell")
    n_mobile_removed: int = _column(0, "vacancies", about="mobile-ion vacancies made")
    n_mobile_added: int = _column(0, "extra ions", about="mobile ions added on interstitials")
    log10_n_arrangements: float = _column(0.0, "log10 of arrangements", "", ".2f")


class BuiltComposition(CompositionFields):
    """One planned composition and where it stands."""

    state: State = _column("waiting", "state")
    stage_reached: ReachedStage = _column("plan", "last stage finished")
    reason: str = _column("", "reason", about="why it stopped: gate's verdict or failure")
    failure: str = _column("", "failure", about="error of the failed job, also if others went on")
    passed: bool = _column(False, "passed", about="passed all gates")
    n_arrangements: str = _column("", "arrangements", about="exact count, as text")


class BuiltArrangement(BuiltDocument):
    """One ranked arrangement of one composition."""

    composition_id: str = _column("", "composition")
    mother_id: str = _column("", "mother")
    formula: str = _column("", "formula")
    rank: int = _column(0, "rank", about="1 is the lowest in point-charge energy")
    ewald_energy_ev: float = _column(0.0, "Ewald energy", "eV", ".6f")
    above_lowest_ev: float = _column(0.0, "above the lowest", "eV", ".4f")
    degeneracy: int = _column(0, "degeneracy")
    method: str = _column("", "method")
    certified: bool = _column(False, "certified", about="proven lowest of the full space")
    n_arrangements: str = _column("", "of")
    n_covered: str = _column("", "covered")
    energy_ev_atom: float | None = _column(None, "relaxed energy", "eV/atom", ".5f")
    selected: bool = _column(False, "selected", about="lowest after relaxation")
    reason: str = _column("", "failed because")
    structure: StructureDict | None = None


class BuiltMaterial(CompositionFields):
    """The lowest relaxed arrangement of one composition, with its hull energy once known."""

    energy_ev_atom: float = _column(0.0, "energy", "eV/atom", ".5f")
    e_hull_ev_atom: float | None = _column(None, "E hull", "eV/atom", ".4f")
    density_g_cm3: float = _column(0.0, "density", "g/cm³", ".3f")
    volume_change: float = _column(0.0, "volume change on relaxing", "", "+.1%")
    ewald_rank: int = _column(0, "Ewald rank")
    n_relaxed: int = _column(0, "arrangements relaxed")
    n_failed: int = _column(0, "relaxations failed")
    structure: StructureDict | None = None


class BuiltConductor(CompositionFields):
    """Everything known of one composition that reached the hull gate."""

    stage_reached: ReachedStage = _column("hull", "last stage finished")
    passed: bool = _column(False, "passed", about="passed all gates")
    reasons: list[str] = _column([], "reasons", about="of the gates, last stage reached")
    certified: bool | None = _column(None, "certified", about="Ewald ranking proven")
    energy_ev_atom: float | None = _column(None, "energy", "eV/atom", ".5f")
    volume_change: float | None = _column(None, "volume change on relaxing", "", "+.1%")

    e_hull_ev_atom: float = _column(0.0, "E hull", "eV/atom", ".4f")
    e_hull_is_lower_bound: bool = _column(False, "lower bound", about="competing phases missing")
    formation_energy_ev_atom: float = _column(0.0, "formation energy", "eV/atom", ".4f")
    passed_hull: bool = _column(False, "passed hull")
    n_phases: int = _column(0, "phases", about="competing phases on which the hull rests")
    missing_phases: list[str] = _column([], "missing phases")
    decomposition: dict[str, float] = Field(default_factory=dict)

    passed_short: bool | None = _column(None, "passed short")
    verdict_short: Verdict | None = _column(None, "short MD")
    temperature_short_k: float | None = _column(None, "T short", "K", "g")
    length_short_ps: float | None = _column(None, "length short", "ps", ".4g")
    end_reason_short: EndReason | None = _column(None, "short MD ended")
    diffusivity_short_cm2_s: float | None = _column(None, "D short", "cm²/s", ".2e")
    diffusivity_short_cm2_s_lo: float | None = _column(None, "D short, 95 % low", "cm²/s", ".2e")
    diffusivity_short_cm2_s_hi: float | None = _column(None, "D short, 95 % high", "cm²/s", ".2e")
    sigma_short_s_cm: float | None = _column(None, "σ short", "S/cm", ".1e")
    sigma_short_s_cm_lo: float | None = _column(None, "σ short, 95 % low", "S/cm", ".1e")
    sigma_short_s_cm_hi: float | None = _column(None, "σ short, 95 % high", "S/cm", ".1e")
    haven_ratio_short: float | None = _column(None, "Haven ratio, short", "", ".2f")

    passed_long: bool | None = _column(None, "passed long")
    verdict_long: Verdict | None = _column(None, "long MD")
    temperature_long_k: float | None = _column(None, "T long", "K", "g")
    length_long_ps: float | None = _column(None, "length long", "ps", ".4g")
    end_reason_long: EndReason | None = _column(None, "long MD ended")
    diffusivity_long_cm2_s: float | None = _column(None, "D long", "cm²/s", ".2e")
    diffusivity_long_cm2_s_lo: float | None = _column(None, "D long, 95 % low", "cm²/s", ".2e")
    diffusivity_long_cm2_s_hi: float | None = _column(None, "D long, 95 % high", "cm²/s", ".2e")
    sigma_long_s_cm: float | None = _column(None, "σ long", "S/cm", ".1e")
    sigma_long_s_cm_lo: float | None = _column(None, "95 % low", "S/cm", ".1e")
    sigma_long_s_cm_hi: float | None = _column(None, "95 % high", "S/cm", ".1e")
    haven_ratio: float | None = _column(None, "Haven ratio", "", ".2f", "of the long run")

    sigma_300k_s_cm: float | None = _column(None, "σ 300 K", "S/cm", ".1e")
    sigma_300k_s_cm_lo: float | None = _column(None, "σ 300 K, 95 % low", "S/cm", ".1e")
    sigma_300k_s_cm_hi: float | None = _column(None, "σ 300 K, 95 % high", "S/cm", ".1e")
    sigma_300k_is_extrapolated: bool | None = _column(None, "extrapolated")
    activation_energy_ev: float | None = _column(None, "activation energy", "eV", ".3f")
    activation_energy_ev_lo: float | None = _column(None, "Ea, 95 % low", "eV", ".3f")
    activation_energy_ev_hi: float | None = _column(None, "Ea, 95 % high", "eV", ".3f")
    uuids: list[str] = _column([], "jobs", about="uuids of the jobs behind the numbers")


class BuiltPhase(BuiltDocument):
    """One competing phase: computed, or failed with its reason."""

    phase_id: str = _column("", "phase")
    formula: str = _column("", "formula")
    state: Literal["computed", "failed"] = _column("computed", "state")
    reason: str = _column("", "reason")
    energy_ev_atom: float | None = _column(None, "energy", "eV/atom", ".5f")
    origin: str = _column("", "starting structure from")


#: Collection name -> schema of its documents.
COLLECTIONS: dict[str, type[BuiltDocument]] = {
    "mothers": BuiltMother,
    "compositions": BuiltComposition,
    "arrangements": BuiltArrangement,
    "materials": BuiltMaterial,
    "conductors": BuiltConductor,
    "phases": BuiltPhase,
}


def printed_as(model: type[BaseModel], field: str) -> tuple[str, str, str]:
    """Return title, unit and format specification of a field."""
    info = model.model_fields[field]
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return info.title or field, str(extra.get("unit", "")), str(extra.get("form", ""))
