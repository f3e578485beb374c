"""Oxidation states of a crystal: from the file, from the user, or guessed and said so.

Guesses are sets of one whole state per element that make the cell neutral, ranked by how often
ICSD structures hold each state (the counts that pymatgen ships with its bond valences). Occupancies
may be fractions. Two states of one element are tried only where one can't do, and then each site
gets its own.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.core.periodic_table import DummySpecies, Element, Species
from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.planning.valence_statistics import (
    CHARGE_TOLERANCE,
    Guess,
    common_states,
    guesses,
    has_plausible_mixture,
    mixed_valences,
    species_name,
)

#: Net charge per ion that the refined occupancies of a disordered crystal may leave, e: the
#: realised composition is neutral, and the note says what the file leaves.
LOOSE_CHARGE_TOLERANCE = 0.02
#: A guess needs this share of the evidence; below it the user is asked.
MIN_CONFIDENCE = 0.75
#: Runners-up with a smaller share are not worth a word.
_MENTIONED = 0.005
#: How many times likelier a guess becomes if bond valences find the same states.
_BOND_VALENCE_ODDS = 10.0
#: Assignments of two states to sites that are tried.
_MAX_ASSIGNMENTS = 4096


class ChargeError(Exception):
    """No whole oxidation states that add up to zero; the message is the reason."""


@dataclass(frozen=True)
class Decorated:
    """A structure with whole oxidation states that add up to zero.

    Attributes
    ----------
    structure : Structure
    source : str
        ``file`` or ``guessed``; what the user gave counts as the file's.
    note : str
        The guess, its confidence and the runner-up; empty if nothing was guessed.
    """

    structure: Structure
    source: Literal["file", "guessed"]
    note: str = ""


def charge(species: Species | Element | DummySpecies) -> float:
    """Return the charge of a species in e; 0 if it has none."""
    return float(getattr(species, "oxi_state", None) or 0)


def decorate(structure: Structure, charges: Sequence[str] = ()) -> Decorated:
    """Return the structure with whole oxidation states that add up to zero.

    Parameters
    ----------
    structure : Structure
        With the file's oxidation states, if it has any.
    charges : sequence of str
        What the user says instead: ``Na+`` for all atoms of an element, ``V1=V4+`` for a site.

    Raises
    ------
    ChargeError
        States are broken, don't add up to zero, or can't be guessed with confidence.
    InputError
        ``charges`` lacks an element, or says two things of one.
    """
    if charges:
        decorated = _assign(structure, charges)
        check_states(decorated, "the charges given")
        return Decorated(decorated, "file")
    if all(isinstance(species, Species) for species in structure.composition):
        check_states(structure, "the oxidation states in the file")
        return Decorated(structure, "file")
    bare = structure.copy()
    bare.remove_oxidation_states()
    return _guessed(bare)


def check_states(structure: Structure, which: str) -> None:
    """Raise :class:`ChargeError` unless all states are whole and add up to zero."""
    for species in structure.composition:
        if not charge(species).is_integer():
            raise ChargeError(
                f"{which} give {species.symbol} an average of {charge(species):g}, which is no "
                "ion; write whole ones, site by site"
            )
    total = math.fsum(n * charge(s) for s, n in structure.composition.items())
    tolerance = CHARGE_TOLERANCE if structure.is_ordered else LOOSE_CHARGE_TOLERANCE
    if abs(total) > tolerance * structure.composition.num_atoms:
        raise ChargeError(
            f"{which} add up to {total:+.3g} e per cell, not 0: it is not neutral; correct the "
            "charges or the occupancies"
        )


def _assign(structure: Structure, charges: Sequence[str]) -> Structure:
    """Give every atom what the user says, by site before by element."""
    by_element: dict[str, Species] = {}
    by_label: dict[tuple[str, str], Species] = {}
    labels = {part for site in structure for part in (site.label or "").split("/")}
    for text in charges:
        label, equals, name = text.rpartition("=")
        species = _parse(name, text)
        if equals:
            if label not in labels:
                raise InputError(
                    f"charges: no site is called '{label}'; there are {', '.join(sorted(labels))}"
                )
            key = (label, species.symbol)
            if by_label.setdefault(key, species) != species:
                raise InputError(f"charges: site {label} is given two states; give one")
        elif by_element.setdefault(species.symbol, species) != species:
            sites = sorted(
                {site.label for site in structure if species.symbol in _symbols(site.species)}
            )
            raise InputError(
                f"charges: {by_element[species.symbol]} and {species} are both given for "
                f"{species.symbol}: name the sites, such as {sites[0]}={species}; its sites are "
                f"{', '.join(sites)}"
            )
    decorated = structure.copy()
    lacking: set[str] = set()
    for index, site in enumerate(structure):
        held: dict[Species, float] = {}
        for one, amount in site.species.items():
            parts = (site.label or "").split("/")
            given = [by_label[p, one.symbol] for p in parts if (p, one.symbol) in by_label]
            chosen = given[0] if given else by_element.get(one.symbol)
            if chosen is None:
                lacking.add(one.symbol)
                continue
            held[chosen] = held.get(chosen, 0.0) + amount
        if held:
            decorated.replace(index, held, label=site.label)
    if lacking:
        raise InputError(f"charges lack {', '.join(sorted(lacking))}: name every element")
    return decorated


def _symbols(species: Mapping[Species, float]) -> set[str]:
    return {one.symbol for one in species}


def _parse(name: str, text: str) -> Species:
    match = re.fullmatch(r"([A-Z][a-z]?)(\d*)([+-])", name.strip())
    if match is None or not Element.is_valid_symbol(match[1]):
        raise InputError(f"charges: '{text}' is not a species with a charge: write Na+ or V1=V4+")
    return Species(match[1], float(match[2] or 1) * (1 if match[3] == "+" else -1))


def _guessed(structure: Structure) -> Decorated:
    amounts = {e.symbol: float(n) for e, n in structure.composition.items()}
    found = guesses(amounts)
    if not found and not structure.is_ordered and not has_plausible_mixture(amounts):
        # Only the plainest reading of occupancies that don't add up.
        loose = guesses(amounts, LOOSE_CHARGE_TOLERANCE)
        found = [guess for guess in loose if dict(guess.states) == common_states(amounts)]
    if not found:
        return _by_site(structure, amounts)
    evidence = ""
    if found[0].confidence < MIN_CONFIDENCE:
        found, evidence = _with_bond_valences(structure, found)
    best = found[0]
    runner = ", nothing else is near"
    if len(found) > 1 and found[1].confidence >= _MENTIONED:
        runner = f", then {found[1]} ({found[1].confidence:.0%})"
    note = f"oxidation states guessed: {best} (confidence {best.confidence:.0%}{runner}){evidence}"
    if best.confidence < MIN_CONFIDENCE:
        raise ChargeError(
            f"its oxidation states can't be guessed: {best} ({best.confidence:.0%}){runner}; say "
            f"which: {_line(str(best))}"
        )
    decorated = structure.copy()
    decorated.add_oxidation_state_by_element(dict(best.states))
    check_states(decorated, "the states guessed")
    net = math.fsum(n * charge(s) for s, n in decorated.composition.items())
    if abs(net) > CHARGE_TOLERANCE * decorated.composition.num_atoms:
        note += f"; the file's occupancies leave {net:+.3g} e per cell"
    return Decorated(decorated, "guessed", note)


def _line(species: str) -> str:
    """Return what to write, where to write it."""
    return (
        f"rank --charges '{species}', mothers.charges in screening.yaml, or "
        "_atom_type_oxidation_number in the CIF"
    )


def _with_bond_valences(structure: Structure, found: list[Guess]) -> tuple[list[Guess], str]:
    """Weigh guesses anew with what bond valences say; they are evidence, not the judge."""
    valences = _bond_valences(structure)
    if valences is None:
        return found, ""
    mean = {
        symbol: np.mean([s.oxi_state for s in valences.species if s.symbol == symbol])
        for symbol, _ in found[0].states
    }
    weights = [
        guess.confidence
        * (_BOND_VALENCE_ODDS if all(abs(mean[s] - q) < 0.1 for s, q in guess.states) else 1.0)
        for guess in found
    ]
    total = sum(weights)
    again = [Guess(g.states, w / total) for g, w in zip(found, weights, strict=True)]
    again.sort(key=lambda g: -g.confidence)
    return again, ", bond valences weighed in"


def _bond_valences(structure: Structure) -> Structure | None:
    """Return the states that bond valences find site by site; None where they find none."""
    if not structure.is_ordered:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decorated = BVAnalyzer().get_oxi_state_decorated_structure(structure)
        check_states(decorated, "bond valences")
    except (ValueError, ChargeError):
        return None
    return decorated


def _by_site(structure: Structure, amounts: Mapping[str, float]) -> Decorated:
    """Give one element two states, site by site, where one state per element can't be neutral."""
    pairs = mixed_valences(amounts)
    if not pairs or not (structure.is_ordered or has_plausible_mixture(amounts)):
        raise ChargeError(_no_guess(amounts))
    _, symbol, both, others = pairs[0]
    rest = " ".join(species_name(s, q) for s, q in others)
    names = f"{species_name(symbol, both[0])} and {species_name(symbol, both[1])}"
    valences = _bond_valences(structure)
    if valences is not None and _is_mixture(valences, dict(others), symbol, both):
        note = f"oxidation states guessed: {rest} and, by bond valences, {names} site by site"
        return Decorated(valences, "guessed", note)
    labels = sorted({site.label for site in structure if symbol in _symbols(site.species)})
    fitting = []
    if 2 ** len(labels) <= _MAX_ASSIGNMENTS:
        for states in itertools.product(both, repeat=len(labels)):
            line = [species_name(s, q) for s, q in others]
            line += [
                f"{label}={species_name(symbol, q)}"
                for label, q in zip(labels, states, strict=True)
            ]
            try:
                decorated = _assign(structure, line)
                check_states(decorated, "these")
            except (ChargeError, InputError):
                continue
            fitting.append((decorated, line))
    if len(fitting) == 1:
        decorated, line = fitting[0]
        return Decorated(decorated, "guessed", f"oxidation states guessed: {' '.join(line)}")
    example = " ".join(fitting[0][1]) if fitting else f"{rest} {labels[0]}={names.split()[0]} ..."
    raise ChargeError(
        f"no single state of each element makes it neutral; {symbol} may be {names}: say which "
        f"sites are which: {_line(example)}"
    )


def _is_mixture(
    structure: Structure, others: dict[str, int], symbol: str, both: tuple[int, int]
) -> bool:
    return all(
        s.oxi_state in both if s.symbol == symbol else s.oxi_state == others[s.symbol]
        for s in structure.species
    )


def _no_guess(amounts: Mapping[str, float]) -> str:
    """Return why there is no guess: the most common states and what they leave."""
    best = common_states(amounts)
    if len(best) < 2:
        return f"{' '.join(amounts)} alone has no ions: it is no salt, so there is nothing to dope"
    names = " ".join(
        species_name(s, q) for s, q in sorted(best.items(), key=lambda i: (Element(i[0]).X, i[0]))
    )
    net = math.fsum(q * amounts[s] for s, q in best.items())
    return (
        f"no oxidation states make it neutral: {names} leave {net:+.3g} e per cell; correct the "
        f"occupancies, or say the states: {_line(names)}"
    )
