"""Drift-free paths and mean squared displacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from ionsieve.md_analysis.storage import allocate
from ionsieve.md_analysis.trajectory import Trajectory

#: Order of the six independent elements of a symmetric tensor.
TENSOR_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@njit(cache=True)
def _to_cartesian(fractional, drift, cell, out):  # type: ignore[no-untyped-def]
    for frame in range(fractional.shape[1]):
        a = fractional[0, frame] - drift[0, frame]
        b = fractional[1, frame] - drift[1, frame]
        c = fractional[2, frame] - drift[2, frame]
        for axis in range(3):
            out[axis, frame] = a * cell[0, axis] + b * cell[1, axis] + c * cell[2, axis]


def atomic_masses(species: tuple[str, ...]) -> NDArray[np.float64]:
    """Return one mass per ion, u; 1 for labels that are no element."""
    masses = {
        label: float(Element(label).atomic_mass) if Element.is_valid_symbol(label) else 1.0
        for label in set(species)
    }
    return np.array([masses[label] for label in species])


def drift(trajectory: Trajectory, mobile: NDArray[np.intp]) -> tuple[NDArray[np.float64], str]:
    """Return the rigid motion to subtract, and of what it is.

    The frame of reference is the centre of mass of the framework (all ions that aren't mobile);
    without a framework that of all ions.

    Returns
    -------
    drift : (3, n_frames) float64, fractions of the cell, zero in the first frame
    name : ``framework`` or ``centre of mass``
    """
    framework = np.setdiff1d(np.arange(trajectory.n_ions), mobile)
    chosen, name = (framework, "framework") if len(framework) else (mobile, "centre of mass")
    masses = atomic_masses(trajectory.species)[chosen]
    centre = np.zeros((3, trajectory.n_frames))
    for ion, weight in zip(chosen, masses / masses.sum(), strict=True):
        centre += weight * trajectory.fractional[ion]
    return centre - centre[:, :1], name


def paths(
    trajectory: Trajectory, ions: NDArray[np.intp], drift_fractional: NDArray[np.float64]
) -> NDArray[np.floating]:
    """Return Cartesian paths in the moving frame.

    A cell that changes is replaced by its mean: the path in fractional coordinates times the
    mean cell, which adds no spurious motion when the walls breathe.

    Returns
    -------
    (n_ions, 3, n_frames), Angstrom, of the trajectory's dtype
    """
    fractional = trajectory.fractional
    out = allocate((len(ions), 3, trajectory.n_frames), fractional.dtype)
    for row, ion in enumerate(ions):
        _to_cartesian(fractional[ion], drift_fractional, trajectory.mean_cell, out[row])
    return out


def ends(
    paths_angstrom: NDArray[np.floating], n_frames: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return first and last positions, each the mean of so many frames, (n_ions, 3) Angstrom."""
    first, last = paths_angstrom[:, :, :n_frames], paths_angstrom[:, :, -n_frames:]
    return first.mean(axis=2, dtype=np.float64), last.mean(axis=2, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class MeanSquaredDisplacement:
    """MSD over all time origins at every lag up to half the run.

    Attributes
    ----------
    lags_ps : (n_lags,) float64
    tensor_angstrom2 : (n_lags, 6) float64
        Mean products xx, yy, zz, yz, xz, xy of the displacements.
    """

    lags_ps: NDArray[np.float64]
    tensor_angstrom2: NDArray[np.float64]

    @property
    def total_angstrom2(self) -> NDArray[np.float64]:
        """<|dr|^2>, (n_lags,) Angstrom^2."""
        return self.tensor_angstrom2[:, :3].sum(axis=1)

    def thinned(self, n_lags: int = 200) -> MeanSquaredDisplacement:
        """Return about so many lags, evenly spaced in the logarithm."""
        last = len(self.lags_ps) - 1
        if last < 2:
            return self
        keep = np.unique(np.round(np.geomspace(1, last, n_lags)).astype(int))
        keep = np.concatenate([[0], keep])
        return MeanSquaredDisplacement(self.lags_ps[keep], self.tensor_angstrom2[keep])


def mean_squared_displacement(
    paths_angstrom: NDArray[np.floating], timestep_fs: float, workers: int = 2
) -> MeanSquaredDisplacement:
    """Return the MSD tensor averaged over ions and all time origins, by FFT.

    <(a(t+l) - a(t)) (b(t+l) - b(t))> is a sum of plain products, computed by a running sum, minus
    twice the symmetric correlation of a and b. Spectra are summed over the ions before the only
    inverse transforms, all in float64.

    Parameters
    ----------
    paths_angstrom : (n_ions, 3, n_frames) float, Angstrom
    timestep_fs : float
        Time between frames.
    workers : int
        Threads of the transforms.

    References
    ----------
    G. R. Kneller et al., Comput. Phys. Commun. 91, 191 (1995), doi 10.1016/0010-4655(95)00048-K.
    """
    n_ions, _, n_frames = paths_angstrom.shape
    padded = scipy.fft.next_fast_len(2 * n_frames, real=True)
    spectra = np.zeros((6, padded // 2 + 1))
    products = np.zeros((6, n_frames))
    for path in paths_angstrom:
        centred = path.astype(np.float64)
        centred -= centred.mean(axis=1, keepdims=True)
        wave = scipy.fft.rfft(centred, padded, axis=1, workers=workers)
        for row, (a, b) in enumerate(TENSOR_PAIRS):
            spectra[row] += wave[a].real * wave[b].real + wave[a].imag * wave[b].imag
            products[row] += centred[a] * centred[b]
    n_lags = n_frames // 2 + 1
    correlation = scipy.fft.irfft(spectra, padded, axis=1, workers=workers)[:, :n_lags]
    running = np.concatenate([np.zeros((6, 1)), np.cumsum(products, axis=1)], axis=1)
    lags = np.arange(n_lags)
    plain = running[:, n_frames - lags] + running[:, -1:] - running[:, lags]
    tensor = (plain - 2 * correlation) / (n_ions * (n_frames - lags))
    tensor[:, 0] = 0.0
    return MeanSquaredDisplacement(lags * timestep_fs / 1e3, np.ascontiguousarray(tensor.T))
