"""The collections people query, and which of their columns a table shows."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from pydantic import BaseModel, create_model

from ionsieve.errors import InputError
from ionsieve.workflows.documents.collections import (
    BuiltArrangement,
    BuiltComposition,
    BuiltDocument,
    BuiltMaterial,
    BuiltMother,
    BuiltPhase,
    ConductorFields,
)
from ionsieve.workflows.funnel import table

#: Collection -> columns of its table, unless others are asked for.
DEFAULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "mothers": ("mother_id", "formula", "space_group", "accepted", "n_compositions", "reason"),
    "compositions": ("composition_id", "formula", "dopants", "doping_level", "state", "reason"),
    "arrangements": (
        *("composition_id", "rank", "ewald_energy_ev", "above_lowest_ev", "degeneracy"),
        *("energy_ev_atom", "selected", "certified"),
    ),
    "materials": (
        *("composition_id", "formula", "energy_ev_atom", "e_hull_ev_atom", "volume_change"),
        *("ewald_rank", "n_relaxed"),
    ),
    "conductors": (
        *("composition_id", "e_hull_ev_atom", "sigma_short_s_cm", "sigma_long_s_cm"),
        *("sigma_300k_s_cm", "activation_energy_ev", "state", "verdict_long"),
    ),
    "phases": ("phase_id", "formula", "state", "energy_ev_atom", "origin", "reason"),
}


@cache
def _conductor_model(columns: tuple[type[BaseModel], ...]) -> type[BuiltDocument]:
    model: Any = create_model(
        "BuiltConductor",
        # Pydantic takes the fields of the last base first.
        __base__=(*reversed(columns), ConductorFields),
        __module__=__name__,
        __doc__="Everything known of one composition that reached the first gate.",
    )
    return cast("type[BuiltDocument]", model)


def collection_model(name: str) -> type[BuiltDocument]:
    """Return the schema of a collection's documents.

    Raises
    ------
    InputError
        There is no such collection.
    """
    models: dict[str, type[BuiltDocument]] = {
        "mothers": BuiltMother,
        "compositions": BuiltComposition,
        "arrangements": BuiltArrangement,
        "materials": BuiltMaterial,
        # Of the stages' columns, whichever stages there are.
        "conductors": _conductor_model(
            tuple(dict.fromkeys(stage.columns for stage in table.FUNNEL))
        ),
        "phases": BuiltPhase,
    }
    if name not in models:
        raise InputError(f"unknown collection '{name}'; one of {', '.join(models)}")
    return models[name]
