"""The policy of the search: which configurations are tried, how far each is trained, and when it ends."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pelt_automl.log.events import (
    Because,
    CurvePoint,
    Decision,
    HyperParameters,
    Released,
    Seeds,
    Segment,
    Stage,
    Stopped,
    TrialEnded,
    What,
)
from pelt_automl.log.history import History, Trial
from pelt_automl.methods import METHODS
from pelt_automl.scheduling.actions import Action, Budget, Finish, Note, Room, Stop, Train
from pelt_automl.search.promotion import promoted
from pelt_automl.search.race import leaving
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import Metric
from pelt_automl.timing.kinds import is_alone
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.verdict.savings import score_by
from pelt_automl.verdict.wording import in_short

if TYPE_CHECKING:
    from pelt_automl.search.proposer import Asked


class Costs(Protocol):
    """What trainings take, as far as the history tells."""

    def training(self, history: History, method: str) -> float:
        """Seconds of a full training of the search with this method."""

    def reserve(self, history: History, limit: float) -> float:
        """Seconds of the limit that the search leaves to what comes after it."""

    def last_reserve(self, history: History, limit: float) -> float:
        """Those that it leaves even when nothing has a score yet."""


class Proposes(Protocol):
    """What to try next."""

    def known(self, method: str) -> Sequence[Mapping[str, object]]:
        """The method's first configurations, which are the same whatever comes; the published default is one of them."""

    def next(self, history: History, method: str) -> "Asked | None":
        """The method's next configuration; None when there is none."""


@dataclass(frozen=True)
class SearchScheduler:
    """Decides what the search trains next. Pure: the same history, room and budget give the same actions.

    Its rules, each of them a method of `_Turn`:

    - *quota*: of the trials of a method that come to a rung the best share goes on, a slow starter's double share; the default always does.
    - *cohort*: known configurations are compared with each other, once no more of them can arrive; a drawn one, as soon as it arrives, with
      those of its method that were asked for before it.
    - *race*: a method whose best trial can't reach the leader's leaves, unless one of its trials is under way beyond the first rung, or
      waits there; its trials under way end at their next rung, and those that it had still to come are shared among the others.
    - *sequence*: while there is an order that was learned, the method of its first trial that isn't begun comes next. What is in it is
      trained to its end: from the probe's start a rung tells little of what is good (docs/selection-quality.md).
    - *fairness*: then the method with the fewest trials is asked next, the cheaper of equals first, and no method while another that may be
      asked has two fewer.
    - *room*: free places are filled with trials of the pack's kind; a method with a trial that waits for another kind isn't asked.
    - *affordability*: a trial begins if it and those under way are expected to end before the reserve; a method's first one need only come
      to its first evaluation where it shares a pack, and those of the first two methods always begin.
    - *time*: when only the reserve is left, or most of it is spent and there is nothing to compare, trials end where they are, but those
      whose rests take next to nothing together.
    """

    methods: Sequence[str]
    """In the order in which they begin where no order was learned: cheap ones first."""
    shares_packs: Collection[str]
    """Those whose published configurations can train in a pack with others."""
    trials: int
    """Configurations tried of each method, unless others leave it theirs."""
    settings: SearchSettings
    plan: TrainingPlan
    metric: Metric
    labels: NDArray[np.float64]
    """Of select, in the order of all predictions on it."""
    proposer: Proposes
    costs: Costs
    kind: Callable[[Segment], Hashable]
    """What trials that share a pack have in common, as in `Room`; see `is_alone` for one that can't share any."""
    inherited: Mapping[str, Sequence[HyperParameters]] = field(default_factory=dict)
    """Configurations that another selection found, by method; they are among those that the proposer knows."""
    source: str = ""
    """That selection, in words."""
    sequence: Sequence[str] = ()
    """The method of each of the first trials, in the order in which they are to begin."""

    @cached_property
    def known(self) -> dict[str, int]:
        """How many configurations of each method are known beforehand."""
        return {method: len(self.proposer.known(method)) for method in self.methods}

    @cached_property
    def turns(self) -> list[tuple[str, int]]:
        """The entries of the sequence, each with the number of entries of its method before it."""
        return [(method, self.sequence[:place].count(method)) for place, method in enumerate(self.sequence)]

    def actions(self, history: History, room: Room, budget: Budget) -> list[Action]:
        """What is to be done now; see `Scheduler`."""
        return _Turn(self, history, room, budget).taken()

    def deadline(self, history: History, room: Room, budget: Budget) -> float:
        """Seconds left of the limit at which the search's time is up; see `Scheduler`.

        Until there is a first score it may use most of the reserve too, and half of it until there are two methods to compare.
        """
        if budget.limit is None:
            return -math.inf
        reserve = self.costs.reserve(history, budget.limit)
        least = min(self.costs.last_reserve(history, budget.limit), reserve)
        scored = {trial.segment.method for trial in history.trials.values() if self._evaluated(trial, room)} & set(self.methods)
        if not scored or is_closing(history):
            return least
        return reserve if len(scored) >= min(POLICY.first, len(self.methods)) else max(least, reserve / 2)

    def _evaluated(self, trial: Trial, room: Room) -> bool:
        """Whether it has been scored after its first step."""
        if trial.ended:
            return trial.ended.select_score is not None
        return max(trial.reached, room.steps.get(trial.name, 0)) >= self.plan.evaluate_at[0]


def is_closing(history: History) -> bool:
    """Whether the search's time was up once: decided for good with the first trial that ends or goes on for it."""
    said = [event.segment.trial for event in history.of_kind(Released) if event.because == Because.NEAR_END]
    said += [event.trial for event in history.of_kind(Stopped) if event.because == Because.TIME]
    return any(history.trials[name].segment.stage == Stage.SEARCH for name in said)


class _Turn:
    """One call of the scheduler: what is decided stands in its own copy of the history at once, so that the next decision knows of it."""

    def __init__(self, fixed: SearchScheduler, history: History, room: Room, budget: Budget) -> None:
        self.fixed, self.room, self.budget = fixed, room, budget
        self.history = copy.copy(history)
        self.actions: list[Action] = []
        self.share = fixed.plan.expected_share(fixed.settings.promoted)
        """The part of a full training that a trial gets on average, one that isn't a default."""
        self.steps = room.steps

    def taken(self) -> list[Action]:
        """The actions, in the order of the rules."""
        if not is_closing(self.history):
            self._say_what_is_inherited()
            self._judge(no_more=False)
            self._race()
        if self.budget.left <= self.fixed.deadline(self.history, self.room, self.budget):
            self._close()
        elif not (is_closing(self.history) or self._ending() or self.history.decided(What.FINALIST)):
            self._fill()
        if all(trial.ended for trial in self._trials()):
            self._finish()
        return self.actions

    def _do(self, action: Train | Stop | Note) -> None:
        self.actions.append(action)
        match action:
            case Train():
                self.history.apply(Released(action.segment, action.because, time=0.0))
            case Stop():
                self.history.apply(Stopped(action.trial, action.because, time=0.0))
            case Note():
                self.history.apply(action.event)

    def _note(self, what: What, subject: str, why: str, numbers: Mapping[str, float] | None = None) -> None:
        """Once in a selection."""
        if subject not in self.history.decided(what):
            self._do(Note(Decision(what, subject, why, dict(numbers or {}))))

    # ------------------------------------------------------------ what there is

    def _trials(self, method: str | None = None) -> list[Trial]:
        """Those of the search, by number within a method."""
        own = [trial for trial in self.history.trials.values() if trial.segment.stage == Stage.SEARCH]
        return sorted((trial for trial in own if method in (None, trial.segment.method)), key=lambda trial: trial.segment.number)

    def _alive(self) -> list[Trial]:
        return [trial for trial in self._trials() if trial.ended is None and trial.stopped is None]

    def _ending(self) -> bool:
        """Whether a trial is stopped and its end isn't logged: who samples, and the race, are to know of it first."""
        return any(trial.stopped and not trial.ended for trial in self._trials())

    def _asked(self, method: str) -> int:
        return len(self._trials(method))

    def _step(self, trial: Trial) -> int:
        return max(trial.reached, self.steps.get(trial.name, 0))

    def _out(self) -> set[str]:
        return self.history.out_of_race

    def _open(self) -> list[str]:
        """Methods of which there are trials to come: as many of each as were wanted, and its share of those that others have left."""
        out = self._out() | set(self.history.decided(What.EXHAUSTED))
        inside = [method for method in self.fixed.methods if method not in out]
        freed = sum(max(0, self.fixed.trials - self._asked(method)) for method in self.fixed.methods if method in out)
        most = self.fixed.trials + (freed // len(inside) if inside else 0)
        return [method for method in inside if self._asked(method) < most]

    # ------------------------------------------------------------ rungs: quota and cohort

    def _judge(self, *, no_more: bool) -> None:
        """Decide about trials whose segment has ended, as far as that can be decided; `no_more`: no further trial will begin."""
        for method in self.fixed.methods:
            here = [trial for trial in self._trials(method) if trial.undecided]
            together = [trial for trial in here if self._is_known(trial) and not self._trained_in_full(trial)]
            for trial in here:
                if method in self._out():
                    self._do(Stop(trial.name, Because.METHOD_OUT))
                elif self._trained_in_full(trial):
                    self._go_on(trial, Because.DEFAULT if trial.segment.is_default else Because.LEARNED, {"rung": trial.reached})
                elif trial not in together:
                    self._quota(trial.reached, [trial], range(trial.segment.number))
            if method in self._out() or (not no_more and self._known_left(method) and method in self._open()):
                continue
            for rung in self.fixed.plan.rungs:
                if (cohort := [trial for trial in together if trial.reached == rung]) and not self._on_its_way(method, rung):
                    self._quota(rung, cohort, self._known_numbers(method), together=True)

    def _quota(self, rung: int, trials: Sequence[Trial], compared: Collection[int], *, together: bool = False) -> None:
        """Of a method's trials at a rung, let those go on that are among the best share of these and of the others with these numbers.

        `together`: they take the same places as those others, also where a kill fell between the decisions about them.
        """
        method, better = trials[0].segment.method, self.fixed.metric.greater_is_better
        own, scores, others = {trial.name for trial in trials}, dict[str, float](), dict[str, float]()
        for trial in self._trials(method):
            curve, meant = _curve(trial), trial.name in own or trial.segment.number in compared
            if meant and curve and curve[-1].step >= rung and (score := score_by(curve, rung, better)) is not None:
                (scores if trial.name in own else others)[trial.name] = score
        share = self.fixed.settings.promoted * (2 if METHODS[method].slow_starter else 1)  # its score at the rung says less
        competing, earlier = (others | scores, []) if together else (scores, list(others.values()))
        competing = {name: competing[name] for name in sorted(competing)}  # of equals the earlier one
        chosen = promoted(competing, earlier, min(1.0, share), greater_is_better=better)
        for trial in trials:
            numbers = {"rung": float(rung), "share": min(1.0, share), "compared": float(len(scores) + len(others))}
            numbers |= {"score": scores[trial.name]} if trial.name in scores else {}
            if trial.name in chosen:
                self._go_on(trial, Because.QUOTA, numbers)
            else:
                self._do(Stop(trial.name, Because.NOT_PROMOTED, numbers))

    def _go_on(self, trial: Trial, because: Because, numbers: Mapping[str, float]) -> None:
        end = next(step for step in (*self.fixed.plan.rungs, self.fixed.plan.steps) if step > trial.reached)
        self._do(Train(replace(trial.segment, start=trial.reached, end=end), because, numbers))

    def _trained_in_full(self, trial: Trial) -> bool:
        """Whether no rung stops it: the published default, and what the learned order has."""
        return trial.segment.is_default or trial.segment.number < self.fixed.sequence.count(trial.segment.method)

    def _is_known(self, trial: Trial) -> bool:
        return trial.segment.number < self.fixed.known[trial.segment.method]

    def _known_numbers(self, method: str) -> set[int]:
        """Of the configurations that are compared with each other: all known ones but the default."""
        return {trial.segment.number for trial in self._trials(method) if self._is_known(trial) and not trial.segment.is_default}

    def _known_left(self, method: str) -> bool:
        """Whether there are configurations left that can be tried without asking a sampler."""
        last = max((trial.segment.number for trial in self._trials(method)), default=-1)
        return last + 1 < self.fixed.known[method]

    def _on_its_way(self, method: str, rung: int) -> bool:
        """Whether another trial will come to the rung to be compared with those that are there."""
        others = [trial for trial in self._trials(method) if trial.open and self._is_known(trial) and not self._trained_in_full(trial)]
        return any(trial.reached < rung for trial in others)

    # ------------------------------------------------------------ race

    def _race(self) -> None:
        """Let methods leave."""
        if not self.fixed.settings.race:
            return
        first = min(self.fixed.plan.rungs, default=self.fixed.plan.steps)
        undecided = {trial.segment.method for trial in self._alive() if self._step(trial) >= first}
        trials = [trial for trial in self.history.of_kind(TrialEnded) if trial.method in self.fixed.methods]
        over = set(self.history.decided(What.DEFAULT_OVER))
        slow = {method for method in self.fixed.methods if METHODS[method].slow_starter}
        stopping = [trial.segment.method for trial in self._trials() if trial.stopped and not trial.ended]
        labels, metric, outputs = self.fixed.labels, self.fixed.metric, self.history.outputs
        for decision in leaving(
            trials, outputs, labels, metric.name, self._out(), slow, over, stopping, greater_is_better=metric.greater_is_better
        ):
            if decision.subject not in undecided:
                self._do(Note(decision))

    # ------------------------------------------------------------ new trials: fairness, room and affordability

    def _fill(self) -> None:
        """Release trials for the places that are free."""
        kind, waiting = self.room.kind, self._waiting()
        staying = [trial.segment for name in self.room.at if (trial := self.history.trials[name]).open]
        if kind is None and staying:  # it was alone in its pack, has come to a rung, and goes on there
            kind = self.fixed.kind(staying[0])
        if kind is None and waiting:  # the executor builds the pack of the kind that waits in the greatest number
            ((kind, _),) = Counter(waiting.values()).most_common(1)
        while self._places(kind) > 0 and (method := self._next_method(kind)):
            asked = self.fixed.proposer.next(self.history, method)
            if asked is None:
                self._note(What.EXHAUSTED, method, f"too many configurations of {method} in a row make no sense; see `pelt-automl spaces`")
                continue
            segment = self._first_segment(method, asked)
            self._do(Train(segment, Because.FIRST))
            kind = self.fixed.kind(segment) if kind is None else kind
        if self._places(kind) > 0:
            self._judge(no_more=not self._affordable(self._open()))

    def _first_segment(self, method: str, asked: "Asked") -> Segment:
        name, seed, plan = f"{method}-{asked.number:04d}", self.fixed.settings.seed, self.fixed.plan
        seeds = Seeds(seed, seed, seed)  # the same for all, so that their scores are paired
        end = min(plan.rungs, default=plan.steps)
        configuration = dict(asked.hyper_parameters)
        return Segment(name, name, method, configuration, Stage.SEARCH, asked.number, asked.is_default, seeds, plan.steps, 0, end)

    def _waiting(self) -> dict[str, Hashable]:
        """Trials with a segment to be trained that are in no pack, with their kinds."""
        names = {trial.name: trial.segment for trial in self._alive() if trial.open and trial.name not in self.steps}
        return {name: self.room.waiting.get(name, self.fixed.kind(segment)) for name, segment in names.items()}

    def _places(self, kind: Hashable | None) -> int:
        """Of the pack that is being filled, those that nobody has: a trial has its place as long as its segment is open."""
        if is_alone(kind):
            return 0
        left = sum(not self.history.trials[name].open for name in self.room.at)
        return self.room.free + left - list(self._waiting().values()).count(kind)

    def _next_method(self, kind: Hashable | None) -> str | None:
        """The method that is asked for a trial, None for no one: now, or any more."""
        methods = self._affordable(self._open())
        held_up = {self.history.trials[name].segment.method for name, own in self._waiting().items() if own != kind}
        free = [method for method in methods if method not in held_up]
        if due := [method for method, before in self.fixed.turns if method in methods and self._asked(method) <= before]:
            return next((method for method in due if method in free), None)
        chosen = min(free, key=self._asked, default=None)
        if chosen is None or self._asked(chosen) >= min(map(self._asked, methods)) + POLICY.ahead:
            return None
        return chosen

    def _affordable(self, methods: Sequence[str]) -> list[str]:
        """Those of which another trial can be expected to end, with those under way, before the reserve."""
        if self.budget.limit is None:
            return list(methods)
        left = self.budget.left - self.fixed.costs.reserve(self.history, self.budget.limit)
        under_way = sum(self._seconds_to_go(trial) for trial in self._alive())
        begun = sum(self._asked(method) > 0 for method in self.fixed.methods)

        def needed(method: str) -> float:
            if asked := self._asked(method):
                share = 1.0 if asked < self.fixed.sequence.count(method) else self.share
            else:
                share = self.fixed.plan.evaluate_at[0] / self.fixed.plan.steps if method in self.fixed.shares_packs else 1.0
            return share * self.fixed.costs.training(self.history, method)

        return [method for method in methods if (begun < POLICY.first and not self._asked(method)) or under_way + needed(method) <= left]

    def _seconds_to_go(self, trial: Trial) -> float:
        """What a trial under way is expected to take from where it is."""
        share = 1.0 if self._trained_in_full(trial) else self.share
        rest = max(0.0, share - self._step(trial) / self.fixed.plan.steps)
        return rest * self.fixed.costs.training(self.history, trial.segment.method)

    # ------------------------------------------------------------ the end

    def _close(self) -> None:
        """The time is up: end what is under way, but what is so near its end that all of it takes next to nothing."""
        limit, alive = self.budget.limit or 0.0, sorted(self._alive(), key=self._seconds_to_end)
        spent, closing = 0.0, is_closing(self.history)
        for trial in alive:
            self.actions = [action for action in self.actions if not (isinstance(action, Train) and action.segment.trial == trial.name)]
            spent += self._seconds_to_end(trial)
            if spent <= POLICY.nothing * limit and not closing:
                start = trial.segment.start if trial.open else trial.reached
                self._do(Train(replace(trial.segment, start=start, end=self.fixed.plan.steps), Because.NEAR_END, {"seconds": spent}))
            else:
                self._do(Stop(trial.name, Because.TIME, {"seconds_left": self.budget.left}))

    def _seconds_to_end(self, trial: Trial) -> float:
        """Of the rest of a training, at its own speed so far; infinite where it hasn't begun, or its method is out."""
        step = self._step(trial)
        if not step or trial.segment.method in self._out():
            return math.inf
        a_step = (
            trial.seconds / trial.reached
            if trial.reached
            else self.fixed.costs.training(self.history, trial.segment.method) / self.fixed.plan.steps
        )
        return (self.fixed.plan.steps - step) * a_step

    def _finish(self) -> None:
        """Say what there was no time for."""
        remaining, numbers = self._open(), {"seconds": self.budget.elapsed}
        if remaining and not self._affordable(remaining):
            self._note(What.SEARCH_ENDED, "search", "the search's share of the time is used", numbers)
        for method in remaining:
            if not self._asked(method):
                self._note(What.NOT_BEGUN, method, "no time for its first trial", numbers)
        self.actions.append(Finish())

    def _say_what_is_inherited(self) -> None:
        for method, configurations in self.fixed.inherited.items():
            if method in self.fixed.methods:
                listed = "; ".join(in_short(configuration) for configuration in configurations)
                self._note(What.INHERITED, method, f"{self.fixed.source}, tried right after its default: {listed}")


def _curve(trial: Trial) -> Sequence[CurvePoint]:
    return trial.ended.curve if trial.ended else trial.curve
