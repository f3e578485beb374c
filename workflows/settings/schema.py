"""The screening.yaml: one file, validated before anything runs.

Every threshold of the reference funnel (Nishikawa et al., doi:10.5796/electrochemistry.25-71059)
is a default here; none is in code elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from ionsieve.workflows.settings.roles import setting


def _as_fraction(value: Any) -> Fraction:
    level = Fraction(str(value)).limit_denominator(1000)
    if not 0 < level <= 1:
        raise ValueError(f"level {value} is outside (0, 1]: give a fraction such as 1/8")
    return level


Level = Annotated[Fraction, BeforeValidator(_as_fraction), PlainSerializer(str)]


def _as_dopant(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) != 2:
        raise ValueError("give one species, or two for co-doping")
    return value


#: A species, or two for co-doping.
Dopant = Annotated[str | tuple[str, str], BeforeValidator(_as_dopant)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mothers(Section):
    """Which mother structures are read and which of them are kept."""

    files: list[str] = Field(min_length=1, description="CIF files or glob patterns")
    anions: list[str] = Field(default_factory=list, description="allowed anions; empty: any")
    n_elements: tuple[int, int] = Field((2, 6), description="fewest and most elements")
    allow_disorder: bool = Field(False, description="keep partially occupied mothers")
    merge_duplicates: bool = Field(True, description="drop structures equal to an earlier one")
    symmetry_tolerance: float = setting(
        "plans",
        0.05,
        "atoms this near to a symmetry element are moved onto it, Angstrom",
        ge=0,
        le=0.5,
    )
    charges: dict[str, list[str]] = setting(
        "plans",
        description="oxidation states by file or data block, where the file's are missing or "
        "wrong, for example {LGPS.cif: [Li+, Ge4+, P5+, S2-]}; V1=V4+ is the state of one site",
        default_factory=dict,
    )


class DopingRule(Section):
    """What may replace one host species, and at which levels."""

    host: str = Field(description="species replaced on all its sites, for example P5+ or S2-")
    dopants: list[Dopant] = Field(
        min_length=1, description="species; a list of two is co-doping, for example [Ga3+, P5+]"
    )
    levels: list[Level] | None = Field(
        None, min_length=1, description="instead of the levels of the section"
    )
    sites: list[str] = setting(
        "plans",
        description="sites of the host that are doped, by label or Wyckoff letter of the file, for "
        "example [S1, 16e]; empty: all of them, as one pool",
        default_factory=list,
    )
    pair_levels: list[tuple[Level, Level]] | None = Field(
        None,
        min_length=1,
        description="levels of co-dopants, sum up to 1, for example [[3/8, 5/8]]; "
        "null: every two levels",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> DopingRule:
        has_pairs = any(isinstance(dopant, tuple) for dopant in self.dopants)
        if self.pair_levels is not None and not has_pairs:
            raise ValueError("pair_levels without co-doping; write dopants as [[Ga3+, P5+]]")
        for pair in self.pair_levels or []:
            if sum(pair) > 1:
                raise ValueError(f"pair_levels {pair[0]} + {pair[1]} exceed 1, the whole host")
        return self


class Doping(Section):
    """The substitution rules."""

    levels: list[Level] = Field(
        default_factory=lambda: [Fraction(n, 8) for n in (1, 2, 3, 4)],
        min_length=1,
        description="fractions of the host's sites that a dopant takes",
    )
    occupancy_tolerance: float = setting(
        "plans",
        0.05,
        "how far occupancies of a disordered mother may be changed to make whole numbers of ions, "
        "per site; 0: whole ones only",
        ge=0,
        le=0.5,
    )
    mobile_sites: list[str] = setting(
        "plans",
        description="sites of the mobile ion that take vacancies and extra ions in a disordered "
        "mother, by label or Wyckoff letter; empty: all",
        default_factory=list,
    )
    rules: list[DopingRule] = Field(
        min_length=1, description="charge is balanced by vacancies of the mobile ion or extra ones"
    )


class Supercell(Section):
    """The size of the supercells the arrangements live in."""

    n_ions: int = Field(200, ge=8, description="wanted number of ions")
    tolerance: float = Field(0.35, gt=0, lt=1, description="allowed relative deviation from n_ions")


class Ewald(Section):
    """Ranking of arrangements by point-charge energy."""

    keep: int = Field(5, ge=1, description="symmetry-distinct arrangements that go on")
    method: Literal["auto", "exhaustive", "bound", "anneal"] = Field(
        "auto", description="auto, exhaustive, bound (proven) or anneal (heuristic)"
    )
    seconds: float = Field(60.0, gt=0, description="time budget per composition")
    seed: int = Field(0, description="of annealing")
    extra_ions_on: Literal["vacant_and_voids", "vacant", "voids"] = setting(
        "plans",
        "vacant_and_voids",
        "where extra mobile ions go: vacant sites of the mother, voids between its ions, or both",
    )
    min_distance: float = setting(
        "plans", 2.0, "from a void to every ion of the mother, Angstrom", gt=0
    )
    interstitial_sites: dict[str, list[tuple[float, float, float]]] = setting(
        "plans",
        description="by mother: fractional coordinates in the cell of its file to use instead of "
        "the voids that are found, completed by symmetry",
        default_factory=dict,
    )
    min_site_distance: float = setting(
        "plans", 1.0, "sites closer than this are never filled at once, Angstrom", ge=0
    )


class Relax(Section):
    """Relaxation of the kept arrangements."""

    double_relax: bool = Field(True, description="relax twice, as the basis changes with the cell")


class Hull(Section):
    """The thermodynamic gate."""

    max_e_hull_ev_atom: float = Field(
        0.1, description="compositions further above the hull are dropped"
    )
    phases: list[str] = Field(
        default_factory=list,
        description="CIF files of competing phases, added to the built-in ones",
    )


class Phonons(Section):
    """Optional phonons of the materials that passed the hull."""

    enabled: bool = Field(False, description="compute them")
    min_frequency_thz: float = Field(-0.5, description="more negative modes fail the material")


_TIMESTEP = "time step; 10 fs is too long for oxoanions and hydrogen"
_LENGTH = "length of the run, equilibration included"
_EQUILIBRATION = "discarded at the start"
_SEGMENT = "length of one restartable job"
_LOOK = "new data between two looks of the gate, rounded up to whole segments"


class MolecularDynamics(Section):
    """One molecular dynamics stage."""

    temperature_k: float = Field(300.0, gt=0, description="of the thermostat")
    timestep_fs: float = Field(gt=0, le=20, description=_TIMESTEP)
    length_ps: float = Field(gt=0, description=_LENGTH)
    equilibration_ps: float = Field(ge=0, description=_EQUILIBRATION)
    segment_ps: float = Field(gt=0, description=_SEGMENT)
    max_length_ps: float | None = Field(
        None,
        gt=0,
        description="longest run where the gate asks for more; null: twice length_ps; as "
        "length_ps: never more",
    )
    stop_early: bool = Field(
        True,
        description="end before length_ps once the whole 95 % interval lies on one side of "
        "min_sigma_s_cm, or the framework breaks",
    )
    look_ps: float = Field(gt=0, description=_LOOK)
    min_sigma_s_cm: float = Field(
        1e-3, gt=0, description="conductivity wanted at the run's temperature"
    )
    frame_fs: float = Field(
        10.0, gt=0, description="time between stored positions, rounded to whole steps"
    )
    seed: int = Field(0, description="of the starting velocities")

    @property
    def frame_interval(self) -> int:
        """Steps between stored positions."""
        return max(1, round(self.frame_fs / self.timestep_fs))

    @property
    def n_segments(self) -> int:
        """Segments of a run of the set length."""
        return math.ceil(self.length_ps / self.segment_ps - 1e-9)

    @property
    def n_segments_longest(self) -> int:
        """Segments of the longest run."""
        longest_ps = 2 * self.length_ps if self.max_length_ps is None else self.max_length_ps
        return math.floor(longest_ps / self.length_ps * self.n_segments + 1e-9)

    @model_validator(mode="after")
    def _check_lengths(self) -> MolecularDynamics:
        if self.max_length_ps is not None and self.max_length_ps < self.length_ps:
            raise ValueError(
                f"max_length_ps {self.max_length_ps:g} is below length_ps {self.length_ps:g}; "
                "raise it, or leave it out"
            )
        return self


class ShortMD(MolecularDynamics):
    """The short diagnosis."""

    timestep_fs: float = Field(10.0, gt=0, le=20, description=_TIMESTEP)
    length_ps: float = Field(100.0, gt=0, description=_LENGTH)
    equilibration_ps: float = Field(5.0, ge=0, description=_EQUILIBRATION)
    segment_ps: float = Field(25.0, gt=0, description=_SEGMENT)
    look_ps: float = Field(25.0, gt=0, description=_LOOK)
    min_sigma_s_cm: float = Field(
        1e-3, gt=0, description="conductivity at 300 K that must still seem possible"
    )


class LongMD(MolecularDynamics):
    """The long diagnosis."""

    timestep_fs: float = Field(1.0, gt=0, le=20, description=_TIMESTEP)
    length_ps: float = Field(250.0, gt=0, description=_LENGTH)
    equilibration_ps: float = Field(10.0, ge=0, description=_EQUILIBRATION)
    segment_ps: float = Field(10.0, gt=0, description=_SEGMENT)
    look_ps: float = Field(50.0, gt=0, description=_LOOK)
    max_relative_error: float = Field(
        0.5, gt=0, description="half width of the 95 % interval of D over D; larger fails"
    )


class Arrhenius(Section):
    """Further temperatures for the conductors, to reach 300 K by an Arrhenius fit."""

    temperatures_k: list[float] = Field(
        default_factory=list, description="besides the long run's own; empty: no fit"
    )


class Backend(Section):
    """The engine that computes energies and forces."""

    name: Literal["mock_vasp", "vasp"] = Field(
        "mock_vasp", description="vasp, or mock_vasp: a classical stand-in that needs no VASP"
    )
    vasp_cmd: str = Field("vasp_std", description="command line of VASP, with its MPI launcher")
    vasp_gamma_cmd: str = Field("vasp_gam", description="command line for Gamma-only runs")
    incar: dict[str, Any] = Field(default_factory=dict, description="INCAR tags to override")


def _as_walltime(value: Any) -> Any:
    # YAML 1.1 reads 12:00:00 without quotes as a number in base sixty.
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value // 3600:02d}:{value // 60 % 60:02d}:{value % 60:02d}"
    if isinstance(value, str) and not re.fullmatch(r"\d{1,3}:[0-5]\d:[0-5]\d", value):
        raise ValueError("give hours, minutes and seconds, such as '12:00:00'")
    return value


class Resources(Section):
    """What one batch job asks the scheduler for."""

    nodes: int = Field(1, ge=1, description="nodes")
    ranks: int = Field(1, ge=1, description="MPI processes in total, the same on each node")
    walltime: Annotated[str | None, BeforeValidator(_as_walltime)] = Field(
        None, description="HH:MM:SS; VASP is stopped cleanly before it and continued"
    )
    account: str | None = Field(None, description="who pays")
    queue: str | None = Field(None, description="queue or partition")

    @model_validator(mode="after")
    def _check_ranks(self) -> Resources:
        if self.ranks % self.nodes:
            raise ValueError(f"{self.ranks} ranks don't share out evenly on {self.nodes} nodes")
        return self

    @property
    def walltime_seconds(self) -> int | None:
        """The wall time in seconds."""
        if self.walltime is None:
            return None
        hours, minutes, seconds = (int(part) for part in self.walltime.split(":"))
        return 3600 * hours + 60 * minutes + seconds


#: A class of jobs of like size, each with its resources.
JobSize = Literal["small", "ranking", "relaxation", "short_md", "long_md"]


class StageResources(Section):
    """Resources of each kind of job; a small one analyses or stores, on one core."""

    small: Resources = Resources()
    ranking: Resources = Resources()
    relaxation: Resources = Resources()
    short_md: Resources = Resources()
    long_md: Resources = Resources()


class Compute(Section):
    """How the work is done on this machine or a cluster."""

    workers: int = Field(2, ge=1, description="jobs at the same time, on this machine")
    work_dir: str = Field("work", description="folder of the calculations, on this machine")
    launchpad: str | None = Field(
        None, description="FireWorks' my_launchpad.yaml; where ionsieve submit sends the jobs"
    )
    mpi_launcher: str = Field(
        "mpiexec -n {ranks}", description="starts a ranking of more than one rank"
    )
    walltime_buffer_seconds: int = Field(
        300, ge=1, description="VASP is told to stop this long before the wall time"
    )
    resources: StageResources = Field(
        StageResources(),
        description="of each kind of job: nodes, ranks (in total), walltime (HH:MM:SS, VASP is "
        "stopped cleanly before it and continued), account, queue",
    )

    @model_validator(mode="after")
    def _check_walltimes(self) -> Compute:
        for name, resources in self.resources:
            seconds = resources.walltime_seconds
            if seconds is not None and seconds < 2 * self.walltime_buffer_seconds:
                raise ValueError(
                    f"resources.{name}.walltime {resources.walltime} leaves no time for work: VASP "
                    f"stops {self.walltime_buffer_seconds} s before it (walltime_buffer_seconds)"
                )
        return self


class Screening(Section):
    """The whole screening.yaml; relative paths count from the file's folder."""

    name: str = Field("screening", description="name of this screening in the store")
    mobile_ion: str = Field("Na+", description="species that conducts")
    mothers: Mothers
    doping: Doping
    supercell: Supercell = Supercell()
    ewald: Ewald = Ewald()
    relax: Relax = Relax()
    hull: Hull = Hull()
    phonons: Phonons = Phonons()
    short_md: ShortMD = ShortMD()
    long_md: LongMD = LongMD()
    arrhenius: Arrhenius = Arrhenius()
    backend: Backend = Backend()
    store: str = Field(
        "results.sqlite",
        exclude=True,
        description="SQLite file, mongodb:// connection string, or a jobflow.yaml with a JOB_STORE",
    )
    compute: Compute = Compute()
    root: Path = Field(Path("."), exclude=True, description="folder of the file, set on reading")

    def energy_settings_hash(self) -> str:
        """Return the identity of everything that decides an energy; entries must agree in it."""
        # How VASP is started depends on the machine; what it computes doesn't.
        backend = self.backend.model_dump(mode="json", exclude={"vasp_cmd", "vasp_gamma_cmd"})
        settings = (backend, self.relax.model_dump(mode="json"))
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def resolve(self, path: str) -> Path:
        """Return a path of the config as an absolute path."""
        return (self.root / Path(path).expanduser()).resolve()
