"""Live progress of a funnel: one bar per kind of flow, and what is running now."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ionsieve.workflows.cli.printing import console
from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.funnel.table import titles

_PLAIN_INTERVAL_S = 15.0


class FunnelProgress:
    """Show the funnel's progress on stderr: live on a terminal, a line now and then in a log."""

    def __init__(self, name: str) -> None:
        self._console = console(stderr=True)
        self._name = name
        self._bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks = {
            stage: self._bars.add_task(title, total=None, detail="")
            for stage, title in titles().items()
        }
        self._live = Live(self._bars, console=self._console, refresh_per_second=4)
        self._last_plain = 0.0

    def __enter__(self) -> Self:
        """Start the display."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the display."""
        if self._console.is_terminal:
            self._live.stop()

    def start(self, plan: PlanDocument) -> None:
        """Say what is about to be screened."""
        self._console.print(
            f"{self._name}: {len(plan.mothers)} mothers ({len(plan.rejected)} rejected), "
            f"{len(plan.compositions)} compositions ({len(plan.rejected_compositions)} rejected)",
        )
        self._bars.update(self._tasks["rank"], total=len(plan.compositions))

    def update(self, statuses: list[FlowStatus]) -> None:
        """Redraw from the launcher's flows."""
        lines = []
        for stage, title in titles().items():
            mine = [status for status in statuses if status.stage == stage]
            if not mine:
                continue
            ended = sum(status.state in ("completed", "failed") for status in mine)
            failed = sum(status.state == "failed" for status in mine)
            n_jobs, n_done = sum(s.n_jobs for s in mine), sum(s.n_done for s in mine)
            detail = f"{n_done}/{n_jobs} jobs" + (f", {failed} failed" if failed else "")
            task = self._tasks[stage]
            known = self._bars.tasks[task].total
            total = max(len(mine), known or 0)
            self._bars.update(task, completed=ended, total=total, detail=detail)
            lines.append(f"{title.lower()} {ended}/{total} ({detail})")
        running = [f"{s.label}" for s in statuses if s.state == "running"]
        if self._console.is_terminal:
            now = Text("now: " + (", ".join(running[:4]) or "-"), style="dim", overflow="ellipsis")
            self._live.update(Group(self._bars, now))
        elif time.monotonic() - self._last_plain > _PLAIN_INTERVAL_S:
            self._last_plain = time.monotonic()
            self._console.print("; ".join(lines), soft_wrap=True)
