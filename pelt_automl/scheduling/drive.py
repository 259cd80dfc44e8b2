"""Deciding and doing in turn: the one loop that every scheduler and every executor runs in."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pelt_automl.log.events import Event, Released, Stopped
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Action, Budget, Executor, Finish, Note, Scheduler, Stop, Train


class Log(Protocol):
    """Where events are kept for good, and what they come to."""

    @property
    def history(self) -> History:
        """The fold of all events so far."""

    def append(self, event: Event) -> None:
        """Keep an event, and fold it."""


def drive(scheduler: Scheduler, executor: Executor, log: Log, clock: Callable[[], Budget]) -> None:
    """Ask the scheduler, log what it decides, have it done, and log what came of it, until the scheduler has finished.

    What an earlier process has decided and not carried out is begun first. A decision is logged before it is acted on, so that a kill at
    any point repeats none: the same history gives the same actions.
    """
    executor.start(_left_over(log.history))
    while True:
        actions = scheduler.actions(log.history, executor.room(), clock())
        for action in actions:
            if (event := _announced(action)) is not None:
                log.append(event)
        if any(isinstance(action, Finish) for action in actions):
            return
        executor.start([action for action in actions if isinstance(action, Train | Stop)])
        for event in executor.wait(lambda: _is_up(scheduler, executor, log, clock)):
            log.append(event)


def _left_over(history: History) -> Sequence[Train | Stop]:
    """What was decided by a process that was killed, and not carried out."""
    decided = {event.segment.trial: event for event in history.of_kind(Released)}
    actions: list[Train | Stop] = []
    for trial in history.open():
        if trial.stopped:
            actions.append(Stop(trial.name, trial.stopped.because, trial.stopped.numbers))
        else:
            actions.append(Train(trial.segment, decided[trial.name].because, decided[trial.name].numbers))
    return actions


def _announced(action: Action) -> Event | None:
    match action:
        case Train():
            return Released(action.segment, action.because, dict(action.numbers))
        case Stop():
            return Stopped(action.trial, action.because, dict(action.numbers))
        case Note():
            return action.event
        case _:
            return None


def _is_up(scheduler: Scheduler, executor: Executor, log: Log, clock: Callable[[], Budget]) -> bool:
    budget = clock()
    return budget.limit is not None and budget.left <= scheduler.deadline(log.history, executor.room(), budget)
