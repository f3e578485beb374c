"""Numba inner loops: arrays in, arrays out; no I/O, no Python objects."""

import functools

from numba import njit

#: A kernel called from Python, compiled once and kept on disk.
entry = functools.partial(njit, cache=True, no_cfunc_wrapper=True)
#: A kernel called by other kernels only: without the wrappers that double its compile time.
inner = functools.partial(njit, cache=True, no_cfunc_wrapper=True, no_cpython_wrapper=True)
