"""A small search without a model: histories written down in a line an event, and an executor of packs that takes no time."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from pelt_automl.log.events import Because, CurvePoint, Released, Seeds, Segment, SegmentEnded, Stopped, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.scheduling.actions import Budget, Finish, Note, Room, Stop, Train
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.search.proposer import Asked
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks.metrics import METRICS
from pelt_automl.timing.kinds import ALONE
from pelt_automl.timing.schedule import TrainingPlan

SEEDS = Seeds(0, 0, 0)
STEPS, RUNGS, EVERY = 80, (20, 40), 10
PLAN = TrainingPlan(STEPS, RUNGS, tuple(range(EVERY, STEPS + 1, EVERY)), 16, 0.1, 1.0, 0.0, 4)
LABELS = np.ones(100)
NO_LIMIT = Budget()
RATE = 0.001


@dataclass
class FakeProposer:
    """Configurations are their numbers; the first `known_ones` of a method are known beforehand."""

    known_ones: int = 4
    refused: frozenset = frozenset()
    """Numbers that are passed over."""
    most: dict = field(default_factory=dict)
    """By method, the number from which on there is nothing left."""

    def known(self, method):
        return [{"learning_rate": number * RATE} for number in range(self.known_ones)]

    def next(self, history, method):
        numbers = [trial.segment.number for trial in history.trials.values() if trial.segment.method == method]
        number = max(numbers, default=-1) + 1
        while number in self.refused:
            number += 1
        if number >= self.most.get(method, 10**6):
            return None
        return Asked(number, {"learning_rate": number * RATE}, is_default=number == 0)


@dataclass(frozen=True)
class FakeCosts:
    """A step takes a second with every method, if not said otherwise."""

    kept: float = 0.5
    """Share of the limit that the search leaves to what comes after it."""
    dear: dict = field(default_factory=dict)

    def training(self, history, method):
        return STEPS * self.dear.get(method, 1.0)

    def reserve(self, history, limit):
        return self.kept * limit

    def last_reserve(self, history, limit):
        return 0.15 * limit


def kind_of(segment):
    """Full fine-tuning trains alone, prompts in packs of their own."""
    return (ALONE, segment.trial) if segment.method == "full" else ("prompts",) if segment.method == "prompt" else ("others",)


search_settings = cache(SearchSettings)


def scheduler(*methods, known=4, refused=(), most=None, trials=6, race=False, plan=PLAN, costs=None, **settings):
    proposer = FakeProposer(known, frozenset(refused), most or {})
    extra = {name: settings.pop(name) for name in ("inherited", "source", "kind", "sequence") if name in settings}
    return SearchScheduler(
        methods, frozenset(methods) - {"full"}, trials, search_settings(race=race, **settings), plan, METRICS["accuracy"], LABELS,
        proposer, costs or FakeCosts(), extra.pop("kind", kind_of), **extra,
    )  # fmt: skip


# ------------------------------------------------------------ events in a line


def name_of(method, number):
    return f"{method}-{number:04d}"


def segment(method, number, start=0, end=RUNGS[0], attempt=0):
    name = name_of(method, number)
    return Segment(name, name, method, {"learning_rate": number * RATE}, "search", number, number == 0, SEEDS, STEPS, start, end, attempt)


def released(method, number, start=0, end=RUNGS[0], because=Because.FIRST):
    return Released(segment(method, number, start, end), because, time=0.0)


def at(method, number, score, reached=RUNGS[0]):
    """It has come to a rung, with this score all the way."""
    points = [point(step, score) for step in range(EVERY, reached + 1, EVERY) if reached == RUNGS[0] or step > RUNGS[0]]
    return SegmentEnded(name_of(method, number), 0, reached, points, float(reached), "state", time=0.0)


def point(step, score):
    return CurvePoint(step, 0.5, score, RATE, float(step))


def ended(method, number, score, steps=STEPS, state="completed", cause=""):
    """Trained to `steps`, with this score all the way; None: it failed before it had one."""
    name = name_of(method, number)
    curve = [] if score is None else [point(step, score) for step in range(EVERY, steps + 1, EVERY)]
    wrong = round((1 - (score or 0.0)) * len(LABELS))
    predictions = [float(example >= wrong) for example in range(len(LABELS))] if state == "completed" else []
    return TrialEnded(
        name, name, method, "search", number, state, number == 0, {"learning_rate": number * RATE}, SEEDS, {}, curve, score, steps,
        float(steps), cause=cause, outputs=Outputs().put(predictions) if predictions else "", time=0.0,
    )  # fmt: skip


def stopped(method, number, because=Because.NOT_PROMOTED):
    return Stopped(name_of(method, number), because, time=0.0)


def tried(method, number, score, steps=STEPS):
    """The events of a trial that was trained to a rung, and not promoted there, or to its end."""
    events = [released(method, number)]
    for start, end in zip(RUNGS, (*RUNGS[1:], STEPS), strict=True):
        if steps >= start:
            events.append(at(method, number, score, start))
        if steps > start:
            events.append(released(method, number, start, end, Because.QUOTA))
    if steps in RUNGS:
        return [*events, stopped(method, number), ended(method, number, score, steps, "stopped", Because.NOT_PROMOTED)]
    return [*events, ended(method, number, score, steps)]


def asked(policy, *events, room=None, budget=NO_LIMIT):
    """What the scheduler says, each action in a few words."""
    return said(policy.actions(History.of(events), room or Room(free=0, kind=("others",)), budget))


def said(actions):
    words = []
    for action in actions:
        match action:
            case Train():
                words.append(f"{action.segment.trial} {action.segment.start}-{action.segment.end}: {action.because}")
            case Stop():
                words.append(f"stop {action.trial}: {action.because}")
            case Note():
                words.append(f"{action.event.what}: {action.event.subject}")
            case Finish():
                words.append("finish")
    return words


# ------------------------------------------------------------ an executor of packs


@dataclass
class FakeTrial:
    segment: Segment
    step: int
    kept: int
    """Steps that the log knows of."""


@dataclass
class FakePacks:
    """Trains one pack at a time as `execution.packs` does, without a model; `now` is its clock, in seconds."""

    log: object
    score: object = lambda segment, step: 0.5
    """Of a segment's trial after a step; None: it fails there."""
    at_once: int = 4
    seconds: float = 1.0
    """A step of one trial."""
    now: float = 0.0
    pack: dict = field(default_factory=dict)
    waiting: dict = field(default_factory=dict)
    stopped: list = field(default_factory=list)
    taken: Counter = field(default_factory=Counter)
    """Steps, by trial."""

    def room(self):
        kind = next((kind_of(trial.segment) for trial in self.pack.values()), None)
        free = 0 if kind and ALONE in kind else self.at_once - len(self.pack)
        waiting = {name: kind_of(trial.segment) for name, trial in self.waiting.items()}
        return Room(free, kind, waiting, {name: trial.step for name, trial in self.pack.items()})

    def running(self):
        return [trial.segment for trial in (*self.pack.values(), *self.waiting.values())]

    def start(self, actions):
        for action in actions:
            if isinstance(action, Train):
                own = action.segment
                if own.trial in self.pack:
                    self.pack[own.trial].segment = own
                else:
                    self.waiting[own.trial] = FakeTrial(own, own.start, own.start)
            else:
                trial = self.pack.pop(action.trial, None) or self.waiting.pop(action.trial, None)
                known = self.log.history.trials[action.trial]
                self.stopped.append(self.end(known.segment, trial.step if trial else known.reached, "stopped", action.because))

    def wait(self, expired):
        self.pack = {name: trial for name, trial in self.pack.items() if trial.step < trial.segment.end}
        self.join()
        if self.stopped:
            events, self.stopped = self.stopped, []
            return events
        while self.pack and not expired():
            self.now += self.seconds * len(self.pack)
            for name, trial in self.pack.items():
                trial.step += 1
                self.taken[name] += 1
            if events := [event for trial in self.pack.values() if trial.step % EVERY == 0 and (event := self.evaluated(trial))]:
                ended = {event.trial for event in events if isinstance(event, TrialEnded)}
                self.pack = {name: trial for name, trial in self.pack.items() if name not in ended}
                return events
        return []

    def join(self):
        kinds = Counter(kind_of(trial.segment) for trial in self.waiting.values())
        kind = self.room().kind or (kinds.most_common(1)[0][0] if kinds else ())
        most = 1 if ALONE in kind else self.at_once
        for name in [name for name, trial in self.waiting.items() if kind_of(trial.segment) == kind]:
            if len(self.pack) < most:
                self.pack[name] = self.waiting.pop(name)

    def evaluated(self, trial):
        own, score = trial.segment, self.score(trial.segment, trial.step)
        if score is None:
            return self.end(own, trial.step, "failed", "as told")
        if trial.step == STEPS:
            return self.end(own, STEPS, "completed", "")
        if trial.step < own.end:
            return None
        points, trial.kept = [point(step, self.score(own, step)) for step in range(trial.kept + EVERY, own.end + 1, EVERY)], own.end
        return SegmentEnded(own.trial, own.attempt, own.end, points, self.seconds * own.end, f"state of {own.trial} at {own.end}")

    def end(self, own, steps, state, cause):
        scores = [(step, score) for step in range(EVERY, steps + 1, EVERY) if (score := self.score(own, step)) is not None]
        best = max((score for _, score in scores), default=None)
        event = ended(own.method, own.number, best, steps, state, str(cause))
        return replace(event, curve=[point(*pair) for pair in scores], seconds=self.seconds * steps)

    def stop(self):
        self.pack, self.waiting = {}, {}


class KilledError(Exception):
    """The process is gone."""


@dataclass
class FakeLog:
    """Keeps events; the process is killed before the event of the number `last`."""

    history: History = field(default_factory=History)
    last: int = 10**9

    def append(self, event):
        if len(self.history.events) == self.last:
            raise KilledError
        self.history.apply(event)
