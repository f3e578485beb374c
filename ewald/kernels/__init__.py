"""Numba inner loops: arrays in, arrays out; no I/O, no Python objects."""

import functools
from pathlib import Path

from numba import njit

from ionsieve.kernel_cache import drop_stale_kernels

drop_stale_kernels(Path(__file__).parent)

# Kernels allocate nothing, so numba need not count references to their arrays, which took a third
# of some searches. numba refuses to compile a kernel that allocates.
_options = {"cache": True, "no_cfunc_wrapper": True, "_nrt": False}
#: A kernel called from Python, compiled once and kept on disk.
entry = functools.partial(njit, **_options)
#: A kernel called by other kernels only: without the wrappers that double its compile time.
inner = functools.partial(njit, **_options, no_cpython_wrapper=True)
#: A kernel called at one place, and made part of the caller before that is compiled.
part = functools.partial(njit, inline="always")
