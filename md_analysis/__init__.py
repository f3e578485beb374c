"""Trajectories to self-diffusivity and conductivity with errors that can be believed.

>>> from ionsieve.md_analysis import Trajectory, analyze
"""

from ionsieve.md_analysis.analysis import TransportResult, analyze
from ionsieve.md_analysis.diagnosis import Limits
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.readers import read_trajectory
from ionsieve.md_analysis.trajectory import Trajectory
from ionsieve.md_analysis.xdatcar import read_xdatcar

__all__ = [
    "Limits",
    "ReadOptions",
    "Trajectory",
    "TransportResult",
    "analyze",
    "read_trajectory",
    "read_xdatcar",
]
