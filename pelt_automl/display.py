"""What a terminal shows while a selection works: a recorder of events for people's eyes."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pelt_automl.log.events import (
    CostMeasured,
    DataDescribed,
    Decision,
    Event,
    FinalistScored,
    Planned,
    Progress,
    ReportOpened,
    SelectionStarted,
    TrialEnded,
    What,
)
from pelt_automl.methods import BASELINES
from pelt_automl.recommendation.wording import Unit

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PHASES = {
    "model": "model",
    "baselines": "baselines",
    "search": "search",
    "finalists": "finalists",
    "evidence": "gate evidence",
    "costs": "costs",
}
"""Names of the phases on the display."""

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
        elif text := _line(event):
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
        name = PHASES.get(event.phase, event.phase)
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


def _started(event: SelectionStarted) -> str:
    return f"selection {event.selection}" + (": taken up where it stood" if event.resumed else "")


def _data(event: DataDescribed) -> str:
    sizes = ", ".join(f"{size} {split}" for split, size in event.sizes.items())
    metric = Unit(event.metric, event.positive_class).name
    notes = [f"  note: {' '.join(note.split())}" for note in event.notes]
    return "\n".join([f"{event.task}: {event.kind}, {metric}; {sizes} examples ({event.protocol} protocol)", *notes])


def _planned(event: Planned) -> str:
    of_finalists = f", a finalist's {event.final_steps}" if event.final_steps > event.steps else ""
    return f"a full training has {event.steps} steps (about {event.seconds_a_training:.0f} s){of_finalists}; {event.message}"


def _trial(event: TrialEnded) -> str:
    score = "no score" if event.select_score is None else f"select {event.select_score:.3f}"
    cause = f" ({event.cause})" if event.cause else ""
    steps = "" if event.method in BASELINES else f", {event.steps} steps"
    return f"{event.trial:<28} {event.state:<9} {score}{steps}, {event.seconds:.1f} s{cause}"


def _decision(event: Decision) -> str:
    return f"{event.what}: {event.subject} ({event.why})" if event.what != What.PROMOTED else ""


def _costs(event: CostMeasured) -> str:
    if not event.candidate:
        return ""
    times = [f"{own.ms:.3g} ms for {own.batch}{' merged' if own.merged else ''}" for own in event.latencies]
    memory = [] if event.memory_gb is None else [f"{event.memory_gb:.2g} GB to train"]
    return f"{event.candidate:<28} {', '.join(times + memory) or 'not measured'}"


_LINES: dict[type[Event], Callable[..., str]] = {
    SelectionStarted: _started,
    DataDescribed: _data,
    Planned: _planned,
    TrialEnded: _trial,
    Decision: _decision,
    CostMeasured: _costs,
    ReportOpened: lambda event: f"report split opened: {event.examples} of {event.of} examples",
    FinalistScored: lambda event: f"{event.trial:<28} report {event.report_score:.3f}",
}


def _line(event: Event) -> str:
    render = _LINES.get(type(event))
    return render(event) if render else ""
