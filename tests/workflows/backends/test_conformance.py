"""All backends keep the promises of the protocol, and the suite notices one that doesn't."""

from dataclasses import replace

import pytest
from pymatgen.core import Lattice, Structure

from ionsieve.testing import check_backend
from ionsieve.workflows.backends.mock_vasp.backend import (
    SHORT_RUNS,
    MockVaspBackend,
    program_path,
)
from ionsieve.workflows.backends.vasp.backend import VaspBackend
from ionsieve.workflows.backends.vasp.settings import VaspSettings
from ionsieve.workflows.settings.schema import Relax
from toy_backend import EmtBackend

FAST = replace(SHORT_RUNS, custodian={"polling_time_step": 0.05, "monitor_freq": 4})
ONCE = Relax(double_relax=False)


@pytest.fixture
def copper():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])


def test_vasp_conforms(salt, tmp_path):
    settings = VaspSettings(vasp_cmd=program_path(), vasp_gamma_cmd=program_path())
    check_backend(VaspBackend(settings, relax=ONCE, execution=FAST), salt, folder=tmp_path)


def test_mock_vasp_conforms(salt, tmp_path):
    check_backend(MockVaspBackend(relax=ONCE, execution=FAST), salt, folder=tmp_path)


def test_toy_conforms(copper):
    check_backend(EmtBackend(), copper)
