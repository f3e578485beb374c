"""What a CIF block says of its crystal besides the atoms, held against what was read."""

from __future__ import annotations

import re
from dataclasses import dataclass

import gemmi
import numpy as np
from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure

from ionsieve.workflows.planning.cif_symmetry import first

#: Relative differences that rounding and thermal expansion explain.
VOLUME_TOLERANCE = 0.01
DENSITY_TOLERANCE = 0.05
AMOUNT_TOLERANCE = 0.02

#: (u / A^3) in g/cm3.
_DENSITY_UNIT = 1.66053906660


@dataclass(frozen=True)
class Facts:
    """Redundant facts of a block; None or empty where it says nothing.

    Attributes
    ----------
    formula : Composition or None
        Of the sum formula, or of the moieties.
    formula_text : str
    rounding : float
        Half a unit of the last digit of the formula's amounts.
    n_units : float or None
        Formula units per cell (Z).
    density_g_cm3, volume_a3, weight : float or None
    """

    formula: Composition | None
    formula_text: str
    rounding: float
    n_units: float | None
    density_g_cm3: float | None
    volume_a3: float | None
    weight: float | None

    @property
    def decide_contents(self) -> bool:
        """Whether the number of atoms in the cell can be checked."""
        return self.density_g_cm3 is not None or (
            self.n_units is not None and (self.formula is not None or self.weight is not None)
        )


def read_facts(tags: dict[str, list[str]]) -> tuple[Facts, list[str]]:
    """Return the facts of a block, and notes on those that can't be used."""
    notes = []
    formula, text = None, ""
    for tag in ("_chemical_formula_sum", "_chemical_formula_moiety"):
        text = first(tags, [tag])
        if not text:
            continue
        formula = _formula(text)
        if formula is not None:
            break
        notes.append(f"formula '{text}' can't be read and is not checked")
    decimals = [len(d) for d in re.findall(r"\.(\d+)", text)]
    return (
        Facts(
            formula,
            text if formula is not None else "",
            0.5 * 10.0 ** -max(decimals) if decimals else 0.0,
            _value(tags, "_cell_formula_units_z"),
            _value(tags, "_exptl_crystal_density_diffrn"),
            _value(tags, "_cell_volume"),
            _value(tags, "_chemical_formula_weight"),
        ),
        notes,
    )


def _value(tags: dict[str, list[str]], tag: str) -> float | None:
    value = float(gemmi.cif.as_number(first(tags, [tag]) or "?"))
    return value if np.isfinite(value) and value > 0 else None


def _formula(text: str) -> Composition | None:
    """Return the composition of a sum formula or of moieties ('C12 H16, 2(H2 O)')."""
    total = Composition()
    try:
        for part in text.replace(";", ",").split(","):
            match = re.fullmatch(r"(\d+(?:\.\d+)?)?\s*\((.*)\)\s*(\d*)", part.strip())
            before, inside, after = match.groups() if match else ("", part, "")
            body = re.sub(r"(?<=\s)\d*[+-](?=\s|$)", "", inside)
            body = re.sub(r"\b([DT])(?=[\d.\s]|$)", "H", body)
            piece = Composition(body.replace(" ", ""))
            total += piece * (float(before or 1) * float(after or 1))
    except (ValueError, TypeError):
        return None
    return total if total.num_atoms > 0 else None


def problems(facts: Facts, structure: Structure) -> list[str]:
    """Return every contradiction between the facts and a structure, one line each."""
    content = structure.composition.element_composition
    found = []
    if facts.volume_a3 and abs(structure.volume / facts.volume_a3 - 1) > VOLUME_TOLERANCE:
        found.append(
            f"the cell's lengths and angles give {structure.volume:.2f} A^3, the file says "
            f"{facts.volume_a3:.2f} A^3"
        )
    if facts.formula is not None:
        found += _amount_problem(facts, content)
    if not found:
        found += _contents_problem(facts, content)
    if facts.density_g_cm3:
        density = content.weight * _DENSITY_UNIT / structure.volume
        if abs(density / facts.density_g_cm3 - 1) > DENSITY_TOLERANCE:
            found.append(
                f"its atoms make {density:.2f} g/cm3, the file says {facts.density_g_cm3:g} g/cm3"
            )
    return found


def _amount_problem(facts: Facts, content: Composition) -> list[str]:
    """Compare the share of each element, relative to what the formula says of it."""
    formula = facts.formula
    assert formula is not None
    elements = {*formula.elements, *content.elements}
    # Z, or the scale that most elements agree on, tells too few of one from too many of another.
    ratios = sorted(float(content[e] / formula[e]) for e in formula.elements)
    median = ratios[len(ratios) // 2] or float(content.num_atoms / formula.num_atoms)
    agreeing = [r for r in ratios if abs(r / median - 1) <= AMOUNT_TOLERANCE]
    is_sure = len(agreeing) > 1
    scale = median
    if facts.n_units and any(abs(r / facts.n_units - 1) <= AMOUNT_TOLERANCE for r in ratios):
        scale, is_sure = facts.n_units, True
    wrong = []
    for element in sorted(elements, key=str):
        expected, found = formula[element] * scale, content[element]
        allowed = AMOUNT_TOLERANCE * max(expected, found) + facts.rounding * scale
        if abs(found - expected) > allowed + 1e-9:
            wrong.append((str(element), found, expected))
    if not wrong:
        return []
    few = all(found < expected for _, found, expected in wrong)
    many = all(found > expected for _, found, expected in wrong)
    verdict = "atoms are missing" if few else "there are too many atoms" if many else ""
    verdict = verdict if is_sure else ""
    amounts = ", ".join(f"{e} {n:.4g} instead of {m:.4g}" for e, n, m in wrong)
    return [
        f"its atoms make up {content.reduced_formula}, its formula says {facts.formula_text}: "
        f"{amounts}{': ' + verdict if verdict else ''}"
    ]


def _contents_problem(facts: Facts, content: Composition) -> list[str]:
    """Compare the number of formula units in the cell."""
    if facts.n_units is None:
        return []
    if facts.formula is None:
        if facts.weight is None:
            return []
        units = float(content.weight) / facts.weight
    else:
        units = float(content.num_atoms / facts.formula.num_atoms)
        factor = facts.formula.get_reduced_composition_and_factor()[1]
        # Some programs write the contents of the cell as the formula.
        if abs(units - 1) <= AMOUNT_TOLERANCE and abs(factor - facts.n_units) < 1e-6:
            return []
    if abs(units / facts.n_units - 1) <= AMOUNT_TOLERANCE:
        return []
    verdict = "atoms are missing" if units < facts.n_units else "there are too many atoms"
    return [
        f"its atoms make up {units:.3g} formula units, the file says Z = {facts.n_units:g}: "
        f"{verdict}, or the symmetry is another"
    ]
