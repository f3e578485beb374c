"""Raw job outputs of an imagined screening, made from the real document models."""

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
from ionsieve.md_analysis.arrhenius import ArrheniusPoint, fit_arrhenius
from ionsieve.md_analysis.stored import to_plain
from ionsieve.md_analysis.van_hove import radial_distribution, van_hove
from ionsieve.workflows.documents.raw import (
    Arrangement,
    CompositionDocument,
    ConductorDocument,
    HullDocument,
    MaterialDocument,
    MotherDocument,
    PhaseDocument,
    PlanDocument,
    Provenance,
    RankingDocument,
    RejectedMother,
    RelaxedArrangement,
    Substitution,
    TransportDocument,
)
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


def screening(folder, **changes):
    """Return settings whose store lies in ``folder``."""
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


def analysis(diffusivity_cm2_s, verdict):
    """Return the stored analysis of a run with this diffusivity."""
    plain = walk()[1].to_dict()
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


@functools.cache
def arrhenius():
    """Return the stored fit of a barrier of 0.21 eV."""
    law = {t: 1e-3 * math.exp(-0.21 / (8.617e-5 * t)) for t in (500.0, 700.0, 900.0)}
    points = [ArrheniusPoint(t, d, (0.8 * d, 1.3 * d)) for t, d in law.items()]
    return to_plain(fit_arrhenius(points))


@dataclass
class Writer:
    """Writes documents as jobflow does, with a clock that moves on by one minute per job."""

    job_store: object
    name: str = "imagined"
    clock: itertools.count = field(default_factory=itertools.count)

    def write(self, document, stage, flow_key, label=None, uuid=None, index=1):
        uuid = uuid or str(uuids.uuid4())
        metadata = {
            "screening": self.name,
            "stage": stage,
            "flow_key": flow_key,
            "document": type(document).__name__,
        }
        if hasattr(document, "composition_id"):
            metadata |= {
                "composition_id": document.composition_id,
                "mother_id": document.mother_id,
            }
        if label:
            metadata["phase_id"] = label
        self.job_store.update(
            {
                "uuid": uuid,
                "index": index,
                "name": f"{stage}: job",
                "hosts": [],
                "completed_at": (START + timedelta(minutes=next(self.clock))).isoformat(),
                "metadata": metadata,
                "output": document,
            }
        )
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


class Imagined:
    """Takes compositions through the funnel with numbers drawn from a seed."""

    def __init__(self, job_store, name="imagined", seed=0):
        self.writer = Writer(job_store, name)
        self.random = np.random.default_rng(seed)
        self.uuids = {}

    def plan(self):
        self.writer.write(plan(), "plan", "plan-1")

    def phases(self):
        for phase_id, formula in (("Na2S-Fm-3m", "Na2S"), ("Na3SbS4-cubic", "Na3SbS4")):
            document = PhaseDocument(
                phase_id=phase_id,
                formula=formula,
                structure=STRUCTURE.as_dict(),
                energy_ev_atom=-4.0,
                source="prototype",
                provenance=provenance(),
            )
            self.writer.write(document, "phase", f"phase-{phase_id}", label=phase_id)

    def rank(self, composition, key="relax-1", n=5):
        document = RankingDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition,
            method="bound",
            certified=True,
            n_arrangements=composition.n_arrangements,
            n_covered=composition.n_arrangements,
            seconds=0.2,
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
        return self.writer.write(document, "rank", f"{key}-{composition.composition_id}")

    def relax(self, composition, ranking_uuid="", key="relax-1", energy=-4.1):
        document = MaterialDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            structure=STRUCTURE.as_dict(),
            energy_ev_atom=energy,
            n_ions=composition.n_ions,
            density_g_cm3=2.8,
            volume_change=-0.021,
            ewald_rank=2,
            candidates=[
                RelaxedArrangement(rank=1, ewald_energy_ev=-3139.5, energy_ev_atom=energy + 0.01),
                RelaxedArrangement(rank=2, ewald_energy_ev=-3139.2, energy_ev_atom=energy),
                RelaxedArrangement(rank=3, ewald_energy_ev=-3138.9, reason="SCF diverged"),
            ],
            provenance=provenance(ranking_uuid),
        )
        return self.writer.write(document, "relax", f"{key}-{composition.composition_id}")

    def hull(self, composition, e_hull, key="md-1"):
        passed = e_hull <= 0.1
        document = HullDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            e_hull_ev_atom=e_hull,
            formation_energy_ev_atom=-1.2,
            decomposition={"Na2S-Fm-3m": 0.4, "Na3SbS4-cubic": 0.6},
            n_phases=14,
            missing_phases=["WS3"] if "W" in composition.formula else [],
            is_lower_bound="W" in composition.formula,
            max_e_hull_ev_atom=0.1,
            passed=passed,
            reasons=[] if passed else [f"{e_hull:.3f} eV/atom above the hull, limit 0.1"],
            provenance=provenance(),
        )
        return self.writer.write(document, "hull", f"{key}-{composition.composition_id}")

    def transport(self, composition, stage, sigma, key="md-1", verdict="diffusing"):
        passed = sigma >= 1e-3 and verdict == "diffusing"
        diffusivity = sigma * 2.4e-6 / 1e-3
        document = TransportDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            stage=stage,
            temperature_k=300.0,
            timestep_fs=10.0 if stage == "short_md" else 1.0,
            length_ps=95.0 if stage == "short_md" else 240.0,
            run_length_ps=100.0 if stage == "short_md" else 250.0,
            end_reason="length",
            looks=[],
            verdict=verdict,
            reasons=[],
            diffusivity_cm2_s=diffusivity,
            diffusivity_ci95_cm2_s=(0.7 * diffusivity, 1.4 * diffusivity),
            sigma_ne_s_cm=sigma,
            sigma_ne_ci95_s_cm=(0.7 * sigma, 1.4 * sigma),
            haven_ratio=0.6,
            analysis=analysis(diffusivity, verdict),
            mechanism=mechanism(),
            passed=passed,
            gate_reasons=[] if passed else [f"sigma {sigma:.1e} S/cm is below 1e-03 S/cm"],
            segment_uuids=["segment-1"],
            provenance=provenance("segment-1"),
        )
        return self.writer.write(document, stage, f"{key}-{composition.composition_id}")

    def conclude(self, composition, sigma, key="md-1"):
        document = ConductorDocument(
            composition_id=composition.composition_id,
            mother_id=composition.mother_id,
            composition=composition.formula,
            temperature_k=300.0,
            sigma_ne_s_cm=sigma,
            sigma_ne_ci95_s_cm=(0.7 * sigma, 1.4 * sigma),
            sigma_300k_s_cm=sigma,
            sigma_300k_ci95_s_cm=(0.7 * sigma, 1.4 * sigma),
            activation_energy_ev=0.21,
            activation_energy_ci95_ev=(0.17, 0.25),
            arrhenius=arrhenius(),
            provenance=provenance(),
        )
        return self.writer.write(document, "conductor", f"{key}-{composition.composition_id}")

    def run(self, n=None):
        """Take the first ``n`` compositions as far as their numbers let them go."""
        self.plan()
        self.phases()
        for composition in compositions()[:n]:
            ranking = self.rank(composition)
            self.relax(composition, ranking)
            e_hull = float(self.random.gamma(2.0, 0.03))
            self.hull(composition, e_hull)
            if e_hull > 0.1:
                continue
            truth = 10 ** self.random.normal(-2.7, 0.5)
            short = float(truth * 10 ** self.random.normal(0.1, 0.15))
            long = float(truth * 10 ** self.random.normal(0.0, 0.1))
            self.transport(composition, "short_md", short)
            if short < 1e-3:
                continue
            self.transport(composition, "long_md", long)
            if long >= 1e-3:
                self.conclude(composition, long)


def is_close(left, right):
    """Tell whether two numbers agree, None with None only."""
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-12)
