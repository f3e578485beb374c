"""A persistent queue of flows, in one SQLite file that many processes may use at once."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from ionsieve.errors import InputError, OutsideFailure
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.runners.local.database import Database
from ionsieve.workflows.runners.local.graph import complete_job, fail_job, insert_jobs, note_change
from ionsieve.workflows.runners.local.outcome import JobRecord, Outcome, job_records
from ionsieve.workflows.runners.local.records import ClaimedJob, Failure, RunningJob

_FLOWS_AT_ONCE = 50


class JobQueue:
    """Flows to execute, what became of them, and which jobs may start now.

    Anyone may add flows and read their status at any time, also while `run_queue` works on them.

    Parameters
    ----------
    path : path-like
        The SQLite file; made if missing.

    Examples
    --------
    >>> queue = JobQueue("queue.sqlite")
    >>> queue.add_flows([NewFlow(key="Na3SbS4-W", flow=flow, label="Na2.875Sb0.875W0.125S4")])
    1
    >>> queue.flows()[0].state
    'waiting'
    """

    def __init__(self, path: str | Path) -> None:
        self._database = Database(Path(path))

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def close(self) -> None:
        """Close this process's connection; the next use opens another."""
        self._database.close()

    # ---------------------------------------------------------------------------- for everyone

    def add_flows(self, flows: Iterable[NewFlow]) -> int:
        """Add flows whose key is new.

        Returns
        -------
        int
            How many were.

        Raises
        ------
        InputError
            If a flow has no jobs, or holds a job that another key already brought.
        """
        connection = self._database.connection()
        known = "SELECT 1 FROM flows WHERE key = ?"
        unknown = (new for new in flows if connection.execute(known, (new.key,)).fetchone() is None)
        n_added = 0
        # In small transactions, serialized beforehand, so that workers need not wait long.
        while chunk := [(new, _job_records(new)) for new in islice(unknown, _FLOWS_AT_ONCE)]:
            with self._database.writing(durable=True) as connection:
                n_added += sum(_insert_flow(connection, new, jobs) for new, jobs in chunk)
        return n_added

    def flows(self) -> list[FlowStatus]:
        """Return where every flow stands, in the order they were added."""
        return self.changes_since(0)[0]

    def changes_since(self, change: int) -> tuple[list[FlowStatus], int]:
        """Return the flows that changed since an earlier call, and the number to give next time.

        Parameters
        ----------
        change : int
            0 for all flows, else the number the earlier call returned.
        """
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM flows WHERE change > ? ORDER BY id", (change,)
            ).fetchall()
            jobs: dict[int, list[sqlite3.Row]] = {row["id"]: [] for row in rows}
            for job in connection.execute(
                "SELECT flow_id, state, name, run_dir FROM jobs"
                " WHERE flow_id IN (SELECT id FROM flows WHERE change > ?) ORDER BY id",
                (change,),
            ):
                jobs[job["flow_id"]].append(job)
        latest = max((row["change"] for row in rows), default=change)
        return [_flow_status(row, jobs[row["id"]]) for row in rows], latest

    def running_jobs(self) -> list[RunningJob]:
        """Return the jobs being executed, those started first first."""
        rows = (
            self._database.connection()
            .execute(
                "SELECT jobs.id AS job_id, key, label, stage, name, uuid, job_index, run_dir,"
                " worker, jobs.started_at FROM jobs JOIN flows ON flows.id = flow_id"
                " WHERE jobs.state = 'running' ORDER BY jobs.started_at"
            )
            .fetchall()
        )
        return [RunningJob(**{**dict(row), "started_at": _time(row["started_at"])}) for row in rows]

    def traceback(self, key: str) -> str:
        """Return the traceback of the job that made a flow fail; empty if none did.

        Raises
        ------
        InputError
            If the queue does not know the key.
        """
        connection = self._database.connection()
        flow = connection.execute("SELECT id FROM flows WHERE key = ?", (key,)).fetchone()
        if flow is None:
            raise InputError(f"no flow {key!r} in {self.path}; `flows()` lists the known keys")
        row = connection.execute(
            "SELECT traceback FROM jobs WHERE flow_id = ? AND traceback != ''"
            " ORDER BY ended_at, id LIMIT 1",
            (flow["id"],),
        ).fetchone()
        return "" if row is None else row["traceback"]

    def reset_failed(self, keys: Iterable[str] | None = None) -> int:
        """Make the failed jobs of failed flows run again; completed jobs are kept.

        Parameters
        ----------
        keys : iterable of str, optional
            The flows to take; all failed ones by default.

        Returns
        -------
        int
            Number of flows that were reset.
        """
        wanted = None if keys is None else set(keys)
        with self._database.writing() as connection:
            rows = connection.execute("SELECT id, key FROM flows WHERE state = 'failed'").fetchall()
            flow_ids = [row["id"] for row in rows if wanted is None or row["key"] in wanted]
            for flow_id in flow_ids:
                _reset_flow(connection, flow_id)
        return len(flow_ids)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop flows that have ended, so that they can be added anew."""
        ended = "SELECT id FROM flows WHERE key = ? AND state IN ('completed', 'failed')"
        jobs = "(SELECT id FROM jobs WHERE flow_id = :id)"
        with self._database.writing(durable=True) as connection:
            for key in keys:
                if (row := connection.execute(ended, (key,)).fetchone()) is None:
                    continue
                flow = {"id": row["id"]}
                connection.execute(
                    f"DELETE FROM edges WHERE parent IN {jobs} OR child IN {jobs}", flow
                )
                connection.execute("DELETE FROM jobs WHERE flow_id = :id", flow)
                connection.execute("DELETE FROM flows WHERE id = :id", flow)

    # --------------------------------------------------------------- for workers and the driver

    def has_ready_jobs(self) -> bool:
        """Return whether a job could be started now."""
        # Left alone, SQLite scans a larger index.
        ready = "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE state = 'ready')"
        return bool(self._database.connection().execute(ready).fetchone()[0])

    def claim(self, worker: int, work_dir: Path) -> ClaimedJob | None:
        """Take the most urgent ready job and make its folder; None if there is none now.

        Parameters
        ----------
        worker : int
            Process id of the one who takes it.
        work_dir : Path
            Folder under which the job gets ``stage/label/number_name``.
        """
        if not self.has_ready_jobs():
            return None
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT jobs.id, flow_id, name, content, key, label, stage, flows.started_at,"
                " (SELECT COUNT(*) FROM jobs AS other"
                "  WHERE other.flow_id = jobs.flow_id AND other.id <= jobs.id) AS number"
                " FROM jobs JOIN flows ON flows.id = flow_id WHERE jobs.state = 'ready'"
                " ORDER BY jobs.priority DESC, flow_id, jobs.id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            run_dir = _new_folder(
                work_dir / _folder_name(row["stage"]) / _folder_name(row["label"] or row["key"]),
                f"{row['number']:02d}_{_folder_name(row['name'])}",
            )
            now = time.time()
            connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, started_at = ?, run_dir = ?,"
                " outcome = NULL WHERE id = ?",
                (worker, now, str(run_dir), row["id"]),
            )
            connection.execute(
                "UPDATE flows SET started_at = COALESCE(started_at, ?) WHERE id = ?",
                (now, row["flow_id"]),
            )
            note_change(connection, row["flow_id"])
        return ClaimedJob(row["id"], row["content"], str(run_dir))

    def keep_outcome(self, job_id: int, outcome: Outcome) -> None:
        """Keep what a job leaves behind; to be called before its output is stored."""
        # Were it lost but the output not, the job would count as one that left nothing behind.
        with self._database.writing(durable=True) as connection:
            connection.execute(
                "UPDATE jobs SET outcome = ? WHERE id = ?", (outcome.to_json(), job_id)
            )

    def complete(self, job_id: int) -> bool:
        """Record that a job's output is stored; return whether its flow thereby ended.

        The kept outcome takes effect in the same transaction.
        """
        with self._database.writing() as connection:
            (kept,) = connection.execute(
                "SELECT outcome FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
            outcome = Outcome() if kept is None else Outcome.from_json(kept)
            return complete_job(connection, job_id, outcome)

    def fail(self, job_id: int, failure: Failure) -> bool:
        """Record that a job failed; return whether its flow thereby ended."""
        with self._database.writing() as connection:
            return fail_job(connection, job_id, failure)

    def give_back(self, job_id: int) -> None:
        """Make a job that was cut short ready again."""
        with self._database.writing() as connection:
            row = connection.execute(
                "UPDATE jobs SET state = 'ready', worker = NULL, outcome = NULL"
                " WHERE id = ? RETURNING flow_id",
                (job_id,),
            ).fetchone()
            note_change(connection, row["flow_id"])

    def give_back_once(self, job_id: int) -> bool:
        """Make a job ready again that something outside ended, if it was the first time.

        Returns
        -------
        bool
            False: it was not; the job is left as it is.
        """
        with self._database.writing() as connection:
            row = connection.execute(
                "UPDATE jobs SET n_deaths = n_deaths + 1 WHERE id = ? RETURNING n_deaths, flow_id",
                (job_id,),
            ).fetchone()
            if row["n_deaths"] >= OutsideFailure.max_attempts:
                return False
            connection.execute(
                "UPDATE jobs SET state = 'ready', worker = NULL, outcome = NULL WHERE id = ?",
                (job_id,),
            )
            note_change(connection, row["flow_id"])
        return True


def _job_records(new: NewFlow) -> tuple[JobRecord, ...]:
    if not new.flow.job_uuids:
        raise InputError(f"flow {new.key!r} has no jobs; add at least one")
    return job_records(new.flow)


def _insert_flow(connection: sqlite3.Connection, new: NewFlow, jobs: Sequence[JobRecord]) -> bool:
    """Add a flow unless its key is known by now; return whether it was added."""
    row = connection.execute(
        "INSERT INTO flows (key, label, stage, priority) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING id",
        (new.key, new.label, new.stage, new.priority),
    ).fetchone()
    if row is None:
        return False
    try:
        insert_jobs(connection, row["id"], jobs)
    except sqlite3.IntegrityError as error:
        raise InputError(
            f"flow {new.key!r} holds a job that is already queued under another key; "
            "make the flow anew for each key"
        ) from error
    note_change(connection, row["id"])
    return True


def _flow_status(row: sqlite3.Row, jobs: Sequence[sqlite3.Row]) -> FlowStatus:
    return FlowStatus(
        key=row["key"],
        label=row["label"],
        stage=row["stage"],
        state=row["state"],
        n_jobs=len(jobs),
        n_done=sum(job["state"] == "completed" for job in jobs),
        error=row["error"],
        failed_job=row["failed_job"],
        failed_folder=_failed_folder(row["failed_job"], jobs),
        retriable=bool(row["retriable"]),
        run_dirs=tuple(job["run_dir"] for job in jobs if job["run_dir"]),
        started_at=None if row["started_at"] is None else _time(row["started_at"]),
        ended_at=None if row["ended_at"] is None else _time(row["ended_at"]),
    )


def _failed_folder(name: str, jobs: Sequence[sqlite3.Row]) -> str:
    """Return the folder of the job that made a flow fail."""
    folders = [j["run_dir"] for j in jobs if j["state"] == "failed" and j["name"] == name]
    return next((folder for folder in folders if folder), "")


def _reset_flow(connection: sqlite3.Connection, flow_id: int) -> None:
    """Make the failed jobs of a flow wait for whatever of their parents has not completed."""
    connection.execute(
        "UPDATE jobs SET state = 'waiting', parent_failed = 0, n_deaths = 0, error = '',"
        " traceback = '', ended_at = NULL WHERE flow_id = ? AND state = 'failed'",
        (flow_id,),
    )
    connection.execute(
        "UPDATE jobs SET n_waits = (SELECT COUNT(*) FROM edges JOIN jobs AS parents"
        " ON parents.id = parent WHERE child = jobs.id AND parents.state = 'waiting')"
        " WHERE flow_id = ? AND state = 'waiting'",
        (flow_id,),
    )
    connection.execute(
        "UPDATE jobs SET state = 'ready' WHERE flow_id = ? AND state = 'waiting' AND n_waits = 0",
        (flow_id,),
    )
    connection.execute(
        "UPDATE flows SET error = '', failed_job = '', retriable = 0, ended_at = NULL WHERE id = ?",
        (flow_id,),
    )
    note_change(connection, flow_id)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _folder_name(name: str) -> str:
    """Return a name that is safe and short enough for a folder."""
    return re.sub(r"[^\w.+=()-]+", "_", name).strip(".")[:80]


def _new_folder(parent: Path, name: str) -> Path:
    """Make a folder that did not exist: the name, or the name with a number."""
    parent.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return folder
