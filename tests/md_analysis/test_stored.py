"""Results taken apart for a document store and put together again."""

import json

import numpy as np
import pytest

from ionsieve.errors import InputError
from ionsieve.md_analysis.conserved_energy import EnergyDrift
from ionsieve.md_analysis.stored import from_plain, to_plain
from ionsieve.md_analysis.van_hove import RadialDistribution


def test_scalars_survive_json():
    drift = EnergyDrift(mev_atom_ps=1.5, standard_error=0.1, length_ps=20.0)
    assert from_plain(EnergyDrift, json.loads(json.dumps(to_plain(drift)))) == drift


def test_arrays_come_back_to_five_digits():
    hints = RadialDistribution.__dataclass_fields__
    values = {name: "Na" if "species" in name else np.linspace(0.1, 1 / 3, 7) for name in hints}
    original = RadialDistribution(**values)
    restored = from_plain(RadialDistribution, json.loads(json.dumps(to_plain(original))))
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(restored, name), value, rtol=5e-5)


def test_what_is_not_finite_becomes_none():
    assert to_plain([float("nan"), float("inf"), 1.0]) == [None, None, 1.0]
    assert to_plain(np.array([np.nan, 2.0])) == [None, 2.0]


def test_an_older_result_is_an_error():
    with pytest.raises(InputError):
        from_plain(EnergyDrift, {"mev_atom_ps": 1.0})
