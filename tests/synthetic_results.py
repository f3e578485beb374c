"""Raw job outputs of an imagined screening, made from the real document models.

`Imagined` follows the funnel as a run does and writes each document under the key that the next
stage asks for, so that what is shown is found as it is after a real run.
"""

from __future__ import annotations

import functools
import itertools
import math
import uuid as uuids
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from pymatgen.core import Lattice, Structure

from ionsieve.md_analysis import Trajectory, analyze
from ionsieve.md_analysis.stored import to_plain
from ionsieve.md_analysis.van_hove import radial_distribution, van_hove
from ionsieve.workflows.documents.raw import (
    Arrangement,
    CompositionDocument,
    FailureDocument,
    HullDocument,
    MaterialDocument,
    MotherDocument,
    PhaseBookDocument,
    PhaseDocument,
    PhaseEntry,
    PhononDocument,
    PlanDocument,
    Provenance,
    RankingDocument,
    RejectedMother,
    Substitution,
    TransportDocument,
)
from ionsieve.workflows.funnel.asked import new_funnel
from ionsieve.workflows.funnel.conclusion import concluded
from ionsieve.workflows.funnel.dynamics import follow_run, make_run
from ionsieve.workflows.funnel.gates import LongGate
from ionsieve.workflows.funnel.progress import follow
from ionsieve.workflows.funnel.ranking import RankStage
from ionsieve.workflows.funnel.records import stored_document
from ionsieve.workflows.funnel.relaxation import RelaxStage
from ionsieve.workflows.funnel.schedule import Schedule
from ionsieve.workflows.funnel.table import FUNNEL
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import ScreeningFile

START = datetime(2026, 1, 5, 8, 0, 0)
VERSIONS = {"ionsieve": "0.1.0", "pymatgen": "2026.10.24", "numpy": "2.4.6"}

STRUCTURE = Structure.from_spacegroup(
    "I-43m",
    Lattice.cubic(7.191),
    ["Na+", "Sb5+", "S2-"],
    [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.185, 0.185, 0.185]],
)

MOTHERS = {"Na3SbS4-cubic": ("Na3SbS4", "Sb5+"), "Na4SnS4": ("Na4SnS4", "Sn4+")}
DOPANTS = {"Sb5+": ("W6+", "Mo6+", "Sn4+", "Ge4+"), "Sn4+": ("P5+", "Sb5+", "Ta5+", "Ga3+")}
#: Competing phases: all but WS3 are known with an energy.
PHASES = {"Na2S-Fm-3m": "Na2S", "Na3SbS4-cubic": "Na3SbS4"}
ELEMENTS = ("Na", "S", "Sb", "Sn", "W", "Mo", "Ge", "P", "Ta", "Ga")
STAGES = {stage.name: stage for stage in FUNNEL}


def screening(folder, **changes):
    """Return settings whose store and mothers' files lie in ``folder``."""
    for mother_id in MOTHERS:
        path = folder / f"{mother_id}.cif"
        if not path.exists():
            path.write_text(f"data_{mother_id}\n")
    return ScreeningFile(
        **{
            "name": "imagined",
            "mothers": {"files": ["*.cif"]},
            "doping": {"rules": [{"host": "Sb5+", "dopants": ["W6+"]}]},
            "root": folder,
            **changes,
        }
    )


def provenance(*inputs):
    return Provenance(
        input_uuids=list(inputs), settings_hash="a1b2c3", backend="mock_vasp", versions=VERSIONS
    )


def curve(diffusivity_cm2_s):
    """Return the mean squared displacement of ions that rattle by 0.4 A^2 and diffuse."""
    lags = np.geomspace(0.05, 50.0, 60)
    msd = 0.4 * (1 - np.exp(-lags / 0.1)) + 6 * diffusivity_cm2_s * 1e4 * lags
    return {
        "lags_ps": lags.tolist(),
        "msd_angstrom2": msd.tolist(),
        "msd_axes_angstrom2": np.repeat(msd[:, None] / 3, 3, axis=1).tolist(),
        "fit_lags_ps": [2.0, 20.0],
        "fit_offset_angstrom2": 0.4,
    }


@functools.cache
def walk():
    """Return a random walk beside a framework, and its analysis."""
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(0, 0.1, (500, 12, 3)), axis=0)
    path[:, 6:] = 3.0 * np.arange(6)[:, None] + rng.normal(0, 0.1, (500, 6, 3))
    run = Trajectory.from_arrays(path, 18 * np.eye(3), ["Na"] * 6 + ["S"] * 6, 50.0)
    return run, analyze(run, species="Na", temperature_k=300)


@functools.cache
def _plain_walk():
    return walk()[1].to_dict()


def analysis(diffusivity_cm2_s, verdict):
    """Return the stored analysis of a run with this diffusivity."""
    plain = _plain_walk()
    ends = [0.7 * diffusivity_cm2_s, 1.4 * diffusivity_cm2_s]
    return plain | {
        "verdict": verdict,
        "diffusivity_cm2_s": diffusivity_cm2_s,
        "diffusivity_ci95_cm2_s": ends,
        "msd": curve(diffusivity_cm2_s),
    }


@functools.cache
def mechanism():
    """Return the stored surroundings and van Hove function."""
    run = walk()[0]
    return {
        "radial_distribution": to_plain(radial_distribution(run, "Na", "S")),
        "van_hove": to_plain(van_hove(run, "Na")),
    }


@dataclass
class Writer:
    """Writes documents as jobflow does, with a clock that moves on by one minute per job."""

    job_store: object
    name: str = "imagined"
    clock: itertools.count = field(default_factory=itertools.count)

    def write(self, document, stage, key, uuid=None, index=1):
        uuid = uuid or str(uuids.uuid4())
        subject = getattr(document, "composition_id", "")
        metadata = {"screening": self.name, **({"composition_id": subject} if subject else {})}
        raw = stored_document(document, uuid, key, stage, **metadata)
        raw["index"] = index
        raw["completed_at"] = (START + timedelta(minutes=next(self.clock))).isoformat()
        self.job_store.update(raw)
        return uuid


def compositions():
    """Return the compositions of the imagined plan."""
    found = []
    for mother_id, (formula, host) in MOTHERS.items():
        for dopant, level in itertools.product(DOPANTS[host], ("1/8", "1/4", "3/8", "1/2")):
            eighths = {"1/8": 1, "1/4": 2, "3/8": 3, "1/2": 4}[level]
            step = int(dopant[-2]) - int(host[-2])
            found.append(
                CompositionDocument(
                    composition_id=f"{mother_id}_{dopant[:-2]}-{level.replace('/', '_')}",
                    mother_id=mother_id,
                    formula=f"Na{24 - step * eighths}{dopant[:-2]}{eighths}S32",
                    host_formula=f"{formula}:{dopant}{level}",
                    substitutions=[
                        Substitution(host=host, dopant=dopant, level=level, count=2 * eighths)
                    ],
                    supercell_matrix=[[2, 0, 0], [0, 2, 0], [0, 0, 2]],
                    n_ions=128 - 2 * step * eighths,
                    mobile_ion="Na+",
                    n_mobile_removed=max(2 * step * eighths, 0),
                    n_mobile_added=max(-2 * step * eighths, 0),
                    n_arrangements=str(10 ** (2 * eighths) + 7),
                    log10_n_arrangements=2.0 * eighths,
                )
            )
    return found


def plan():
    """Return the imagined plan: two mothers, one rejected file, 32 compositions."""
    return PlanDocument(
        mothers=[
            MotherDocument(
                mother_id=mother_id,
                formula=formula,
                structure=STRUCTURE.as_dict(),
                space_group="I-43m",
                n_elements=3,
                mobile_ion="Na+",
                anions=["S2-"],
                is_ordered=True,
                oxidation_source="file",
                source_file=f"{mother_id}.cif",
            )
            for mother_id, (formula, _) in MOTHERS.items()
        ],
        rejected=[
            RejectedMother(
                source_file="Li3PS4.cif", formula="Li3PS4", reason="holds no Na+, the mobile ion"
            )
        ],
        compositions=compositions(),
    )


def phase_book(plan_document):
    """Return the competing phases of a plan, and where each starts."""
    names = {**PHASES, **{f"{name}-element": name for name in ELEMENTS}}
    entries = [
        PhaseEntry(
            key=settings_hash("phase", name), phase_id=name, formula=formula, source="prototype"
        )
        for name, formula in names.items()
    ]
    return PhaseBookDocument(phases=entries, missing={"Na-S-W": ["WS3"]}), {}


class Imagined:
    """Takes compositions through the funnel with numbers drawn from a seed.

    Parameters
    ----------
    settings, job_store
        Of the screening.
    imagined_plan
        What it screens.
    """

    def __init__(self, settings, job_store, seed=0, imagined_plan=None):
        self.settings = settings
        self.writer = Writer(job_store, settings.name)
        self.random = np.random.default_rng(seed)
        self.document = imagined_plan or plan()
        self.funnel = None

    def plan(self):
        """Store what is asked for, as a run does before anything else."""
        book = phase_book(self.document)
        self.funnel = new_funnel(self.settings, self.document, self.writer.job_store, book)

    def phases(self, fail=()):
        """Store the competing phases, and why some failed."""
        for entry in self.funnel.phases.document.phases:
            if entry.phase_id in fail:
                failure = FailureDocument(
                    stage="phase", label=entry.phase_id, job="static", reason="no energy"
                )
                self.writer.write(failure, "phase", entry.key, f"failure-{entry.key}")
                continue
            document = PhaseDocument(
                phase_id=entry.phase_id,
                formula=entry.formula,
                structure=STRUCTURE.as_dict(),
                energy_ev_atom=-4.0,
                source="prototype",
                provenance=provenance(),
            )
            self.writer.write(document, "phase", entry.key)

    def case(self, composition):
        """Return a composition's case, followed by what is stored now."""
        self.funnel.records.refresh()
        case = self.funnel.cases[composition.composition_id]
        follow(case, self.funnel.stages)
        return case

    def key(self, composition, stage):
        """Return the key that a stage of one flow asks for."""
        (request,) = self.case(composition).outcomes[stage].requests
        return request.key

    def rank(self, composition, n=5):
        document = RankingDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition,
            method="bound",
            certified=True,
            n_arrangements=composition.n_arrangements,
            n_covered=composition.n_arrangements,
            seconds=0.2,
            n_kept=self.settings.ewald.keep,
            arrangement_keys=[f"{composition.composition_id}-{rank}" for rank in range(1, n + 1)],
            ewald_energies_ev=[-3139.8 + 0.3 * rank for rank in range(1, n + 1)],
            arrangements=[
                Arrangement(
                    rank=rank,
                    energy_ev=-3139.8 + 0.3 * rank,
                    degeneracy=24 * rank,
                    structure=STRUCTURE.as_dict(),
                )
                for rank in range(1, n + 1)
            ],
            provenance=provenance(),
        )
        return self.writer.write(document, "rank", RankStage().key(self.case(composition)))

    def relax(self, composition, energy=-4.1, fail=(3,)):
        """Relax what was kept; the second is the lowest, those of ``fail`` failed."""
        case = self.case(composition)
        uuid = None
        for member in RelaxStage().members(case):
            if member.rank in fail:
                self.fail(member.key, "relax", composition, "SCF diverged")
                continue
            document = MaterialDocument(
                composition_id=composition.composition_id,
                mother_id=composition.mother_id,
                composition=composition.formula,
                structure=STRUCTURE.as_dict(),
                energy_ev_atom=energy + 0.01 * abs(member.rank - 2),
                n_ions=composition.n_ions,
                density_g_cm3=2.8,
                volume_change=-0.021,
                ewald_rank=member.rank,
                ewald_energy_ev=-3139.8 + 0.3 * member.rank,
                provenance=provenance(case.result("rank").uuid),
            )
            found = self.writer.write(document, "relax", member.key)
            uuid = found if member.rank == 2 else uuid
        return uuid

    def fail(self, key, stage, composition, reason):
        """Store why the flow of a key failed."""
        label = composition.composition_id
        failure = FailureDocument(stage=stage, label=label, job=f"{stage}: vasp", reason=reason)
        self.writer.write(failure, stage, key, f"failure-{key}")

    def fail_stage(self, composition, stage, reason):
        """Store that all open flows of a stage failed."""
        for request in self.case(composition).outcomes[stage].requests:
            self.fail(request.key, stage, composition, reason)

    def hull(self, composition, e_hull, uuid=None, index=1, key=None):
        missing = self.funnel.phases.missing(composition.formula)
        document = HullDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            e_hull_ev_atom=e_hull,
            formation_energy_ev_atom=-1.2,
            decomposition={"Na2S-Fm-3m": 0.4, "Na3SbS4-cubic": 0.6},
            n_phases=14,
            missing_phases=missing,
            is_lower_bound=bool(missing),
            provenance=provenance(),
        )
        key = key or self.key(composition, "hull")
        return self.writer.write(document, "hull", key, uuid, index)

    def phonons(self, composition, lowest_thz, highest_thz=12.0):
        document = PhononDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            min_frequency_thz=lowest_thz,
            max_frequency_thz=highest_thz,
            provenance=provenance(),
        )
        return self.writer.write(document, "phonons", self.key(composition, "phonons"))

    def transport(self, composition, stage, sigma, verdict="diffusing", max_looks=99):
        """Write the looks at a run whose numbers never change, until the gate ends it."""
        for _ in range(max_looks):
            run, schedule, course = STAGES[stage].course(self.case(composition))
            if course.ended is not None:
                return course.looks[-1].entry.uuid
            uuid = self.look(composition, run, schedule, course, sigma, verdict)
        return uuid

    def look(self, composition, run, schedule, course, sigma, verdict):
        """Write the next look at a run."""
        n_frames = course.n_segments * schedule.n_frames
        diffusivity = sigma * 2.4e-6 / 1e-3
        low = 0.0 if verdict == "upper_bound" else 0.7
        document = TransportDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            stage=run.stage,
            temperature_k=run.temperature_k,
            timestep_fs=run.timestep_fs,
            length_ps=n_frames * run.frame_ps - run.equilibration_ps,
            run_length_ps=n_frames * run.frame_ps,
            verdict=verdict,
            reasons=[f"the run is {verdict}"],
            diffusivity_cm2_s=diffusivity,
            diffusivity_ci95_cm2_s=(low * diffusivity, 1.4 * diffusivity),
            relative_error=None if verdict == "upper_bound" else 0.35,
            sigma_ne_s_cm=sigma,
            sigma_ne_ci95_s_cm=(low * sigma, 1.4 * sigma),
            haven_ratio=0.6,
            analysis=analysis(diffusivity, verdict),
            mechanism=mechanism(),
            segment_uuids=["segment-1"],
            provenance=provenance("segment-1"),
        )
        return self.writer.write(document, run.stage, run.look_key(n_frames))

    def arrhenius(self, composition, temperature_k, sigma, verdict="diffusing"):
        """Write the run at one further temperature."""
        case, settings = self.case(composition), self.settings.long_md
        run = make_run(case, "arrhenius", settings, temperature_k)
        schedule = Schedule.of(settings, stop_early=False)
        gate = LongGate(0.0, settings.max_relative_error)
        while (course := follow_run(self.case(composition), run, schedule, gate)).ended is None:
            self.look(composition, run, schedule, course, sigma, verdict)

    def conclude(self, composition):
        """Conclude from what is stored, as the stage does."""
        stage, case = STAGES["conductor"], self.case(composition)
        first, others = stage._runs(case)
        entries = [first, *others]
        stored = case.records.outputs(entries)
        runs = [
            TransportDocument(**{k: v for k, v in stored[e].items() if not k.startswith("@")})
            for e in entries
        ]
        key = stage.key(case)
        document = concluded(case.candidate.subject, key, runs, [e.uuid for e in entries])
        return self.writer.write(document, "conductor", key)

    def run(self, n=None):
        """Take the first ``n`` compositions as far as their numbers let them go."""
        self.plan()
        self.phases()
        for composition in self.document.compositions[:n]:
            self.rank(composition)
            self.relax(composition)
            self.hull(composition, float(self.random.gamma(2.0, 0.03)))
            truth = 10 ** self.random.normal(-2.7, 0.5)
            for stage, off, error in (("short_md", 0.1, 0.15), ("long_md", 0.0, 0.1)):
                sigma = float(truth * 10 ** self.random.normal(off, error))
                if stage in self.case(composition).outcomes:
                    self.transport(composition, stage, sigma)
            if "conductor" in self.case(composition).outcomes:
                self.conclude(composition)


def is_close(left, right):
    """Tell whether two numbers agree, None with None only."""
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-12)
