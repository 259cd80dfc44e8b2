"""What a selection tells about itself while it runs, as lines in the flow run's log."""

import logging
from pathlib import Path

from flows.wording import first_sentence, in_a_flow
from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    Event,
    Planned,
    ReportOpened,
    SelectionEnded,
    SelectionStarted,
    TrialEnded,
    VerdictReached,
)
from pelt_automl.log.folder import PAGE
from pelt_automl.methods import BASELINES
from pelt_automl.recommendation.wording import Unit


class LogDisplay:
    """A `pelt_automl.log.events.Recorder` that writes to a logger."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger

    def record(self, event: Event) -> None:
        """Log the event in words, where there are words for it."""
        if line := describe(event):
            self._logger.info("%s", in_a_flow(line))

    def publish(self, folder: Path) -> None:
        """Say where the report is."""
        self._logger.info("Report: %s", folder / PAGE)

    def close(self) -> None:
        """Nothing is held back."""


def describe(event: Event) -> str | None:
    """A line for a reader of the log, for data also one for each note; None for events that would only be noise there."""
    match event:
        case SelectionStarted():
            return f"{'Taking up' if event.resumed else 'Starting'} {event.selection}: {', '.join(event.methods)}"
        case DataDescribed():
            sizes = ", ".join(f"{number} {split}" for split, number in event.sizes.items())
            metric = Unit(event.metric, event.positive_class).name
            return "\n".join([f"Data: {sizes} examples, metric {metric}", *(f"Note: {note}" for note in event.notes)])
        case Planned():
            return event.message or f"Plan: {event.steps} optimizer steps a training"
        case TrialEnded():
            score = "no score" if event.select_score is None else f"select {event.select_score:.4f}"
            cause = f" ({event.cause})" if event.cause else ""
            steps = "" if event.method in BASELINES else f", {event.steps} steps"
            return f"{event.trial} {event.state}: {score}{steps}, {event.seconds:.1f} s{cause}"
        case Decision():
            return f"{event.what.capitalize()}: {event.subject}, {event.why}"
        case ReportOpened():
            return f"Report split opened: {event.examples} of {event.of} examples"
        case VerdictReached():
            return f"Verdict: {first_sentence(event.statement)}"
        case SelectionEnded():
            return f"Ended after {event.seconds:.0f} s: {event.reason}"
        case _:
            return None
