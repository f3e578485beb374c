"""The ``backend:`` section of VASP, and how its calculations are carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import field_validator

from ionsieve.workflows.settings.backend_section import BackendSection
from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import Command

#: INCAR tags that say how the work is shared out, not what is computed.
HOW_IT_RUNS = frozenset(
    {"KPAR", "LPLANE", "LSCALAPACK", "LSCALU", "LUSENCCL", "NCORE", "NCORE_IN_IMAGE1", "NPAR"}
    | {
        "NCSHMEM",
        "NSIM",
        "LASYNC",
        "LCHARG",
        "LWAVE",
        "LVTOT",
        "LVHAR",
        "LELF",
        "LORBIT",
        "NWRITE",
        "SYSTEM",
    }
)


class VaspSettings(BackendSection):
    """The engine: VASP through atomate2's makers."""

    name: str = setting(
        "computes", "vasp", "vasp, or mock_vasp: a classical stand-in that needs no VASP"
    )
    vasp_cmd: Command = setting("runs", "vasp_std", "command line of VASP, with its MPI launcher")
    vasp_gamma_cmd: Command = setting("runs", "vasp_gam", "command line for Gamma-only runs")
    incar: dict[str, Any] = setting(
        "computes",
        description="INCAR tags to override, in all calculations",
        default_factory=dict,
    )

    @field_validator("incar")
    @classmethod
    def _check_tags(cls, tags: dict[str, Any]) -> dict[str, Any]:
        if tags:
            # pymatgen takes a second to import, and most files override nothing.
            from ionsieve.workflows.settings.incar import check_incar

            check_incar(tags)
        return tags


@dataclass(frozen=True)
class Execution:
    """How calculations are carried out; users don't choose it.

    Attributes
    ----------
    kpoints
        Mesh settings of pymatgen's input sets instead of atomate2's; None keeps those.
    potcar_spec
        Write the potentials' names only.
    custodian
        Arguments of ``custodian.Custodian``.
    phonon_cell_angstrom
        Shortest edge of the supercells in which ions are displaced.
    frozen_after_seconds
        A run that writes nothing for so long is stopped and repaired; None keeps six hours.
    n_full_records
        Thin vasprun.xml and OUTCAR of molecular dynamics to so many full steps; None writes all.
    """

    kpoints: Mapping[str, Any] | None = None
    potcar_spec: bool = False
    custodian: Mapping[str, Any] = field(default_factory=dict)
    phonon_cell_angstrom: float = 20.0
    frozen_after_seconds: float | None = None
    n_full_records: int | None = None
