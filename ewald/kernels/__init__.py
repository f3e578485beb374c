"""Numba inner loops: arrays in, arrays out; no I/O, no Python objects."""

import functools
from pathlib import Path

from numba import njit

from ionsieve.kernel_cache import drop_stale_kernels

drop_stale_kernels(Path(__file__).parent)

#: A kernel called from Python, compiled once and kept on disk.
entry = functools.partial(njit, cache=True, no_cfunc_wrapper=True)
#: A kernel called by other kernels only: without the wrappers that double its compile time.
inner = functools.partial(njit, cache=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)
#: A kernel called at one place, and made part of the caller before that is compiled.
part = functools.partial(njit, inline="always")
