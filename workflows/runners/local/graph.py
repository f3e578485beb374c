"""How the end of one job changes the others: the queue's rules, inside one transaction.

They are those of jobflow's local manager, made concurrent: a job starts when its parents have
ended; a failed parent fails it unless it tolerates missing references; a parent that stops its
children stops it; replacements and detours run before the children of the job that asked for them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from ionsieve.workflows.runners.local.outcome import JobRecord, Outcome
from ionsieve.workflows.runners.local.records import Failure

EndState = Literal["completed", "failed", "stopped"]


def insert_jobs(
    connection: sqlite3.Connection, flow_id: int, jobs: Sequence[JobRecord]
) -> list[int]:
    """Add jobs to a flow; those without parents are ready.

    Parameters
    ----------
    connection : sqlite3.Connection
        Within a write transaction.
    flow_id : int
        The flow they belong to.
    jobs : sequence of JobRecord
        Parents first.

    Returns
    -------
    list of int
        Their numbers in the queue, in order.
    """
    (priority,) = connection.execute(
        "SELECT priority FROM flows WHERE id = ?", (flow_id,)
    ).fetchone()
    numbers: list[int] = []
    for job in jobs:
        cursor = connection.execute(
            "INSERT INTO jobs (flow_id, uuid, job_index, name, tolerant, priority, state, n_waits,"
            " content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                flow_id,
                job.uuid,
                job.job_index,
                job.name,
                job.tolerant,
                priority,
                "waiting" if job.parents else "ready",
                len(job.parents),
                job.content,
            ),
        )
        assert cursor.lastrowid is not None
        numbers.append(cursor.lastrowid)
        connection.executemany(
            "INSERT INTO edges (parent, child, is_input) VALUES (?, ?, 1)",
            [(numbers[parent], cursor.lastrowid) for parent in job.parents],
        )
    return numbers


def complete_job(connection: sqlite3.Connection, job_id: int, outcome: Outcome) -> bool:
    """Record that a job ended well, with all it leaves behind; return whether its flow ended."""
    flow_id, uuid, stopping = connection.execute(
        "SELECT flow_id, uuid, stopping FROM jobs JOIN flows ON flows.id = flow_id"
        " WHERE jobs.id = ?",
        (job_id,),
    ).fetchone()
    if outcome.stop_flow:
        connection.execute("UPDATE flows SET stopping = 1 WHERE id = ?", (flow_id,))
        connection.execute(
            "UPDATE jobs SET state = 'stopped', ended_at = ?"
            " WHERE flow_id = ? AND state IN ('waiting', 'ready')",
            (time.time(), flow_id),
        )
    elif not stopping:
        for jobs in outcome.before_children:
            _insert_before_children(connection, flow_id, job_id, uuid, jobs)
        insert_jobs(connection, flow_id, outcome.beside_children)
    _end_jobs(connection, [job_id], "completed", stop_children=outcome.stop_children)
    return note_change(connection, flow_id)


def fail_job(connection: sqlite3.Connection, job_id: int, failure: Failure) -> bool:
    """Record that a job failed, and its consequences; return whether its flow ended."""
    (flow_id,) = connection.execute("SELECT flow_id FROM jobs WHERE id = ?", (job_id,)).fetchone()
    connection.execute(
        "UPDATE jobs SET error = ?, traceback = ? WHERE id = ?",
        (failure.reason, failure.traceback, job_id),
    )
    _end_jobs(connection, [job_id], "failed")
    connection.execute(
        "UPDATE flows SET error = ?, retriable = ?,"
        " failed_job = (SELECT name FROM jobs WHERE id = ?) WHERE id = ? AND error = ''",
        (failure.reason, failure.retriable, job_id, flow_id),
    )
    return note_change(connection, flow_id)


def note_change(connection: sqlite3.Connection, flow_id: int) -> bool:
    """Mark a flow as changed, and as ended if nothing of it is left; return whether it ended."""
    (is_open,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE flow_id = ?"
        " AND state IN ('waiting', 'ready', 'running'))",
        (flow_id,),
    ).fetchone()
    connection.execute(
        "UPDATE flows SET change = (SELECT MAX(change) + 1 FROM flows),"
        " state = CASE WHEN started_at IS NULL THEN 'waiting' ELSE 'running' END WHERE id = ?",
        (flow_id,),
    )
    if not is_open:
        connection.execute(
            "UPDATE flows SET state = ?, ended_at = ? WHERE id = ?",
            (_end_state(connection, flow_id), time.time(), flow_id),
        )
    return not is_open


def _end_state(connection: sqlite3.Connection, flow_id: int) -> str:
    """Return ``failed`` if a failure was not tolerated: some last job did not complete."""
    if not connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE flow_id = ? AND state = 'failed')", (flow_id,)
    ).fetchone()[0]:
        return "completed"
    (has_bad_leaf,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE flow_id = ? AND state IN ('failed', 'stopped')"
        " AND NOT EXISTS (SELECT 1 FROM edges WHERE parent = jobs.id AND is_input))",
        (flow_id,),
    ).fetchone()
    return "failed" if has_bad_leaf else "completed"


def _insert_before_children(
    connection: sqlite3.Connection,
    flow_id: int,
    job_id: int,
    uuid: str,
    jobs: Sequence[JobRecord],
) -> None:
    """Add jobs that the children of a job wait for.

    Only the one that takes the job's place (same uuid) hands its failure on to them.
    """
    numbers = insert_jobs(connection, flow_id, jobs)
    parents = {parent for job in jobs for parent in job.parents}
    awaited = {
        numbers[i]: job.uuid == uuid
        for i, job in enumerate(jobs)
        if i not in parents or job.uuid == uuid
    }
    children = connection.execute(
        "SELECT child, is_input FROM edges JOIN jobs ON jobs.id = child"
        " WHERE parent = ? AND jobs.state = 'waiting'",
        (job_id,),
    ).fetchall()
    for child, is_input in children:
        connection.executemany(
            "INSERT INTO edges (parent, child, is_input) VALUES (?, ?, ?)",
            [(number, child, is_input and is_twin) for number, is_twin in awaited.items()],
        )
        connection.execute(
            "UPDATE jobs SET n_waits = n_waits + ? WHERE id = ?", (len(awaited), child)
        )


def _end_jobs(
    connection: sqlite3.Connection,
    job_ids: Iterable[int],
    state: EndState,
    stop_children: bool = False,
) -> None:
    """End jobs and all that end in consequence."""
    pending: list[tuple[int, EndState, bool]] = [(i, state, stop_children) for i in job_ids]
    now = time.time()
    while pending:
        job_id, state, stops = pending.pop()
        connection.execute(
            "UPDATE jobs SET state = ?, ended_at = ?, worker = NULL, outcome = NULL,"
            " content = CASE WHEN ? = 'failed' THEN content END WHERE id = ?",
            (state, now, state, job_id),
        )
        pending += _release_children(connection, job_id, state == "failed", stops)


def _release_children(
    connection: sqlite3.Connection, job_id: int, failed: bool, stops: bool
) -> list[tuple[int, EndState, bool]]:
    """Tell the children that a parent ended; return those that thereby end unexecuted."""
    children = connection.execute(
        "UPDATE jobs SET n_waits = n_waits - 1,"
        " parent_failed = parent_failed OR (? AND is_input),"
        " parent_stopped = parent_stopped OR (? AND is_input)"
        " FROM edges WHERE edges.parent = ? AND jobs.id = edges.child AND jobs.state = 'waiting'"
        " RETURNING jobs.id, n_waits, parent_failed, parent_stopped, tolerant",
        (failed, stops, job_id),
    ).fetchall()
    ended: list[tuple[int, EndState, bool]] = []
    for child, n_waits, parent_failed, parent_stopped, tolerant in children:
        if n_waits:
            continue
        if parent_stopped:
            ended.append((child, "stopped", True))
        elif parent_failed and not tolerant:
            connection.execute(
                "UPDATE jobs SET error = 'not run: '"
                " || (SELECT name FROM jobs WHERE id = ?) || ' failed' WHERE id = ?",
                (job_id, child),
            )
            ended.append((child, "failed", False))
        else:
            connection.execute("UPDATE jobs SET state = 'ready' WHERE id = ?", (child,))
    return ended
