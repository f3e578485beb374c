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


# ---- mock VASP


def mock_vasp_energy(symbols, charges, frac_coords, cell):
    """Energy (eV) of the mock's pair potential, by a plain sum over all images in reach.

    Site energies are left out: they are data, not a formula.
    """
    import itertools
    import math

    import numpy as np

    from ionsieve.workflows.backends.mock_vasp import potential

    p = potential.DEFAULT
    cutoff, alpha = p.cutoff_angstrom, p.damping_per_angstrom
    ions = {s: potential.Ion(s, charges[s]) for s in set(symbols)}

    def bare(one, other, r):
        """Return the pair energy before it is shifted to zero at the cutoff."""
        strength = 14.39964548 * p.charge_scale**2 * one.charge * other.charge
        energy = strength * math.erfc(alpha * r) / r
        radii = one.radius_angstrom + other.radius_angstrom
        if one.charge * other.charge < 0:
            contact = potential.contact_angstrom(one, other)
            height = -p.hardness_angstrom * strength / contact**2
            energy += height * math.exp((contact - r) / p.hardness_angstrom)
        elif one.charge * other.charge > 0:
            sizes = [
                (1 - i.ionicity) * potential.element(i.symbol).neutral_radius_angstrom
                + i.ionicity * i.radius_angstrom
                if i.charge < 0
                else i.radius_angstrom
                for i in (one, other)
            ]
            contact = p.like_contact_scale * sum(sizes)
            energy += p.like_repulsion_ev * math.exp((contact - r) / p.hardness_angstrom)
        if one.charge < 0 and other.charge < 0:
            c6 = p.dispersion_ev_angstrom3 * (one.radius_angstrom * other.radius_angstrom) ** 3
            energy -= c6 / (r**6 + (p.like_contact_scale * radii) ** 6)
        metallic = (1 - one.ionicity) * (1 - other.ionicity)
        neutral = [potential.element(i.symbol).neutral_radius_angstrom for i in (one, other)]
        x = math.exp(p.morse_range * (1 - r / sum(neutral)))
        return energy + p.morse_depth_ev * metallic * (x * x - 2 * x)

    def shifted(one, other, r):
        h = 1e-5
        slope = (bare(one, other, cutoff + h) - bare(one, other, cutoff - h)) / (2 * h)
        return bare(one, other, r) - bare(one, other, cutoff) - slope * (r - cutoff)

    volume = abs(np.linalg.det(cell))
    heights = [
        volume / np.linalg.norm(np.cross(cell[(k + 1) % 3], cell[(k + 2) % 3])) for k in range(3)
    ]
    reach = [range(-n, n + 1) for n in (math.ceil(cutoff / h) + 1 for h in heights)]
    energy = 0.0
    for i, j in itertools.product(range(len(symbols)), repeat=2):
        for image in itertools.product(*reach):
            r = np.linalg.norm((frac_coords[j] - frac_coords[i] + image) @ cell)
            if 0 < r < cutoff:
                energy += 0.5 * shifted(ions[symbols[i]], ions[symbols[j]], r)
    for symbol in symbols:
        charge = p.charge_scale * charges[symbol]
        self_term = math.erfc(alpha * cutoff) / (2 * cutoff) + alpha / math.sqrt(math.pi)
        energy -= 14.39964548 * charge**2 * self_term
    return energy


# ---- trajectory analysis


def msd_tensor(paths, lags=None):
    """Mean products xx, yy, zz, yz, xz, xy of displacements; paths are (ion, axis, frame)."""
    import numpy as np

    n_ions, _, n_frames = paths.shape
    rows = []
    for lag in range(n_frames) if lags is None else lags:
        total, count = np.zeros((3, 3)), 0
        for ion in range(n_ions):
            for start in range(n_frames - lag):
                here, there = paths[ion, :, start], paths[ion, :, start + lag]
                step = there.astype(float) - here.astype(float)
                total += np.outer(step, step)
                count += 1
        t = total / count
        rows.append([t[0, 0], t[1, 1], t[2, 2], t[1, 2], t[0, 2], t[0, 1]])
    return np.array(rows)


def nearest_image_distance(a, b, cell):
    """Distance of two points in a periodic cell by looking at 125 images."""
    import itertools

    import numpy as np

    shifts = itertools.product(range(-2, 3), repeat=3)
    return min(np.linalg.norm(a - b + np.array(s) @ cell) for s in shifts)


# ---- sound molecular dynamics


def worst_step(fractional, cells, limits):
    """Ion, later frame and length of the step from frame to frame that is longest for its limit."""
    import math

    worst = (0, 0, 0.0)
    n_ions, _, n_frames = fractional.shape
    for ion in range(n_ions):
        for frame in range(1, n_frames):
            moved = [0.0, 0.0, 0.0]
            for vector in range(3):
                turns = fractional[ion, vector, frame] - fractional[ion, vector, frame - 1]
                for axis in range(3):
                    moved[axis] += turns * cells[frame][vector][axis]
            step = math.sqrt(sum(length**2 for length in moved))
            if step / limits[ion] > worst[2] / limits[worst[0]]:
                worst = (ion, frame, step)
    return worst


def height(cell):
    """Least distance between opposite faces: the volume over the largest face."""
    import numpy as np

    a, b, c = cell
    faces = [np.linalg.norm(np.cross(*pair)) for pair in ((a, b), (b, c), (c, a))]
    return abs(np.dot(a, np.cross(b, c))) / max(faces)
