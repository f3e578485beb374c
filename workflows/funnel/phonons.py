"""Optional phonons of a material within the hull limit: stable, and slow enough for the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import scipy.constants as const
from jobflow import CURRENT_JOB, Flow, Job, Response, job
from pymatgen.core import Structure

from ionsieve.md_analysis.diagnosis import DEFAULT_LIMITS
from ionsieve.md_analysis.vibrations import temperature_ratio
from ionsieve.workflows.documents.raw import PhononDocument
from ionsieve.workflows.funnel.candidate import Candidate, neutral

if TYPE_CHECKING:
    # pymatgen's phonons bring matplotlib along.
    from pymatgen.phonon.bandstructure import PhononBandStructureSymmLine


@job(output_schema=PhononDocument)
def phonon_gate(
    candidate: Candidate,
    structure: Structure,
    band_structure: PhononBandStructureSymmLine,
    phonon_uuid: str,
) -> Response:
    """Judge the harmonic frequencies and, where they allow it, add the short diagnosis.

    A step too long for the fastest vibration, by the limit of the verdicts on runs, is found here
    before it costs a run.
    """
    # The order of the funnel imports this module.
    from ionsieve.workflows.funnel.order import after_phonons

    lowest, highest = float(band_structure.bands.min()), float(band_structure.bands.max())
    reasons = []
    limit = candidate.screening.phonons.min_frequency_thz
    if lowest < limit:
        reasons.append(f"imaginary mode at {lowest:.2f} THz, below the limit of {limit} THz")
    timestep_fs = candidate.screening.short_md.timestep_fs
    wavenumber, limit_ratio = highest * 1e12 / (100 * const.c), DEFAULT_LIMITS.temperature_ratio
    if (ratio := temperature_ratio(wavenumber, timestep_fs)) > limit_ratio:
        longest_fs = math.sqrt(1 - 1 / limit_ratio) / (math.pi * highest * 1e-3)
        reasons.append(
            f"fastest vibration {highest:.1f} THz: at a {timestep_fs:g} fs step its "
            f"configurational temperature is {ratio:.2f} times the kinetic one (limit "
            f"{limit_ratio:g}); set short_md.timestep_fs below {longest_fs:.1f}"
        )
    document = PhononDocument(
        composition_id=candidate.composition.composition_id,
        mother_id=candidate.mother.mother_id,
        composition=candidate.composition.formula,
        min_frequency_thz=lowest,
        max_frequency_thz=highest,
        passed=not reasons,
        reasons=reasons,
        provenance=candidate.provenance([CURRENT_JOB.job.uuid, phonon_uuid]),
    )
    if reasons:
        return Response(output=document)
    return Response(output=document, addition=after_phonons(candidate, structure, highest))


def phonon_flow(candidate: Candidate, structure: Structure) -> Flow:
    """Return the phonon calculation of the relaxed cell, and its gate."""
    phonons = candidate.backend("phonons").phonons(neutral(structure))
    last = phonons.jobs[-1]
    assert isinstance(last, Job)
    gate = phonon_gate(candidate, structure, last.output.phonon_bandstructure, last.uuid)
    for job_, _ in phonons.iterflow():
        candidate.tag(job_, "phonons")
    return Flow([phonons, candidate.tag(gate, "phonons", PhononDocument)], name="phonons")
