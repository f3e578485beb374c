"""A file from which a killed search goes on."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from pathlib import Path

import numpy as np

from ionsieve.errors import InputError
from ionsieve.ewald.kernels.arrangements import Model, Pool, offer

#: Least time between two writes, s.
_INTERVAL_SECONDS = 5.0


class Checkpoint:
    """What is finished, written at most every few seconds and always as a whole.

    Parameters
    ----------
    path : path or None
        None keeps nothing.
    model : Model
    identity : str
        Everything else that decides which work units there are.

    Attributes
    ----------
    round : int
        Group of work units in hand.
    finished : set of int
        Its finished units.
    n_covered, n_evaluated : int
    """

    def __init__(self, path: str | Path | None, model: Model, identity: str) -> None:
        self.path = None if path is None else Path(path)
        digest = hashlib.sha256(identity.encode())
        for array in model:
            digest.update(np.ascontiguousarray(np.round(array, 6)).tobytes())
        self._identity = digest.hexdigest()
        self.round = 0
        self.finished: set[int] = set()
        self.n_covered = 0
        self.n_evaluated = 0
        self._written = time.monotonic()

    def load(self, model: Model, pool: Pool) -> None:
        """Read the file if it is there; its arrangements go into the pool.

        Raises
        ------
        InputError
            The file is of another search, or damaged.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with np.load(self.path) as data:
                identity = str(data["identity"])
                labels, finished = data["labels"], data["finished"]
                self.round = int(data["round"])
                self.n_covered = int(str(data["n_covered"]))
                self.n_evaluated = int(str(data["n_evaluated"]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} is not a checkpoint ({error}): remove it") from error
        if identity != self._identity:
            raise InputError(
                f"{self.path} belongs to another search (other structure, rules, keep or method): "
                "remove it or name another file"
            )
        self.finished = set(finished.tolist())
        for row in labels:
            offer(row, model, pool)

    def save(self, pool: Pool, force: bool = False) -> None:
        """Write the file, unless that was done a moment ago."""
        if self.path is None or (
            not force and time.monotonic() - self._written < _INTERVAL_SECONDS
        ):
            return
        partial = self.path.with_name(self.path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                identity=self._identity,
                round=self.round,
                finished=np.array(sorted(self.finished), dtype=np.int64),
                labels=pool.labels[pool.order[: pool.size[0]]],
                n_covered=str(self.n_covered),
                n_evaluated=str(self.n_evaluated),
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._written = time.monotonic()

    def next_round(self) -> None:
        """Start the next group of work units."""
        self.round += 1
        self.finished = set()

    def remove(self) -> None:
        """Delete the file: the search is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
