"""Nearest whole numbers of ions, against brute force; groups and names of sites."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from ionsieve.errors import InputError
from ionsieve.ewald import SolidSolution
from ionsieve.ewald.occupancies import Shares, realise
from sulfide import cubic_sulfide


@given(
    st.lists(st.tuples(st.integers(2, 8), st.floats(0, 1)), min_size=1, max_size=3),
    st.integers(2, 6),
    st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_realisation_is_the_nearest_neutral_one(mobile, n_mixed, share):
    shares = [
        Shares(f"Li{i}", n, {"Li+": n * occupancy}, {"Li+": 1.0})
        for i, (n, occupancy) in enumerate(mobile)
    ]
    shares.append(
        Shares(
            "M",
            n_mixed,
            {"Ge4+": n_mixed * share, "P5+": n_mixed * (1 - share)},
            {"Ge4+": 4.0, "P5+": 5.0},
        )
    )
    fixed = -round(sum(s.ions[i] * s.charges[i] for s in shares for i in s.ions))
    found = realise(shares, fixed)
    costs = []
    for counts in itertools.product(*(range(n + 1) for n, _ in mobile), range(n_mixed + 1)):
        charge = sum(counts[:-1]) + 4 * counts[-1] + 5 * (n_mixed - counts[-1])
        if charge + fixed == 0:
            cost = sum(
                (k - s.ions["Li+"]) ** 2 / s.n_sites
                for k, s in zip(counts[:-1], shares, strict=False)
            )
            cost += 2 * (counts[-1] - n_mixed * share) ** 2 / n_mixed
            costs.append(cost)
    assert found is not None
    assert (
        sum(
            n * s.charges[i]
            for s, c in zip(shares, found.counts, strict=True)
            for i, n in c.items()
        )
        == -fixed
    )
    cost = sum(
        (c[i] - s.ions[i]) ** 2 / s.n_sites
        for s, c in zip(shares, found.counts, strict=True)
        for i in s.ions
    )
    assert cost == pytest.approx(min(costs), abs=1e-9)


def partly_filled():
    return Structure.from_spacegroup(
        "I-43m",
        Lattice.cubic(7.191),
        [{"Na+": 0.93}, {"Sb5+": 0.79, "W6+": 0.21}, "S2-"],
        [[0.5, 0.5, 0], [0, 0, 0], [0.185, 0.185, 0.185]],
        labels=["Na7", "Sb1", "S1"],
    )


def test_refined_occupancies_become_whole_neutral_and_are_told():
    with pytest.raises(InputError, match="nearest occupancies for this supercell"):
        SolidSolution.from_structure(partly_filled(), (2, 2, 2))
    space = SolidSolution.from_structure(partly_filled(), (2, 2, 2), occupancy_tolerance=0.05)
    counts = {s.name: dict(zip(s.species, s.counts, strict=True)) for s in space.sublattices}
    n_tungsten = counts["Sb1"]["W6+"]
    assert counts["Na7"] == {"Na+": 48 - n_tungsten, "vacancy": n_tungsten}
    assert n_tungsten == 3
    assert any("Sb1: W6+ 0.21 in the file, 0.1875 here (3 of 16 sites)" in n for n in space.notes)
    with pytest.raises(InputError, match=r"tolerance is 0\.01 .*supercells that do"):
        SolidSolution.from_structure(partly_filled(), (1, 1, 1), occupancy_tolerance=0.01)


def test_sites_by_label_and_by_wyckoff_letter():
    mother = partly_filled()
    for selector in ("Na7", "6b"):
        space = SolidSolution.from_structure(
            mother, (1, 1, 1), arrange={selector: {"Na+": 6}, "Sb1": {"Sb5+": 2}}
        )
        assert [s.name for s in space.sublattices] == [selector, "Sb1"]
    with pytest.raises(InputError, match="nothing is called 'Na9'"):
        SolidSolution.from_structure(mother, (1, 1, 1), vacate={"Na9": 1}, occupancy_tolerance=0.5)


def test_vacant_sites_and_voids_are_one_sublattice():
    space = SolidSolution.from_structure(
        cubic_sulfide(),
        (1, 1, 1),
        replace={"Sb": {"Sn4+": 1}},
        arrange={"Na+voids": {"Na+": 7}},
        interstitial_sites=[[0.25, 0.5, 0.0]],
    )
    pool = next(s for s in space.sublattices if "voids" in s.name)
    assert len(pool.sites) == 6 + 12
    assert dict(zip(pool.species, pool.counts, strict=True)) == {"Na+": 7, "vacancy": 11}
    with pytest.raises(InputError, match="overlaps"):
        SolidSolution.from_structure(
            cubic_sulfide(), (1, 1, 1), arrange={"Na": {"Na+": 6}, "Na+S": {"Na+": 6}}
        )
    with pytest.raises(InputError, match="9 ions on the 6 sites"):
        SolidSolution.from_structure(cubic_sulfide(), (1, 1, 1), arrange={"Na": {"Na+": 9}})
