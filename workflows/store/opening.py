"""Where results are kept: a SQLite file by default, MongoDB or a jobflow.yaml by one line."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from jobflow.core.store import JobStore
from maggma.core import Store

from ionsieve.errors import InputError
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.configured import ConfiguredJobStore
from ionsieve.workflows.store.errors import NothingStoredError

#: Collections of the raw job outputs and of their large arrays.
JOBS = "jobs"
BLOBS = "blobs"

_MONGO_SCHEMES = ("mongodb://", "mongodb+srv://")
_MONGO_TIMEOUT_MS = 5000


def open_job_store(screening: ScreeningFile, *, read_only: bool = False) -> JobStore:
    """Open the store of raw job outputs; large arrays go to its additional store ``data``.

    Every output has a ``sequence``, a number that grows with each write, and ``stored_at``, the
    time in UTC: "newest" is decided by the first (`NEWEST_FIRST`).

    Parameters
    ----------
    screening
        Names the store.
    read_only
        Write nothing, in the store and beside it; no permission to write is needed.

    Raises
    ------
    NothingStoredError
        ``read_only``, and there is no output yet.
    InputError
        The store can't be opened; the message says why and what to do.
    """
    job_store = _job_store(screening, read_only)
    blobs: Store = job_store.additional_stores["data"]  # type: ignore[has-type]
    _connect(job_store, screening)
    if read_only:
        if job_store.query_one({}, ["uuid"]) is None:
            raise NothingStoredError.of(store_name(screening))
        return job_store
    # None on the screening: few differ in it, and a planner might prefer it to the document.
    for field in ("document", "key", "composition_id"):
        job_store.ensure_index(f"metadata.{field}")
    # MongoDB doesn't index a store's key by itself.
    job_store.ensure_index("uuid")
    job_store.ensure_index("sequence")
    blobs.ensure_index("blob_uuid")
    blobs.ensure_index("job_uuid")
    return job_store


def open_collection(screening: ScreeningFile, name: str, *, read_only: bool = False) -> Store:
    """Open one of the built collections, for example ``conductors``.

    Parameters
    ----------
    screening
        Names the store.
    name
        Of the collection.
    read_only
        Write nothing, in the store and beside it; a collection that isn't there is empty.

    Raises
    ------
    NothingStoredError
        ``read_only``, and the store's file is missing or empty.
    InputError
        The store can't be opened; the message says why and what to do.
    """
    fields = _fields("document_id", "last_updated")
    if _is_file_of_stores(screening.store):
        path = screening.resolve(screening.store)
        store = ConfiguredJobStore(path, read_only=read_only).collection(name, fields)
    else:
        store = _store(screening, name, fields, read_only=read_only)
    _connect(store, screening)
    if not read_only:
        store.ensure_index("screening")
    return store


#: Argument ``sort`` of a query for the job outputs written last. Those of 0.1.0-dev have no
#: ``sequence`` and come last, by their time.
NEWEST_FIRST: dict[str, int] = {"sequence": -1, "completed_at": -1}


def store_name(screening: ScreeningFile) -> str:
    """Return the store's path, or its address without user and password."""
    text = screening.store
    return _without_password(text)[0] if _is_mongo(text) else str(screening.resolve(text))


def _is_mongo(text: str) -> bool:
    return text.startswith(_MONGO_SCHEMES)


def holds_password(screening: ScreeningFile) -> bool:
    """Return whether the store's address in the screening file carries a login."""
    return _is_mongo(screening.store) and bool(_without_password(screening.store)[1])


def _is_file_of_stores(text: str) -> bool:
    return not _is_mongo(text) and text.endswith((".yaml", ".yml"))


def _job_store(screening: ScreeningFile, read_only: bool) -> JobStore:
    """Return the store of raw job outputs, not yet connected."""
    if _is_file_of_stores(screening.store):
        return ConfiguredJobStore(screening.resolve(screening.store), read_only=read_only)
    documents = _store(screening, JOBS, _fields("uuid", "completed_at"), read_only=read_only)
    blobs = _store(
        screening, BLOBS, _fields("blob_uuid", "last_updated"), read_only=read_only, is_blobs=True
    )
    return JobStore(documents, additional_stores={"data": blobs})


def _fields(key: str, stamp: str) -> dict[str, Any]:
    return {"key": key, "last_updated_field": stamp, "last_updated_type": "isoformat"}


def _store(
    screening: ScreeningFile,
    collection: str,
    fields: dict[str, Any],
    *,
    read_only: bool,
    is_blobs: bool = False,
) -> Store:
    """Return one collection, not yet connected."""
    if _is_mongo(screening.store):
        return _mongo_store(screening.store, collection, is_blobs, fields)
    if "://" in screening.store:
        scheme = screening.store.partition("://")[0]
        raise InputError(f"store {scheme}://...: unknown kind; give a file or mongodb://...")
    from ionsieve.workflows.store.sqlite.store import SQLiteStore

    path = screening.resolve(screening.store)
    is_stamped = collection == JOBS
    return SQLiteStore(path, collection, stamped=is_stamped, read_only=read_only, **fields)


def _mongo_store(address: str, collection: str, is_blobs: bool, fields: dict[str, Any]) -> Store:
    from ionsieve.workflows.store.mongo import (
        BytesGridFSStore,
        CheckedMongoStore,
        OrderedMongoStore,
    )

    address, login = _without_password(address)
    database = address.partition("://")[2].partition("/")[2].partition("?")[0]
    if not database:
        raise InputError(
            f"store {address}: names no database; append one, as in mongodb://host/ionsieve"
        )
    # User and password apart from the address: maggma logs the address as the store's name.
    options = {"serverSelectionTimeoutMS": _MONGO_TIMEOUT_MS, **login}
    kind = BytesGridFSStore if is_blobs else CheckedMongoStore
    if collection == JOBS:
        kind = OrderedMongoStore
    return kind(database, collection, uri=address, mongoclient_kwargs=options, **fields)


def _without_password(address: str) -> tuple[str, dict[str, str]]:
    """Split a connection string into itself without the login, and the login.

    The login ends at the last ``@``, so that not even an unescaped password shows.
    """
    scheme, _, rest = address.partition("://")
    login, _, hosts = rest.rpartition("@")
    plain = f"{scheme}://{hosts}"
    if not login:
        return plain, {}
    user, _, password = login.partition(":")
    names = {"username": unquote(user), "password": unquote(password)}
    return plain, {name: value for name, value in names.items() if value}


def _connect(store: Store, screening: ScreeningFile) -> None:
    """Connect and touch the store once, so that what is wrong shows now.

    SQLiteStore explains its own troubles; pymongo's texts may hold the password.
    """
    from pymongo.errors import PyMongoError

    try:
        store.connect()
        store.count({"_id": "no such document"})
    except (PyMongoError, ValueError) as error:
        raise InputError(
            f"store {store_name(screening)}: MongoDB doesn't answer or refuses "
            f"({type(error).__name__}); "
            "start it, or correct address and login under 'store' in the screening file"
        ) from None
