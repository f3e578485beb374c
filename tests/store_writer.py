"""Write documents into a store as jobs do, under the keys that a case asks for."""

import uuid as uuids
from dataclasses import dataclass, field, replace

from jobflow import JobStore
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.documents.raw import (
    HullDocument,
    MaterialDocument,
    PhaseBookDocument,
    PhaseDocument,
    PhaseEntry,
    PhononDocument,
    Provenance,
    RankingDocument,
    TransportDocument,
)
from ionsieve.workflows.funnel.asked import open_records
from ionsieve.workflows.funnel.phases import PhaseBook
from ionsieve.workflows.funnel.progress import follow
from ionsieve.workflows.funnel.records import stored_document
from ionsieve.workflows.funnel.stage import Case
from ionsieve.workflows.funnel.table import enabled_stages

SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


@dataclass
class StoreWriter:
    """A store in memory, and one candidate whose results are written into it step by step."""

    candidate: object
    job_store: JobStore = field(
        default_factory=lambda: JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    )
    phases: tuple[str, ...] = ("Na", "Cl2")

    def __post_init__(self):
        self.job_store.connect()

    def book(self, screening):
        """Return the competing phases: only the elements."""
        entries = [
            PhaseEntry(key=f"phase {name}", phase_id=name, formula=name.strip("2"), source="test")
            for name in self.phases
        ]
        document = PhaseBookDocument(phases=entries, missing={})
        return PhaseBook.of(document, screening)

    def case(self, **settings):
        """Return the case, followed through what is stored, with changed sections."""
        screening = self.candidate.screening
        changes = {
            name: getattr(screening, name).model_copy(update=values)
            for name, values in settings.items()
        }
        candidate = replace(self.candidate, screening=screening.model_copy(update=changes))
        case = Case(candidate, open_records(self.job_store), self.book(candidate.screening))
        follow(case, enabled_stages(case.screening))
        return case

    def write(self, document, stage, key, uuid=None):
        uuid = uuid or str(uuids.uuid4())
        self.job_store.update(stored_document(document, uuid, key, stage))
        return uuid

    def write_phases(self, *names):
        for name in names or self.phases:
            document = PhaseDocument(
                phase_id=name,
                formula=name.strip("2"),
                structure=SALT.as_dict(),
                energy_ev_atom=0.0,
                source="test",
                provenance=Provenance(),
            )
            self.write(document, "phase", f"phase {name}")

    def about(self):
        composition = self.candidate.composition
        return {
            "composition_id": composition.composition_id,
            "mother_id": composition.mother_id,
            "composition": composition.formula,
            "provenance": Provenance(),
        }

    def write_ranking(self, n=3, n_kept=5):
        case = self.case()
        document = RankingDocument(
            **{**self.about(), "composition": self.candidate.composition},
            method="bound",
            certified=True,
            n_arrangements=str(n),
            n_covered=str(n),
            seconds=0.1,
            n_kept=n_kept,
            arrangement_keys=[f"arrangement {number}" for number in range(1, n + 1)],
            ewald_energies_ev=[-10.0 + number for number in range(n)],
            arrangements=[
                {
                    "rank": k + 1,
                    "energy_ev": -10.0 + k,
                    "degeneracy": 1,
                    "structure": SALT.as_dict(),
                }
                for k in range(n)
            ],
        )
        stage = enabled_stages(case.screening)[0]
        return self.write(document, "rank", stage.key(case))

    def write_relaxed(self, energies, **settings):
        """Write one energy per arrangement; None: its calculation failed; missing: not yet."""
        requests = self.case(**settings).outcomes["relax"].requests
        for request, energy in zip(requests, energies, strict=False):
            if energy is None:
                self.fail(request.key)
                continue
            number = len(self.job_store.docs_store.distinct("uuid"))
            document = MaterialDocument(
                **self.about(),
                structure=SALT.as_dict(),
                energy_ev_atom=energy,
                n_ions=8,
                density_g_cm3=2.0,
                volume_change=0.0,
                ewald_rank=number,
                ewald_energy_ev=-10.0,
            )
            self.write(document, "relax", request.key)

    def fail(self, key, reason="it broke", job="relax: job"):
        records = open_records(self.job_store)
        records.note_failures(
            [FlowStatus(key, "label", "stage", "failed", 1, 0, error=reason, failed_job=job)]
        )

    def asked(self, stage, **settings):
        """Return the key of the one flow that a stage asks for."""
        (request,) = self.case(**settings).outcomes[stage].requests
        return request.key

    def write_hull(self, e_hull, missing=(), **settings):
        document = HullDocument(
            **self.about(),
            e_hull_ev_atom=e_hull,
            formation_energy_ev_atom=-1.0,
            decomposition={"Na": 0.5, "Cl2": 0.5},
            n_phases=2,
            missing_phases=list(missing),
            is_lower_bound=bool(missing),
        )
        return self.write(document, "hull", self.asked("hull", **settings))

    def write_phonons(self, lowest, highest, **settings):
        document = PhononDocument(
            **self.about(), min_frequency_thz=lowest, max_frequency_thz=highest
        )
        return self.write(document, "phonons", self.asked("phonons", **settings))

    def write_look(
        self, stage, sigma, verdict="diffusing", temperature_k=300.0, key=None, **settings
    ):
        low, value, high = sigma
        document = TransportDocument(
            **self.about(),
            stage=stage,
            temperature_k=temperature_k,
            timestep_fs=2.0,
            length_ps=90.0,
            run_length_ps=100.0,
            verdict=verdict,
            reasons=["a reason"],
            diffusivity_cm2_s=value * 1e-3,
            diffusivity_ci95_cm2_s=(low * 1e-3, high * 1e-3),
            relative_error=(high - low) / 2 / value if value else None,
            sigma_ne_s_cm=value,
            sigma_ne_ci95_s_cm=(low, high),
            analysis={},
            segment_uuids=[],
        )
        return self.write(document, stage, key or self.asked(stage, **settings))
