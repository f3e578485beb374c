"""The screening.yaml: one file, validated before anything runs.

Every threshold of the reference funnel (Nishikawa et al., doi:10.5796/electrochemistry.25-71059)
is a default here; none is in code elsewhere. A `Screening` is what jobs carry. A `ScreeningFile` is
the same with what holds on one machine only: the folder of the file, and the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ionsieve.workflows.settings.backend_section import AnyBackendSection, read_backend_section
from ionsieve.workflows.settings.compositions import Doping, DopingRule, Mothers, Supercell
from ionsieve.workflows.settings.compute import Compute, JobSize, Resources, StageResources
from ionsieve.workflows.settings.dynamics import (
    Arrhenius,
    LongMD,
    MolecularDynamics,
    ShortMD,
    check_apart,
)
from ionsieve.workflows.settings.energies import Ewald, Hull, Phonons, Relax
from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import (
    Name,
    PathText,
    Section,
    SpeciesName,
)

__all__ = [
    "Arrhenius",
    "Compute",
    "Doping",
    "DopingRule",
    "Ewald",
    "Hull",
    "JobSize",
    "LongMD",
    "MolecularDynamics",
    "Mothers",
    "Phonons",
    "Relax",
    "Resources",
    "Screening",
    "ScreeningFile",
    "Section",
    "ShortMD",
    "StageResources",
    "Supercell",
]


class Screening(Section):
    """What to screen and how; the same on every machine."""

    name: Name = setting("runs", "screening", "name of this screening in the store")
    mobile_ion: SpeciesName = setting("plans", "Na+", "species that conducts")
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
    backend: AnyBackendSection = Field(default_factory=lambda: read_backend_section({}))
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _check_temperatures(self) -> Screening:
        for temperature in self.arrhenius.temperatures_k:
            check_apart(
                temperature,
                [self.long_md.temperature_k],
                f"of arrhenius.temperatures_k is long_md.temperature_k "
                f"{self.long_md.temperature_k:g}",
            )
        return self


class ScreeningFile(Screening):
    """The whole screening.yaml; relative paths count from the file's folder.

    It stays on its machine. Jobs carry its `settings`, which know neither folder nor store.
    """

    store: PathText = setting(
        "runs",
        "results.sqlite",
        "SQLite file, mongodb:// connection string, or a jobflow.yaml with a JOB_STORE",
        exclude=True,
    )
    root: Path = setting("runs", description="folder of the file, set on reading", exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _check_root(cls, data: Any) -> Any:
        if isinstance(data, dict) and "root" not in data:
            raise ValueError(
                "a ScreeningFile without its folder: it doesn't travel; give jobs its .settings"
            )
        return data

    @property
    def settings(self) -> Screening:
        """What jobs carry: the settings without the places of this machine."""
        return Screening(**{name: getattr(self, name) for name in Screening.model_fields})

    def resolve(self, path: str) -> Path:
        """Return a path of the file as an absolute path."""
        return (self.root / Path(path).expanduser()).resolve()
