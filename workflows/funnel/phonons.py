"""Optional phonons of a material within the hull limit: stable, and slow enough for the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.constants as const
from jobflow import CURRENT_JOB, Flow, job
from pydantic import BaseModel

from ionsieve.errors import IonSieveError
from ionsieve.workflows.backends.registry import get_backend
from ionsieve.workflows.documents.collections import column
from ionsieve.workflows.documents.raw import PhononDocument, PlanDocument
from ionsieve.workflows.funnel.candidate import Subject, neutral
from ionsieve.workflows.funnel.records import Entry
from ionsieve.workflows.funnel.relaxation import STATIC_STEPS, relaxed_structure
from ionsieve.workflows.funnel.stage import (
    Case,
    CoreHours,
    Judgement,
    Outcome,
    Stage,
    StageEstimate,
)
from ionsieve.workflows.settings.identity import settings_hash
from ionsieve.workflows.settings.schema import Screening

if TYPE_CHECKING:
    # pymatgen's phonons bring matplotlib along.
    from pymatgen.phonon.bandstructure import PhononBandStructureSymmLine


@job(output_schema=PhononDocument)
def record_phonons(
    subject: Subject, key: str, band_structure: PhononBandStructureSymmLine, phonon_uuid: str
) -> PhononDocument:
    """Return the lowest and the highest harmonic frequency; imaginary ones are negative.

    Raises
    ------
    IonSieveError
        A frequency is no number.
    """
    if not np.isfinite(band_structure.bands).all():
        raise IonSieveError(
            f"a phonon frequency of {subject.formula} is no number: a calculation broke down"
        )
    return PhononDocument(
        composition_id=subject.composition_id,
        mother_id=subject.mother_id,
        composition=subject.formula,
        min_frequency_thz=float(band_structure.bands.min()),
        max_frequency_thz=float(band_structure.bands.max()),
        provenance=subject.provenance([CURRENT_JOB.job.uuid, phonon_uuid], key),
    )


class PhononColumns(BaseModel):
    """What people see of the phonons."""

    min_frequency_thz: float | None = column(None, "lowest phonon", "THz", ".2f")
    max_frequency_thz: float | None = column(None, "highest phonon", "THz", ".2f")
    phonon_verdict: str | None = column(None, "phonons")


class PhononStage(Stage):
    """Materials refused with imaginary modes, or vibrations too fast for the time step."""

    name = "phonons"
    title = "Phonons"
    stem = "phonons"
    is_gate = True
    section = "phonons"
    document = PhononDocument
    scalars = ("min_frequency_thz", "max_frequency_thz")
    columns = PhononColumns
    size = "relaxation"
    priority = 32

    def enabled(self, screening: Screening) -> bool:
        """Return whether phonons are wanted."""
        return screening.phonons.enabled

    def key(self, case: Case) -> str:
        """Return the hash of the material and of what decides its forces."""
        return settings_hash(self.name, case.result("relax").key, case.phases.energy_key)

    def flow(self, case: Case, key: str) -> Flow:
        """Return the phonon calculation of the relaxed cell, and its record."""
        structure = neutral(relaxed_structure(case))
        phonons = get_backend(case.screening, self.size).phonons(structure, "phonons")
        record = record_phonons(case.candidate.subject, key, phonons.band_structure, phonons.uuid)
        tags = self.tags(case, key)
        jobs = tags.calculations(phonons.jobs)
        return Flow([*jobs, tags.record(record, PhononDocument)], name=self.name)

    def judge(self, case: Case, entry: Entry) -> Judgement:
        """Compare with the lowest frequency allowed, and the highest with the time step.

        A step too long for the fastest vibration, by the limit of the verdicts on runs, is found
        here before it costs a run.
        """
        # For start-up time: the analysis takes a second to import.
        from ionsieve.md_analysis.diagnosis import DEFAULT_LIMITS
        from ionsieve.md_analysis.vibrations import temperature_ratio

        lowest, highest = entry["min_frequency_thz"], entry["max_frequency_thz"]
        reasons = []
        limit = case.screening.phonons.min_frequency_thz
        if lowest < limit:
            reasons.append(f"imaginary mode at {lowest:.2f} THz, below the limit of {limit} THz")
        timestep_fs = case.screening.short_md.timestep_fs
        wavenumber, limit_ratio = highest * 1e12 / (100 * const.c), DEFAULT_LIMITS.temperature_ratio
        if (ratio := temperature_ratio(wavenumber, timestep_fs)) > limit_ratio:
            longest_fs = math.sqrt(1 - 1 / limit_ratio) / (math.pi * highest * 1e-3)
            reasons.append(
                f"fastest vibration {highest:.1f} THz: at a {timestep_fs:g} fs step its "
                f"configurational temperature is {ratio:.2f} times the kinetic one (limit "
                f"{limit_ratio:g}); set short_md.timestep_fs below {longest_fs:.1f}"
            )
        return Judgement("failed" if reasons else "passed", not reasons, tuple(reasons))

    def row(self, case: Case, outcome: Outcome) -> dict[str, Any]:
        """Return the frequencies and the answer."""
        assert outcome.judgement is not None
        return {
            "min_frequency_thz": outcome.result["min_frequency_thz"],
            "max_frequency_thz": outcome.result["max_frequency_thz"],
            "phonon_verdict": outcome.judgement.verdict,
        }

    def estimate(
        self, plan: PlanDocument, screening: Screening, cost: CoreHours
    ) -> StageEstimate | None:
        """Return the work without symmetry: each ion along three axes in both directions."""
        sizes = [composition.n_ions for composition in plan.compositions]
        hours = sum(6 * ions * cost(ions, STATIC_STEPS) for ions in sizes)
        return StageEstimate(self.name, len(sizes), 6 * sum(sizes), hours)
