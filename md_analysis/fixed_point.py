"""Paths of ions as compressed whole numbers: how a stored trajectory holds its positions.

Every position is rounded on its own to a grid that divides the cell evenly, so that errors never
add up from frame to frame. What is kept are the differences from frame to frame, less what the
frames before let expect (a linear prediction fitted to each element, as lossless audio codecs do
it): their upper bits, which compress, apart from their lower bits, which are noise.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError

#: A grid step is what an ion of this speed crosses from one frame to the next. An ion of sodium
#: moves at 330 m/s per axis at 300 K.
_RESOLVED_ANGSTROM_FS = 2e-5  # 2 m/s

#: The grid is never coarser and never finer than this, whatever the time between frames.
COARSEST_ANGSTROM, _FINEST_ANGSTROM = 2e-3, 1e-6

#: Frames that a prediction looks back, and the fixed point of its coefficients.
_ORDER = 6
_COEFFICIENT_BITS = 20
_LARGEST_COEFFICIENT = 8.0

#: Positions beyond this many grid steps (about a micrometre) are those of an exploded run.
_FARTHEST_STEPS = 1 << 30

#: zlib never makes data smaller than this: what claims to is no honest file.
_LARGEST_ZLIB_RATIO = 1032


def grid(cell: NDArray[np.float64], timestep_fs: float) -> NDArray[np.int64]:
    """Return into how many steps each cell vector is divided.

    Parameters
    ----------
    cell : (3, 3) or (n_frames, 3, 3) float64, Angstrom
    timestep_fs : float
        Time between frames.

    Returns
    -------
    (3,) int64
        A step is at most 2e-5 Angstrom per fs between frames long: 2e-4 Angstrom for frames of
        10 fs, and 2e-3 Angstrom from 100 fs on. Positions are rounded to the nearest, so they are
        off by half a step along each cell vector at most.
    """
    step = min(max(_RESOLVED_ANGSTROM_FS * timestep_fs, _FINEST_ANGSTROM), COARSEST_ANGSTROM)
    lengths = np.linalg.norm(cell.reshape(-1, 3, 3), axis=2).max(axis=0)
    return np.ceil(lengths / step).astype(np.int64)


def pack(
    fractional: NDArray[np.floating], divisions: NDArray[np.int64], species: tuple[str, ...]
) -> dict[str, NDArray]:
    """Round paths to a grid and compress them.

    Parameters
    ----------
    fractional : (n_ions, 3, n_frames) float
        Unwrapped fractional coordinates.
    divisions : (3,) int64
        From :func:`grid`.
    species : tuple of str
        Element of each ion; ions of one element are predicted alike.

    Returns
    -------
    dict of str to array
        What :func:`unpack` takes.

    Raises
    ------
    InputError
        If a position is not a number, or so far away that the run has exploded.
    """
    _check(fractional, divisions, species)
    steps = np.rint(fractional * divisions[:, None].astype(np.float64)).astype(np.int64)
    differences = np.diff(steps, axis=2)
    names, kinds = np.unique(species, return_inverse=True)
    coefficients = np.array([_fit(differences[kinds == kind]) for kind in range(len(names))])
    residuals = differences - _predictions(differences, coefficients[kinds])
    # Signs go last, so that small numbers of either sign have small codes.
    codes = ((residuals << 1) ^ (residuals >> 63)).ravel()
    shift = _noise_bits(codes)
    upper, lower = codes >> shift, codes & ((1 << shift) - 1)
    return {
        "divisions": divisions,
        "start": steps[:, :, 0].astype(np.int32),
        "coefficients": coefficients.astype(np.int32),
        "shift": np.array(shift),
        "upper": _compressed(upper),
        "lower": _bits(lower, shift),
    }


def unpack(
    arrays: Mapping[str, NDArray], species: tuple[str, ...], n_frames: int
) -> NDArray[np.int64]:
    """Return the paths that :func:`pack` was given, in steps of the grid.

    Parameters
    ----------
    arrays
        What `pack` returned.
    species : tuple of str
        Element of each ion.
    n_frames : int
        Number of frames.

    Returns
    -------
    (n_ions, 3, n_frames) int64

    Raises
    ------
    ValueError
        If the arrays don't belong together.
    """
    start = np.asarray(arrays["start"], dtype=np.int64)
    coefficients = np.asarray(arrays["coefficients"], dtype=np.int64)
    names, kinds = np.unique(species, return_inverse=True)
    n_ions, shift = len(species), int(arrays["shift"])
    count = n_ions * 3 * (n_frames - 1)
    if start.shape != (n_ions, 3) or coefficients.shape != (len(names), _ORDER):
        raise ValueError("shapes of start and coefficients")
    if not 0 <= shift < 32 or n_frames < 1:
        raise ValueError("shift or number of frames")
    codes = (_expanded(arrays["upper"], count) << shift) | _from_bits(arrays["lower"], shift, count)
    residuals = ((codes >> 1) ^ -(codes & 1)).reshape(n_ions, 3, n_frames - 1)
    steps = np.empty((n_ions, 3, n_frames), dtype=np.int64)
    steps[:, :, 0] = start
    _restore(residuals, coefficients[kinds], steps[:, :, 1:])
    np.cumsum(steps, axis=2, out=steps)
    return steps


def _check(
    fractional: NDArray[np.floating], divisions: NDArray[np.int64], species: tuple[str, ...]
) -> None:
    limits = (_FARTHEST_STEPS / divisions)[:, None]
    wrong = ~(np.abs(fractional) < limits)  # true of NaN as well
    if not wrong.any():
        return
    frame = int(np.flatnonzero(wrong.any(axis=(0, 1)))[0])
    ion = int(np.flatnonzero(wrong[:, :, frame].any(axis=1))[0])
    where = ", ".join(f"{value:g}" for value in fractional[ion, :, frame])
    raise InputError(
        f"ion {ion + 1} ({species[ion]}) is at ({where}) of the cell in frame {frame + 1}: "
        "the run has exploded; shorten its time step or leave these frames out"
    )


def _fit(differences: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the coefficients, in fixed point, that best predict a difference from those before."""
    n_samples = differences.shape[2] - _ORDER
    if n_samples < 4 * _ORDER:
        return np.zeros(_ORDER, dtype=np.int64)
    values = differences.astype(np.float64)
    delayed = [values[:, :, _ORDER - lag :][:, :, :n_samples] for lag in range(_ORDER + 1)]
    products = np.array([[np.einsum("ijk,ijk", a, b) for b in delayed] for a in delayed])
    products[1:, 1:] += np.eye(_ORDER) * (1e-9 * products[1, 1] + 1e-30)
    found = np.linalg.solve(products[1:, 1:], products[1:, 0])
    bounded = np.clip(np.nan_to_num(found), -_LARGEST_COEFFICIENT, _LARGEST_COEFFICIENT)
    return np.rint(bounded * (1 << _COEFFICIENT_BITS)).astype(np.int64)


def _predictions(
    differences: NDArray[np.int64], coefficients: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Predict every difference from those before it; before the first frame nothing moved."""
    total = np.zeros_like(differences)
    for lag in range(1, _ORDER + 1):
        total[:, :, lag:] += coefficients[:, lag - 1, None, None] * differences[:, :, :-lag]
    return _rounded(total)


def _restore(
    residuals: NDArray[np.int64], coefficients: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    """Add to each residual what was predicted from the differences before it."""
    n_ions, _, n_differences = residuals.shape
    frames = np.ascontiguousarray(np.moveaxis(residuals, 2, 0))
    weights = np.ascontiguousarray(coefficients.T)[::-1, :, None]
    known = np.zeros((n_differences + _ORDER, n_ions, 3), dtype=np.int64)
    for frame in range(n_differences):
        expected = _rounded((weights * known[frame : frame + _ORDER]).sum(axis=0))
        np.add(frames[frame], expected, out=known[frame + _ORDER])
    out[...] = np.moveaxis(known[_ORDER:], 0, 2)


def _rounded(total: NDArray[np.int64]) -> NDArray[np.int64]:
    return (total + (1 << (_COEFFICIENT_BITS - 1))) >> _COEFFICIENT_BITS


def _noise_bits(codes: NDArray[np.int64]) -> int:
    """Return how many lower bits of the codes are noise: five bits above them tell the size."""
    typical = int(np.median(codes)) if codes.size else 0
    return max(0, typical.bit_length() - 5)


def _compressed(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Compress small numbers, all lowest bytes first, then all next ones."""
    n_bytes = max(1, math.ceil(int(values.max(initial=0)).bit_length() / 8))
    planes = b"".join(
        ((values >> (8 * place)) & 0xFF).astype(np.uint8).tobytes() for place in range(n_bytes)
    )
    compressor = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    return np.frombuffer(compressor.compress(planes) + compressor.flush(), dtype=np.uint8)


def _expanded(packed: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    if count > _LARGEST_ZLIB_RATIO * (packed.nbytes + 1):
        raise ValueError("more frames than its size allows")
    expander = zlib.decompressobj()
    # One byte more than four planes would show that something else is inside.
    planes = expander.decompress(packed.tobytes(), 8 * count + 1)
    n_bytes, rest = divmod(len(planes), count) if count else (1, len(planes))
    if rest or not 1 <= n_bytes <= 8 or not expander.eof:
        raise ValueError("another number of positions than stated")
    values = np.zeros(count, dtype=np.int64)
    for place in range(n_bytes):
        plane = np.frombuffer(planes, np.uint8, count, place * count)
        values |= plane.astype(np.int64) << (8 * place)
    return values


def _bits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Pack the lowest bits of numbers, all first bits, then all second ones."""
    planes = [np.packbits(((values >> place) & 1).astype(np.bool_)) for place in range(width)]
    return np.concatenate([np.zeros(0, np.uint8), *planes])


def _from_bits(packed: NDArray[np.uint8], width: int, count: int) -> NDArray[np.int64]:
    values = np.zeros(count, dtype=np.int64)
    for place, plane in enumerate(packed.reshape(width, -1) if width else ()):
        values |= np.unpackbits(plane, count=count).astype(np.int64) << place
    return values
