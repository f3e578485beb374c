"""All backends keep the promises of the protocol, and the suite notices one that doesn't."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import toy_backend
from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import ReadOptions, read_trajectory
from ionsieve.testing import check_backend
from ionsieve.workflows.backends.mock_vasp.backend import (
    SHORT_RUNS,
    MockVaspBackend,
    program_path,
)
from ionsieve.workflows.backends.protocol import Cost
from ionsieve.workflows.backends.vasp.backend import VaspBackend
from ionsieve.workflows.backends.vasp.settings import VaspSettings
from ionsieve.workflows.settings.schema import Relax
from toy_backend import EmtBackend

ROOT = Path(__file__).parents[3]
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


class NotJson(EmtBackend):
    def identity(self):
        return {"backend": "emt", "elements": {"Cu"}}


class NamesAPlace(EmtBackend):
    def identity(self):
        return {**super().identity(), "weights": "/home/me/weights.pt"}


class Unrepeatable(EmtBackend):
    calls = itertools.count()

    def identity(self):
        return {**super().identity(), "call": next(self.calls)}


class OtherName(EmtBackend):
    name = "copper"


class Boasts(EmtBackend):
    capabilities = frozenset({"relax", "static", "neb"})


class ForgetsIdentity(EmtBackend):
    def energy_identity(self, engine):
        return {"engine": "ase 3.29"}


class WithoutVersion(EmtBackend):
    def energy_identity(self, engine):
        return {"engine": "ase", "settings": self.identity()}


class CostsNothing(EmtBackend):
    def cost(self, n_ions, n_steps):
        return Cost(0.0, "free")


class StaticRelaxes(EmtBackend):
    def static(self, structure, name, after=None):
        return self.relax(structure, name)


class ForgetsTheSeed(EmtBackend):
    def md(self, spec, start, name):
        return super().md(replace(spec, seed=0), start, name)


class KeepsTooLittle(EmtBackend):
    def keep(self, end):
        state = json.dumps(np.random.default_rng(0).bit_generator.state)
        return end.model_copy(update={"files": {**end.files, "dice": state}})


class WrongStep(EmtBackend):
    def read_segment(self, end, spec):
        return replace(super().read_segment(end, spec), timestep_fs=spec.timestep_fs)


class TakesWhatIsThere(EmtBackend):
    def read_segment(self, end, spec):
        options = ReadOptions(timestep_fs=6.0, md_timestep_fs=2.0)
        return read_trajectory(Path(end.folder) / "md.traj", options)[1:]


class FailsOddly(EmtBackend):
    def read_segment(self, end, spec):
        try:
            return super().read_segment(end, spec)
        except IonSieveError as error:
            raise KeyError("md.traj") from error


@pytest.mark.parametrize(
    ("backend", "broken_promise"),
    [
        (NotJson, "identity: not JSON values"),
        (NamesAPlace, "identity: names a path"),
        (Unrepeatable, "identity: changes from call to call"),
        (OtherName, "Settings.name is 'emt', the backend's 'copper'"),
        (Boasts, "capabilities: neb unknown"),
        (ForgetsIdentity, "energy_identity: lacks the identity"),
        (WithoutVersion, "engine must be a name and a version"),
        (CostsNothing, "cost: must grow with the steps"),
        (StaticRelaxes, "static: ions move"),
        (ForgetsTheSeed, "another seed gives the same run"),
        (KeepsTooLittle, "without its folder a run goes on differently"),
        (WrongStep, "4 frames of 4, 2.0 fs apart instead of 6.0"),
        (TakesWhatIsThere, "reading a segment that is shorter than asked for is not refused"),
        (FailsOddly, "raises KeyError instead of IonSieveError"),
    ],
)
def test_broken_promises_are_noticed(copper, backend, broken_promise):
    copper.perturb(0.05, seed=1)
    with pytest.raises(AssertionError, match=re.escape(broken_promise)):
        check_backend(backend(), copper)


def test_tutorial_shows_the_toy_that_is_tested():
    toy = Path(toy_backend.__file__).read_text()
    assert f"```python\n{toy}```\n" in (ROOT / "docs" / "add_a_backend.md").read_text()
