"""Executes many small jobflow flows with worker processes; survives being killed.

It knows nothing of the funnel: a persistent `JobQueue` of flows, and `run_queue`, which works
on it.
"""

from ionsieve.workflows.runners.local.driver import RunInterruptedError, run_queue
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.runners.local.records import RunningJob

__all__ = ["JobQueue", "RunInterruptedError", "RunningJob", "run_queue"]
