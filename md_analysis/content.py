"""Bytes of a file, mapped into memory; a compressed one is unpacked to a temporary file first."""

from __future__ import annotations

import bz2
import lzma
import mmap
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

import zstandard

from ionsieve.errors import InputError
from ionsieve.md_analysis.storage import no_room

#: Endings of compressed files, for names that tell the format.
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


class _Unpacker(Protocol):
    """What the decompressors of all formats have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


#: First bytes of compressed files, and what unpacks one member of them.
_UNPACKERS: tuple[tuple[bytes, Callable[[], _Unpacker]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
    (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
)


def plain_name(path: Path) -> str:
    """Return a file's name in lower case, without the ending of its compression."""
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def find_beside(path: Path, name: str) -> Path | None:
    """Return the file of that name in the folder of a path, compressed or not; None without."""
    for suffix in ("", *COMPRESSED_SUFFIXES):
        beside = path.with_name(name + suffix)
        if beside != path and beside.is_file():
            return beside
    return None


def read_bytes(path: Path) -> tuple[mmap.mmap, tuple[str, ...]]:
    """Return a file's bytes, unpacked if compressed, and notes on what is missing.

    Raises
    ------
    InputError
        If the file can't be read or is empty.
    IonSieveError
        If the disk has no room for what is unpacked.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            unpacker = next((make for mark, make in _UNPACKERS if head.startswith(mark)), None)
            if unpacker is None:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), ()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is empty") from error
    return _unpack(path, unpacker)


def _unpack(path: Path, make: Callable[[], _Unpacker]) -> tuple[mmap.mmap, tuple[str, ...]]:
    """Unpack as far as it goes; a run killed by its walltime leaves half a file."""
    try:
        with path.open("rb") as packed, tempfile.TemporaryFile() as file:
            whole = _inflate(packed, file, make)
            file.flush()
            if not file.tell():
                raise InputError(f"{path} is no compressed file or has nothing in it")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise no_room(f"the unpacked {path.name}", error) from error
    if whole:
        return content, ()
    return content, (f"{path.name} is cut or damaged; used as far as it can be unpacked",)


def _inflate(packed: IO[bytes], out: IO[bytes], make: Callable[[], _Unpacker]) -> bool:
    """Write what can be unpacked, and return whether that is all."""
    unpacker = make()
    while piece := packed.read(1 << 20):
        while piece:
            if unpacker.eof:  # several members, as bgzip and pbzip2 write
                unpacker = make()
            try:
                unpacked = unpacker.decompress(piece)
            except (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError):
                return False
            out.write(unpacked)
            piece = unpacker.unused_data
    return unpacker.eof
