import math
import re

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from ionsieve.errors import InputError
from ionsieve.ewald import SolidSolution, find_voids, rank
from ionsieve.ewald.interactions import interaction_matrix
from sulfide import cubic_sulfide


def lgps(li1=11 / 16, li3=5 / 8):
    """Case L: Li10GeP2S12."""
    return Structure.from_spacegroup(
        "P4_2/nmc",
        Lattice.tetragonal(8.71771, 12.63452),
        [{"Ge4+": 0.5, "P5+": 0.5}, "P5+", "S2-", "S2-", "S2-", {"Li+": li1}, "Li+", {"Li+": li3}],
        [
            [0, 0.5, 0.69],
            [0, 0, 0.5],
            [0, 0.184, 0.416],
            [0, 0.296, 0.097],
            [0, 0.7, 0.793],
            [0.279, 0.263, 0.199],
            [0, 0.5, 0.945],
            [0.246, 0.246, 0],
        ],
    )


def nasicon():
    return Structure.from_spacegroup(
        "R-3c",
        Lattice.hexagonal(9.1863, 22.181),
        ["Na+", "Na+", "Zr4+", "Si4+", "O2-", "O2-"],
        [
            [0, 0, 0],
            [-0.36033, 0, 0.25],
            [0, 0, 0.14719],
            [0.29544, 0, 0.25],
            [0.18534, 0.16651, 0.08652],
            [0.18214, -0.02102, 0.19199],
        ],
    ).get_primitive_structure()


def build(structure=None, supercell=(2, 2, 2), **rules):
    return SolidSolution.from_structure(structure or cubic_sulfide(), supercell, **rules)


def test_disordered_sites_are_sublattices_of_their_own():
    space = build(lgps(), (1, 1, 2))
    assert space.n_arrangements == 70 * math.comb(32, 10) * math.comb(16, 6) == 36162981254400
    assert space.permutations.shape[0] == 32
    assert [(len(s.sites), s.counts) for s in space.sublattices] == [
        (8, (4, 4)),
        (32, (22, 10)),
        (16, (10, 6)),
    ]
    assert space.n_ions == 100


def test_published_counts():
    nasicon_space = build(nasicon(), (2, 2, 1), replace={"Si": {"P5+": 8}}, vacate={"Na": 8})
    assert nasicon_space.n_arrangements == math.comb(32, 8) * math.comb(24, 16)
    assert nasicon_space.n_ions == 160
    assert 3 * math.comb(13, 8) * 3 * math.comb(21, 16) == 235_702_467
    assert 3 * math.comb(20, 4) * 3 * math.comb(20, 4) == 211_266_225


def test_counts_are_exact_beyond_64_bits():
    space = build(supercell=(4, 4, 4), replace={"Sb": {"W6+": 64}}, vacate={"Na": 64})
    assert space.n_arrangements == math.comb(128, 64) * math.comb(384, 64) > 2**200


def test_several_species_on_one_sublattice_and_anions():
    space = build(
        replace={"Sb": {"W6+": 2, "Sn4+": 1, "Ta5+": 3}, "S": {"Cl-": 1}}, vacate={"Na": 2}
    )
    multinomial = math.comb(16, 2) * math.comb(14, 1) * math.comb(13, 3)
    assert space.n_arrangements == multinomial * 64 * math.comb(48, 2)
    merged = build(replace={"Na": {"Li+": 3}, "Sb5+": {"W6+": 2}}, vacate={"Na+": 2})
    assert [s.counts for s in merged.sublattices] == [(43, 3, 2), (14, 2)]


def test_selecting_one_crystallographic_site():
    space = build(nasicon(), (1, 1, 1), replace={"Si": {"P5+": 1}}, vacate={"Na1": 1})
    assert [len(s.sites) for s in space.sublattices] == [6, 2]
    with pytest.raises(InputError, match="overlaps Na1"):
        build(nasicon(), (1, 1, 1), vacate={"Na1": 1, "Na": 1})


def test_group_is_closed_and_leaves_interactions_alone():
    space = build(
        supercell=[[1, 1, 0], [-1, 1, 0], [0, 0, 1]],
        vacate={"Na": 1, "S": 0},
        replace={"S": {"Cl-": 1}},
    )
    permutations = {tuple(p) for p in space.permutations}
    for a in space.permutations[:6]:
        for b in space.permutations:
            assert tuple(a[b]) in permutations
    matrix = interaction_matrix(space.lattice, space.frac_coords)
    for p in space.permutations:
        np.testing.assert_allclose(matrix[np.ix_(p, p)], matrix, atol=1e-9)
    assert set(map(tuple, space.translations)) <= permutations


def test_positions_are_made_exactly_symmetric():
    noisy = cubic_sulfide().perturb(0.002, seed=1)
    space = build(noisy, (1, 1, 1), replace={"Sb": {"W6+": 1}}, vacate={"Na": 1})
    matrix = interaction_matrix(space.lattice, space.frac_coords)
    assert len(space.permutations) == 48
    for p in space.permutations:
        np.testing.assert_allclose(matrix[np.ix_(p, p)], matrix, atol=1e-8)
    cell = Structure(space.lattice, ["H"] * len(space.frac_coords), space.frac_coords)
    moved = cell.lattice.get_all_distances(space.frac_coords, cubic_sulfide().frac_coords)
    assert moved.min(axis=1).max() < 0.01


def test_voids_are_symmetric_and_far_from_ions():
    mother = cubic_sulfide()
    voids = find_voids(mother, "Na+", min_distance=2.0)
    distances = mother.lattice.get_all_distances(voids, mother.frac_coords)
    assert distances.min() >= 2.0 - 1e-3
    between = mother.lattice.get_all_distances(voids, voids) + 9 * np.eye(len(voids))
    assert between.min() > 1.0
    # I-43m has no orbit of fewer than 2 points; adding the voids keeps the space group.
    decorated = mother.copy()
    for void in voids:
        decorated.append("H+", void)
    space_groups = [s.get_space_group_info()[1] for s in (mother, decorated)]
    assert space_groups == [217, 217]
    with pytest.raises(InputError, match="largest is 2"):
        find_voids(mother, "Na+", min_distance=5.0)


def test_extra_ions_on_given_sites():
    # The mirrors x = y fix (x, x, z); one point stands for its whole orbit.
    space = build(
        supercell=(1, 1, 1),
        replace={"Sb": {"Sn4+": 1}},
        insert={"Na+": 1},
        interstitial_sites=[[0.25, 0.5, 0.0]],
    )
    assert [len(s.sites) for s in space.sublattices] == [2, 12]
    assert space.n_ions == 17
    ranking = rank(space, 50)
    assert sum(e.degeneracy for e in ranking.entries) == space.n_arrangements == 24


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"vacate": {"Na": 2}}, r"net charge -2 e.*add 2"),
        ({"replace": {"Sb": {"W6+": 2}}}, r"net charge \+2 e.*remove 2"),
        ({"replace": {"Ge": {"W6+": 2}}}, r"'Ge'; there are: Na\d \(48 sites, Na\+\)"),
        ({"replace": {"Sb": {"W": 2}}}, "'W' is not a species with a charge"),
        ({"replace": {"Sb": {"Sb5+": 2}}}, "sits there already"),
        ({"replace": {"Sb": {"W6+": 17}}}, "17 of Sb5\\+ asked for, 16 there"),
        ({"vacate": {"Na": -1}}, "-1 is not a number"),
        ({"vacate": {"Na": 1.5}}, "1.5 is not a number"),
        ({"supercell": (2, 2)}, "3 whole numbers"),
        ({"supercell": (0, 1, 1)}, "1 or more"),
        ({"supercell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "no volume"),
        ({}, "nothing to arrange"),
        ({"insert": {"Na+": 10_000}}, "interstitial sites"),
    ],
)
def test_bad_rules(rules, message):
    with pytest.raises(InputError, match=message) as error:
        build(**rules)
    assert "\n" not in str(error.value)


def test_missing_charges_and_fractional_counts():
    bare = cubic_sulfide()
    bare.remove_oxidation_states()
    with pytest.raises(InputError, match="no oxidation state"):
        build(bare, vacate={"Na": 1})


def test_occupancies_that_do_not_come_out_whole():
    """0.7 of 16 sites per cell and 5/8 of 8 are whole together in 5 cells and multiples of it."""
    message = (
        r"site Li\d: occupancy 0.7 of Li\+ gives 22.40 ions on 32 sites; nearest occupancies for "
        r"this supercell: 0.6875 \(22 of 32\), 0.71875 \(23 of 32\); supercells with whole "
        r"counts: 1x5x1 \(251 ions\), 2x5x1 \(502 ions\), "
    )
    with pytest.raises(InputError, match=message) as error:
        build(lgps(li1=0.7), (1, 1, 2))
    suggested = re.findall(r"(\d+)x(\d+)x(\d+)", str(error.value))
    assert len(suggested) == 4
    for shape in suggested:
        with pytest.raises(InputError, match="net charge"):
            build(lgps(li1=0.7), tuple(map(int, shape)))
    with pytest.raises(InputError, match="none up to 64 cells"):
        build(lgps(li1=0.7, li3=0.6237), (1, 1, 2))


def test_overlapping_sites():
    doubled = cubic_sulfide()
    doubled.append("Na+", [0.5, 0.5, 1e-5])
    with pytest.raises(InputError, match="overlapping"):
        build(doubled, (1, 1, 1), vacate={"Na": 1}).model  # noqa: B018
