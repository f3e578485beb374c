"""Time an upsert and an indexed query of the embedded maggma stores at growing size.

    python benchmarks/stores.py

prints the table of benchmarks/RESULTS-stores.md. The others are left out where filling them
takes minutes. MontyStore is timed if montydb is installed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maggma.core import Store
from maggma.stores import JSONStore, MemoryStore

from ionsieve.workflows.store.sqlite.store import SQLiteStore

SIZES = (1_000, 10_000, 100_000)
LARGEST = {"MemoryStore": 10_000, "JSONStore": 1_000, "MontyStore": 1_000, "SQLiteStore": 100_000}
REPEATS = {"MemoryStore": 10, "JSONStore": 3, "MontyStore": 3, "SQLiteStore": 200}


def document(number: int) -> dict[str, Any]:
    return {
        "uuid": f"job-{number}",
        "index": 1,
        "metadata": {"state": "done" if number % 7 else "failed", "mother": f"m{number % 10}"},
        "output": {"sigma_300k_s_cm": number * 1e-6, "series": [0.1 * i for i in range(100)]},
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


def main() -> None:
    print("| store | documents | add, ms | replace, ms | find by key, ms | find 10 by range, ms |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for name, make in stores(Path(folder)):
                if size <= LARGEST[name]:
                    figures = measure(make, size, REPEATS[name])
                    cells = " | ".join(f"{figure:.2g}" for figure in figures)
                    print(f"| {name} | {size:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
