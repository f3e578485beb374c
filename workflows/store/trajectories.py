"""Trajectories on their way into and out of the additional store."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ionsieve.md_analysis import Trajectory


def pack_trajectory(trajectory: Trajectory) -> Any:
    """Return what a job's output holds of a trajectory."""
    return base64.b64encode(trajectory.to_bytes()).decode()


def unpack_trajectory(packed: Any) -> Trajectory:
    """Return the trajectory of a stored blob."""
    from ionsieve.md_analysis import Trajectory

    return Trajectory.from_bytes(base64.b64decode(packed))
