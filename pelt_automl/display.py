"""What a terminal shows while a selection works: a recorder of events for people's eyes."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pelt_automl.log.events import Event, Phase, Progress
from pelt_automl.verdict.describing import describe

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

QUIET_SECONDS = 5.0
"""Without a terminal, progress is printed at most this often."""


class TerminalDisplay:
    """One line for each thing that happened, and below them a bar for the phase under way; plain lines when piped."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._bars: Bars | None = None
        self._tasks: dict[str, int] = {}
        self._printed = 0.0
        if sys.stderr.isatty():
            self._bars = _bars()
            self._bars.start()

    def record(self, event: Event) -> None:
        """Show an event if it is one that people wait for."""
        if isinstance(event, Progress):
            self._progress(event)
        elif text := describe(event):
            for line in text.split("\n"):
                self._print(line)

    def _print(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        line = f"{seconds:6.1f}s  {text}"
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _progress(self, event: Progress) -> None:
        name = "gate evidence" if event.phase == Phase.EVIDENCE else event.phase.value
        if self._bars is None:
            if time.monotonic() - self._printed >= QUIET_SECONDS:
                self._printed = time.monotonic()
                share = f"{event.done / event.total:.0%}" if event.total else ""
                self._print(f"  {name} {share} {event.message}".rstrip())
            return
        if event.phase not in self._tasks:
            for task in self._tasks.values():
                self._bars.remove_task(task)  # type: ignore[arg-type]
            self._tasks = {event.phase: self._bars.add_task(name, total=event.total)}
        description = f"{name}: {event.message}" if event.message else name
        self._bars.update(self._tasks[event.phase], completed=event.done, total=event.total, description=description)  # type: ignore[arg-type]

    def publish(self, folder: Path) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Bars(*columns, console=Console(stderr=True), transient=True)
