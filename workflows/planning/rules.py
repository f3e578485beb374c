"""Substitution rules of a screening, as lists of what sits on which host at which level."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from pymatgen.core.periodic_table import Species

from ionsieve.errors import InputError
from ionsieve.workflows.planning.disorder import Wanted
from ionsieve.workflows.planning.mothers import parse_species
from ionsieve.workflows.planning.oxidation import charge
from ionsieve.workflows.settings.schema import Doping, DopingRule


@dataclass(frozen=True)
class Doped:
    """Dopants on one host, each with its level.

    Attributes
    ----------
    host : Species
    dopants : tuple of Species
        One, or two for co-doping.
    levels : tuple of Fraction
        Shares of the host's sites.
    sites : tuple of str
        Host sites, by label or Wyckoff letter; empty: all.
    """

    host: Species
    dopants: tuple[Species, ...]
    levels: tuple[Fraction, ...]
    sites: tuple[str, ...] = ()

    @property
    def charge_per_host(self) -> Fraction:
        """Change in charge per site of the host, e."""
        changes = (
            level * Fraction(charge(dopant) - charge(self.host))
            for dopant, level in zip(self.dopants, self.levels, strict=True)
        )
        return sum(changes, Fraction(0))

    @property
    def wanted(self) -> Wanted:
        """The same as :class:`DisorderedMother` takes it."""
        shares = {str(d): x for d, x in zip(self.dopants, self.levels, strict=True)}
        return Wanted(str(self.host), shares, self.sites)

    @property
    def label(self) -> str:
        """Readable and fit for file names, for example ``Ga3+-3-8_P5+-5-8``."""
        levels = [f"{level.numerator}-{level.denominator}" for level in self.levels]
        at = "_at-" + "-".join(re.sub(r"[^A-Za-z0-9]+", "-", s) for s in self.sites)
        where = at if self.sites else ""
        if len(levels) == 1:
            return f"{self.dopants[0]}_{levels[0]}{where}"
        return "_".join(f"{d}-{x}" for d, x in zip(self.dopants, levels, strict=True)) + where


def read_rules(doping: Doping) -> list[list[Doped]]:
    """Return what the rules ask for: one list of levels per host and dopant (or pair).

    Raises
    ------
    InputError
        A species is wrong, a dopant is its host, or a cation is to replace an anion.
    """
    return [
        [
            Doped(host, dopants, levels, tuple(rule.sites))
            for levels in _levels(rule, doping, len(dopants))
        ]
        for number, rule in enumerate(doping.rules)
        for host in [parse_species(rule.host, f"doping.rules.{number}.host")]
        for dopants in _dopants(rule, host, f"doping.rules.{number}.dopants")
    ]


def _dopants(rule: DopingRule, host: Species, where: str) -> Iterator[tuple[Species, ...]]:
    for entry in rule.dopants:
        names = (entry,) if isinstance(entry, str) else entry
        dopants = tuple(parse_species(name, where) for name in names)
        for dopant in dopants:
            if dopant == host:
                raise InputError(f"{where}: {dopant} is the host itself; remove it")
            if charge(dopant) * charge(host) < 0:
                raise InputError(
                    f"{where}: {dopant} can't sit on the sites of {host}: an anion replaces anions "
                    "only, a cation cations"
                )
        if len(set(dopants)) < len(dopants):
            raise InputError(f"{where}: {dopants[0]} twice in one pair; name two species")
        yield dopants


def _levels(rule: DopingRule, doping: Doping, n_dopants: int) -> list[tuple[Fraction, ...]]:
    levels = rule.levels or doping.levels
    if n_dopants == 1:
        return [(level,) for level in levels]
    if rule.pair_levels is not None:
        return list(rule.pair_levels)
    return [(first, second) for first in levels for second in levels if first + second <= 1]
