"""Bytes of a file: mapped into memory if plain, unpacked if gzipped."""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

from ionsieve.errors import InputError

#: A file mapped into memory, or unpacked.
Content = bytes | mmap.mmap


def read_bytes(path: Path) -> tuple[Content, tuple[str, ...]]:
    """Return a file's bytes, mapped if plain, unpacked if gzipped, and notes on what is missing.

    Raises
    ------
    InputError
        If the file can't be read or is empty.
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


def _unpack(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """Unpack gzip as far as it goes; a run killed by its walltime leaves half a file."""
    parts: list[bytes] = []
    unpacker = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while packed := file.read(1 << 20):
            try:
                parts.append(unpacker.decompress(packed))
                while unpacker.eof and unpacker.unused_data:  # several members, as bgzip writes
                    rest = unpacker.unused_data
                    unpacker = zlib.decompressobj(wbits=31)
                    parts.append(unpacker.decompress(rest))
            except zlib.error:
                break
    if unpacker.eof:
        return b"".join(parts), ()
    return b"".join(parts), (f"{path.name} is cut or damaged; used as far as it can be unpacked",)
