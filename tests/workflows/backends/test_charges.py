"""Oxidation states from compositions."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionsieve.workflows.backends.mock_vasp.charges import guess_oxidation_states

KNOWN = [
    ({"Na": 1, "Cl": 1}, {"Na": 1, "Cl": -1}),
    ({"Na": 3, "P": 1, "S": 4}, {"Na": 1, "P": 5, "S": -2}),
    ({"Na": 46, "Sb": 14, "W": 2, "S": 64}, {"Na": 1, "Sb": 5, "W": 6, "S": -2}),
    ({"Na": 8, "Ga": 1, "P": 1, "S": 8}, {"Na": 1, "Ga": 3, "P": 5, "S": -2}),
    ({"Sb": 2, "S": 3}, {"Sb": 3, "S": -2}),
    ({"Sn": 1, "S": 1}, {"Sn": 2, "S": -2}),
    ({"Sn": 2, "S": 3}, {"Sn": 3, "S": -2}),
    ({"Na": 2, "S": 5}, {"Na": 1, "S": -0.4}),
    ({"P": 4, "S": 3}, {"P": 1.5, "S": -2}),
    ({"Ta": 1, "S": 3}, {"Ta": 5, "S": -5 / 3}),
    ({"Na": 2, "S": 1, "O": 4}, {"Na": 1, "S": 6, "O": -2}),
    ({"Na": 1, "H": 1}, {"Na": 1, "H": -1}),
    ({"Na": 15, "Sn": 4}, {"Na": 1, "Sn": -3.75}),
    ({"Na": 4}, {"Na": 0}),
    ({"Na": 1, "In": 1}, {"Na": 0, "In": 0}),
]


@pytest.mark.parametrize(("counts", "expected"), KNOWN)
def test_known_compositions(counts, expected):
    assert guess_oxidation_states(counts) == pytest.approx(expected)


@given(
    st.dictionaries(
        st.sampled_from(["Na", "Li", "P", "Sb", "Sn", "W", "Ga", "Y", "S", "O", "Cl", "Fe"]),
        st.integers(1, 12),
        min_size=1,
        max_size=4,
    ),
    st.integers(2, 5),
)
@settings(max_examples=60, deadline=None)
def test_always_neutral_and_independent_of_the_number_of_formula_units(counts, multiple):
    states = guess_oxidation_states(counts)
    assert sum(counts[s] * q for s, q in states.items()) == pytest.approx(0, abs=1e-9)
    assert all(math.isfinite(q) for q in states.values())
    larger = guess_oxidation_states({s: n * multiple for s, n in counts.items()})
    assert larger == pytest.approx(states)
