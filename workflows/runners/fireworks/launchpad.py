"""FireWorks' LaunchPad as the place where flows wait and run, each known by its key."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from fireworks import LaunchPad
from jobflow import JobStore
from jobflow.managers.fireworks import flow_to_workflow
from pymongo.errors import DuplicateKeyError, PyMongoError

from ionsieve.errors import InputError, IonSieveError, OutsideFailure
from ionsieve.workflows.documents.flows import FlowState, FlowStatus, NewFlow

#: A claim without a workflow is a submission that died; nobody takes so long to add one.
_CLAIM_SECONDS = 600.0
_TIMEOUT_MS = 5000

_DONE, _FAILED = "COMPLETED", "FIZZLED"
_ACTIVE = frozenset({"READY", "RESERVED", "RUNNING", "PAUSED"})
_STARTED = frozenset({"RUNNING", "COMPLETED", "FIZZLED"})


def open_launchpad(path: Path) -> LaunchPad:
    """Open the LaunchPad that a my_launchpad.yaml describes, and set it up if it is new.

    Raises
    ------
    InputError
        The file can't be read, or its database doesn't answer; no password is shown.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; give a my_launchpad.yaml under compute.launchpad "
            "(ionsieve hpc-init writes one)"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{path}: not valid YAML") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: expected the keys of FireWorks' my_launchpad.yaml")
    options = {
        "serverSelectionTimeoutMS": _TIMEOUT_MS,
        **(settings.get("mongoclient_kwargs") or {}),
    }
    settings = {"strm_lvl": "ERROR", **settings, "mongoclient_kwargs": options}
    try:
        launchpad = LaunchPad.from_dict(settings)
        if launchpad.fw_id_assigner.find_one({}) is None:
            launchpad.reset("", require_password=False)
    except (PyMongoError, ValueError, TypeError, KeyError) as error:
        # pymongo's texts may hold the password.
        raise InputError(
            f"{path}: the LaunchPad's MongoDB doesn't answer or refuses "
            f"({type(error).__name__}); start it, or correct host, port and login in this file"
        ) from None
    return launchpad


class WorkflowQueue:
    """The flows of one results store in a LaunchPad.

    Parameters
    ----------
    launchpad
        Where the workflows go.
    store
        The store's name: the same flow with another store is another piece of work.
    """

    def __init__(self, launchpad: LaunchPad, store: str) -> None:
        self.launchpad = launchpad
        self.store = store
        self._claims = launchpad.db["ionsieve_flows"]
        launchpad.workflows.create_index("metadata.ionsieve_store")

    def flows(self) -> list[FlowStatus]:
        """Return where each flow stands, in the order of submission."""
        found = list(
            self.launchpad.workflows.find(
                {"metadata.ionsieve_store": self.store},
                {"metadata": 1, "nodes": 1, "links": 1, "fw_states": 1},
                sort=[("nodes", 1)],
            )
        )
        failures = self._failures(
            number
            for workflow in found
            for number, state in workflow["fw_states"].items()
            if state == _FAILED
        )
        return [_status(workflow, failures) for workflow in found]

    def add(self, new: NewFlow, job_store: JobStore) -> bool:
        """Add a flow, once: False if it is there, or another submission is adding it now.

        The store becomes part of the jobs, so it must not hold a password.
        The claim comes first. Should the process die before the workflow is in, a later submission
        takes the claim over and removes what was left.
        """
        if not self._claim(new.key):
            return False
        workflow = flow_to_workflow(
            new.flow,
            job_store,
            name=f"{new.stage} {new.label}",
            metadata={
                "ionsieve_store": self.store,
                "flow_key": new.key,
                "label": new.label,
                "stage": new.stage,
            },
        )
        self.launchpad.add_wf(workflow)
        return True

    def forget(self, keys: Iterable[str]) -> None:
        """Let flows be added anew whose results are gone; their workflows stay as a record."""
        for key in keys:
            self._claims.delete_one({"_id": {"store": self.store, "key": key}})
            self.launchpad.workflows.update_many(
                {"metadata.ionsieve_store": self.store, "metadata.flow_key": key},
                {"$set": {"metadata.ionsieve_store": f"{self.store} (result lost)"}},
            )

    def _claim(self, key: str) -> bool:
        identity = {"store": self.store, "key": key}
        now = datetime.now(UTC)
        claim = {"at": now.isoformat(), "host": socket.gethostname(), "pid": os.getpid()}
        try:
            self._claims.insert_one({"_id": identity, **claim})
        except DuplicateKeyError:
            earlier = self._claims.find_one({"_id": identity})
            if earlier is None or self._has_workflow(key):
                return False
            age = now - datetime.fromisoformat(earlier["at"])
            if age < timedelta(seconds=_CLAIM_SECONDS):
                return False
            taken = self._claims.update_one({"_id": identity, "at": earlier["at"]}, {"$set": claim})
            if not taken.modified_count:
                return False
            self._remove_orphans(key)
        return True

    def _has_workflow(self, key: str) -> bool:
        query = {"metadata.ionsieve_store": self.store, "metadata.flow_key": key}
        return self.launchpad.workflows.find_one(query, {"_id": 1}) is not None

    def _remove_orphans(self, key: str) -> None:
        """Remove fireworks that were added without their workflow."""
        numbers = [
            firework["fw_id"]
            for firework in self.launchpad.fireworks.find({"spec.flow_key": key}, {"fw_id": 1})
        ]
        orphans = [n for n in numbers if not self.launchpad.workflows.find_one({"nodes": n})]
        self.launchpad.fireworks.delete_many({"fw_id": {"$in": orphans}})

    def rerun_lost(self, expiration_seconds: float) -> list[int]:
        """Give jobs another try whose batch job was killed: they have not been heard of for long.

        Returns
        -------
        list of int
            Their firework numbers.
        """
        query = {"fw_id": {"$in": self._numbers()}}
        _, lost, _ = self.launchpad.detect_lostruns(
            expiration_secs=expiration_seconds, rerun=True, refresh=True, query=query
        )
        return list(lost)

    def cancel_old_reservations(self, expiration_seconds: float) -> list[int]:
        """Hand jobs out again that wait in a batch queue for too long, or were deleted there.

        Returns
        -------
        list of int
            Their firework numbers.
        """
        ours = set(self._numbers())
        numbers = []
        for launch_id in self.launchpad.detect_unreserved(expiration_secs=expiration_seconds):
            number = self.launchpad.get_launch_by_id(launch_id).fw_id
            if number in ours:
                self.launchpad.cancel_reservation(launch_id)
                numbers.append(number)
        return numbers

    def rerun_outside(self) -> list[int]:
        """Give jobs another try, their last, that something outside ended.

        Returns
        -------
        list of int
            Their firework numbers.
        """
        query = {"fw_id": {"$in": self._numbers()}, "state": _FAILED}
        found = [f["fw_id"] for f in self.launchpad.fireworks.find(query, {"fw_id": 1})]
        failures = self._failures(map(str, found))
        numbers = [number for number in found if failures[number].is_due]
        for number in numbers:
            self.launchpad.rerun_fw(number)
        return numbers

    def rerun_failed(self) -> list[int]:
        """Give failed jobs another try and return their firework numbers."""
        query = {"fw_id": {"$in": self._numbers()}, "state": _FAILED}
        numbers = [f["fw_id"] for f in self.launchpad.fireworks.find(query, {"fw_id": 1})]
        for number in numbers:
            self.launchpad.rerun_fw(number)
        return numbers

    def _numbers(self) -> list[int]:
        query = {"metadata.ionsieve_store": self.store}
        workflows = self.launchpad.workflows.find(query, {"nodes": 1})
        return [number for workflow in workflows for number in workflow["nodes"]]

    def _failures(self, numbers: Iterable[str]) -> dict[int, _Failure]:
        """Return firework number -> why it failed."""
        query = {"fw_id": {"$in": [int(number) for number in numbers]}}
        wanted = {"fw_id": 1, "name": 1, "launches": 1, "archived_launches": 1}
        fireworks = list(self.launchpad.fireworks.find(query, wanted))
        tries = {f["fw_id"]: [*f.get("archived_launches", []), *f["launches"]] for f in fireworks}
        found = self.launchpad.launches.find(
            {"launch_id": {"$in": [launch for one in tries.values() for launch in one]}},
            {"launch_id": 1, "action": 1, "launch_dir": 1},
        )
        launches = {launch["launch_id"]: launch for launch in found}
        return {
            f["fw_id"]: _Failure.of(f["name"], [launches.get(n, {}) for n in tries[f["fw_id"]]])
            for f in fireworks
        }


@dataclass(frozen=True)
class _Failure:
    """Why a job failed, the last time it was tried.

    Attributes
    ----------
    name, folder
        Of the job.
    reason
        One line.
    n_outside
        How many of its tries something outside ended; 0 if the last one ended otherwise.
    """

    name: str
    reason: str
    folder: str
    n_outside: int

    @classmethod
    def of(cls, name: str, tries: Sequence[Mapping[str, Any]]) -> _Failure:
        """Return the failure of a job from its launches, in order."""
        reasons = [_last_line(launch.get("action") or {}) for launch in tries]
        reason = reasons[-1] if reasons else ""
        n_outside = sum(map(_is_outside, reasons)) if _is_outside(reason) else 0
        if reason.startswith(_OURS):
            reason = reason.partition(": ")[2]
        if n_outside >= OutsideFailure.max_attempts:
            reason = str(OutsideFailure(reason).twice())
        folder = str(tries[-1].get("launch_dir", "")) if tries else ""
        return cls(name, reason or "the batch job ended without a result", folder, n_outside)

    @property
    def is_due(self) -> bool:
        """Whether the next submission tries it once more."""
        return 0 < self.n_outside < OutsideFailure.max_attempts


_OURS = f"{IonSieveError.__module__}."
_OUTSIDE = f"{_OURS}{OutsideFailure.__name__}: "
_NO_ROOM = f"[Errno {errno.ENOSPC}]"


def _is_outside(line: str) -> bool:
    """Return whether the last line of a traceback tells of a cause outside."""
    return line.startswith(_OUTSIDE) or _NO_ROOM in line


def _last_line(action: Mapping[str, Any]) -> str:
    """Return the last line of the traceback that FireWorks keeps of a failed job."""
    stored = (action.get("stored_data") or {}).get("_exception") or {}
    lines = [line for line in str(stored.get("_stacktrace", "")).splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _status(workflow: Mapping[str, Any], failures: Mapping[int, _Failure]) -> FlowStatus:
    states = {int(number): state for number, state in workflow["fw_states"].items()}
    failed = [number for number, state in states.items() if state == _FAILED]
    for number in failed:
        if number in failures and failures[number].is_due:
            states[number] = "READY"  # with the next submission
    failed = [number for number in failed if states[number] == _FAILED]
    first = failures.get(min(failed)) if failed else None
    metadata = workflow["metadata"]
    return FlowStatus(
        key=metadata["flow_key"],
        label=metadata["label"],
        stage=metadata["stage"],
        state=_state(states, workflow["links"]),
        n_jobs=len(states),
        n_done=Counter(states.values())[_DONE],
        error=first.reason if first else "",
        failed_job=first.name if first else "",
        failed_folder=first.folder if first else "",
        retriable=bool(first and first.n_outside),
    )


def _state(states: Mapping[int, str], links: Mapping[str, list[int]]) -> FlowState:
    """Return a flow's state from those of its fireworks and who waits for whom."""
    if _ACTIVE & set(states.values()):
        return "running" if _STARTED & set(states.values()) else "waiting"
    # Failed jobs whose children could do without them don't fail the flow.
    leaves = [number for number in states if not links.get(str(number))]
    return "completed" if all(states[number] == _DONE for number in leaves) else "failed"
