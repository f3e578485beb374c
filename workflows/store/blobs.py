"""Bytes that a job stores in the additional store.

A job marked ``@job(data="trajectory")`` returns a document whose field ``trajectory`` is `bytes`.
jobflow passes them on as they are, and the additional stores of this package keep them as they
are: SQLiteStore in a BLOB, MongoDB as a file of GridFS.

>>> from jobflow import job
>>> @job(data="trajectory")
... def store_segment(run):
...     return {"n_frames": run.n_frames, "trajectory": run.to_bytes()}
"""

from __future__ import annotations

import base64
import binascii

from ionsieve.errors import IonSieveError


def stored_bytes(value: object) -> bytes:
    """Return the bytes of a field that was loaded from an additional store.

    Parameters
    ----------
    value
        Bytes, or the base64 text that 0.1.0-dev stored.

    Raises
    ------
    IonSieveError
        If it is neither: the blob was not loaded, or is damaged.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise IonSieveError(f"a stored blob is damaged: no base64 text ({error})") from error
    raise IonSieveError(
        f"a stored blob was read as {type(value).__name__}, not as bytes; query with load=True"
    )
