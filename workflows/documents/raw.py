"""Schema of every document IonSieve stores; units are in the field names.

Job outputs (raw, in the job store): :class:`PlanDocument`, :class:`RankingDocument`,
:class:`MaterialDocument`, :class:`PhaseDocument`, :class:`HullDocument`,
:class:`SegmentDocument`, :class:`TransportDocument`, :class:`ConductorDocument`. The builders of
:mod:`ionsieve.workflows.results.builders` join them into the collections people query.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Packages whose versions decide a result.
_PACKAGES = ("ionsieve", "pymatgen", "atomate2", "jobflow", "custodian", "numba", "numpy")

Verdict = Literal[
    "diffusing", "upper_bound", "not_converged", "framework_unstable", "timestep_too_long"
]

#: Why a run ended: the gate's answer was settled before the set length or while extending; the set
#: length was reached and the gate asked for no more; it would ask for more than is allowed.
EndReason = Literal["decided", "length", "max_length"]


def _as_plain_dict(value: Any) -> Any:
    # jobflow decodes a stored structure to a pymatgen object before it reaches the model.
    return value.as_dict() if hasattr(value, "as_dict") else value


#: A pymatgen Structure as its dictionary.
StructureDict = Annotated[dict[str, Any], BeforeValidator(_as_plain_dict)]

_ENERGY_IDENTITY = (
    "what computed the energy: engine and version, potentials, settings; energies of one hull must "
    "agree in it"
)


class Document(BaseModel):
    """Base of all documents: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Provenance(Document):
    """Where a number comes from."""

    input_uuids: list[str] = Field(default_factory=list, description="jobs whose outputs were used")
    settings_hash: str = Field("", description="hash of the settings that decide the result")
    backend: str = ""
    versions: dict[str, str] = Field(
        default_factory=lambda: {name: version(name) for name in _PACKAGES}
    )


class MotherDocument(Document):
    """One accepted mother structure."""

    mother_id: str
    formula: str
    structure: StructureDict = Field(description="pymatgen Structure with oxidation states")
    space_group: str
    n_elements: int
    mobile_ion: str = Field(description="species, for example Na+")
    anions: list[str]
    is_ordered: bool
    oxidation_source: Literal["file", "guessed"]
    source_file: str
    source_block: str = Field("", description="data block of the CIF")
    database_code: str | None = Field(None, description="ICSD or COD number given in the file")
    cell_from_file: list[list[float]] | None = Field(
        None,
        description="3x4: takes fractional coordinates (and a 1) of the file's cell to the "
        "structure's; null: the same cell",
    )
    notes: list[str] = Field(
        default_factory=list, description="what was guessed or changed in reading the file"
    )


class RejectedMother(Document):
    """One structure that was read and not used."""

    source_file: str
    source_block: str = ""
    formula: str = ""
    reason: str


class Substitution(Document):
    """One species replaced by another on the host's sites."""

    host: str = Field(description="species replaced, for example Sb5+")
    dopant: str
    level: str = Field(description="fraction of the host's sites, for example 1/8")
    count: int = Field(description="ions in the supercell")
    sites: list[str] = Field(
        default_factory=list, description="doped sites of the host; empty: all of them"
    )


class CompositionDocument(Document):
    """One charge-neutral doped composition, defined on one supercell of its mother."""

    composition_id: str
    mother_id: str
    formula: str = Field(description="reduced formula")
    host_formula: str = Field(
        description="formula per mother formula unit, for example Na2.75W0.25Sb0.75S4"
    )
    substitutions: list[Substitution]
    supercell_matrix: list[list[int]]
    n_ions: int = Field(description="ions in the doped supercell")
    mobile_ion: str
    n_mobile_removed: int = Field(0, description="mobile-ion vacancies made")
    n_mobile_added: int = Field(0, description="extra mobile ions on interstitial sites")
    n_arrangements: str = Field(description="exact count as a decimal string: it exceeds 64 bits")
    log10_n_arrangements: float
    compensation: str = Field(
        "", description="which sites balance the charge, for example 'vacancies on Na1+Na2'"
    )
    wanted_formula: str = Field(
        "", description="as host_formula, from the file's occupancies; empty: the same"
    )
    sublattices: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="of a disordered mother: sites -> ions in the supercell, the rest is vacant",
    )
    interstitial_sites: list[tuple[float, float, float]] | None = Field(
        None, description="fractional coordinates in the mother; null: its voids"
    )
    interstitial_min_distance_angstrom: float = Field(
        2.0, description="from a void to every ion of the mother"
    )
    min_site_distance_angstrom: float = Field(
        1.0, description="sites closer than this are not filled at once"
    )
    notes: list[str] = Field(
        default_factory=list, description="occupancies of the file that were changed, and how"
    )
    merged_from: list[str] = Field(
        default_factory=list, description="the same composition reached from other mothers"
    )


class RejectedComposition(Document):
    """One doped composition that can't be made."""

    composition_id: str
    mother_id: str
    reason: str


class PlanDocument(Document):
    """What a screening will do, counted before anything runs."""

    mothers: list[MotherDocument]
    rejected: list[RejectedMother]
    compositions: list[CompositionDocument]
    rejected_compositions: list[RejectedComposition] = Field(default_factory=list)


class PhaseEntry(Document):
    """One competing phase that a screening needs, computed or not."""

    key: str = Field(description="of its PhaseDocument")
    phase_id: str
    formula: str
    source: str


class PhaseBookDocument(Document):
    """The competing phases of a screening, and what is known to be missing among them."""

    phases: list[PhaseEntry]
    missing: dict[str, list[str]] = Field(
        description="chemical system, such as Na-S-W -> known phases that can't be computed"
    )


class ScreeningDocument(Document):
    """One set of settings that was run."""

    name: str
    settings: dict[str, Any]
    plan_key: str
    phase_book_key: str


class FailureDocument(Document):
    """Why the flow of one key failed."""

    stage: str
    label: str
    job: str = Field("", description="name of the job that failed")
    reason: str
    folder: str = ""
    retriable: bool = Field(False, description="something outside ended it: may succeed next time")


class Arrangement(Document):
    """One symmetry-distinct arrangement of dopants, vacancies and extra ions."""

    rank: int = Field(description="1 is the lowest in energy")
    energy_ev: float = Field(description="point-charge Ewald energy of the supercell")
    degeneracy: int
    structure: StructureDict


class RankingDocument(Document):
    """The lowest arrangements of one composition, and how sure we are."""

    composition_id: str
    mother_id: str
    composition: CompositionDocument
    method: str
    certified: bool
    n_arrangements: str
    n_covered: str
    lower_bound_ev: float | None = None
    seconds: float
    n_kept: int = Field(description="arrangements asked for; fewer if there are no more")
    arrangement_keys: list[str] = Field(description="hash of each arrangement's structure")
    ewald_energies_ev: list[float] = Field(description="of the arrangements, ascending")
    arrangements: list[Arrangement]
    provenance: Provenance


class MaterialDocument(Document):
    """One relaxed arrangement of one composition."""

    composition_id: str
    mother_id: str
    composition: str = Field(description="reduced formula")
    structure: StructureDict = Field(description="relaxed pymatgen Structure")
    energy_ev_atom: float
    n_ions: int
    density_g_cm3: float
    volume_change: float = Field(description="relaxed over unrelaxed volume, minus one")
    ewald_rank: int = Field(description="1 is the lowest in point-charge energy")
    ewald_energy_ev: float
    energy_identity: dict[str, Any] = Field(default_factory=dict, description=_ENERGY_IDENTITY)
    provenance: Provenance


class PhaseDocument(Document):
    """One competing phase, or a mother, computed with the backend."""

    phase_id: str
    formula: str
    structure: StructureDict
    energy_ev_atom: float
    source: str = Field(description="where the starting structure comes from")
    energy_identity: dict[str, Any] = Field(default_factory=dict, description=_ENERGY_IDENTITY)
    provenance: Provenance


class HullDocument(Document):
    """Distance of one composition to the convex hull of its competing phases."""

    composition_id: str
    mother_id: str
    composition: str
    e_hull_ev_atom: float = Field(description="negative: below all competing phases")
    formation_energy_ev_atom: float
    decomposition: dict[str, float] = Field(description="phase_id -> atomic fraction")
    n_phases: int
    missing_phases: list[str] = Field(
        description="phases that could not be computed: e_hull is then a lower bound"
    )
    is_lower_bound: bool
    provenance: Provenance


class PhononDocument(Document):
    """Harmonic frequencies of one material; imaginary ones are negative."""

    composition_id: str
    mother_id: str
    composition: str
    min_frequency_thz: float
    max_frequency_thz: float
    provenance: Provenance


class SegmentDocument(Document):
    """One molecular dynamics segment; its trajectory is a blob in the additional store."""

    composition_id: str
    stage: str
    index: int = Field(description="1 for the first of the run")
    previous_uuid: str = Field(description="the segment it continues; empty for the first")
    temperature_k: float
    timestep_fs: float
    n_frames: int
    dir_name: str
    md_uuid: str
    checkpoint: dict[str, Any] = Field(description="where the run goes on, for its backend")
    trajectory: Any = Field(description="positions, in the additional store")
    provenance: Provenance


class TransportDocument(Document):
    """Analysis of a molecular dynamics run as far as it had come at one look."""

    composition_id: str
    mother_id: str
    composition: str
    stage: str
    temperature_k: float
    timestep_fs: float
    length_ps: float = Field(description="analysed: without equilibration")
    run_length_ps: float = Field(description="equilibration included")
    verdict: Verdict
    reasons: list[str]
    diffusivity_cm2_s: float
    diffusivity_ci95_cm2_s: tuple[float, float]
    relative_error: float | None = Field(None, description="half width of D's interval over D")
    sigma_ne_s_cm: float
    sigma_ne_ci95_s_cm: tuple[float, float]
    sigma_collective_s_cm: float | None = None
    haven_ratio: float | None = None
    analysis: dict[str, Any] = Field(description="the full result of md_analysis.analyze")
    mechanism: dict[str, Any] = Field(
        default_factory=dict, description="radial_distribution and van_hove of md_analysis"
    )
    segment_uuids: list[str]
    provenance: Provenance


class ConductorDocument(Document):
    """The last word on one composition that passed the long run."""

    composition_id: str
    mother_id: str
    composition: str
    temperature_k: float
    sigma_ne_s_cm: float
    sigma_ne_ci95_s_cm: tuple[float, float]
    sigma_300k_s_cm: float | None = None
    sigma_300k_ci95_s_cm: tuple[float, float] | None = None
    sigma_300k_is_extrapolated: bool = False
    sigma_300k_is_upper_bound: bool = Field(False, description="no diffusion seen near 300 K")
    activation_energy_ev: float | None = None
    activation_energy_ci95_ev: tuple[float, float] | None = None
    arrhenius: dict[str, Any] | None = Field(None, description="the fit of md_analysis.arrhenius")
    provenance: Provenance
