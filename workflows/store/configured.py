"""A job store described by a jobflow.yaml, so that its password stays in that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from jobflow.core.store import JobStore
from maggma.core import Store
from maggma.core.store import DateTimeFormat

from ionsieve.errors import InputError


class ConfiguredJobStore(JobStore):
    """The ``JOB_STORE`` of a jobflow.yaml.

    Serialised it is the file's path only: jobs that carry it to a compute node read the file there.

    Parameters
    ----------
    path
        The file, readable wherever a job runs.
    read_only
        Write nothing; lost when serialised, for jobs write.

    Raises
    ------
    InputError
        The file can't be read or describes no job store with an additional store ``data``.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self.path = Path(path)
        self._read_only = read_only
        described: Any = _read(self.path)
        # What jobflow writes, and the order in which results are read.
        described.docs_store.last_updated_field = "completed_at"
        described.docs_store.last_updated_type = DateTimeFormat.IsoFormat
        super().__init__(
            _as_ours(described.docs_store, ordered=True, read_only=read_only),
            additional_stores={
                name: _as_ours(store, ordered=False, read_only=read_only)
                for name, store in described.additional_stores.items()
            },
            save=described.save,
            load=described.load,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the path and nothing of what the file says."""
        kind = type(self)
        return {"@module": kind.__module__, "@class": kind.__name__, "path": str(self.path)}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Read the file that `as_dict` names."""
        return cls(d["path"])

    def collection(self, name: str, fields: dict[str, Any]) -> Store:
        """Return another collection of the database that holds the documents, not yet connected.

        Parameters
        ----------
        name
            Of the collection.
        fields
            Arguments of the store: key and time stamp.
        """
        described = self.docs_store.as_dict()
        described = {key: value for key, value in described.items() if not key.startswith("@")}
        if "collection_name" not in described:
            kind = type(self.docs_store).__name__
            raise InputError(f"{self.path}: a {kind} has no further collections; use a MongoStore")
        store = type(self.docs_store)(**{**described, **fields, "collection_name": name})
        return _as_ours(store, ordered=False, read_only=self._read_only)


def _as_ours(store: Store, *, ordered: bool, read_only: bool) -> Store:
    """Return a store that checks what it gives out, and may number what it is given."""
    from ionsieve.workflows.store.mongo import as_checked
    from ionsieve.workflows.store.sqlite.store import SQLiteStore

    if not isinstance(store, SQLiteStore):
        return as_checked(store, ordered=ordered)
    store.stamped, store.read_only = ordered, read_only
    return store


def _read(path: Path) -> JobStore:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"store {path}: {error.strerror}; give a jobflow.yaml (ionsieve hpc-init writes one)"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"store {path}: not valid YAML") from None
    described = settings.get("JOB_STORE") if isinstance(settings, dict) else None
    if not isinstance(described, dict):
        raise InputError(f"store {path}: no JOB_STORE; see jobflow's documentation")
    # jobflow finds kinds of stores among the classes that are loaded.
    import ionsieve.workflows.store.sqlite.store  # noqa: F401

    try:
        store: Any = JobStore.from_dict_spec(described)
    except Exception as error:
        # The text may hold the password.
        raise InputError(
            f"store {path}: JOB_STORE is not a job store ({type(error).__name__}); "
            "see jobflow's documentation"
        ) from None
    if "data" not in store.additional_stores:
        raise InputError(f"store {path}: JOB_STORE lacks the additional store 'data'")
    job_store: JobStore = store
    return job_store
