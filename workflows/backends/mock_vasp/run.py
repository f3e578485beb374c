"""One run of the stand-in: read the folder's inputs, compute, write the outputs."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.dynamics import Dynamics, DynamicsStep, State, Thermostat
from ionsieve.workflows.backends.mock_vasp.faults import Fault, read_fault
from ionsieve.workflows.backends.mock_vasp.force_field import Evaluation, ForceField
from ionsieve.workflows.backends.mock_vasp.hessian import finite_differences, hessian_xml
from ionsieve.workflows.backends.mock_vasp.inputs import (
    Crystal,
    Kpoints,
    ThermostatState,
    VaspInputError,
    read_incar,
    read_kpoints,
    read_poscar,
    read_potcar_symbols,
)
from ionsieve.workflows.backends.mock_vasp.relaxation import Freedom, IonicStep, relax
from ionsieve.workflows.backends.mock_vasp.settings import (
    N_BANDS,
    RunSettings,
    dynamics_settings,
    masses_amu,
    parameters,
    read_settings,
)
from ionsieve.workflows.backends.mock_vasp.text_outputs import (
    Motion,
    OszicarWriter,
    OutcarWriter,
    XdatcarWriter,
    contcar,
    replace_file,
)
from ionsieve.workflows.backends.mock_vasp.vasprun import VERSION, Energies, VasprunWriter

Array = NDArray[np.float64]

#: Steps of the minimiser in one ionic step: they cost nothing here, and the files stay small.
_STEPS_PER_IONIC_STEP = 5
#: A killed run loses at most this much of its outputs.
_FLUSH_SECONDS = 0.25


@dataclass(frozen=True)
class Inputs:
    """Everything read from the folder."""

    folder: Path
    crystal: Crystal
    settings: RunSettings
    kpoints: Kpoints
    potentials: list[str]
    fault: Fault | None


def read_inputs(folder: Path) -> Inputs:
    """Read and check all input files.

    Raises
    ------
    VaspInputError
        One is missing or wrong.
    """
    settings = read_settings(read_incar(folder / "INCAR"))
    potentials = read_potcar_symbols(folder)
    crystal = read_poscar(folder / "POSCAR", [p.split("_")[0] for p in potentials])
    if len(potentials) != len(crystal.counts):
        raise VaspInputError(
            f"ERROR: number of potentials on file POTCAR ({len(potentials)}) incompatible with "
            f"number of species on POSCAR ({len(crystal.counts)})"
        )
    fault = read_fault(folder, crystal.composition)
    kpoints = read_kpoints(folder / "KPOINTS")
    return Inputs(folder, crystal, settings, kpoints, potentials, fault)


class Truncated(Exception):
    """An injected fault cut the outputs short."""


class _Outputs:
    """All output files of one run, kept in step."""

    def __init__(self, inputs: Inputs, is_ionic: bool, stack: contextlib.ExitStack) -> None:
        self.inputs, self.is_ionic = inputs, is_ionic
        folder, crystal, settings = inputs.folder, inputs.crystal, inputs.settings

        def opened(name: str) -> TextIO:
            return stack.enter_context((folder / name).open("w", buffering=1 << 16))

        self._streams = [opened(n) for n in ("vasprun.xml", "OUTCAR", "OSZICAR", "XDATCAR")]
        self.vasprun = VasprunWriter(self._streams[0], crystal, inputs.kpoints)
        self.outcar = OutcarWriter(self._streams[1], crystal.n_ions)
        self.oszicar = OszicarWriter(self._streams[2], sys.stdout)
        changes = settings.isif >= 3 and (settings.is_relaxation or settings.is_dynamics)
        self.xdatcar = XdatcarWriter(self._streams[3], crystal, changes)
        self._last_flush = self._last_step = time.monotonic()
        used = parameters(settings, crystal)
        self.vasprun.start(settings.tags, used, inputs.potentials)
        self.outcar.start(VERSION, N_BANDS, settings.ibrion, used)

    def flush(self) -> None:
        """Hand everything written so far to the system."""
        for stream in (*self._streams, sys.stdout):
            stream.flush()
        self._last_flush = time.monotonic()

    @property
    def is_flush_due(self) -> bool:
        """Whether the outputs have not been flushed for a while."""
        return time.monotonic() - self._last_flush > _FLUSH_SECONDS

    def check_fault(self, number: int) -> None:
        """Let the injected fault strike in this step."""
        fault = self.inputs.fault
        if fault is not None and fault.strike(number, self.flush):
            self._streams[0].write(' <calculation>\n  <varray name="forces" >\n   <v> 0.1')
            raise Truncated

    def seen(self, number: int, evaluation: Evaluation) -> Evaluation:
        """Return what is written of a step: the injected fault may spoil the energy."""
        fault = self.inputs.fault
        if fault is None or not fault.spoils_energy(number):
            return evaluation
        return replace(evaluation, energy_ev=np.nan)

    def full_step(
        self,
        number: int,
        geometry: tuple[Array, Array],
        evaluation: Evaluation,
        energies: Energies,
        is_last: bool,
        extra: str = "",
    ) -> None:
        """Write one ionic step to vasprun.xml and OUTCAR."""
        fault = self.inputs.fault
        unconverged = fault is not None and fault.is_unconverged(number)
        n_electronic = self.inputs.settings.n_electronic_max if unconverged else 1
        fractional, cell = geometry
        stress = evaluation.stress_kbar(cell)
        self.oszicar.electronic(evaluation.energy_ev, n_electronic)
        bands = self.vasprun.bands(N_BANDS, not self.is_ionic) if is_last else ""
        wrapped = fractional - np.floor(fractional)
        self.vasprun.step(
            wrapped, cell, evaluation.forces, stress, energies, n_electronic, (bands, extra)
        )
        now = time.monotonic()
        seconds, self._last_step = now - self._last_step, now
        self.outcar.step(
            number,
            wrapped @ cell,
            evaluation.forces,
            cell,
            stress,
            evaluation.energy_ev,
            seconds,
            is_converged=not unconverged,
        )

    def write_contcar(self, geometry: tuple[Array, Array], motion: Motion | None = None) -> None:
        """Rewrite CONTCAR."""
        text = contcar(self.inputs.crystal, *geometry, motion)
        replace_file(self.inputs.folder / "CONTCAR", text)

    def wants_stop(self) -> bool:
        """Tell whether a STOPCAR asks for the end; notes it in OUTCAR."""
        stopcar = self.inputs.folder / "STOPCAR"
        if not stopcar.exists():
            return False
        tags = read_incar(stopcar)
        if not (tags.get("LSTOP") or tags.get("LABORT")):
            return False
        self.outcar.note("soft stop encountered!  aborting job ...")
        with contextlib.suppress(OSError):
            stopcar.unlink()
        return True


def _run_static(inputs: Inputs, force_field: ForceField, out: _Outputs) -> tuple[Array, Array]:
    geometry = inputs.crystal.fractional, inputs.crystal.cell
    result = force_field.evaluate(*geometry)
    out.check_fault(1)
    result = out.seen(1, result)
    extra = ""
    if inputs.settings.is_hessian:
        hessian = finite_differences(force_field, inputs.crystal, inputs.settings.potim)
        extra = hessian_xml(hessian, masses_amu(inputs.crystal))
    out.full_step(1, geometry, result, Energies(result.energy_ev), True, extra)
    out.oszicar.relaxation(1, result.energy_ev)
    out.xdatcar.frame(*geometry)
    out.write_contcar(geometry)
    return geometry


def _next_ionic_step(steps: Iterator[IonicStep]) -> IonicStep | None:
    """Return the minimiser's state a few of its steps on, or at its end."""
    taken = list(itertools.islice(steps, _STEPS_PER_IONIC_STEP))
    return taken[-1] if taken else None


def _run_relaxation(inputs: Inputs, force_field: ForceField, out: _Outputs) -> tuple[Array, Array]:
    crystal, settings = inputs.crystal, inputs.settings
    freedom = Freedom.from_isif(settings.isif, crystal.movable, settings.pressure_kbar)
    steps = relax(force_field, crystal.fractional, crystal.cell, freedom, settings.ediffg)
    step = next(steps)
    number = 1
    while True:
        out.check_fault(number)
        evaluation = out.seen(number, step.evaluation)
        energy = evaluation.energy_ev
        following = None if step.is_minimum else _next_ionic_step(steps)
        is_stopped = not step.is_minimum and out.wants_stop()
        is_last = step.is_minimum or is_stopped or number >= settings.n_steps
        geometry = step.fractional, step.cell
        out.full_step(number, geometry, evaluation, Energies(energy), is_last)
        out.oszicar.relaxation(number, energy)
        out.xdatcar.frame(*geometry)
        out.write_contcar(geometry)
        if out.is_flush_due:
            out.flush()
        if is_last or following is None:
            break
        step, number = following, number + 1
    if step.is_minimum:
        text = "reached required accuracy - stopping structural energy minimisation"
        out.outcar.note(text)
        print(f" {text}")
    return geometry


def _start_state(inputs: Inputs, force_field: ForceField, dynamics: Dynamics) -> State:
    crystal = inputs.crystal
    velocities = crystal.velocities
    if velocities is None or not velocities.any():
        velocities = dynamics.maxwell_velocities(dynamics.settings.start_temperature_k)
    thermostat = crystal.thermostat or ThermostatState(0.0, (0.0, 0.0, 0.0, 0.0))
    strain_rate = np.zeros((3, 3))
    if crystal.lattice_velocities is not None and dynamics.settings.lattice_mass_amu is not None:
        rate = np.linalg.solve(crystal.cell, crystal.lattice_velocities)
        strain_rate = (rate + rate.T) / 2
    return State(
        fractional=crystal.fractional.copy(),
        cell=crystal.cell.copy(),
        velocities=velocities * crystal.movable,
        evaluation=force_field.evaluate(crystal.fractional, crystal.cell),
        strain_rate=strain_rate,
        friction_per_fs=thermostat.values[0],
        friction_integral=thermostat.values[1],
    )


def _motion(state: State, dynamics: Dynamics) -> Motion:
    settings = dynamics.settings
    values = (state.friction_per_fs, state.friction_integral, 0.0, 0.0)
    if settings.thermostat is not Thermostat.NOSE_HOOVER:
        values = (0.0, 0.0, 0.0, 0.0)
    changes_cell = settings.lattice_mass_amu is not None
    return Motion(
        velocities=state.velocities,
        thermostat=ThermostatState(settings.timestep_fs, values),
        lattice_velocities=state.cell @ state.strain_rate if changes_cell else None,
    )


def _dynamics_step(out: _Outputs, step: DynamicsStep, is_last: bool) -> None:
    settings, state = out.inputs.settings, step.state
    geometry = state.fractional, state.cell
    evaluation = out.seen(step.number, state.evaluation)
    energies = Energies(evaluation.energy_ev, step.kinetic_ev, step.conserved_ev)
    if is_last or step.number % settings.output_interval == 0 or step.number == 1:
        out.full_step(step.number, geometry, evaluation, energies, is_last)
    else:
        out.vasprun.short_step(energies)
    bath = (step.thermostat_potential_ev, step.thermostat_kinetic_ev)
    out.oszicar.dynamics(
        step.number, step.temperature_k, energies.potential_ev, step.kinetic_ev, bath
    )
    if step.number % settings.frame_interval == 0:
        out.xdatcar.frame(*geometry)


def _run_dynamics(inputs: Inputs, force_field: ForceField, out: _Outputs) -> tuple[Array, Array]:
    crystal = inputs.crystal
    settings = dynamics_settings(inputs.settings, crystal)
    dynamics = Dynamics(force_field, masses_amu(crystal), crystal.movable, settings)
    state = _start_state(inputs, force_field, dynamics)
    for step in dynamics.run(state):
        out.check_fault(step.number)
        is_stopped = out.wants_stop()
        _dynamics_step(out, step, is_stopped or step.number == settings.n_steps)
        if is_stopped:
            dynamics.stop()
        elif out.is_flush_due:
            # In this order the frames of a killed run reach at least as far as its CONTCAR.
            out.flush()
            out.write_contcar((state.fractional, state.cell), _motion(state, dynamics))
    out.write_contcar((state.fractional, state.cell), _motion(state, dynamics))
    return state.fractional, state.cell


def run(folder: Path) -> None:
    """Run in a folder that holds VASP's inputs; the outputs go there and to standard output.

    Raises
    ------
    VaspInputError
        An input is missing or wrong.
    InjectedError
        A fault was asked for.
    """
    start, start_cpu = time.monotonic(), time.process_time()
    inputs = read_inputs(folder)
    settings, crystal = inputs.settings, inputs.crystal
    print(f" vasp.{VERSION} ionsieve-mock-vasp (classical pair potential, not DFT)")
    names = " ".join(crystal.species)
    print(f" POSCAR found type information on POSCAR: {names}")
    print(f" POSCAR found : {len(crystal.counts):2d} types and {crystal.n_ions:7d} ions")
    force_field = ForceField(crystal.symbols)
    if settings.is_dynamics:
        compute = _run_dynamics
        dynamics_settings(settings, crystal)
    else:
        compute = _run_relaxation if settings.is_relaxation else _run_static
    with contextlib.ExitStack() as stack:
        out = _Outputs(inputs, force_field.is_ionic, stack)
        for name, wanted in (
            ("WAVECAR", settings.write_waves),
            ("CHGCAR", settings.write_charge),
        ):
            if wanted:
                (folder / name).touch()
        with contextlib.suppress(Truncated):
            geometry = compute(inputs, force_field, out)
            wrapped = geometry[0] - np.floor(geometry[0])
            out.vasprun.finish(wrapped, geometry[1])
            out.outcar.finish(time.process_time() - start_cpu, time.monotonic() - start)
        out.flush()
