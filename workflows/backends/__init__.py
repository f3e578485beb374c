"""Engines that compute energies, forces and trajectories, one folder each."""
