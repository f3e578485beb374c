"""Bytes of a file, mapped into memory; a gzipped one is unpacked to a temporary file first."""

from __future__ import annotations

import mmap
import tempfile
import zlib
from pathlib import Path
from typing import IO

from ionsieve.errors import InputError
from ionsieve.md_analysis.storage import no_room


def read_bytes(path: Path) -> tuple[mmap.mmap, tuple[str, ...]]:
    """Return a file's bytes, unpacked if gzipped, and notes on what is missing.

    Raises
    ------
    InputError
        If the file can't be read or is empty.
    IonSieveError
        If the disk has no room for what is unpacked.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), ()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is empty") from error
    return _unpack(path)


def _unpack(path: Path) -> tuple[mmap.mmap, tuple[str, ...]]:
    """Unpack gzip as far as it goes; a run killed by its walltime leaves half a file."""
    try:
        with path.open("rb") as packed, tempfile.TemporaryFile() as file:
            whole = _inflate(packed, file)
            file.flush()
            if not file.tell():
                raise InputError(f"{path} is no gzip file or has nothing in it")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise no_room(f"the unpacked {path.name}", error) from error
    if whole:
        return content, ()
    return content, (f"{path.name} is cut or damaged; used as far as it can be unpacked",)


def _inflate(packed: IO[bytes], out: IO[bytes]) -> bool:
    """Write what can be unpacked, and return whether that is all."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        while piece := packed.read(1 << 20):
            out.write(unpacker.decompress(piece))
            while unpacker.eof and unpacker.unused_data:  # several members, as bgzip writes
                rest = unpacker.unused_data
                unpacker = zlib.decompressobj(wbits=31)
                out.write(unpacker.decompress(rest))
    except zlib.error:
        return False
    return unpacker.eof
