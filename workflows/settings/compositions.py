"""The sections that decide which compositions there are."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import (
    Level,
    PathText,
    Section,
    SpeciesName,
    check_different,
)


def _as_dopant(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) != 2:
        raise ValueError("give one species, or two for co-doping")
    return value


#: A species, or two for co-doping.
Dopant = Annotated[SpeciesName | tuple[SpeciesName, SpeciesName], BeforeValidator(_as_dopant)]
_NElements = Annotated[int, Field(ge=1, le=118)]


class Mothers(Section):
    """Which mother structures are read and which of them are kept."""

    files: list[PathText] = setting("plans", description="CIF files or glob patterns", min_length=1)
    anions: list[SpeciesName] = setting(
        "plans", description="allowed anions; empty: any", default_factory=list
    )
    n_elements: tuple[_NElements, _NElements] = setting("plans", (2, 6), "fewest and most elements")
    allow_disorder: bool = setting("plans", False, "keep partially occupied mothers")
    merge_duplicates: bool = setting("plans", True, "drop structures equal to an earlier one")
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

    @field_validator("n_elements")
    @classmethod
    def _check_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError(f"{value[0]} to {value[1]} is no range; give the smaller one first")
        return value

    @field_validator("anions")
    @classmethod
    def _check_signs(cls, value: list[str]) -> list[str]:
        for anion in value:
            if not anion.endswith("-"):
                raise ValueError(f"{anion} is no anion; give species such as S2-")
        return value


class DopingRule(Section):
    """What may replace one host species, and at which levels."""

    host: SpeciesName = setting(
        "plans", description="species replaced on all its sites, for example P5+ or S2-"
    )
    dopants: list[Dopant] = setting(
        "plans",
        description="species; a list of two is co-doping, for example [Ga3+, P5+]",
        min_length=1,
    )
    levels: list[Level] | None = setting(
        "plans", None, "instead of the levels of the section", min_length=1
    )
    pair_levels: list[tuple[Level, Level]] | None = setting(
        "plans",
        None,
        "levels of co-dopants, sum up to 1, for example [[3/8, 5/8]]; null: every two levels",
        min_length=1,
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> DopingRule:
        has_pairs = any(isinstance(dopant, tuple) for dopant in self.dopants)
        if self.pair_levels is not None and not has_pairs:
            raise ValueError("pair_levels without co-doping; write dopants as [[Ga3+, P5+]]")
        for pair in self.pair_levels or []:
            if sum(pair) > 1:
                raise ValueError(f"pair_levels {pair[0]} + {pair[1]} exceed 1, the whole host")
        check_different(self.levels or [], "level")
        return self


class Doping(Section):
    """The substitution rules."""

    levels: list[Level] = setting(
        "plans",
        description="fractions of the host's sites that a dopant takes",
        default_factory=lambda: [Fraction(n, 8) for n in (1, 2, 3, 4)],
        min_length=1,
    )
    rules: list[DopingRule] = setting(
        "plans",
        description="charge is balanced by vacancies of the mobile ion or extra ones",
        min_length=1,
    )

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, value: list[Fraction]) -> list[Fraction]:
        check_different(value, "level")
        return value


class Supercell(Section):
    """The size of the supercells the arrangements live in."""

    n_ions: int = setting("plans", 200, "wanted number of ions", ge=8, le=2000)
    tolerance: float = setting("plans", 0.35, "allowed relative deviation from n_ions", gt=0, lt=1)
