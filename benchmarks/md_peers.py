"""Other packages on the same trajectories: bias, their own 95 % interval, time and memory.

Each package is used as its documentation shows, with the framework's drift removed where it can:

- kinisi: lags of 1, 2, 3 ... ps, diffusive from 5 ps on (it has to be told); 95 % of its samples.
- pymatgen-analysis-diffusion: smoothed "max"; 1.96 times its standard deviation.
- GEMDAT: ten parts; 1.96 times the standard deviation that it prints.
- MDAnalysis: EinsteinMSD by FFT, a straight line through lags of 10 to 50 % of the run; 1.96 times
  the standard error of the slope. It removes no drift.

Run in an environment of its own:
    pip install kinisi pymatgen-analysis-diffusion gemdat MDAnalysis tidynamics
    pip install -e .
    python benchmarks/md_peers.py [--seeds 20]
A package that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import synthetic
from numpy.typing import NDArray
from synthetic import Known, Run

NORMAL_95 = 1.96
TEMPERATURE_K = 600.0


@dataclass(frozen=True)
class Answer:
    """A diffusivity, its 95 % interval, cm2/s, and the verdict if the package gives one."""

    value: float
    low: float
    high: float
    verdict: str | None = None

    @classmethod
    def normal(cls, value: float, error: float) -> Answer:
        """Return the answer of a package that states a standard error."""
        return cls(value, value - NORMAL_95 * error, value + NORMAL_95 * error)


@dataclass(frozen=True, eq=False)
class Material:
    """What everybody gets: positions as an MD program writes them."""

    wrapped: NDArray[np.float32]
    cell: NDArray[np.float64]
    species: list[str]
    timestep_fs: float

    @classmethod
    def of(cls, known: Known) -> Material:
        """Wrap a synthetic run into its cell."""
        wrapped = (known.positions % np.diag(known.cell)).astype(np.float32)
        return cls(wrapped, known.cell, known.species, known.timestep_fs)

    @property
    def length_ps(self) -> float:
        """Length of the run."""
        return len(self.wrapped) * self.timestep_fs / 1e3

    def universe(self, positions: NDArray[np.float32]) -> Any:
        """Return it as MDAnalysis holds trajectories in memory."""
        import MDAnalysis

        universe = MDAnalysis.Universe.empty(len(self.species), trajectory=True)
        universe.add_TopologyAttr("types", self.species)
        edges = np.array([*np.diag(self.cell), 90, 90, 90], dtype=np.float32)
        universe.load_new(
            positions,
            order="fac",
            dimensions=np.tile(edges, (len(positions), 1)),
            dt=self.timestep_fs / 1e3,
        )
        return universe

    def unwrapped(self) -> NDArray[np.float64]:
        """Return paths for packages that have to be given them."""
        fractional = self.wrapped @ np.linalg.inv(self.cell)
        steps = np.diff(fractional, axis=0)
        steps -= np.rint(steps)
        paths = np.concatenate([fractional[:1], fractional[0] + np.cumsum(steps, axis=0)])
        return np.asarray(paths @ self.cell)


def ionsieve(material: Material) -> Answer:
    """Analyse with this project's own code."""
    from ionsieve.md_analysis import Trajectory, analyze

    run = Trajectory.from_arrays(
        material.wrapped, material.cell, material.species, material.timestep_fs
    )
    result = analyze(run, "Na", TEMPERATURE_K)
    low, high = result.diffusivity_ci95_cm2_s
    return Answer(result.diffusivity_cm2_s, low, high, result.verdict)


def kinisi(material: Material) -> Answer:
    """Bayesian regression with an estimated covariance."""
    import scipp
    from kinisi.analyze import DiffusionAnalyzer

    lags = scipp.arange("time interval", 1.0, material.length_ps - 1, 1.0, unit="ps")
    analyzer = DiffusionAnalyzer.from_universe(
        material.universe(material.wrapped),
        specie="Na",
        time_step=scipp.scalar(material.timestep_fs / 1e3, unit="ps"),
        step_skip=scipp.scalar(1),
        dt=lags,
        progress=False,
    )
    analyzer.diffusion(
        scipp.scalar(5.0, unit="ps"), progress=False, random_state=np.random.RandomState(0)
    )
    samples = scipp.to_unit(analyzer.D, "cm^2/s").values
    low, high = np.percentile(samples, [2.5, 97.5])
    return Answer(float(np.median(samples)), float(low), float(high))


def pymatgen(material: Material) -> Answer:
    """Least squares of the smoothed MSD."""
    from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer
    from pymatgen.core import Structure

    paths = material.unwrapped()
    structure = Structure(
        material.cell, material.species, material.wrapped[0], coords_are_cartesian=True
    )
    analyzer = DiffusionAnalyzer(
        structure,
        (paths - paths[0]).transpose(1, 0, 2),
        "Na",
        TEMPERATURE_K,
        material.timestep_fs,
        1,
        smoothed="max",
    )
    return Answer.normal(analyzer.diffusivity, analyzer.diffusivity_std_dev)


def gemdat(material: Material) -> Answer:
    """Mean and scatter over ten parts of the run."""
    from gemdat import Trajectory
    from gemdat.metrics import TrajectoryMetricsStd
    from pymatgen.core import Element, Lattice

    run = Trajectory(
        species=[Element(label) for label in material.species],
        coords=material.wrapped @ np.linalg.inv(material.cell),
        lattice=Lattice(material.cell),
        time_step=material.timestep_fs * 1e-15,
        metadata={"temperature": TEMPERATURE_K},
    )
    mobile = run.apply_drift_correction(fixed_species="S").filter("Na")
    diffusivity = TrajectoryMetricsStd(mobile.split(10)).tracer_diffusivity(dimensions=3)
    return Answer.normal(diffusivity.n * 1e4, diffusivity.s * 1e4)


def mdanalysis(material: Material) -> Answer:
    """Line through the MSD of MDAnalysis."""
    import scipy.stats
    from MDAnalysis.analysis.msd import EinsteinMSD

    universe = material.universe(material.unwrapped().astype(np.float32))
    found = EinsteinMSD(universe, select="type Na", fft=True).run()
    msd = found.results.timeseries
    lags = np.arange(len(msd)) * material.timestep_fs / 1e3
    window = slice(len(msd) // 10, len(msd) // 2)
    line = scipy.stats.linregress(lags[window], msd[window])
    return Answer.normal(line.slope / 6 * 1e-4, line.stderr / 6 * 1e-4)


PEERS: dict[str, Callable[[Material], Answer]] = {
    "ionsieve": ionsieve,
    "kinisi": kinisi,
    "pymatgen-analysis-diffusion": pymatgen,
    "gemdat": gemdat,
    "MDAnalysis": mdanalysis,
}

MOTIONS: dict[str, Callable[[Run], Known]] = {
    "Brownian": synthetic.brownian,
    "hopping 0.1": synthetic.hopping,
    "hopping 0.02": partial(synthetic.hopping, diffusivity=0.02),
    "back-hopping 0.1": synthetic.back_hopping,
    "groups of 4": synthetic.grouped,
    "two-site 0.1/ps": synthetic.two_site,
}


def installed() -> dict[str, str]:
    """Return the versions of those that are there; tell how to get the others."""
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name == "ionsieve":
                found[name] = "this tree"
                continue
            print(f"{name} is not installed and is skipped: pip install {name}")
    return found


def calibrate(names: list[str], n_seeds: int) -> None:
    """Print bias, scatter and coverage of every package and kind of motion."""
    print("| motion | package | bias % | scatter % | 95 % interval holds |\n|---|---|---|---|---|")
    for motion, generate in MOTIONS.items():
        answers: dict[str, list[Answer]] = {name: [] for name in names}
        for seed in range(n_seeds):
            known = generate(Run(seed, 100, 20, length_ps=100.0, timestep_fs=50.0))
            material = Material.of(known)
            for name in names:
                answers[name].append(PEERS[name](material))
        for name in names:
            print(row(motion, name, answers[name], known.diffusivity_cm2_s), flush=True)


def row(motion: str, name: str, answers: list[Answer], truth: float) -> str:
    """Return one line of the table; without diffusion the median of what is stated, cm2/s."""
    holds = np.mean([a.low <= truth <= a.high for a in answers])
    values = np.array([a.value for a in answers])
    if truth == 0:
        verdicts = ", ".join(sorted({a.verdict for a in answers if a.verdict}))
        stated = f"D = {np.median(values):.1e} {verdicts}".strip()
        return f"| {motion} | {name} | {stated} | - | {holds:.2f} |"
    bias, scatter = 100 * (values.mean() / truth - 1), 100 * values.std() / truth
    return f"| {motion} | {name} | {bias:.1f} | {scatter:.1f} | {holds:.2f} |"


def cost(name: str, n_frames: int) -> dict[str, float]:
    """Return time and memory of one analysis of 100 mobile and 100 other ions, 10 fs a frame.

    Peak memory is that of the process less what it has before the analysis: the positions and, of
    the package, what a first small analysis loads and compiles.
    """
    rng = np.random.default_rng(0)
    scale = np.repeat([0.045, 0.0], 100)[:, None].astype(np.float32)
    PEERS[name](Material.of(synthetic.brownian(Run(0, 20, 20, length_ps=60.0, timestep_fs=50.0))))
    positions = np.cumsum(scale * rng.standard_normal((n_frames, 200, 3), dtype=np.float32), axis=0)
    positions += 20 * rng.random((200, 3), dtype=np.float32)
    positions += 0.25 * rng.standard_normal(positions.shape, dtype=np.float32)
    positions %= 20
    material = Material(positions, 20 * np.eye(3), ["Na"] * 100 + ["S"] * 100, 10.0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _memory_gb("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    PEERS[name](material)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_gb": _memory_gb("VmHWM") - before,
    }


def _memory_gb(entry: str) -> float:
    """Return a memory figure of this process as Linux tells it."""
    text = Path("/proc/self/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith(entry))
    return int(line.split()[1]) / 1024**2


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--frames", type=int, default=25_000, help="of the runs that are timed")
    parser.add_argument("--cost", choices=PEERS, help="time this one only (used internally)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.cost:
        print(json.dumps(cost(options.cost, options.frames)))
        return
    versions = installed()
    print(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
    calibrate(list(versions), options.seeds)
    print(f"\n| 200 ions x {options.frames} frames | wall s | CPU s | peak GB |\n|---|---|---|---|")
    for name in versions:
        # A process each, so that one's memory doesn't count as another's.
        command = [sys.executable, __file__, "--cost", name, "--frames", str(options.frames)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            print(f"| {name} | failed: {found.stderr.strip().splitlines()[-1]} | | |")
            continue
        figures = json.loads(found.stdout.strip().splitlines()[-1])
        print(
            f"| {name} | {figures['wall_s']:.1f} | {figures['cpu_s']:.1f} | "
            f"{figures['peak_gb']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
