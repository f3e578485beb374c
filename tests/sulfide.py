"""Test case A: cubic Na3SbS4 with W on Sb and as many Na vacancies, in a 2x2x2 supercell."""

from pymatgen.core import Lattice, Structure

from ionsieve.ewald import SolidSolution


def cubic_sulfide():
    """Return cubic Na3SbS4."""
    return Structure.from_spacegroup(
        "I-43m",
        Lattice.cubic(7.1910),
        ["Na+", "Sb5+", "S2-"],
        [[0.5, 0.5, 0], [0, 0, 0], [0.185, 0.185, 0.185]],
    )


def case_a(d):
    """Return the solid solution with d of 16 Sb replaced and d of 48 Na removed."""
    rules = {"replace": {"Sb": {"W6+": d}}, "vacate": {"Na": d}}
    return SolidSolution.from_structure(cubic_sulfide(), (2, 2, 2), **rules)
