"""How long the results of a large screening take to show: counts, compositions, query, report.

Makes a store of N imagined compositions, each taken through the whole funnel under the keys that
the stages ask for, then times each question in a fresh handle, nothing read before::

    PYTHONPATH=src:tests python benchmarks/results.py --compositions 1000
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ionsieve.workflows.documents.raw import CompositionDocument
from ionsieve.workflows.report.page import write_report
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, compositions, plan, screening


def many_compositions(n: int) -> list[CompositionDocument]:
    """Return n compositions that differ in what decides their ranking."""
    base = compositions()
    return [
        base[number % len(base)].model_copy(
            update={
                "composition_id": f"{base[number % len(base)].composition_id}-{number}",
                "supercell_matrix": [[2, 0, number // len(base)], [0, 2, 0], [0, 0, 2]],
            }
        )
        for number in range(n)
    ]


class Buffered:
    """A job store that writes many documents at once, for one that is filled from nothing."""

    def __init__(self, store: object) -> None:
        self.store, self.waiting = store, []

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def update(self, document: object) -> None:
        """Keep one document or several for later."""
        self.waiting += document if isinstance(document, list) else [document]

    def flush(self) -> None:
        """Write all that was kept."""
        self.store.update(self.waiting)  # type: ignore[attr-defined]
        self.waiting = []


def fill(folder: Path, n: int) -> None:
    """Write a finished screening: each step of all compositions, then the next."""
    settings = screening(folder)
    with open_job_store(settings) as job_store:
        buffered = Buffered(job_store)
        wide = plan().model_copy(update={"compositions": many_compositions(n)})
        imagined = Imagined(settings, job_store, imagined_plan=wide)
        imagined.plan()
        imagined.phases()
        imagined.writer.job_store = buffered
        imagined.run_together(buffered.flush)


def timed(question: Callable[[Results], object], settings: object) -> tuple[float, float]:
    """Return seconds by the clock and of the processor, of a handle opened for a question."""
    start = time.perf_counter(), time.process_time()
    question(Results.open(settings))  # type: ignore[arg-type]
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main() -> None:
    """Make the store if it isn't there, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compositions", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="keep the store here; made anew if absent")
    parser.add_argument("--profile", action="store_true", help="show where counts spend their time")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    settings = screening(folder)
    if not (folder / "results.sqlite").exists():
        start = time.perf_counter()
        fill(folder, arguments.compositions)
        print(f"store made in {time.perf_counter() - start:.0f} s")
    size = sum(file.stat().st_size for file in folder.glob("results.sqlite*")) / 1e6
    print(f"{arguments.compositions} compositions, {size:.0f} MB")
    columns = ["composition_id", "formula", "state", "reason"]
    where = "sigma_long_s_cm > 1e-3 and e_hull_ev_atom < 0.05"
    questions: dict[str, Callable[[Results], object]] = {
        "counts": Results.counts,
        "status: counts and compositions": lambda r: (
            r.counts(),
            r.find("compositions", columns=columns),
        ),
        "query, table": lambda r: r.find(
            "conductors", where, "-sigma_long_s_cm", columns=["composition_id", "sigma_long_s_cm"]
        ),
        "query, all fields": lambda r: r.find("conductors"),
        "materials with structures": lambda r: r.find("materials"),
        "report": lambda r: write_report(r, folder / "report.html"),
    }
    for name, question in questions.items():
        seconds, cpu_seconds = timed(question, settings)
        print(f"{name:34} {seconds:7.2f} s {cpu_seconds:7.2f} s of the processor")
    if arguments.profile:
        profile = cProfile.Profile()
        profile.runcall(timed, questions["status: counts and compositions"], settings)
        pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


if __name__ == "__main__":
    main()
