"""Keep numba's cache of compiled kernels in step with their sources."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path


def drop_stale_kernels(folder: Path) -> None:
    """Delete a package's compiled kernels if they were made from other sources.

    For each kernel numba looks at that kernel's own file only. After an update it would load a
    kernel that was compiled with types or functions of another file that has changed since.

    Parameters
    ----------
    folder
        The package; its cache is numba's default, ``__pycache__`` beside the sources.
    """
    digest = hashlib.sha256()
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    cache = folder / "__pycache__"
    stamp = cache / "kernels.sha256"
    # A read-only installation has no cache to go stale.
    with contextlib.suppress(OSError):
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return
        cache.mkdir(exist_ok=True)
        # First the stamp: a process that starts meanwhile must not delete what this one compiles.
        stamp.write_text(digest.hexdigest())
        for pattern in ("*.nbi", "*.nbc"):
            for compiled in cache.glob(pattern):
                compiled.unlink(missing_ok=True)
