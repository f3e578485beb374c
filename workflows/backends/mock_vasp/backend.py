"""The VASP backend with the stand-in as its executable."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ionsieve.errors import InputError
from ionsieve.workflows.backends.mock_vasp.potential import DEFAULT
from ionsieve.workflows.backends.vasp.backend import VaspBackend, VaspSettings

_PROGRAM = "ionsieve-mock-vasp"
#: Custodian's polling in seconds, made for runs of days, and polls between looks at the outputs.
_POLLING_SECONDS, _POLLS_PER_MONITORING = 0.1, 30
#: The stand-in writes several times a second.
_FROZEN_AFTER_SECONDS = 120.0
#: Full records (structure, forces, stress) that a segment of molecular dynamics leaves.
_N_FULL_RECORDS = 20


def program_path() -> str:
    """Return the stand-in installed with this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name(_PROGRAM)
    return str(beside) if beside.exists() else shutil.which(_PROGRAM) or _PROGRAM


class MockVaspBackend(VaspBackend):
    """Atomate2's VASP jobs with the stand-in for VASP.

    Parameters
    ----------
    settings
        Those of VASP; command lines and everything that makes runs short are replaced.
    """

    def __init__(self, settings: VaspSettings) -> None:
        super().__init__(
            replace(
                settings,
                vasp_cmd=program_path(),
                vasp_gamma_cmd=program_path(),
                kpoints={"grid_density": 1},
                potcar_spec=True,
                phonon_cell_angstrom=2 * DEFAULT.cutoff_angstrom,
                custodian={
                    "polling_time_step": _POLLING_SECONDS,
                    "monitor_freq": _POLLS_PER_MONITORING,
                    **settings.custodian,
                },
                frozen_after_seconds=settings.frozen_after_seconds or _FROZEN_AFTER_SECONDS,
            )
        )

    def check(self) -> None:
        """Find out whether the stand-in is installed.

        Raises
        ------
        InputError
            It isn't.
        """
        if shutil.which(program_path()) is None:
            raise InputError(f"{_PROGRAM} is not installed beside this Python; reinstall ionsieve")

    def _md_tags(self, n_steps: int) -> dict[str, Any]:
        """Thin vasprun.xml and OUTCAR: their parsing would take longer than the run."""
        return {"ML_OUTBLOCK": max(1, n_steps // _N_FULL_RECORDS), **super()._md_tags(n_steps)}
