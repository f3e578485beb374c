"""Files that the settings name by path or glob pattern, and their identity."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ionsieve.errors import InputError


def matching_files(
    patterns: Sequence[str], resolve: Callable[[str], Path], where: str
) -> list[Path]:
    """Return the files of some patterns, each once, in order.

    Parameters
    ----------
    resolve
        Makes a path absolute.
    where
        The setting, for the message.

    Raises
    ------
    InputError
        Nothing matches a pattern.
    """
    paths: list[Path] = []
    for pattern in patterns:
        full = resolve(pattern)
        found = [full] if full.is_file() else [Path(p) for p in sorted(glob.glob(str(full)))]
        if not found:
            raise InputError(f"{where}: nothing matches '{pattern}' (looked for {full})")
        paths.extend(path for path in found if path not in paths)
    return paths


def contents_key(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Return name and hash of each file."""
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
