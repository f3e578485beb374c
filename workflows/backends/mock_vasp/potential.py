"""The pair potential: how two ions of given elements and charges interact.

Coulomb between scaled charges by the damped shifted force method (Fennell and Gezelter, J. Chem.
Phys. 124, 234104 (2006), doi:10.1063/1.2206581), Born-Mayer repulsion from ionic radii, dispersion
between anions, and a Morse term that binds what is not ionic. All terms and their slopes vanish at
the cutoff.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.elements import element

Array = NDArray[np.float64]

#: e^2 / (4 pi epsilon_0), eV A (CODATA 2018).
COULOMB_EV_ANGSTROM = 14.39964548


@dataclass(frozen=True)
class Parameters:
    """The few numbers of the model, the same for all elements.

    Attributes
    ----------
    charge_scale
        Effective over formal charge.
    damping_per_angstrom, cutoff_angstrom
        Of the damped shifted force Coulomb sum.
    hardness_angstrom
        Decay length of the Born-Mayer repulsion.
    contact_scale
        Distance of least energy of an isolated cation-anion pair over the sum of the radii.
    like_contact_scale, like_repulsion_ev
        Born-Mayer between ions of like sign: its height at the scaled sum of their sizes.
    dispersion_ev_angstrom3
        C6 of an anion pair over the cube of the product of the radii (polarisability goes as the
        volume).
    morse_depth_ev, morse_range
        Depth, and decay constant times the contact distance, of the binding between atoms that
        are not ionic.
    """

    charge_scale: float = 0.6
    damping_per_angstrom: float = 0.25
    cutoff_angstrom: float = 7.0
    hardness_angstrom: float = 0.215
    contact_scale: float = 0.854
    like_contact_scale: float = 0.933
    like_repulsion_ev: float = 0.28
    dispersion_ev_angstrom3: float = 4.8
    morse_depth_ev: float = 0.3
    morse_range: float = 5.5


DEFAULT = Parameters()


@dataclass(frozen=True)
class Ion:
    """One kind of ion: an element with a formal charge (e), not always whole."""

    symbol: str
    charge: float

    @property
    def radius_angstrom(self) -> float:
        """Ionic radius, between known states by interpolation."""
        return element(self.symbol).radius_angstrom(self.charge)

    @property
    def ionicity(self) -> float:
        """How far the atom is on the way from neutral to its most usual state of that sign."""
        usual = [q for q in element(self.symbol).states if q * self.charge > 0]
        return min(1.0, abs(self.charge / usual[0])) if usual else 0.0

    @property
    def size_angstrom(self) -> float:
        """Radius in the repulsion of like ions.

        An anion short of its usual charge (polysulfides) is on its way to the neutral atom's
        radius: with the full one a bond between two of them would burst.
        """
        if self.charge >= 0:
            return self.radius_angstrom
        neutral = element(self.symbol).neutral_radius_angstrom
        return self.ionicity * self.radius_angstrom + (1 - self.ionicity) * neutral


@cache
def _contact_corrections() -> dict[str, float]:
    return json.loads(Path(__file__).with_name("contacts.json").read_text())["pairs"]


def contact_angstrom(one: Ion, other: Ion, parameters: Parameters = DEFAULT) -> float:
    """Return the contact distance of a cation and an anion."""
    key = "-".join(sorted((one.symbol, other.symbol)))
    factor = _contact_corrections().get(key, 1.0)
    return factor * parameters.contact_scale * (one.radius_angstrom + other.radius_angstrom)


def _repulsion(one: Ion, other: Ion, r: Array, parameters: Parameters) -> tuple[Array, Array]:
    rho = parameters.hardness_angstrom
    product = one.charge * other.charge
    if product == 0:
        return np.zeros_like(r), np.zeros_like(r)
    if product < 0:
        contact = contact_angstrom(one, other, parameters)
        strength = abs(product) * parameters.charge_scale**2
        height = rho * COULOMB_EV_ANGSTROM * strength / contact**2
    else:
        contact = parameters.like_contact_scale * (one.size_angstrom + other.size_angstrom)
        height = parameters.like_repulsion_ev
    energy = height * np.exp(-(r - contact) / rho)
    return energy, -energy / rho


def _dispersion(one: Ion, other: Ion, r: Array, parameters: Parameters) -> tuple[Array, Array]:
    """-C6 / (r^6 + d^6), damped at the contact distance d of the two anions."""
    if one.charge >= 0 or other.charge >= 0:
        return np.zeros_like(r), np.zeros_like(r)
    radii = one.radius_angstrom, other.radius_angstrom
    c6 = parameters.dispersion_ev_angstrom3 * (radii[0] * radii[1]) ** 3
    damped = r**6 + (parameters.like_contact_scale * sum(radii)) ** 6
    return -c6 / damped, 6 * c6 * r**5 / damped**2


def _binding(one: Ion, other: Ion, r: Array, parameters: Parameters) -> tuple[Array, Array]:
    neutral = (1 - one.ionicity) * (1 - other.ionicity)
    contact = (
        element(one.symbol).neutral_radius_angstrom + element(other.symbol).neutral_radius_angstrom
    )
    decay = parameters.morse_range / contact
    depth = parameters.morse_depth_ev * neutral
    x = np.exp(-decay * (r - contact))
    return depth * (x * x - 2 * x), -2 * depth * decay * (x * x - x)


def _coulomb(one: Ion, other: Ion, r: Array, parameters: Parameters) -> tuple[Array, Array]:
    alpha = parameters.damping_per_angstrom
    strength = COULOMB_EV_ANGSTROM * parameters.charge_scale**2 * one.charge * other.charge
    screened = np.array([math.erfc(alpha * x) for x in r])
    slope = -screened / r**2 - 2 * alpha / math.sqrt(math.pi) * np.exp(-((alpha * r) ** 2)) / r
    return strength * screened / r, strength * slope


def pair_energy(
    one: Ion, other: Ion, distances: Array, parameters: Parameters = DEFAULT
) -> tuple[Array, Array]:
    """Return energy and slope of one pair.

    Parameters
    ----------
    distances : (n,) float64, Angstrom

    Returns
    -------
    energy : (n,) float64, eV
    slope : (n,) float64, eV/A
    """
    cutoff = parameters.cutoff_angstrom
    r = np.append(distances, cutoff)
    terms = [f(one, other, r, parameters) for f in (_coulomb, _repulsion, _dispersion, _binding)]
    energy = np.sum([term[0] for term in terms], axis=0)
    slope = np.sum([term[1] for term in terms], axis=0)
    shifted = energy - energy[-1] - slope[-1] * (r - cutoff)
    inside = r < cutoff
    return (shifted * inside)[:-1], ((slope - slope[-1]) * inside)[:-1]


def self_energy(ion: Ion, parameters: Parameters = DEFAULT) -> float:
    """Return the self term (eV) of one ion in the damped shifted force sum."""
    alpha, cutoff = parameters.damping_per_angstrom, parameters.cutoff_angstrom
    factor = math.erfc(alpha * cutoff) / (2 * cutoff) + alpha / math.sqrt(math.pi)
    return -COULOMB_EV_ANGSTROM * (parameters.charge_scale * ion.charge) ** 2 * factor


@cache
def _site_energies() -> dict[str, dict[str, float]]:
    return json.loads(Path(__file__).with_name("site_energies.json").read_text())["energies_ev"]


def site_energy(ion: Ion) -> float:
    """Return the energy (eV) put on an ion by site_energies.json.

    Linear between the listed charges of its element; the neutral atom counts as zero unless
    listed, and beyond the last charge its value is kept.
    """
    listed = {0.0: 0.0} | {float(q): e for q, e in _site_energies().get(ion.symbol, {}).items()}
    charges = sorted(listed)
    return float(np.interp(ion.charge, charges, [listed[q] for q in charges]))
