"""The VASP backend with the stand-in as its executable."""

from __future__ import annotations

import hashlib
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from ionsieve.errors import InputError
from ionsieve.workflows.backends.mock_vasp.potential import DEFAULT
from ionsieve.workflows.backends.protocol import Cost, Limits
from ionsieve.workflows.backends.vasp.backend import VaspBackend
from ionsieve.workflows.backends.vasp.settings import Execution, VaspSettings
from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.schema import Relax

_PROGRAM = "ionsieve-mock-vasp"
#: Raise it when the stand-in's code gives other energies; its parameter files are hashed.
CODE_VERSION = 2
#: Waiting times are those of runs of seconds. Of molecular dynamics few full records are written:
#: parsing all would take longer than the run.
SHORT_RUNS = Execution(
    kpoints={"grid_density": 1},
    potcar_spec=True,
    custodian={"polling_time_step": 0.1, "monitor_freq": 30},
    phonon_cell_angstrom=2 * DEFAULT.cutoff_angstrom,
    frozen_after_seconds=120.0,
    n_full_records=20,
)
#: Measured: ionic steps of 128 ions per second on one core, and seconds around each calculation.
_STEPS_PER_SECOND, _SECONDS_PER_JOB = 600, 3.0


def program_path() -> str:
    """Return the stand-in installed with this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name(_PROGRAM)
    return str(beside) if beside.exists() else shutil.which(_PROGRAM) or _PROGRAM


@cache
def _stand_in() -> str:
    """Return the identity of the stand-in: version of its code, hash of its parameters."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.json")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{CODE_VERSION}-{digest.hexdigest()[:12]}"


class MockVaspSettings(VaspSettings):
    """The engine: a classical stand-in for VASP, for trying things out, not for science."""

    name: str = setting(
        "computes", "mock_vasp", "vasp, or mock_vasp: a classical stand-in that needs no VASP"
    )
    vasp_cmd: str = setting(
        "runs", "vasp_std", "command line of VASP, with its MPI launcher; not used by mock_vasp"
    )
    vasp_gamma_cmd: str = setting(
        "runs", "vasp_gam", "command line for Gamma-only runs; not used by mock_vasp"
    )


class MockVaspBackend(VaspBackend):
    """Atomate2's VASP jobs with the stand-in for VASP.

    Parameters are those of :class:`.VaspBackend`; by default everything is made for short runs.
    """

    name: ClassVar[str] = "mock_vasp"
    Settings: ClassVar[type[VaspSettings]] = MockVaspSettings

    def __init__(
        self,
        settings: VaspSettings | None = None,
        relax: Relax | None = None,
        limits: Limits | None = None,
        execution: Execution | None = None,
    ) -> None:
        super().__init__(settings, relax, limits, execution or SHORT_RUNS)

    @property
    def commands(self) -> tuple[str, str]:
        """How the stand-in is started."""
        return program_path(), program_path()

    def check(self) -> None:
        """Find out whether the stand-in is installed.

        Raises
        ------
        InputError
            It isn't.
        """
        if shutil.which(program_path()) is None:
            raise InputError(f"{_PROGRAM} is not installed beside this Python; reinstall ionsieve")

    def identity(self) -> dict[str, Any]:
        """Return everything in the settings that decides an energy, and the stand-in's version."""
        return {
            **super().identity(),
            "functional": "pair potential",
            "potentials": "none",
            "stand_in": _stand_in(),
        }

    @property
    def _program(self) -> str:
        return _PROGRAM

    def cost(self, n_ions: float, n_steps: int) -> Cost:
        """Return what so many ionic steps of so many ions take."""
        seconds = n_steps * n_ions / 128 / _STEPS_PER_SECOND + _SECONDS_PER_JOB
        return Cost(
            seconds / 3600,
            f"mocked VASP: {_STEPS_PER_SECOND} ionic steps per second of 128 ions on one core and "
            f"{_SECONDS_PER_JOB:g} s per job; a relaxation takes 60 steps",
        )
