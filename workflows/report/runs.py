"""The best compositions' molecular dynamics in the report: what was found, and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ionsieve.errors import InputError
from ionsieve.md_analysis import TransportResult, plots
from ionsieve.md_analysis.arrhenius import ArrheniusFit
from ionsieve.md_analysis.stored import from_plain
from ionsieve.md_analysis.van_hove import RadialDistribution, VanHove
from ionsieve.workflows.report.figures import new_axes, svg_uri
from ionsieve.workflows.results.handle import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Compositions whose run is shown.
MAX_RUNS = 10

#: Of a picture: its text is readable where three stand in a row.
_SIZE_IN = (3.7, 2.9)

#: Why a run ended, in words.
_ENDINGS = {
    "decided": "ended once the gate's answer was settled",
    "length": "of the set length",
    "max_length": "ended undecided at the greatest length",
}


@dataclass(frozen=True)
class StoredRun:
    """The longest run of one composition, as stored.

    Attributes
    ----------
    composition : Mapping
        Its document of the conductors.
    stage : ``short_md`` or ``long_md``
    output : Mapping
        The stored transport document.
    arrhenius : Mapping or None
        The stored fit over temperatures.
    """

    composition: Mapping[str, Any]
    stage: str
    output: Mapping[str, Any]
    arrhenius: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """Composition and stage, for legends."""
        return f"{self.composition['host_formula']}, {self.stage.replace('_md', ' run')}"

    @property
    def curve(self) -> Mapping[str, Any]:
        """Mean squared displacements; empty if there are none."""
        return self.output["analysis"].get("msd") or {}

    @property
    def summary(self) -> str:
        """Length, end and verdict in one line."""
        run, suffix = self.output, self.stage.removesuffix("_md")
        looks = self.composition[f"n_looks_{suffix}"] or 1
        counted = f", after {looks} looks" if looks > 1 else ""
        ending = _ENDINGS.get(self.composition[f"end_reason_{suffix}"], "not ended yet")
        return (
            f"{suffix} run at {run['temperature_k']:g} K, {run['run_length_ps']:.4g} ps, "
            f"{ending}{counted}; {run['verdict'].replace('_', ' ')}"
        )

    @property
    def reasons(self) -> list[str]:
        """What the analysis says about the run."""
        return list(self.output["reasons"])


@dataclass(frozen=True)
class Picture:
    """One figure of a run: its name, what it shows, and the image as a data URI."""

    name: str
    caption: str
    uri: str


def read_runs(results: Results, conductors: Iterable[Mapping[str, Any]]) -> list[StoredRun]:
    """Return the longest run of the first few compositions that have one.

    Parameters
    ----------
    conductors
        Documents of the conductors, best first.
    """
    best: list[tuple[Mapping[str, Any], str]] = []
    for document in conductors:
        stages = [name for name in ("long_md", "short_md") if name in document["provenance"]]
        if stages and len(best) < MAX_RUNS:
            best.append((document, stages[0]))
    runs = []
    for document, stage in best:
        name = document["composition_id"]
        runs.append(StoredRun(document, stage, results.run(name, stage), results.arrhenius(name)))
    return runs


def pictures(run: StoredRun) -> list[Picture]:
    """Draw all that is stored of a run; what an older version stored is left out."""
    drawn = []
    for name, caption, draw in _PICTURES:
        try:
            axes = draw(run, new_axes(*_SIZE_IN))
        except InputError:
            continue
        if axes is not None:
            drawn.append(Picture(name, caption, svg_uri(axes)))
    return drawn


def _msd(run: StoredRun, ax: Axes) -> Axes:
    return plots.plot_msd(from_plain(TransportResult, run.output["analysis"]), ax)


def _displacements(run: StoredRun, ax: Axes) -> Axes:
    return plots.plot_displacements(from_plain(TransportResult, run.output["analysis"]), ax)


def _van_hove(run: StoredRun, ax: Axes) -> Axes | None:
    stored = run.output.get("mechanism", {}).get("van_hove")
    return plots.plot_van_hove(from_plain(VanHove, stored), ax=ax) if stored else None


def _surroundings(run: StoredRun, ax: Axes) -> Axes | None:
    stored = run.output.get("mechanism", {}).get("radial_distribution")
    if not stored:
        return None
    return plots.plot_radial_distribution(from_plain(RadialDistribution, stored), ax)


def _arrhenius(run: StoredRun, ax: Axes) -> Axes | None:
    fit = run.arrhenius
    return plots.plot_arrhenius(from_plain(ArrheniusFit, fit), ax) if fit else None


_PICTURES: tuple[tuple[str, str, Callable[[StoredRun, Axes], Axes | None]], ...] = (
    ("Displacements", "Shaded: the lags that were fitted, with the 95 % band of the line.", _msd),
    ("Ion by ion", "From the start of the run to its end.", _displacements),
    ("Jumps", "How far ions moved in each time; bands at distances of sites are jumps.", _van_hove),
    ("Surroundings", "Of the mobile ions, over the mean density.", _surroundings),
    ("Arrhenius", "With the 95 % band; arrows are upper bounds.", _arrhenius),
)
