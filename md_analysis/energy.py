"""The names of the energy's drift under the path that other packages import them from."""

from ionsieve.md_analysis.conserved_energy import EnergyDrift, energy_drift
from ionsieve.md_analysis.oszicar import read_energy_drift, vasprun_drift

__all__ = ["EnergyDrift", "energy_drift", "read_energy_drift", "vasprun_drift"]
