"""What INCAR asks for, with VASP's defaults and its refusals."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ionsieve.workflows.backends.mock_vasp.dynamics import (
    BOLTZMANN_EV_K,
    KINETIC_UNIT_EV,
    DynamicsSettings,
    Thermostat,
)
from ionsieve.workflows.backends.mock_vasp.elements import element
from ionsieve.workflows.backends.mock_vasp.inputs import Crystal, Tag, VaspInputError, as_list

#: A period of SMASS = 0 in steps, as in VASP.
_NOSE_PERIOD_STEPS = 40
#: Number of bands and electrons the mock pretends to have.
N_BANDS = 8


@dataclass(frozen=True)
class RunSettings:
    """The tags the mock obeys.

    Attributes
    ----------
    frame_interval
        NBLOCK: steps between frames of XDATCAR.
    output_interval
        ML_OUTBLOCK, VASP's tag to thin the output of force field runs: steps between full records
        (structure, forces, stress) in vasprun.xml and OUTCAR; the others keep their energies.
    """

    n_steps: int
    ibrion: int
    isif: int
    ediff_ev: float
    ediffg: float
    potim: float
    n_electronic_max: int
    pressure_kbar: float
    frame_interval: int
    output_interval: int
    write_waves: bool
    write_charge: bool
    tags: Mapping[str, Tag]

    @property
    def is_dynamics(self) -> bool:
        """Whether this is molecular dynamics."""
        return self.ibrion == 0 and self.n_steps > 0

    @property
    def is_relaxation(self) -> bool:
        """Whether ions or cell are relaxed."""
        return self.ibrion in (1, 2, 3) and self.n_steps > 0

    @property
    def is_hessian(self) -> bool:
        """Whether force constants are asked for by finite differences."""
        return self.ibrion in (5, 6)


def _number(tags: Mapping[str, Tag], key: str, default: float) -> float:
    value = tags.get(key, default)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise VaspInputError(f"ERROR: error reading item '{key}' from file INCAR: {value!r}")


def _whole(tags: Mapping[str, Tag], key: str, default: int) -> int:
    value = _number(tags, key, default)
    if value != int(value):
        raise VaspInputError(f"ERROR: item '{key}' of file INCAR must be whole, got {value}")
    return int(value)


def read_settings(tags: Mapping[str, Tag]) -> RunSettings:
    """Check the tags and fill in VASP's defaults.

    Raises
    ------
    VaspInputError
        A tag has no number, or a value the mock can't obey.
    """
    n_steps = _whole(tags, "NSW", 0)
    ibrion = _whole(tags, "IBRION", -1 if n_steps in (-1, 0) else 0)
    if ibrion not in (-1, 0, 1, 2, 3, 5, 6):
        raise VaspInputError(f"ERROR: IBRION = {ibrion} is not supported (-1, 0, 1, 2, 3, 5, 6)")
    mdalgo = _whole(tags, "MDALGO", 0)
    default_isif = 0 if ibrion == 0 and mdalgo == 0 else 2
    isif = _whole(tags, "ISIF", default_isif)
    if not 0 <= isif <= 8:
        raise VaspInputError(f"ERROR: ISIF = {isif} is not supported (0 to 8)")
    if ibrion == 0 and n_steps > 0 and isif >= 3 and mdalgo != 3:
        raise VaspInputError("ERROR: a changing cell (ISIF = 3) in MD needs MDALGO = 3")
    ediff = _number(tags, "EDIFF", 1e-4)
    frame_interval = max(1, _whole(tags, "NBLOCK", 1))
    potim = _number(tags, "POTIM", 0.5)
    if ibrion == 0 and n_steps > 0 and ("POTIM" not in tags or potim <= 0):
        raise VaspInputError("ERROR: POTIM must be given, and positive, for IBRION = 0")
    return RunSettings(
        n_steps=n_steps,
        ibrion=ibrion,
        isif=isif,
        ediff_ev=ediff,
        ediffg=_number(tags, "EDIFFG", 10 * ediff),
        potim=potim,
        n_electronic_max=_whole(tags, "NELM", 60),
        pressure_kbar=_number(tags, "PSTRESS", 0.0),
        frame_interval=frame_interval,
        output_interval=max(1, _whole(tags, "ML_OUTBLOCK", 1)),
        write_waves=bool(tags.get("LWAVE", True)),
        write_charge=bool(tags.get("LCHARG", True)),
        tags=tags,
    )


def parameters(settings: RunSettings, crystal: Crystal) -> dict[str, Any]:
    """Return the section of vasprun.xml with everything VASP would have used."""
    defaults: dict[str, Any] = {
        "SYSTEM": crystal.comment,
        "PREC": "normal",
        "ENMAX": _number(settings.tags, "ENCUT", 400.0),
        "NELECT": float(N_BANDS),
        "NBANDS": N_BANDS,
        "ISMEAR": 1,
        "SIGMA": 0.2,
        "NELM": settings.n_electronic_max,
        "EDIFF": settings.ediff_ev,
        "EDIFFG": settings.ediffg,
        "NSW": settings.n_steps,
        "IBRION": settings.ibrion,
        "ISIF": settings.isif,
        "POTIM": settings.potim,
        "NBLOCK": settings.frame_interval,
        "GGA": "--",
        "LDAU": False,
        "LHFCALC": False,
        "LEPSILON": False,
        "LCHIMAG": False,
    }
    given = {k: v for k, v in settings.tags.items() if k in defaults or k in _ECHOED}
    # Nothing is spin-polarised or projected here, whatever INCAR says.
    return {**defaults, **given, "ISPIN": 1, "LORBIT": 0, "MAGMOM": [0.0] * crystal.n_ions}


#: Tags repeated among the parameters when INCAR has them.
_ECHOED = frozenset(
    {
        *("METAGGA", "IVDW", "ISYM", "ALGO", "KSPACING", "PSTRESS"),
        *("TEBEG", "TEEND", "MDALGO", "SMASS", "ANDERSEN_PROB", "RANDOM_SEED"),
        *("LANGEVIN_GAMMA", "LANGEVIN_GAMMA_L", "PMASS"),
    }
)


def _thermostat(settings: RunSettings) -> Thermostat:
    mdalgo = _whole(settings.tags, "MDALGO", 0)
    smass = _number(settings.tags, "SMASS", -3.0)
    if mdalgo == 0:
        if smass == -1:
            return Thermostat.RESCALING
        if smass == -3:
            return Thermostat.NONE
        if smass >= 0:
            return Thermostat.NOSE_HOOVER
        raise VaspInputError(f"ERROR: SMASS = {smass:g} is not supported (-3, -1, >= 0)")
    if mdalgo == 1:
        probability = _number(settings.tags, "ANDERSEN_PROB", 0.0)
        return Thermostat.ANDERSEN if probability > 0 else Thermostat.NONE
    if mdalgo == 2:
        return Thermostat.NOSE_HOOVER if smass != -3 else Thermostat.NONE
    if mdalgo == 3:
        return Thermostat.LANGEVIN
    raise VaspInputError(f"ERROR: MDALGO = {mdalgo} is not supported (0, 1, 2, 3)")


def _nose_mass(settings: RunSettings, crystal: Crystal, temperature_k: float) -> float:
    """Return Nose's mass (eV fs^2): SMASS in amu times the squared lattice constant."""
    smass = _number(settings.tags, "SMASS", 0.0)
    if smass > 0:
        return smass * KINETIC_UNIT_EV * float(np.linalg.norm(crystal.cell[0])) ** 2
    n_freedoms = max(1, int(crystal.movable.sum()) - 3)
    period = _NOSE_PERIOD_STEPS * settings.potim
    return 2 * n_freedoms * BOLTZMANN_EV_K * temperature_k * (period / (2 * math.pi)) ** 2


def _seed(tags: Mapping[str, Tag]) -> int:
    value = tags.get("RANDOM_SEED")
    if value is None:
        return time.time_ns() % 2**31
    numbers = value if isinstance(value, list) else [value]
    return abs(hash(tuple(int(float(n)) for n in numbers))) % 2**63  # type: ignore[arg-type]


def dynamics_settings(settings: RunSettings, crystal: Crystal) -> DynamicsSettings:
    """Return what the integrator needs.

    Raises
    ------
    VaspInputError
        An unknown thermostat, a temperature <= 0, or gammas that fit no elements.
    """
    tags = settings.tags
    start = _number(tags, "TEBEG", 0.0)
    end = _number(tags, "TEEND", start)
    if start < 0 or end < 0:
        raise VaspInputError(f"ERROR: TEBEG = {start:g}, TEEND = {end:g}: must not be negative")
    thermostat = _thermostat(settings)
    gammas = as_list(tags.get("LANGEVIN_GAMMA", 0.0), len(crystal.counts))
    if len(gammas) != len(crystal.counts):
        raise VaspInputError(
            f"ERROR: LANGEVIN_GAMMA has {len(gammas)} values for {len(crystal.counts)} species"
        )
    changes_cell = thermostat is Thermostat.LANGEVIN and settings.isif >= 3
    return DynamicsSettings(
        timestep_fs=settings.potim,
        n_steps=settings.n_steps,
        start_temperature_k=start,
        end_temperature_k=end,
        thermostat=thermostat,
        seed=_seed(tags),
        rescaling_interval=settings.frame_interval,
        collision_probability=_number(tags, "ANDERSEN_PROB", 0.0),
        thermostat_mass_ev_fs2=_nose_mass(settings, crystal, max(start, 1.0)),
        frictions_per_fs=np.repeat(gammas, crystal.counts) / 1000,
        lattice_mass_amu=_number(tags, "PMASS", 1000.0) if changes_cell else None,
        lattice_friction_per_fs=_number(tags, "LANGEVIN_GAMMA_L", 0.0) / 1000,
        pressure_kbar=settings.pressure_kbar,
    )


def masses_amu(crystal: Crystal) -> np.ndarray:
    """Return the mass of each ion."""
    return np.array([element(s).mass_amu for s in crystal.symbols])
