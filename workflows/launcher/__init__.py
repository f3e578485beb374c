"""Executes many small jobflow flows with worker processes; survives being killed.

It knows nothing of the funnel: a persistent `JobQueue` of flows, and `run_queue`, which works
on it.
"""

from ionsieve.workflows.launcher.driver import RunInterruptedError, run_queue
from ionsieve.workflows.launcher.queue import JobQueue
from ionsieve.workflows.launcher.records import FlowStatus, NewFlow, RunningJob

__all__ = ["FlowStatus", "JobQueue", "NewFlow", "RunInterruptedError", "RunningJob", "run_queue"]
