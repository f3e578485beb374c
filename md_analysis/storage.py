"""Room for large arrays: in memory or, if they are too large, in a temporary file."""

from __future__ import annotations

import math
import os
import tempfile
from typing import IO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ionsieve.errors import IonSieveError

#: Larger arrays go to a temporary file that is mapped into memory; an analysis holds about three.
MEMORY_LIMIT_BYTES = 1 << 30


def allocate(
    shape: tuple[int, ...], dtype: DTypeLike = np.float32, *, held_bytes: int = 0
) -> NDArray[np.floating]:
    """Return an array to be filled; a large one lies in a file that goes away with it.

    Parameters
    ----------
    held_bytes : int
        What belongs to the same data and has its room already.

    Raises
    ------
    IonSieveError
        If the disk has no room for it; the message says how to choose another.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes + held_bytes <= MEMORY_LIMIT_BYTES:
        return np.empty(shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(prefix="ionsieve-") as file:
        _reserve(file, n_bytes)
        # The mapping keeps the data alive after the name is gone.
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def _reserve(file: IO[bytes], n_bytes: int) -> None:
    """Make a file so long, on the disk as well: a full disk would kill whoever writes to the map.

    Raises
    ------
    IonSieveError
        If the disk has no room.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        else:
            file.truncate(n_bytes)
    except OSError as error:
        raise no_room(f"{n_bytes / 1e9:.1f} GB", error) from error


def no_room(what: str, error: OSError) -> IonSieveError:
    """Return the error of a temporary file that could not be written."""
    return IonSieveError(
        f"no room for {what} in {tempfile.gettempdir()} ({error.strerror}); "
        "set TMPDIR to a folder on a larger disk"
    )
