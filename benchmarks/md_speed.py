"""Time and memory of each step on a large run: 200 ions x 250,000 frames by default.

Run: python benchmarks/md_speed.py [--ions 200] [--frames 250000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ionsieve.md_analysis import Trajectory, analyze, read_xdatcar
from ionsieve.md_analysis.diffusivity import fit_diffusion
from ionsieve.md_analysis.displacement import drift, mean_squared_displacement, paths
from ionsieve.md_analysis.escape import examine_escape
from ionsieve.md_analysis.stationarity import examine_stationarity


def random_walk(n_ions: int, n_frames: int) -> Trajectory:
    """Return half walkers, half a framework; float32, made ion by ion."""
    rng = np.random.default_rng(0)
    fractional = np.empty((n_ions, 3, n_frames), dtype=np.float32)
    for ion in range(n_ions):
        scale = 1e-3 if ion < n_ions // 2 else 0.0
        walk = np.cumsum(rng.normal(0, scale, (3, n_frames)), axis=1)
        fractional[ion] = rng.random((3, 1)) + walk + rng.normal(0, 0.005, (3, n_frames))
    species = ("Na",) * (n_ions // 2) + ("S",) * (n_ions - n_ions // 2)
    return Trajectory(fractional, 20 * np.eye(3), species, 1.0)


def timed(what: str, function: Callable[[], object]) -> object:
    """Run once and print wall time, CPU time and the peak memory so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"| {what} | {time.perf_counter() - wall:.2f} | {time.process_time() - cpu:.2f} | "
        f"{peak:.2f} |",
        flush=True,
    )
    return result


def write_xdatcar(path: Path, n_ions: int, n_frames: int) -> None:
    """Write a large XDATCAR from a few distinct frames."""
    rng = np.random.default_rng(0)
    base = rng.random((n_ions, 3)) * 0.9 + 0.05
    frames = []
    for _ in range(20):
        rows = base + rng.normal(0, 0.003, base.shape)
        frames.append("".join("  {:.8f}  {:.8f}  {:.8f}\n".format(*row) for row in rows))
    with path.open("w") as file:
        file.write(f"run\n 1.0\n 20 0 0\n 0 20 0\n 0 0 20\n Na\n {n_ions}\n")
        for number in range(n_frames):
            file.write(f"Direct configuration= {number + 1:6d}\n{frames[number % 20]}")


def tested(walks: np.ndarray) -> None:
    """Fit, and ask whether ions get away at a steady rate."""
    fit = fit_diffusion(walks, 1.0)
    examine_escape(walks, 1.0, fit)
    examine_stationarity(walks, 1.0, fit)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ions", type=int, default=200)
    parser.add_argument("--frames", type=int, default=250_000)
    options = parser.parse_args()
    analyze(random_walk(8, 2000), "Na", 600.0)  # compile
    run = random_walk(options.ions, options.frames)
    size = run.fractional.nbytes / 1024**3
    print(f"{options.ions} ions x {options.frames} frames: {size:.2f} GB")
    print("| step | wall s | CPU s | peak GB |\n|---|---|---|---|")
    everything = np.arange(run.n_ions)
    moving, _ = drift(run, run.indices("Na"))
    walks = paths(run, everything, moving)
    timed("MSD tensor, all ions, all lags", lambda: mean_squared_displacement(walks, 1.0))
    timed("D with interval, all ions", lambda: fit_diffusion(walks, 1.0))
    timed("D with interval and tests of escape and drift", lambda: tested(walks))
    walks = np.empty(0)  # frees the paths
    timed("analyze(): all of it, half the ions mobile", lambda: analyze(run, "Na", 600.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "XDATCAR"
        write_xdatcar(path, options.ions, 5000)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            read_xdatcar(path, 1.0)
            seconds.append(time.process_time() - start)
        each = min(seconds) / (options.ions * 5000) * 1e6
        print(f"XDATCAR: {each:.3f} CPU microseconds per atom and frame")


if __name__ == "__main__":
    main()
