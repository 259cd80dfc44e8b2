"""Deciding and doing in turn: the one loop that every scheduler and every executor runs in."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pelt_automl.log.events import Because, Event, Released, SegmentLost, Stage, Stopped
from pelt_automl.log.history import History, Trial
from pelt_automl.log.log import Log
from pelt_automl.scheduling.actions import Action, Budget, Executor, Finish, Note, Scheduler, Stop, Task, Train


def drive(scheduler: Scheduler, executor: Executor, log: Log, clock: Callable[[], Budget], stage: Stage | None = None) -> None:
    """Ask the scheduler, log what it decides, have it done, and log what came of it, until the scheduler has finished.

    What an earlier process has decided and not carried out is begun first; `stage`: of this stage alone. A decision is logged before it is
    acted on, so that a kill at any point repeats none: the same history gives the same actions. The executor is let go of at the end.
    Raises `RuntimeError` where scheduler and executor wait for each other.
    """
    try:
        executor.start([_again(trial) for trial in log.history.open() if stage in (None, trial.segment.stage)])
        idle = 0
        while True:
            actions = _repeats(log.history, stage) or scheduler.actions(log.history, executor.room(), clock())
            for action in actions:
                if (event := _announced(action)) is not None:
                    log.append(event)
            if any(isinstance(action, Finish) for action in actions):
                return
            executor.start([action for action in actions if isinstance(action, Task)])
            up_before = _is_up(scheduler, executor, log, clock)
            events = executor.wait(lambda: _is_up(scheduler, executor, log, clock))
            for event in events:
                log.append(event)
            idle = 0 if actions or events else idle + 1
            if idle > 2 and (up_before or not executor.running()):
                raise RuntimeError("the scheduler has nothing to say, and the executor nothing to train")
    finally:
        executor.stop()


def _again(trial: Trial) -> Train | Stop:
    """What was decided by a process that was killed, and not carried out; why, the log says already."""
    return Stop(trial.name, trial.stopped.because) if trial.stopped else Train(trial.segment, Because.FIRST)


def _repeats(history: History, stage: Stage | None) -> Sequence[Train]:
    """What is lost is trained again to the same end, since what was decided stays decided: where a state is lost, from the start."""
    again = []
    for trial in history.lost():
        if stage in (None, trial.segment.stage):
            start, because = 0, Because.REPEATED
            if isinstance(trial.lost, SegmentLost):
                start, because = trial.reached, Because.MOVED if trial.lost.moved_to else Because.LOST
            again.append(Train(replace(trial.segment, start=start, attempt=trial.segment.attempt + 1), because))
    return again


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
