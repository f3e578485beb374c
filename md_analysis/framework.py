"""Whether the framework still is the crystal the run started from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionsieve.md_analysis.diffusivity import fit_diffusion
from ionsieve.md_analysis.displacement import ends, paths
from ionsieve.md_analysis.jumps import SMOOTHING_PS
from ionsieve.md_analysis.trajectory import Trajectory

#: An ion this far from every site its species had at the start has left its site.
_OFF_SITE_ANGSTROM = 1.5

#: More ions than this share off their sites: melted or decomposed.
_OFF_SITE_FRACTION = 0.1

#: Fewer neighbours than this share kept: decomposed.
_KEPT_NEIGHBOURS = 0.7

#: Neighbours are within this factor of the nearest distance.
_SHELL = 1.25

#: A rotating tetrahedron moves its corners no farther than this (rms); a liquid does.
_ROTATION_ANGSTROM = 4.0

#: Rms vibration over the distance of neighbours at which crystals melt (Lindemann).
LINDEMANN_MELTING = 0.15


@dataclass(frozen=True)
class FrameworkSpecies:
    """What became of one framework species.

    Attributes
    ----------
    off_site_fraction : float
        Share of its ions that ended far from every site the species had at the start. Corners of a
        polyanion that rotates count as on a site as long as their centre is on one.
    kept_neighbours : float
        Share of the first-shell neighbours of other framework species kept to the end; NaN
        without such neighbours.
    rms_displacement_angstrom : float
        From first to last positions, both averaged over 0.5 ps.
    lindemann : float
        Rms vibration over the mean distance of neighbours.
    diffusivity_angstrom2_ps : float
    is_diffusing : bool
        Unbounded motion, beyond what a rotating group does.
    """

    species: str
    n_ions: int
    off_site_fraction: float
    kept_neighbours: float
    rms_displacement_angstrom: float
    lindemann: float
    diffusivity_angstrom2_ps: float
    is_diffusing: bool

    @property
    def failures(self) -> tuple[str, ...]:
        """Why this species is no crystal any more; empty if it is."""
        found = []
        if self.off_site_fraction > _OFF_SITE_FRACTION:
            found.append(
                f"{self.off_site_fraction:.0%} of {self.species} ended more than "
                f"{_OFF_SITE_ANGSTROM:g} A from every starting site (limit "
                f"{_OFF_SITE_FRACTION:.0%})"
            )
        if self.kept_neighbours < _KEPT_NEIGHBOURS:
            found.append(
                f"{self.species} kept {self.kept_neighbours:.0%} of its framework neighbours "
                f"(limit {_KEPT_NEIGHBOURS:.0%})"
            )
        if self.is_diffusing:
            found.append(
                f"{self.species} diffuses at {self.diffusivity_angstrom2_ps * 1e-4:.1e} cm2/s"
            )
        return tuple(found)


def examine(
    trajectory: Trajectory, mobile: NDArray[np.intp], drift: NDArray[np.float64]
) -> tuple[FrameworkSpecies, ...]:
    """Compare each framework species at the end of the run with its start.

    Parameters
    ----------
    mobile : (n_mobile,) int
        Ions that aren't framework.
    drift : (3, n_frames) float64
        Rigid motion to subtract, from :func:`ionsieve.md_analysis.displacement.drift`.
    """
    framework = np.setdiff1d(np.arange(trajectory.n_ions), mobile)
    labels = np.array(trajectory.species)[framework]
    walks = {
        label: paths(trajectory, framework[labels == label], drift) for label in sorted(set(labels))
    }
    start, end = np.empty((2, len(framework), 3))
    width = max(1, round(SMOOTHING_PS * 1e3 / trajectory.timestep_fs))
    for label, of_species in walks.items():
        start[labels == label], end[labels == label] = ends(of_species, width)
    between = _distances(start, start, trajectory.mean_cell)
    np.fill_diagonal(between, np.inf)
    late = _distances(end, end, trajectory.mean_cell)
    on_site = _on_site(labels, start, end, trajectory.mean_cell)
    on_site |= _carried(labels, between, late, on_site)
    return tuple(
        _examine_species(
            label,
            labels == label,
            of_species,
            (start, end),
            (between, late),
            on_site[labels == label],
            labels,
            trajectory,
        )
        for label, of_species in walks.items()
    )


def _examine_species(
    label: str,
    chosen: NDArray[np.bool_],
    walks: NDArray[np.floating],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    between: tuple[NDArray[np.float64], NDArray[np.float64]],
    on_site: NDArray[np.bool_],
    labels: NDArray[np.str_],
    trajectory: Trajectory,
) -> FrameworkSpecies:
    start, end = ends[0][chosen], ends[1][chosen]
    moved = float(np.sqrt(((end - start) ** 2).sum(axis=1).mean()))
    nearest = float(np.mean(between[0][chosen].min(axis=1))) if len(labels) > 1 else np.inf
    value, is_diffusing = 0.0, False
    if trajectory.n_frames >= 40:
        fit = fit_diffusion(walks, trajectory.timestep_fs)
        value = fit.diffusivity.value
        is_diffusing = (
            moved > _ROTATION_ANGSTROM
            and fit.jumps.n_onward > _OFF_SITE_FRACTION * len(walks)
            and fit.diffusivity.interval()[0] > 0
        )
    return FrameworkSpecies(
        species=str(label),
        n_ions=len(walks),
        off_site_fraction=float((~on_site).mean()),
        kept_neighbours=_kept(between[0], between[1], chosen, labels != label),
        rms_displacement_angstrom=moved,
        lindemann=_vibration(walks, trajectory.timestep_fs / 1e3) / nearest,
        diffusivity_angstrom2_ps=value,
        is_diffusing=is_diffusing,
    )


def _on_site(
    labels: NDArray[np.str_],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether each ion ended near a place where its species had been."""
    found = np.zeros(len(labels), dtype=bool)
    for label in set(labels.tolist()):
        chosen = labels == label
        nearest = _distances(end[chosen], start[chosen], cell).min(axis=1)
        found[chosen] = nearest <= _OFF_SITE_ANGSTROM
    return found


def _carried(
    labels: NDArray[np.str_],
    between: NDArray[np.float64],
    late: NDArray[np.float64],
    on_site: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Whether each ion is a corner of a group (PS4, SO4, BH4) whose centre stayed.

    A corner has fewer neighbours of other species than its centre, and is as near it as before.
    """
    other = np.where(labels[:, None] == labels[None], np.inf, between)
    centre = other.argmin(axis=1)
    bond = other[np.arange(len(labels)), centre]
    n_near = (other <= _SHELL * bond[:, None]).sum(axis=1)
    kept = late[np.arange(len(labels)), centre] <= _SHELL * bond
    return np.isfinite(bond) & (n_near[centre] > n_near) & kept & on_site[centre]


def _vibration(walks: NDArray[np.floating], dt_ps: float) -> float:
    """Rms distance from the mean position over 1 ps."""
    width = max(1, min(round(1.0 / dt_ps), walks.shape[2]))
    n_blocks = walks.shape[2] // width
    variances = [
        walk[:, : n_blocks * width].reshape(3, n_blocks, width).var(axis=2, dtype=np.float64).mean()
        for walk in walks
    ]
    return float(np.sqrt(3 * np.mean(variances)))


def _kept(
    early: NDArray[np.float64],
    late: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    others: NDArray[np.bool_],
) -> float:
    """Share of first-shell neighbours of other species that are still near at the end."""
    if not others.any():
        return float("nan")
    before = early[np.ix_(chosen, others)]
    shell = before <= _SHELL * before.min(axis=1, keepdims=True)
    after = late[np.ix_(chosen, others)]
    near = after <= _SHELL**2 * np.where(shell, before, np.inf).min(axis=1, keepdims=True)
    return float((shell & near).sum() / shell.sum()) if shell.any() else float("nan")


def _distances(
    a: NDArray[np.float64], b: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Nearest-image distances, (len(a), len(b)) Angstrom; reduced cells assumed."""
    delta = (a[:, None] - b[None]) @ np.linalg.inv(cell)
    delta -= np.rint(delta)
    return np.linalg.norm(delta @ cell, axis=2)
