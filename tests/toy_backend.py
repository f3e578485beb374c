"""A backend in one file: metals by effective-medium theory, with ASE."""

import json
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import Trajectory
from ase.io.jsonio import decode, encode
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from jobflow import job
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import ReadOptions, read_trajectory
from ionsieve.workflows.backends.protocol import Calculation, Checkpoint, Cost, MDCalculation
from ionsieve.workflows.settings.backend_section import BackendSection
from ionsieve.workflows.settings.roles import setting


class EmtSettings(BackendSection):
    """The engine: effective-medium theory of Al, Ni, Cu, Pd, Ag, Pt and Au."""

    name: str = setting("computes", "emt", "effective-medium theory")
    asap_cutoff: bool = setting("computes", False, "cut interactions off as ASAP does")


def to_structure(atoms):
    return Structure(atoms.cell[:], atoms.symbols, atoms.get_scaled_positions(wrap=False))


@job
def compute(settings, structure, is_relaxation):
    atoms = Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=True,
        calculator=EMT(asap_cutoff=settings.asap_cutoff),
    )
    if is_relaxation and not BFGS(FrechetCellFilter(atoms), logfile=None).run(0.01, 500):
        raise IonSieveError(f"{structure.formula}: not relaxed after 500 steps; check the cell")
    energy_ev_atom = atoms.get_potential_energy() / len(atoms)
    found = {"structure": to_structure(atoms), "energy_ev_atom": energy_ev_atom}
    return {**found, "folder": str(Path.cwd()), "version": ase.__version__}


@job
def run_segment(settings, spec, structure, files):
    generator = np.random.default_rng(spec.seed)
    if files:  # All it takes to go on exactly: positions, velocities, and the thermostat's dice.
        atoms = decode(files["atoms"])
        generator.bit_generator.state = json.loads(files["generator"])
    else:
        symbols = [site.specie.symbol for site in structure]
        atoms = Atoms(symbols, structure.cart_coords, cell=structure.lattice.matrix, pbc=True)
        MaxwellBoltzmannDistribution(atoms, temperature_K=spec.temperature_k, rng=generator)
    atoms.calc = EMT(asap_cutoff=settings.asap_cutoff)
    thermostat = {"temperature_K": spec.temperature_k, "friction": 0.02 / units.fs}
    dynamics = Langevin(
        atoms, spec.timestep_fs * units.fs, **thermostat, rng=generator, fixcm=False
    )
    with Trajectory("md.traj", "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=spec.frame_interval)
        dynamics.run(spec.n_steps)
    files = {"atoms": encode(atoms), "generator": json.dumps(generator.bit_generator.state)}
    return {"structure": to_structure(atoms), "folder": str(Path.cwd()), "files": files}


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
        """There is nothing to miss: ASE comes with IonSieve."""

    def identity(self) -> dict[str, Any]:
        return {"backend": self.name, "asap_cutoff": self.settings.asap_cutoff}

    def energy_identity(self, engine):
        return {"engine": f"ase {engine['version']}", "settings": self.identity()}

    def cost(self, n_ions, n_steps):
        return Cost(1e-7 * n_ions * n_steps, "EMT: 2,800 steps per second of one ion on one core")

    def relax(self, structure, name):
        return self._calculation(compute(self.settings, structure, True), name)

    def static(self, structure, name, after=None):
        return self._calculation(compute(self.settings, structure, False), name)

    def md(self, spec, start, name):
        is_first = isinstance(start, Structure)
        segment = run_segment(
            self.settings, spec, start if is_first else None, {} if is_first else start.files
        )
        segment.name = name
        parts = {part: segment.output[part] for part in ("structure", "folder", "files")}
        return MDCalculation((segment,), Checkpoint(**parts), segment.uuid)

    def read_segment(self, end, spec):
        options = ReadOptions(
            timestep_fs=spec.timestep_fs * spec.frame_interval, md_timestep_fs=spec.timestep_fs
        )
        # ASE writes the start as well: the last frame of the segment before.
        trajectory = read_trajectory(Path(end.folder) / "md.traj", options)[1:]
        if trajectory.n_frames != spec.n_frames:
            raise IonSieveError(f"{end.folder}: {trajectory.n_frames} of {spec.n_frames} frames")
        return trajectory

    def keep(self, end):
        return end

    def phonons(self, structure, name):
        raise IonSieveError("the backend emt has no phonons; set phonons.enabled: false")

    def _calculation(self, only, name):
        only.name = name
        out = only.output
        engine = {"version": out["version"]}
        return Calculation(
            (only,), out["structure"], out["energy_ev_atom"], out["folder"], engine, only.uuid
        )
