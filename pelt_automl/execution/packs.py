"""Segments trained on this device, in packs: the executor of `pelt_automl.scheduling`."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from pelt_automl.errors import SelectionError
from pelt_automl.log.events import Event, Segment, SegmentEnded, StateLost, TrialEnded
from pelt_automl.log.files import get, is_reference, put
from pelt_automl.log.history import History
from pelt_automl.scheduling.actions import Fit, Room, Score, Stop, TakeOver, Task
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.checkpoints import load_progress, save_progress
from pelt_automl.training.memory import kept_pages
from pelt_automl.training.packing import Packing
from pelt_automl.training.trials import TrialProgress, TrialRun
from pelt_automl.training.work import Work

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"


def trains_only(action: Fit | TakeOver | Score) -> None:
    """For phases that only train. Raises `TypeError`."""
    raise TypeError(f"nothing is scored in this phase, and {action} came")


@dataclass
class _Trial:
    """One that is held in memory."""

    segment: Segment
    run: TrialRun
    reported: int
    """Points of its curve that the log has."""


@dataclass
class Packs:
    """Trains segments with `Packing`: see there who shares a pack, and what follows a failure.

    A trial whose next segment is released before `wait` is called again goes on in its live pack. Its state is written all the same at each
    segment's end, so that a kill costs one segment; states that `history` needs no more are removed. A trial that has ended by patience has
    completed. `OSError`s of writing, and errors of the caller's functions, end the training; they aren't a trial's.
    """

    work: Work
    """Its plan and `expired` aren't used."""
    history: History
    """That of the log to which the driver appends."""
    plan: Callable[[int], TrainingPlan]
    """Of trials whose schedule has so many steps; segments whose plans are equal can share packs."""
    begin: Callable[[Segment], TrialRun]
    """A segment's trial at its very start."""
    ended: Callable[[Segment, TrialRun], TrialEnded]
    """The record of a trial that has ended, with the last of its segments."""
    keep: Callable[[TrialEnded, Mapping[str, Tensor]], object]
    """Given each trial's best weights before its end is logged, unless it has failed or has none."""
    states: Path
    """The folder of the trials' states."""
    owner: str
    """Of these trials, such as the hash of the question: states of others are refused."""
    at_once: int
    """Trials in a pack at most."""
    aside: Callable[[Fit | TakeOver | Score], object] = trains_only
    """Carries out what isn't a training, and logs it."""
    _packing: Packing = field(init=False)
    _trials: dict[str, _Trial] = field(default_factory=dict)
    """Those with an open segment, and those that can go on in the live pack, by name."""
    _events: list[Event] = field(default_factory=list)
    """Not handed out yet."""
    _pages: ExitStack | None = None
    """Open while memory's pages are kept; see `kept_pages`."""

    def __post_init__(self) -> None:
        """Nothing is built before there is something to train."""
        self._packing = Packing(self.work, self.at_once)

    def room(self) -> Room:
        """As the packs are now."""
        packing, name = self._packing, {trial.run: name for name, trial in self._trials.items()}
        packing.settle()
        waiting = {name[run]: kind for run, kind in packing.waiting().items()}
        at = {name[run]: step for run, step in packing.steps().items() if run in name}
        return Room(max(0, packing.at_once - len(at)), packing.kind, waiting, at)

    def training(self) -> Sequence[TrialRun]:
        """Those in the live pack."""
        return list(self._packing.steps())

    def running(self) -> Collection[Segment]:
        """Those in packs, and those that wait for one."""
        return [trial.segment for trial in self._trials.values() if trial.run in self._packing.until]

    def start(self, actions: Sequence[Task]) -> None:
        """Take them on: a trial that isn't in the live pack waits for a place, from the state of its last ended segment."""
        for action in actions:
            if isinstance(action, Fit | TakeOver | Score):
                self._packing.let_go()  # of the last trainings' memory
                self.aside(action)
            elif isinstance(action, Stop):
                trial = self._trials.get(action.trial) or self._outside(action.trial)
                self._packing.remove([trial.run])
                trial.run.end("stopped", str(action.because))
                self._end(trial)
            else:
                self._train(action.segment)

    def wait(self, expired: Callable[[], bool]) -> Sequence[Event]:
        """Train; see the protocol."""
        if not self._events:
            self._forget()
            if self._pages is None and self.work.backbone.device.type == "cpu":
                self._pages = ExitStack()
                self._pages.enter_context(kept_pages())
            trials = {trial.run: trial for trial in self._trials.values()}
            for run in self._packing.advance(expired):
                if run.running:
                    self._events.append(self._segment_ended(trials[run]))
                else:
                    self._end(trials[run])
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Let go of packs and memory. What was being trained is lost back to its last segment."""
        self._packing.let_go()
        self._trials, self._events = {}, []
        if self._pages:
            self._pages.close()
            self._pages = None

    def _train(self, segment: Segment) -> None:
        trial = self._trials.get(segment.trial)
        if trial is None:
            run = self.begin(segment)
            try:
                if segment.start:
                    run.progress = self._state(segment.trial, segment.start)
            except SelectionError as error:
                log.warning("%s can't go on: %s", segment.trial, error)
                self._events.append(StateLost(segment.trial, segment.attempt, str(error)))
                return
            trial = self._trials[segment.trial] = _Trial(segment, run, len(run.progress.curve))
        trial.segment = segment
        self._packing.add(trial.run, segment.end, self.plan(segment.steps))

    def _outside(self, name: str) -> _Trial:
        """A trial that is in no pack, with its best weights if its state can be read."""
        known = self.history.trials[name]
        run = self.begin(known.segment)
        try:
            if known.state:
                run.progress = self._state(name, known.reached)
        except SelectionError as error:
            log.warning("%s ends without its weights: %s", name, error)
            best = max if self.work.metric.greater_is_better else min
            score = best((point.select_score for point in known.curve), default=None)
            run.progress = TrialProgress(known.reached, curve=known.curve, seconds=known.seconds, best_score=score)
        return _Trial(known.segment, run, 0)

    def _state(self, name: str, step: int) -> TrialProgress:
        progress = load_progress(get(self.states, self.history.trials[name].state), self._of(name))
        if progress.step != step:
            raise SelectionError(f"the state of {name} is that of step {progress.step}, not of step {step}")
        return progress

    def _of(self, name: str) -> str:
        return f"{name} of {self.owner}"

    def _segment_ended(self, trial: _Trial) -> SegmentEnded:
        segment, progress = trial.segment, trial.run.progress
        state = put(self.states, lambda path: save_progress(path, progress, self._of(segment.trial)), SUFFIX)
        points, trial.reported = list(progress.curve[trial.reported :]), len(progress.curve)
        device = self.work.backbone.device.type
        return SegmentEnded(segment.trial, segment.attempt, progress.step, points, progress.seconds, state, device)

    def _end(self, trial: _Trial) -> None:
        event, weights = self.ended(trial.segment, trial.run), trial.run.progress.best_weights
        if weights and event.state != "failed":
            self.keep(event, weights)
        trial.run.progress.best_weights = {}
        self._trials.pop(trial.segment.trial, None)
        self._events.append(event)

    def _forget(self) -> None:
        """Drop trials without an open segment, and states that no trial goes on from."""
        self._trials = {name: trial for name, trial in self._trials.items() if trial.run in self._packing.until}
        needed = {trial.state for trial in self.history.trials.values() if trial.ended is None}
        for path in self.states.glob(f"*{SUFFIX}"):
            if is_reference(path.name) and path.name not in needed:  # what else lies there isn't ours
                path.unlink(missing_ok=True)
