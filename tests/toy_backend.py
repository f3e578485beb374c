"""A backend in one file: metals by effective-medium theory, with ASE."""

import json
from pathlib import Path

import ase
import numpy as np
from ase import units
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import Trajectory
from ase.io.jsonio import decode, encode
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from jobflow import job
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import ReadOptions, read_trajectory
from ionsieve.workflows.backends.protocol import Calculation, Checkpoint, Cost, MDCalculation
from ionsieve.workflows.settings.backend_section import BackendSection
from ionsieve.workflows.settings.roles import setting


class EmtSettings(BackendSection):
    """The engine: effective-medium theory of Al, Ni, Cu, Pd, Ag, Pt and Au."""

    name: str = setting("computes", "emt", "effective-medium theory")
    asap_cutoff: bool = setting("computes", False, "cut interactions off as ASAP does")


@job
def compute(settings, structure, is_relaxation):
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.calc = EMT(asap_cutoff=settings.asap_cutoff)
    if is_relaxation and not BFGS(FrechetCellFilter(atoms), logfile=None).run(0.01, 500):
        raise IonSieveError(f"{structure.formula}: not relaxed after 500 steps; check the cell")
    energy_ev_atom = atoms.get_potential_energy() / len(atoms)
    return {**_found(atoms), "energy_ev_atom": energy_ev_atom, "version": ase.__version__}


@job
def run_segment(settings, spec, structure, files):
    dice = np.random.default_rng(spec.seed)
    if files:  # All it takes to go on exactly: positions, velocities, the thermostat's dice.
        atoms = decode(files["atoms"])
        dice.bit_generator.state = json.loads(files["dice"])
    else:
        atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
        MaxwellBoltzmannDistribution(atoms, temperature_K=spec.temperature_k, rng=dice)
    atoms.calc = EMT(asap_cutoff=settings.asap_cutoff)
    bath = {"temperature_K": spec.temperature_k, "friction": 0.02 / units.fs, "fixcm": False}
    dynamics = Langevin(atoms, spec.timestep_fs * units.fs, rng=dice, **bath)
    with Trajectory("md.traj", "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=spec.frame_interval)
        dynamics.run(spec.n_steps)
    files = {"atoms": encode(atoms), "dice": json.dumps(dice.bit_generator.state)}
    return {**_found(atoms), "files": files}


def _found(atoms):
    symbols, fractional = atoms.symbols, atoms.get_scaled_positions(wrap=False)
    return {"structure": Structure(atoms.cell[:], symbols, fractional), "folder": str(Path.cwd())}


class EmtBackend:
    name = "emt"
    Settings = EmtSettings
    capabilities = frozenset({"relax", "static", "md"})

    def __init__(self, settings=None):
        self.settings = settings or EmtSettings()

    @classmethod
    def create(cls, settings, relax, limits):
        return cls(settings)

    def check(self):
        """Nothing can be missing: ASE comes with IonSieve."""

    def identity(self):
        return {"backend": self.name, "asap_cutoff": self.settings.asap_cutoff}

    def energy_identity(self, engine):
        return {"engine": f"ase {engine['version']}", "settings": self.identity()}

    def cost(self, n_ions, n_steps):
        return Cost(2.2e-8 * n_ions * n_steps, "EMT: 12,700 ions and steps per second and core")

    def relax(self, structure, name):
        return self._calculation(compute(self.settings, structure, True), name)

    def static(self, structure, name, after=None):
        return self._calculation(compute(self.settings, structure, False), name)

    def _calculation(self, only, name):
        only.name = name
        places = {key: only.output[key] for key in ("structure", "energy_ev_atom", "folder")}
        engine = {"version": only.output["version"]}
        return Calculation(jobs=(only,), engine=engine, uuid=only.uuid, **places)

    def md(self, spec, start, name):
        first = start if isinstance(start, Structure) else None
        segment = run_segment(self.settings, spec, first, {} if first else start.files)
        segment.name = name
        parts = {key: segment.output[key] for key in ("structure", "folder", "files")}
        return MDCalculation((segment,), Checkpoint(**parts), segment.uuid)

    def read_segment(self, end, spec):
        between_fs = spec.timestep_fs * spec.frame_interval
        options = ReadOptions(timestep_fs=between_fs, md_timestep_fs=spec.timestep_fs)
        # ASE writes the start as well: the last frame of the segment before.
        trajectory = read_trajectory(Path(end.folder) / "md.traj", options)[1:]
        if trajectory.n_frames != spec.n_frames:
            raise IonSieveError(f"{end.folder}: {trajectory.n_frames} of {spec.n_frames} frames")
        return trajectory

    def keep(self, end):
        return end
