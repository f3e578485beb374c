"""When the gate looks at a run, and whether the run then ends or goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ionsieve.workflows.documents.raw import EndReason
from ionsieve.workflows.funnel.gates import GateDecision
from ionsieve.workflows.settings.schema import MolecularDynamics


@dataclass(frozen=True)
class Schedule:
    """The looks of one run, counted in segments.

    Attributes
    ----------
    n_frames
        Frames of one segment.
    n_first, n_between
        Segments before the first look, and from one look to the next.
    n_set, n_longest
        Segments of the set length and of the longest run.
    """

    n_frames: int
    n_first: int
    n_between: int
    n_set: int
    n_longest: int

    @classmethod
    def of(cls, settings: MolecularDynamics, stop_early: bool = True) -> Schedule:
        """Return the schedule of a stage; without early stops nobody looks before the end.

        Segments are of equal length, as near to ``segment_ps`` as gives ``length_ps`` exactly.
        """
        n_set = settings.n_segments
        segment_ps = settings.length_ps / n_set
        n_frames = round(segment_ps * 1e3 / settings.timestep_fs / settings.frame_interval)
        n_between = max(1, math.ceil(settings.look_ps / segment_ps - 1e-9))
        n_first = math.ceil((settings.equilibration_ps + settings.look_ps) / segment_ps - 1e-9)
        return cls(
            n_frames,
            max(1, n_first) if stop_early else n_set,
            n_between,
            n_set,
            settings.n_segments_longest,
        )

    def next_look(self, n_done: int) -> int:
        """Return after how many segments in all the gate looks next.

        Parameters
        ----------
        n_done
            Segments at the present look; 0 before the first.
        """
        wanted = n_done + self.n_between if n_done else self.n_first
        limit = self.n_set if n_done < self.n_set else self.n_longest
        return min(wanted, limit)


def end_reason(
    schedule: Schedule, n_done: int, decision: GateDecision, settled: bool
) -> EndReason | None:
    """Return why a run ends at this look; None if it goes on."""
    if n_done < schedule.n_set:
        return "decided" if settled else None
    if decision.action != "extend":
        return "length" if n_done == schedule.n_set else "decided"
    return "max_length" if n_done >= schedule.n_longest else None
