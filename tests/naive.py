"""Slow, obvious twins of every kernel; the fast ones are tested against these.

Sections: Ewald engine, trajectory analysis, mock VASP. Written for the reader, never for speed.
"""


# ---- convex hull


def hull_energy_by_linear_programming(formula, phases):
    """Energy (eV/atom) of the best mixture of ``(formula, eV/atom)`` phases for a composition."""
    import numpy as np
    from pymatgen.core import Composition
    from scipy.optimize import linprog

    target = Composition(formula)
    elements = sorted({e for text, _ in phases for e in Composition(text).elements})
    fractions = np.array(
        [[Composition(text).get_atomic_fraction(e) for text, _ in phases] for e in elements]
    )
    solution = linprog(
        [energy for _, energy in phases],
        A_eq=fractions,
        b_eq=[target.get_atomic_fraction(e) for e in elements],
    )
    return solution.fun
