"""The sections of the stages before molecular dynamics: ranking, relaxation, hull, phonons."""

from __future__ import annotations

from typing import Literal

from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import PathText, Section

_MONTH_SECONDS = 30 * 24 * 3600.0


class Ewald(Section):
    """Ranking of arrangements by point-charge energy."""

    keep: int = setting("extends", 5, "symmetry-distinct arrangements that go on", ge=1, le=10_000)
    method: Literal["auto", "exhaustive", "bound", "anneal"] = setting(
        "computes", "auto", "auto, exhaustive, bound (proven) or anneal (heuristic)"
    )
    seconds: float = setting(
        "computes", 60.0, "time budget per composition", gt=0, le=_MONTH_SECONDS
    )
    seed: int = setting("computes", 0, "of annealing", ge=0, lt=2**32)
    extra_ions_on: Literal["vacant_and_voids", "vacant", "voids"] = setting(
        "plans",
        "vacant_and_voids",
        "where extra mobile ions go: vacant sites of the mother, voids between its ions, or both",
    )
    min_distance: float = setting(
        "plans", 2.0, "from a void to every ion of the mother, Angstrom", gt=0, le=20
    )
    interstitial_sites: dict[str, list[tuple[float, float, float]]] = setting(
        "plans",
        description="by mother: fractional coordinates in the cell of its file to use instead of "
        "the voids that are found, completed by symmetry",
        default_factory=dict,
    )
    min_site_distance: float = setting(
        "plans", 1.0, "sites closer than this are never filled at once, Angstrom", ge=0, le=20
    )


class Relax(Section):
    """Relaxation of the kept arrangements."""

    double_relax: bool = setting(
        "computes", True, "relax twice, as the basis changes with the cell"
    )


class Hull(Section):
    """The thermodynamic gate."""

    max_e_hull_ev_atom: float = setting(
        "judges", 0.1, "compositions further above the hull are dropped", ge=0, le=10
    )
    go_on_if_unknown: bool = setting(
        "judges",
        True,
        "compositions whose hull lacks known phases, or isn't covered, go on as unknown",
    )
    phases: list[PathText] = setting(
        "plans",
        description="CIF files of competing phases, added to the built-in ones",
        default_factory=list,
    )


class Phonons(Section):
    """Optional phonons of the materials that passed the hull."""

    enabled: bool = setting("judges", False, "compute them")
    min_frequency_thz: float = setting(
        "judges", -0.5, "more negative modes fail the material", ge=-100, le=0
    )
