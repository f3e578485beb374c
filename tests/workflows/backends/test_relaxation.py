"""Relaxation: to real minima, with what ISIF allows to move."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

import ionsieve.workflows
from ionsieve.workflows.backends.mock_vasp.force_field import ForceField
from ionsieve.workflows.backends.mock_vasp.relaxation import Freedom, relax

MOTHER_FILES = Path(ionsieve.workflows.__file__).parent / "data" / "mothers"


def rock_salt(edge=5.9, noise=0.0):
    structure = Structure.from_spacegroup(
        "Fm-3m", np.eye(3) * edge, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    if noise:
        structure.perturb(noise)
    return structure


def relaxed(structure, isif, movable=None, n_max=300, force=1e-3, pressure_kbar=0.0):
    symbols = [site.specie.symbol for site in structure]
    movable = np.ones((len(structure), 3), bool) if movable is None else movable
    force_field = ForceField(symbols)
    freedom = Freedom.from_isif(isif, movable, pressure_kbar)
    steps = []
    cell = structure.lattice.matrix.copy()
    for step in relax(force_field, structure.frac_coords.copy(), cell, freedom):
        steps.append(step)
        if step.max_force_ev_angstrom < force or len(steps) == n_max:
            break
    return steps, force_field


def test_energy_falls_to_a_minimum_from_a_distorted_start():
    steps, force_field = relaxed(rock_salt(noise=0.15), isif=3, force=1e-4)
    energies = [step.evaluation.energy_ev for step in steps]
    assert all(b < a for a, b in itertools.pairwise(energies))
    last = steps[-1]
    assert np.abs(last.evaluation.forces).max() < 2e-4
    assert np.abs(last.evaluation.stress_kbar(last.cell)).max() < 0.1
    perfect, _ = relaxed(rock_salt(), isif=3, force=1e-4)
    assert energies[-1] == pytest.approx(perfect[-1].evaluation.energy_ev, abs=1e-4)
    random = np.random.default_rng(1)
    for _ in range(5):
        shift = random.normal(scale=0.01, size=last.fractional.shape)
        assert force_field.evaluate(last.fractional + shift, last.cell).energy_ev > energies[-1]


@pytest.mark.parametrize("isif", [2, 3, 4, 5, 6, 7, 8])
def test_isif_decides_what_moves(isif):
    start = rock_salt(edge=5.4, noise=0.1)
    start.apply_strain([0.0, 0.02, 0.04])
    steps, _ = relaxed(start, isif, n_max=60)
    end = steps[-1]
    old, new = start.lattice.matrix, end.cell
    volume_ratio = abs(np.linalg.det(new) / np.linalg.det(old))
    scaled = new / volume_ratio ** (1 / 3)
    moved = np.abs(end.fractional - start.frac_coords).max() > 1e-6
    assert moved == (isif in (2, 3, 4, 8))
    # The traceless strain keeps the volume to first order in each step only.
    assert (abs(volume_ratio - 1) > 0.02) == (isif in (3, 6, 7, 8))
    assert (np.abs(scaled - old).max() > 1e-2) == (isif in (3, 4, 5, 6))


def test_fixed_ions_stay():
    start = rock_salt(noise=0.1)
    movable = np.ones((len(start), 3), bool)
    movable[0] = False
    movable[1, 2] = False
    steps, _ = relaxed(start, isif=2, movable=movable)
    cartesian = (steps[-1].fractional - start.frac_coords) @ start.lattice.matrix
    assert np.abs(cartesian[~movable]).max() < 1e-12
    assert np.abs(cartesian[movable]).max() > 1e-3


def test_pressure_is_reached():
    steps, _ = relaxed(rock_salt(), isif=3, pressure_kbar=20.0)
    stress = steps[-1].evaluation.stress_kbar(steps[-1].cell)
    assert np.diag(stress) == pytest.approx([20] * 3, abs=0.5)


#: Built from published space groups, lattices and Wyckoff positions.
MOTHERS = {
    "Na3SbS4": ("I-43m", 7.191, ["Na", "Sb", "S"], [[0.5, 0.5, 0], [0, 0, 0], [0.185] * 3]),
    "Na2S": ("Fm-3m", 6.54, ["Na", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]]),
}


@pytest.mark.parametrize("name", MOTHERS)
def test_crystals_keep_their_space_group_and_roughly_their_volume(name):
    group, edge, species, sites = MOTHERS[name]
    start = Structure.from_spacegroup(group, np.eye(3) * edge, species, sites)
    steps, _ = relaxed(start, isif=3, force=0.01)
    end = Structure(steps[-1].cell, start.species, steps[-1].fractional)
    assert SpacegroupAnalyzer(end, 0.01).get_space_group_symbol() == group
    assert end.volume == pytest.approx(start.volume, rel=0.3)


@pytest.mark.parametrize("file", sorted(MOTHER_FILES.glob("*.cif")), ids=lambda file: file.stem)
def test_example_mothers_keep_their_symmetry(file):
    start = Structure.from_file(file)
    start.remove_oxidation_states()
    before = SpacegroupAnalyzer(start, 0.01)
    steps, _ = relaxed(start, isif=3, force=0.01)
    assert steps[-1].max_force_ev_angstrom < 0.01
    end = Structure(steps[-1].cell, start.species, steps[-1].fractional)
    after = SpacegroupAnalyzer(end, 0.01)
    # Its group, or a supergroup of it.
    n_before, n_after = (len(a.get_symmetry_operations()) for a in (before, after))
    assert n_after % n_before == 0
    assert end.volume == pytest.approx(start.volume, rel=0.15)


def test_there_are_seven_example_mothers():
    assert len(list(MOTHER_FILES.glob("*.cif"))) == 7
