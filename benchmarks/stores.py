"""Time an upsert and an indexed query of the embedded maggma stores at growing size.

    python benchmarks/stores.py

prints the first table of benchmarks/RESULTS-stores.md. The others are left out where filling them
takes minutes. MontyStore is timed if montydb is installed.

    python benchmarks/stores.py --searches [--documents 100000] [--numbers 100]

prints the second: queries without an index, sorts, and reading all of one SQLiteStore.

    python benchmarks/stores.py --trajectories run.npz ...

prints the third: bytes per frame of trajectories (files that `ionsieve diffusion` reads).
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from maggma.core import Store
from maggma.stores import JSONStore, MemoryStore

from ionsieve.md_analysis import ReadOptions, read_trajectory
from ionsieve.workflows.store.sqlite.store import SQLiteStore

SIZES = (1_000, 10_000, 100_000)
LARGEST = {"MemoryStore": 10_000, "JSONStore": 1_000, "MontyStore": 1_000, "SQLiteStore": 100_000}
REPEATS = {"MemoryStore": 10, "JSONStore": 3, "MontyStore": 3, "SQLiteStore": 200}


def document(number: int, n_numbers: int = 100) -> dict[str, Any]:
    return {
        "uuid": f"job-{number}",
        "index": 1,
        "metadata": {"state": "done" if number % 7 else "failed", "mother": f"m{number % 10}"},
        "output": {"sigma_300k_s_cm": number * 1e-6, "series": [0.1 * i for i in range(n_numbers)]},
    }


def stores(folder: Path) -> Iterator[tuple[str, Callable[[], Store]]]:
    yield "SQLiteStore", lambda: SQLiteStore(folder / "store.sqlite", key="uuid")
    yield "MemoryStore", lambda: MemoryStore(key="uuid")
    yield "JSONStore", lambda: JSONStore(str(folder / "store.json"), read_only=False, key="uuid")
    try:
        import montydb  # noqa: F401
        from maggma.stores import MontyStore
    except ImportError:
        return
    yield (
        "MontyStore",
        lambda: MontyStore("outputs", database_path=str(folder), storage="sqlite", key="uuid"),
    )


def median_ms(action: Callable[[int], object], repeats: int) -> float:
    seconds = []
    for repeat in range(repeats):
        start = time.perf_counter()
        action(repeat)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def measure(make: Callable[[], Store], size: int, repeats: int) -> list[float]:
    with make() as store:
        if isinstance(store, MemoryStore):  # its own bulk update is quadratic
            store._collection.insert_many([document(number) for number in range(size)])
        else:
            store.update([document(number) for number in range(size)])
        for path in ("metadata.state", "output.sigma_300k_s_cm"):
            store.ensure_index(path)
        middle = size // 2
        near = {"$gt": middle * 1e-6, "$lt": (middle + 10.5) * 1e-6}
        return [
            median_ms(lambda n: store.update(document(size + n)), repeats),
            median_ms(lambda n: store.update(document(middle + n)), repeats),
            median_ms(lambda n: store.query_one({"uuid": f"job-{middle + n}"}), repeats),
            median_ms(lambda n: list(store.query({"output.sigma_300k_s_cm": near})), repeats),
        ]


def compare() -> None:
    print("| store | documents | add, ms | replace, ms | find by key, ms | find 10 by range, ms |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for name, make in stores(Path(folder)):
                if size <= LARGEST[name]:
                    figures = measure(make, size, REPEATS[name])
                    cells = " | ".join(f"{figure:.2g}" for figure in figures)
                    print(f"| {name} | {size:,} | {cells} |", flush=True)


SIGMA = "output.sigma_300k_s_cm"


def searches(store: SQLiteStore, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield queries of fields without an index, by name."""
    middle = size // 2 * 1e-6
    near = {SIGMA: {"$gt": middle, "$lt": middle + 10.5e-6}}
    yield "10 by a range", lambda: list(store.query(near))
    yield "1 % by a pattern", lambda: list(store.query({"uuid": {"$regex": "99$"}}))
    other = {"metadata.mother": {"$ne": "m3"}, **near}
    yield "9 by a range and an inequality", lambda: list(store.query(other))
    yield "count of 10 %", lambda: store.count({"metadata.mother": "m3"})
    yield "values of a field", lambda: store.distinct("metadata.mother")
    yield "first 20 of a sort", lambda: list(store.query(sort={SIGMA: -1}, limit=20))
    yield "sort of all, 2 fields", lambda: list(store.query({}, ["uuid", SIGMA], {SIGMA: -1}))
    yield "sort of all, whole documents", lambda: sum(1 for _ in store.query(sort={SIGMA: -1}))
    yield "all, whole documents, no sort", lambda: sum(1 for _ in store.query())


def search(size: int, n_numbers: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        SQLiteStore(Path(folder, "store.sqlite"), key="uuid") as store,
    ):
        for start in range(0, size, 1000):
            numbers = range(start, min(start + 1000, size))
            store.update([document(number, n_numbers) for number in numbers])
        n_bytes = len(json.dumps(document(1, n_numbers)))
        print(f"| {size:,} documents of {n_bytes / 1e3:.1f} kB | s | CPU s |")
        print("|---|---|---|")
        for name, action in searches(store, size):
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            action()
            wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
            print(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} |", flush=True)


def measure_trajectories(paths: list[Path]) -> None:
    print("| trajectory | ions | frames | fs | before, B/frame | now, B/frame | ratio |")
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        run = read_trajectory(path, ReadOptions(timestep_fs=100.0, temperature_k=600.0))
        for each in (run, run[::10]) if run.timestep_fs < 50 else (run,):
            before = io.BytesIO()  # what 0.1.0-dev stored, then as base64 text
            np.savez_compressed(
                before, fractional=each.fractional.astype(np.float32), cell=each.cell
            )
            old = len(before.getvalue()) * 4 / 3 / each.n_frames
            new = len(each.to_bytes()) / each.n_frames
            print(
                f"| {path.name} | {each.n_ions} | {each.n_frames} | {each.timestep_fs:g} "
                f"| {old:.0f} | {new:.0f} | {old / new:.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", action="store_true")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--numbers", type=int, default=100, help="in each document")
    parser.add_argument("--trajectories", type=Path, nargs="+")
    given = parser.parse_args()
    if given.searches:
        search(given.documents, given.numbers)
    elif given.trajectories:
        measure_trajectories(given.trajectories)
    else:
        compare()


if __name__ == "__main__":
    main()
