"""What a selection tells about itself while it runs, as lines in the flow run's log."""

import logging
from pathlib import Path

from flows.wording import first_sentence, in_a_flow
from pelt_automl.log.events import Event, SelectionEnded, VerdictReached
from pelt_automl.log.folder import PAGE
from pelt_automl.verdict.describing import describe


class LogDisplay:
    """A `pelt_automl.log.events.Recorder` that writes to a logger."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger

    def record(self, event: Event) -> None:
        """Log the event in words, where there are words for it."""
        if line := _line(event):
            self._logger.info("%s", in_a_flow(line))

    def publish(self, folder: Path) -> None:
        """Say where the report is."""
        self._logger.info("Report: %s", folder / PAGE)

    def close(self) -> None:
        """Nothing is held back."""


def _line(event: Event) -> str:
    match event:
        case VerdictReached():
            return f"verdict: {first_sentence(event.statement)}"
        case SelectionEnded():
            return f"ended after {event.seconds:.0f} s: {event.reason}"
        case _:
            return describe(event)
