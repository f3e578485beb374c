"""Which site each ion is on, how often sites are taken, and the jumps between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ionsieve.errors import InputError
from ionsieve.md_analysis.displacement import drift
from ionsieve.md_analysis.trajectory import Trajectory

#: Frames looked up at once.
_BLOCK = 256


@njit(cache=True)
def _settle(near, out):  # type: ignore[no-untyped-def]
    """Keep an ion on its site until it comes near another one; -1 until the first."""
    for ion in range(near.shape[0]):
        here = -1
        for frame in range(near.shape[1]):
            if near[ion, frame] >= 0:
                here = near[ion, frame]
            out[ion, frame] = here


@dataclass(frozen=True, eq=False)
class SiteHistory:
    """Sites of the mobile ions in time.

    Attributes
    ----------
    site : (n_ions, n_frames) int32
        Site of each ion; an ion belongs to its last site until it comes near another one, and
        to none (-1) before it first does.
    occupation : (n_sites,) float64
        Mean number of ions on each site.
    jumps : (n_jumps, 4) int64
        Frame, ion, site left, site reached.
    """

    site: NDArray[np.int32]
    occupation: NDArray[np.float64]
    jumps: NDArray[np.int64]
    length_ps: float

    @property
    def jump_rate_per_ps(self) -> float:
        """Jumps per ion and ps."""
        return len(self.jumps) / (len(self.site) * self.length_ps)

    @property
    def return_fraction(self) -> float:
        """Share of successive jumps of an ion that lead back; NaN without any."""
        returns = total = 0
        for ion in np.unique(self.jumps[:, 1]):
            own = self.jumps[self.jumps[:, 1] == ion]
            total += len(own) - 1
            returns += int((own[1:, 3] == own[:-1, 2]).sum())
        return returns / total if total else float("nan")

    def transitions(self) -> dict[tuple[int, int], int]:
        """Return how often each pair (from, to) was jumped."""
        return dict(Counter((int(a), int(b)) for a, b in self.jumps[:, 2:]))


def follow_sites(
    trajectory: Trajectory, species: str, sites: ArrayLike, radius_angstrom: float = 1.0
) -> SiteHistory:
    """Assign ions to given sites, in the framework's frame.

    Parameters
    ----------
    sites : (n_sites, 3) float
        Fractional coordinates, e.g. of the crystal's mobile-ion sites.
    radius_angstrom : float
        An ion is on a site when it is that close; smaller than half the distance of sites.

    Raises
    ------
    InputError
        On an unknown species, or sites closer than the radius allows.
    """
    ions = trajectory.indices(species)
    places = np.asarray(sites, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise InputError(f"sites have shape {places.shape}; give (n_sites, 3) fractions")
    cell = trajectory.mean_cell
    tree, numbers = _periodic_tree(places % 1.0, cell, radius_angstrom)
    moving, _ = drift(trajectory, ions)
    near = np.empty((len(ions), trajectory.n_frames), dtype=np.int32)
    for start in range(0, trajectory.n_frames, _BLOCK):
        window = slice(start, start + _BLOCK)
        fractional = trajectory.fractional[ions, :, window] - moving[None, :, window]
        points = (fractional % 1.0).transpose(0, 2, 1) @ cell
        distance, index = tree.query(points.reshape(-1, 3), distance_upper_bound=radius_angstrom)
        found = np.where(np.isfinite(distance), numbers[np.minimum(index, len(numbers) - 1)], -1)
        near[:, window] = found.reshape(len(ions), -1)
    site = np.empty_like(near)
    _settle(near, site)
    jumps = _jumps(site)
    counts = np.bincount(site[site >= 0].ravel(), minlength=len(places))
    return SiteHistory(site, counts / trajectory.n_frames, jumps, trajectory.length_ps)


def _periodic_tree(
    places: NDArray[np.float64], cell: NDArray[np.float64], radius: float
) -> tuple[cKDTree, NDArray[np.int32]]:
    """Return a tree of the sites and of their images within the radius of the cell."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    margin = radius / heights
    images = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    copies = (places[None] + images[:, None]).reshape(-1, 3)
    numbers = np.tile(np.arange(len(places), dtype=np.int32), len(images))
    inside = ((copies >= -margin) & (copies <= 1 + margin)).all(axis=1)
    tree = cKDTree(copies[inside] @ cell)
    apart = tree.query(tree.data, k=2)[0][:, 1].min() if inside.sum() > 1 else np.inf
    if apart < 2 * radius:
        raise InputError(
            f"two sites are {apart:.2f} Angstrom apart, closer than twice the radius "
            f"{radius:g}; merge them or make the radius smaller"
        )
    return tree, numbers[inside]


def _jumps(site: NDArray[np.int32]) -> NDArray[np.int64]:
    before, after = site[:, :-1], site[:, 1:]
    ion, frame = np.nonzero((before != after) & (before >= 0))
    table = np.column_stack([frame + 1, ion, before[ion, frame], after[ion, frame]])
    return table[np.argsort(table[:, 0], kind="stable")].astype(np.int64)
