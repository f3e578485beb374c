"""CONTCAR, XDATCAR, OSZICAR and OUTCAR."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.inputs import Crystal, ThermostatState

Array = NDArray[np.float64]


def _lines(form: str, values: Array) -> str:
    return (form * len(values)) % tuple(np.asarray(values, dtype=float).ravel())


def _wrapped(fractional: Array) -> Array:
    wrapped = fractional - np.floor(fractional)
    return np.where(wrapped >= 1.0, 0.0, wrapped)


def header(crystal: Crystal, cell: Array) -> str:
    """Return title, lattice, elements and counts, as POSCAR and XDATCAR begin."""
    lattice = _lines("  %21.16f %21.16f %21.16f\n", cell)
    names = "".join(f" {s:>4s}" for s in crystal.species)
    counts = "".join(f" {n:>5d}" for n in crystal.counts)
    return f"{crystal.comment}\n   1.0\n{lattice}{names}\n{counts}\n"


@dataclass(frozen=True)
class Motion:
    """Velocities and thermostat written behind the positions in CONTCAR."""

    velocities: Array
    thermostat: ThermostatState
    lattice_velocities: Array | None = None


def contcar(crystal: Crystal, fractional: Array, cell: Array, motion: Motion | None) -> str:
    """Return a CONTCAR; with ``motion`` a run continues exactly from it."""
    positions = _wrapped(fractional)
    parts = [header(crystal, cell)]
    if crystal.is_selective:
        flags = [" ".join(" T" if f else " F" for f in row) for row in crystal.movable]
        coordinates = _lines("  %.16f %.16f %.16f\n", positions).splitlines()
        body = "".join(f"{c} {f}\n" for c, f in zip(coordinates, flags, strict=True))
        parts.append(f"Selective dynamics\nDirect\n{body}")
    else:
        parts.append("Direct\n" + _lines("  %.16f %.16f %.16f\n", positions))
    if motion is not None:
        if motion.lattice_velocities is not None:
            both = np.vstack([motion.lattice_velocities, cell])
            parts.append("Lattice velocities and vectors\n  1\n")
            parts.append(_lines(" % .7E % .7E % .7E\n", both))
        parts.append("\n" + _lines("  % .16E % .16E % .16E\n", motion.velocities))
        state = motion.thermostat
        parts.append(f"\n           1\n  {state.timestep_fs:.16E}\n")
        parts.append(" ".join(f"{v: .16E}" for v in state.values) + "\n")
        # Three blocks of predictor-corrector coordinates; this integrator has none and repeats
        # the positions, since the parsers drop a block of zeros.
        parts.append(_lines("  %.8E %.8E %.8E\n", positions) * 3)
    return "".join(parts)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader never sees half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


class XdatcarWriter:
    """Writes XDATCAR; the header is repeated for every frame when the cell changes."""

    def __init__(self, stream: TextIO, crystal: Crystal, cell_changes: bool) -> None:
        self._stream, self._crystal, self._cell_changes = stream, crystal, cell_changes
        self._n_frames = 0
        self._form = "  %11.8f %11.8f %11.8f\n" * crystal.n_ions

    def frame(self, fractional: Array, cell: Array) -> None:
        """Write one configuration."""
        self._n_frames += 1
        if self._cell_changes or self._n_frames == 1:
            self._stream.write(header(self._crystal, cell))
        body = self._form % tuple(_wrapped(fractional).ravel())
        self._stream.write(f"Direct configuration={self._n_frames:6d}\n{body}")


class OszicarWriter:
    """Writes OSZICAR and the same lines to standard output."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams
        self._previous_ev = 0.0

    def _write(self, text: str) -> None:
        for stream in self._streams:
            stream.write(text)

    def electronic(self, energy_ev: float, n_steps: int) -> None:
        """Write the self-consistency cycle, which the mock doesn't have, as ``n_steps`` lines."""
        title = "       N       E                     dE             d eps       ncg     rms"
        self._write(title + "          rms(c)\n")
        for n in range(1, n_steps + 1):
            self._write(
                f"DAV: {n:3d}    {energy_ev: .12E}   {0:+.5E}   {0:+.5E}    16   0.100E-05\n"
            )

    def relaxation(self, number: int, energy_ev: float) -> None:
        """Write the line that ends an ionic step of a relaxation."""
        change = energy_ev - self._previous_ev if number > 1 else 0.0
        self._previous_ev = energy_ev
        self._write(f"{number:4d} F= {energy_ev:.8E} E0= {energy_ev:.8E}  d E ={change:.6E}\n")

    def dynamics(
        self,
        number: int,
        temperature_k: float,
        energy_ev: float,
        kinetic_ev: float,
        thermostat_ev: tuple[float, float],
    ) -> None:
        """Write the line of one step of molecular dynamics."""
        total = energy_ev + kinetic_ev + sum(thermostat_ev)
        self._write(
            f"{number:7d} T= {temperature_k:6.0f}. E= {total:.8E} F= {energy_ev:.8E} "
            f"E0= {energy_ev:.8E}  EK= {kinetic_ev:.5E} SP= {thermostat_ev[0]:.2E} "
            f"SK= {thermostat_ev[1]:.2E}\n"
        )


class OutcarWriter:
    """Writes the parts of OUTCAR that people and parsers read."""

    def __init__(self, stream: TextIO, n_ions: int) -> None:
        self._stream, self._n_ions = stream, n_ions

    def start(self, version: str, n_bands: int, ibrion: int, parameters: dict) -> None:
        """Write the head of the file."""
        tags = "".join(
            f"   {k:<8s}= {v}\n" for k, v in parameters.items() if not isinstance(v, (list, bool))
        )
        self._stream.write(
            f" vasp.{version} ionsieve-mock-vasp (classical pair potential, not DFT)\n"
            " executed on             LinuxIFC date\n running    1 mpi-ranks, with    1 threads\n"
            f"{tags}   IBRION = {ibrion:6d}\n"
            f"   number of bands    NBANDS=  {n_bands}\n"
            f"   total plane-waves  NPLWV =    4096\n\n"
        )

    def step(
        self,
        number: int,
        positions: Array,
        forces: Array,
        cell: Array,
        stress_kbar: Array,
        energy_ev: float,
        seconds: float,
        is_converged: bool = True,
    ) -> None:
        """Write one ionic step."""
        xx, yy, zz = np.diag(stress_kbar)
        xy, yz, zx = stress_kbar[0, 1], stress_kbar[1, 2], stress_kbar[2, 0]
        table = _lines(
            "  %12.5f %12.5f %12.5f    %13.6f %13.6f %13.6f\n", np.hstack([positions, forces])
        )
        lattice = _lines("  %14.9f %14.9f %14.9f\n", cell)
        drift = forces.sum(axis=0)
        aborting = "------------------------ aborting loop because EDIFF is reached\n"
        self._stream.write(
            f"--------------------------------------- Iteration {number:6d}(   1)  ---------\n"
            f"{aborting if is_converged else ''}"
            f"  in kB  {xx:11.5f} {yy:11.5f} {zz:11.5f} {xy:11.5f} {yz:11.5f} {zx:11.5f}\n"
            f"  external pressure = {(xx + yy + zz) / 3:11.2f} kB  Pullay stress = 0.00 kB\n"
            f"  volume of cell : {abs(np.linalg.det(cell)):11.2f}\n"
            f"      direct lattice vectors\n{lattice}\n"
            " POSITION                                       TOTAL-FORCE (eV/Angst)\n"
            f" {'-' * 83}\n{table} {'-' * 83}\n"
            f"    total drift: {drift[0]:22.6f} {drift[1]:13.6f} {drift[2]:13.6f}\n\n"
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
            f"  free  energy   TOTEN  = {energy_ev:18.8f} eV\n\n"
            f"  energy  without entropy={energy_ev:18.8f}  energy(sigma->0) ={energy_ev:18.8f}\n\n"
            f"     LOOP+:  cpu time {seconds:10.4f}: real time {seconds:10.4f}\n"
        )

    def note(self, text: str) -> None:
        """Write a line of its own."""
        self._stream.write(f" {text}\n")

    def finish(self, cpu_seconds: float, elapsed_seconds: float) -> None:
        """Write Fermi level and timing, by which a complete run is known."""
        self._stream.write(
            " E-fermi :   0.0000     XC(G=0): 0.0000     alpha+bet : 0.0000\n\n"
            " General timing and accounting informations for this job:\n"  # codespell:ignore
            " ========================================================\n\n"
            f"                  Total CPU time used (sec): {cpu_seconds:12.3f}\n"
            f"                            User time (sec): {cpu_seconds:12.3f}\n"
            "                          System time (sec):        0.000\n"
            f"                         Elapsed time (sec): {elapsed_seconds:12.3f}\n\n"
            "                   Maximum memory used (kb):           0.\n"
            "                   Average memory used (kb):          N/A\n"
        )
