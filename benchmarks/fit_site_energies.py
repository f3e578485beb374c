"""Fit the site energies of the mock VASP to formation energies.

The mock's pair potential knows nothing of the energy it takes to make ions from elements. A
constant per element and oxidation state supplies it, found by ridge least squares over the shipped
competing phases: ``python benchmarks/fit_site_energies.py`` relaxes them with the mock, fits,
writes ``site_energies.json`` and prints the errors. Run it again when the potential changes.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure
from scipy.constants import Avogadro, e

import ionsieve.workflows.backends.mock_vasp as mock_vasp
from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.mock_vasp.potential import Ion, site_energy
from ionsieve.workflows.backends.mock_vasp.relaxation import Freedom, relax
from ionsieve.workflows.thermodynamics.competing_phases import phases_for

#: Elements of the example and its dopants; the stand-in VASP's site energies are fitted to these.
FITTED_ELEMENTS = (
    *("Na", "S", "P", "Sb", "Sn", "In", "Y", "W", "Mo", "Si", "Ge", "Ta", "Nb", "V"),
    *("Ga", "Al", "Zr", "Hf", "Ti", "Mg", "Zn", "Ca", "Cl"),
)

TARGETS = Path(__file__).with_name("formation_energies.json")
RESULT = Path(mock_vasp.__file__).with_name("site_energies.json")

MAX_FORCE_EV_ANGSTROM, MAX_STEPS = 0.01, 1000
#: Standard errors asked for (eV/atom), and the width of the prior of a site energy (eV).
ERRORS = {"measured": 0.01, "assumed": 0.02}
PRIOR_WIDTH = 20.0
EV_PER_KJ_MOL = 1e3 / (Avogadro * e)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Relaxed:
    """One crystal relaxed by the mock."""

    composition: Composition
    charges: Mapping[str, float]
    bare_energy_ev_atom: float  # without site energies
    n_steps: int
    converged: bool
    volume_ratio: float


def relaxed(structure: Structure) -> Relaxed:
    """Relax cell and ions."""
    force_field = ForceField([site.specie.symbol for site in structure])
    freedom = Freedom.from_isif(3, np.ones((len(structure), 3), dtype=bool))
    matrix = np.array(structure.lattice.matrix)
    steps = relax(force_field, structure.frac_coords, matrix, freedom, -MAX_FORCE_EV_ANGSTROM)
    *before, step = itertools.islice(steps, MAX_STEPS)
    composition = structure.composition
    charges = force_field.charges
    constant = sum(n * site_energy(Ion(s, charges[s])) for s, n in composition.as_dict().items())
    return Relaxed(
        composition=composition,
        charges=charges,
        bare_energy_ev_atom=(step.evaluation.energy_ev - constant) / len(structure),
        n_steps=len(before),
        converged=step.is_minimum,
        volume_ratio=float(abs(np.linalg.det(step.cell)) / structure.volume),
    )


class Model:
    """Energies of the relaxed phases as linear functions of the unknown site energies.

    Parameters
    ----------
    phases
        Relaxed phases; the unknowns are the whole oxidation states that occur in them.
    """

    def __init__(self, phases: Iterable[Relaxed]) -> None:
        self.lowest: dict[str, Relaxed] = {}
        for phase in sorted(phases, key=lambda phase: -phase.bare_energy_ev_atom):
            self.lowest[phase.composition.reduced_formula] = phase
        self.keys = sorted(
            {
                (symbol, round(charge))
                for phase in self.lowest.values()
                for symbol, charge in phase.charges.items()
                if charge and abs(charge - round(charge)) < 1e-9
            }
        )

    def _weights(self, symbol: str, charge: float) -> Vector:
        """Return what each unknown contributes to one ion, as the mock interpolates."""
        states = sorted([0, *(q for s, q in self.keys if s == symbol)])
        row = np.zeros(len(self.keys))
        for state in states:
            if state:
                share = np.interp(charge, states, [float(q == state) for q in states])
                row[self.keys.index((symbol, state))] = share
        return row

    def per_atom(self, phase: Relaxed) -> Vector:
        """Return what each unknown contributes to the energy per atom of a phase."""
        fractions = phase.composition.fractional_composition.as_dict()
        return np.sum(
            [x * self._weights(s, phase.charges[s]) for s, x in fractions.items()], axis=0
        )

    def reaction(self, product: str, reactants: Mapping[str, float]) -> tuple[Vector, float]:
        """Return coefficients and bare energy (eV per atom of the product) of a reaction.

        Parameters
        ----------
        product
            Formula; of several polymorphs the lowest counts.
        reactants
            Formula to number of formula units per formula unit of the product.
        """
        amounts = {product: 1.0} | {formula: -n for formula, n in reactants.items()}
        coefficients, energy = np.zeros(len(self.keys)), 0.0
        for formula, amount in amounts.items():
            phase = self.lowest[Composition(formula).reduced_formula]
            n_atoms = amount * Composition(formula).num_atoms
            coefficients = coefficients + n_atoms * self.per_atom(phase)
            energy += n_atoms * phase.bare_energy_ev_atom
        for element in Composition(product).elements:
            left = sum(n * Composition(formula)[element] for formula, n in amounts.items())
            if abs(left) > 1e-9:
                raise ValueError(f"the reaction to {product} does not balance in {element}")
        n_product = Composition(product).num_atoms
        return coefficients / n_product, energy / n_product


def targets() -> dict[str, list[tuple[str, dict[str, float], float]]]:
    """Return product, reactants and energy (eV per atom of product) of each kind of target."""
    data = json.loads(TARGETS.read_text())
    measured = [
        (
            entry["formula"],
            Composition(entry["formula"]).as_dict(),
            entry["kj_mol"] * EV_PER_KJ_MOL / Composition(entry["formula"]).num_atoms,
        )
        for entry in data["measured"]
    ]
    assumed = [
        (entry["product"], entry["reactants"], entry["ev_atom"]) for entry in data["assumed"]
    ]
    return {"measured": measured, "assumed": assumed}


def fit(model: Model) -> tuple[Vector, dict[str, Vector]]:
    """Return the site energies (eV) and the residuals (eV/atom) of each kind of target."""
    blocks = {}
    for kind, reactions in targets().items():
        rows, bare = zip(*(model.reaction(p, r) for p, r, _ in reactions), strict=True)
        blocks[kind] = np.array(rows), np.array([t for *_, t in reactions]) - np.array(bare)
    n = len(model.keys)
    a = np.vstack(
        [*(rows / ERRORS[kind] for kind, (rows, _) in blocks.items()), np.eye(n) / PRIOR_WIDTH]
    )
    b = np.concatenate([*(b / ERRORS[kind] for kind, (_, b) in blocks.items()), np.zeros(n)])
    solution = np.linalg.lstsq(a, b, rcond=None)[0]
    return solution, {kind: rows @ solution - b for kind, (rows, b) in blocks.items()}


def rms_mev(residuals: Vector) -> float:
    """Return the root mean square in meV/atom."""
    return float(np.sqrt(np.mean(residuals**2))) * 1e3


def write(model: Model, solution: Vector, residuals: Mapping[str, Vector]) -> None:
    """Write the file the mock reads."""
    measured, assumed = residuals["measured"], residuals["assumed"]
    about = (
        "Energy in eV added for each ion of an element in an oxidation state (e), linear in "
        "between; state 0 is the neutral solid and 0. Made by benchmarks/fit_site_energies.py: "
        f"{len(model.keys)} constants trained on {len(measured)} published formation energies "
        f"(error {rms_mev(measured):.1f} meV/atom) and {len(assumed)} assumed reaction energies "
        f"(error {rms_mev(assumed):.1f} meV/atom), nearly an interpolation. A mock: plausible, "
        "not predictive."
    )
    table: dict[str, dict[str, float]] = {}
    for (symbol, state), energy in zip(model.keys, solution, strict=True):
        table.setdefault(symbol, {})[str(state)] = round(float(energy), 4)
    lines = ",\n".join(f'  "{symbol}": {json.dumps(row)}' for symbol, row in table.items())
    RESULT.write_text(
        f'{{\n "sources": {json.dumps(about)},\n "energies_ev": {{\n{lines}\n }}\n}}\n'
    )
    print(about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="print, don't write")
    arguments = parser.parse_args()
    phases = {phase.phase_id: relaxed(phase.structure) for phase in phases_for(FITTED_ELEMENTS)}
    for phase_id, phase in phases.items():
        state = "" if phase.converged else "  NOT CONVERGED"
        print(f"{phase_id:20} {phase.n_steps:4} steps  V/V0 {phase.volume_ratio:.2f}{state}")
    model = Model(phases.values())
    solution, residuals = fit(model)
    for kind, values in residuals.items():
        worst = np.abs(values).max() * 1e3
        print(f"{kind}: {len(values)}, rms {rms_mev(values):.1f}, worst {worst:.1f} meV/atom")
    if not arguments.dry_run:
        write(model, solution, residuals)


if __name__ == "__main__":
    main()
