"""A selection's log: what it comes to, and where new events go."""

from collections.abc import Iterable, Sequence

from pelt_automl.log.events import Decision, Event, Phase, Progress, Recorder
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs


class Log:
    """Every event goes through here. Without recorders it is kept in memory alone."""

    def __init__(
        self,
        events: Iterable[Event] = (),
        recorders: Sequence[Recorder] = (),
        display: Recorder | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        """`events`: those of earlier starts; `display` is told of progress, too; `outputs`: what events refer to, None without files."""
        self.history, self.recorders, self.display = History.of(events, outputs), recorders, display

    def append(self, event: Event) -> None:
        """Write an event to every recorder, the file first, and fold it."""
        for recorder in self.recorders:
            recorder.record(event)
        if self.display:
            self.display.record(event)
        self.history.apply(event)

    def once(self, decision: Decision) -> None:
        """Write a decision, unless it was made of its subject before."""
        if decision.subject not in self.history.decided(decision.what):
            self.append(decision)

    def progress(self, phase: Phase, done: float, total: float, message: str = "") -> None:
        """Tell the display alone how far a phase has come."""
        if self.display:
            self.display.record(Progress(phase, done, total, message))
