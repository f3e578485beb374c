"""Which calculation folders are no longer needed, as all they hold is in the store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ionsieve.errors import InputError
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.runners.local.lock import is_driven
from ionsieve.workflows.runners.local.queue import JobQueue
from ionsieve.workflows.runners.work import queue_path
from ionsieve.workflows.settings.schema import ScreeningFile


@dataclass(frozen=True)
class Removable:
    """Folders whose results are stored.

    Attributes
    ----------
    folders
        Of jobs of completed flows.
    n_bytes
        What they take.
    """

    folders: tuple[Path, ...]
    n_bytes: int


def removable_folders(screening: ScreeningFile, results: Results) -> Removable:
    """Return the folders of completed flows of this machine's queue whose documents are stored.

    Flows of other settings and screenings count too, if the store has what they made.
    """
    path = queue_path(screening)
    if not path.exists():
        return Removable((), 0)
    queue = JobQueue(path)
    try:
        flows = queue.flows()
    finally:
        queue.close()
    funnel = results.funnel
    lost = {status.key for status in funnel.lost(flows)}
    known = funnel.keys() - lost
    done = [
        flow
        for flow in flows
        if flow.state == "completed" and (flow.key in known or funnel.records.holds(flow.key))
    ]
    folders = {Path(name): None for flow in done for name in flow.run_dirs}
    # Never anything outside of the work folder.
    present = tuple(f for f in folders if f.is_dir() and f.is_relative_to(path.parent))
    return Removable(present, sum(_size(folder) for folder in present))


def clean(screening: ScreeningFile, results: Results) -> Removable:
    """Delete the folders that are no longer needed, and say which.

    Raises
    ------
    InputError
        A run is going on in the work folder.
    """
    path = queue_path(screening)
    if is_driven(path):
        raise InputError(f"{path.parent}: a run is going on here; clean when it has ended")
    removable = removable_folders(screening, results)
    for folder in removable.folders:
        shutil.rmtree(folder)
    # The folders of a composition and of a stage, where nothing is left in them.
    for above in (1, 2):
        for folder in {folder.parents[above - 1] for folder in removable.folders}:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return removable


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
