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


# ---- supercells


def most_cubic_deviation(lattice, n_cells):
    """Least distance from a cube over all supercell matrices with entries -1 to 2."""
    import itertools

    import numpy as np

    entries = np.array(list(itertools.product((-1, 0, 1, 2), repeat=9))).reshape(-1, 3, 3)
    cells = entries[np.round(np.linalg.det(entries)) == n_cells] @ lattice
    metrics = cells @ np.swapaxes(cells, 1, 2) / (n_cells * np.linalg.det(lattice)) ** (2 / 3)
    return float(np.sqrt(((metrics - np.eye(3)) ** 2).sum(axis=(1, 2))).min())


# ---- Ewald engine


def ewald_matrix(lattice, frac_coords, reach=7):
    """Site-site Ewald matrix (eV/e^2) by plain sums over a fixed block of cells."""
    import itertools

    import numpy as np
    from scipy import constants
    from scipy.special import erfc

    volume = abs(np.linalg.det(lattice))
    alpha = np.sqrt(np.pi) / volume ** (1 / 3)
    cells = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    waves = cells[cells.any(axis=1)] @ (2 * np.pi * np.linalg.inv(lattice).T)
    squares = (waves**2).sum(axis=1)
    weights = 4 * np.pi / volume * np.exp(-squares / (4 * alpha**2)) / squares
    matrix = np.zeros((len(frac_coords), len(frac_coords)))
    for i, a in enumerate(frac_coords):
        for j, b in enumerate(frac_coords):
            distances = np.linalg.norm((b - a + cells) @ lattice, axis=1)
            distances = distances[distances > 1e-9]
            matrix[i, j] = (erfc(alpha * distances) / distances).sum()
            matrix[i, j] += (weights * np.cos(waves @ ((b - a) @ lattice))).sum()
            matrix[i, j] -= np.pi / (volume * alpha**2)
        matrix[i, i] -= 2 * alpha / np.sqrt(np.pi)
    return constants.e / (4e-10 * np.pi * constants.epsilon_0) * matrix


def multiset_permutations(counts):
    """Every distinct sequence with counts[k] copies of label k."""
    if sum(counts) == 0:
        yield ()
    for label, count in enumerate(counts):
        if count:
            rest = [c - (k == label) for k, c in enumerate(counts)]
            for tail in multiset_permutations(rest):
                yield (label, *tail)


def all_arrangements(space):
    """Every arrangement of a solid solution, symmetry copies included, as label tuples."""
    import itertools

    parts = [list(multiset_permutations(s.counts)) for s in space.sublattices]
    return [sum(combination, ()) for combination in itertools.product(*parts)]


def arrangement_charges(space, labels):
    """Charge (e) of every site of the supercell."""
    from pymatgen.core import Species

    charges = [0.0 if s is None else Species.from_str(s).oxi_state for s in space.fixed_species]
    row = 0
    for sublattice in space.sublattices:
        for site in sublattice.sites:
            charges[site] = sublattice.charges[labels[row]]
            row += 1
    return charges


def orbits_by_energy(space):
    """Energy (eV) and member label tuples of every symmetry orbit, ascending in energy."""
    import numpy as np

    matrix = ewald_matrix(space.lattice, space.frac_coords)
    sites = [int(site) for site in space.variable_sites]
    operations = [[sites.index(p[site]) for site in sites] for p in space.permutations]
    left = set(all_arrangements(space))
    orbits = []
    while left:
        labels = left.pop()
        members = {tuple(labels[k] for k in operation) for operation in operations}
        left -= members
        charges = np.array(arrangement_charges(space, labels))
        orbits.append((0.5 * charges @ matrix @ charges, members))
    return sorted(orbits, key=lambda orbit: orbit[0])
