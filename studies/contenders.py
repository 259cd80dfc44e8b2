"""Who competes with the program's search, each as a scheduler of a few lines (see `pelt_automl.scheduling.actions`).

The same contender is driven over the table of trainings (`pelt_automl.execution.recorded`, in milliseconds) and over packs of a real model
(`studies.trainings.packs`). Without finals its answer is the completed trial with the best select score, as someone chooses who runs
Optuna alone; where the time was too short for any, the best that was stopped.
"""

import copy
import json
import math
import random
import statistics
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelt_automl.errors import SettingsError
from pelt_automl.log import events
from pelt_automl.log.events import Because, Released, Seeds, Segment, Stage, State, TrialEnded
from pelt_automl.log.history import History, Trial
from pelt_automl.methods import FIXED_DEFAULTS
from pelt_automl.scheduling.actions import Action, Budget, Finish, Room, Scheduler, Stop, Train
from pelt_automl.scheduling.grid import Grid, places
from pelt_automl.scheduling.search import SearchScheduler
from pelt_automl.search.portfolio import arranged
from pelt_automl.search.promotion import promoted
from pelt_automl.search.proposer import Asked
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.search.spaces import SearchSpace, load_spaces
from pelt_automl.settings import SearchSettings
from pelt_automl.tasks import Metric
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import TrainingPlan
from studies.harness import ROOT

Configuration = tuple[str, Mapping[str, Any]]
"""A method with all of its hyper-parameters."""
Next = Callable[[History], Configuration | None]
"""What is tried next; None when there is nothing left."""
DRAWS = 50
"""Configurations in a row of which nothing is recorded any more."""
STARTUP = 5
"""Completed trials before the median stops any, as in Optuna's MedianPruner."""
THIRD = 1 / 3
"""Share that goes on from a rung (Li et al. 2020)."""


@dataclass(frozen=True)
class Setting:
    """What a contender is told before it begins; the program's scheduler asks it for proposals and costs."""

    methods: Sequence[str]
    """In the order in which they begin."""
    good: Mapping[str, Sequence[Mapping[str, Any]]]
    """By method: its published default, then what is known to be good."""
    drawn: Mapping[str, Sequence[Mapping[str, Any]]]
    """By method: random draws of its search space, in an order of this search's own."""
    plan: TrainingPlan
    metric: Metric
    labels: NDArray[np.float64]
    """Of select."""
    seed: int
    """Of split, initialization and order of all of the search's trainings; none of the finals or the truth."""
    trials: int
    """Configurations of each method at most."""
    seconds: Mapping[str, float]
    """Of a full training, by method: what the program would have measured."""
    kept: float
    """Share of a limit that the program's search leaves to its finals."""
    draws: int
    """Seed of what a contender draws: repeats that share their trainings' seed draw differently."""
    portfolio: tuple[Sequence[events.Configuration], int] | None = None
    """All recorded configurations in the order that was learned on other sources, and how many of the first of them are of use."""
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By method: its published default, where it isn't the first of `good`."""

    def segment(self, configuration: Configuration, number: int, end: int) -> Segment:
        """The first one of a trial."""
        method, values = configuration
        name, default = f"{method}-{number:04d}", dict(values) == dict(self.good[method][0])
        seeds, steps = Seeds(self.seed, self.seed, self.seed), self.plan.steps
        return Segment(name, name, method, dict(values), Stage.SEARCH, number, default, seeds, steps, 0, end)

    def known(self, method: str) -> Sequence[Mapping[str, Any]]:
        """See `pelt_automl.scheduling.search.Proposes`: the published default is the first."""
        return self.good[method]

    def next(self, history: History, method: str) -> Asked | None:
        """The method's next configuration that isn't tried yet: what is known, then what was drawn."""
        number = sum(trial.segment.method == method for trial in history.trials.values())
        own = [*self.good[method], *(drawn for drawn in self.drawn[method] if drawn not in self.good[method])]
        default = self.defaults.get(method, self.good[method][0])
        return Asked(number, dict(own[number]), own[number] == default) if number < len(own) else None

    def training(self, history: History, method: str) -> float:  # noqa: ARG002 the protocol's
        """Seconds of a training; see `pelt_automl.scheduling.search.Costs`."""
        return self.seconds[method]

    def reserve(self, history: History, limit: float) -> float:  # noqa: ARG002 the protocol's
        """Seconds that the search leaves to the finals."""
        return self.kept * limit

    def last_reserve(self, history: History, limit: float) -> float:  # noqa: ARG002 the protocol's
        """Seconds that it leaves even when nothing has a score yet."""
        return POLICY.last_reserve * limit


# -------------------------------------------------------------------- the program's own


def one_kind(_: Segment) -> tuple[()]:
    """All trials may share a pack."""
    return ()


def ours(setting: Setting, of: type[SearchScheduler] = SearchScheduler, **changed: Any) -> Scheduler:
    """The program's search with its default settings but those `changed`."""
    settings, sequence = SearchSettings(seed=setting.seed, **changed), dict[str, Any]()
    if settings.portfolio and setting.portfolio:
        defaults = {method: good[0] for method, good in setting.good.items()}
        order, useful = setting.portfolio
        turns, known = arranged(order, useful, defaults, {}, dict.fromkeys(defaults, 1 + portfolio_length(setting.trials)))
        setting, sequence = replace(setting, good=known, defaults=defaults), {"sequence": turns}
    plan = replace(setting.plan, rungs=setting.plan.rungs if settings.rungs else ())
    return of(
        setting.methods, setting.methods, setting.trials, settings, plan, setting.metric, setting.labels, setting, setting, one_kind,
        **sequence,
    )  # fmt: skip


def frozen(revision: str) -> type[SearchScheduler]:
    """The policy as it was at a commit of this repository, on today's interfaces. Raises `SettingsError` where it can't be had."""
    command = ["git", "-C", str(ROOT), "show", f"{revision}:pelt_automl/scheduling/search.py"]
    module = sys.modules["studies.frozen_policy"] = ModuleType("studies.frozen_policy")
    try:
        exec(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout, module.__dict__)
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        raise SettingsError(f"the policy of {revision} can't be run ({error}); give another commit with --frozen") from error
    found: type[SearchScheduler] = module.SearchScheduler
    return found


# -------------------------------------------------------------------- plain searches


@dataclass(frozen=True)
class Plain:
    """One configuration after the other, each to its end unless `goes_on` refuses at one of the `looks`; until the time is up."""

    setting: Setting
    next: Next
    looks: Sequence[int] = ()
    """Steps before the last."""
    goes_on: Callable[[History, Trial], bool] = lambda _history, _trial: True

    def actions(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:
        """See `Scheduler`."""
        trials, found = list(history.trials.values()), list[Action]()
        if budget.left <= 0:
            found = [Stop(trial.name, Because.TIME) for trial in trials if not trial.ended and not trial.stopped]
        else:
            marks = (*self.looks, self.setting.plan.steps)
            for trial in trials:
                if trial.undecided and self.goes_on(history, trial):
                    end = next(mark for mark in marks if mark > trial.reached)
                    found.append(Train(replace(trial.segment, start=trial.reached, end=end), Because.QUOTA))
                elif trial.undecided:
                    found.append(Stop(trial.name, Because.NOT_PROMOTED))
            ahead = copy.copy(history)
            for _ in range(0 if found else places(history, room)):
                if configuration := self.next(ahead):
                    number = sum(trial.segment.method == configuration[0] for trial in ahead.trials.values())
                    segment = self.setting.segment(configuration, number, marks[0])
                    found.append(Train(segment, Because.FIRST))
                    ahead.apply(Released(segment, Because.FIRST, time=0.0))
        return found or ([Finish()] if all(trial.ended for trial in trials) else [])

    def deadline(self, history: History, room: Room, budget: Budget) -> float:  # noqa: ARG002 the protocol's
        """When nothing is left."""
        return 0.0


def in_order(configurations: Sequence[Configuration]) -> Next:
    """One after the other."""
    return lambda history: configurations[len(history.trials)] if len(history.trials) < len(configurations) else None


def shuffled(setting: Setting) -> Next:
    """The random draws of all methods, mixed: what is known to be good is the program's own."""
    every = [(method, values) for method in setting.methods for values in setting.drawn[method]]
    random.Random(setting.draws).shuffle(every)
    return in_order(every)


def best_at(trial: Trial, step: int, metric: Metric) -> float:
    """The best select score up to a step after the untouched start, the greater the better."""
    curve = trial.ended.curve if trial.ended else trial.curve
    scores = [metric.sign * point.select_score for point in curve if 0 < point.step <= step and math.isfinite(point.select_score)]
    return max(scores, default=-math.inf)


def halved(setting: Setting) -> Plain:
    """ASHA (Li et al. 2020) over random draws; who isn't promoted when it comes to a rung isn't promoted later."""

    def goes_on(history: History, trial: Trial) -> bool:
        others = [own for own in history.trials.values() if own.name != trial.name]
        earlier = [best_at(own, trial.reached, setting.metric) for own in others if _reached(own) >= trial.reached]
        return bool(promoted({trial.name: best_at(trial, trial.reached, setting.metric)}, earlier, THIRD))

    return Plain(setting, shuffled(setting), setting.plan.rungs, goes_on)


def _reached(trial: Trial) -> int:
    return trial.ended.steps if trial.ended else trial.reached


def median_stopped(setting: Setting, proposed: Next) -> Plain:
    """Vizier's median rule, as in Optuna's MedianPruner: who is below the median of the completed trials at the same step is stopped."""

    def goes_on(history: History, trial: Trial) -> bool:
        done = [own for own in history.trials.values() if own.ended and own.ended.state == State.COMPLETED]
        at = [best_at(own, trial.reached, setting.metric) for own in done]
        return len(at) < STARTUP or best_at(trial, trial.reached, setting.metric) >= statistics.median(at)

    return Plain(setting, proposed, setting.plan.evaluate_at[:-1], goes_on)


class JointStudy:
    """One Optuna study (TPE, multivariate and grouped) over methods and their hyper-parameters."""

    def __init__(self, spaces: Mapping[str, SearchSpace], seed: int, *, greater_is_better: bool, defaults: bool = True) -> None:
        """`spaces`: by method, in their order; `defaults`: whether these are asked for first."""
        import warnings

        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # TPE's groups
        self.spaces, self.states = spaces, optuna.trial.TrialState
        self.study = optuna.create_study(
            direction="maximize" if greater_is_better else "minimize", pruner=optuna.pruners.MedianPruner(),
            sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        )  # fmt: skip
        for method, space in spaces.items() if defaults else ():
            self.enqueue(method, space.default())

    def enqueue(self, method: str, searched: Mapping[str, Any]) -> None:
        """Ask for this before anything else."""
        self.study.enqueue_trial({"method": method} | {f"{method}.{name}": value for name, value in searched.items()})

    def ask(self) -> tuple[Any, str, dict[str, Any]]:
        """Optuna's trial, the method, and all of its hyper-parameters."""
        trial = self.study.ask()
        method = str(trial.suggest_categorical("method", list(self.spaces)))
        return trial, method, self.spaces[method].configuration(self.spaces[method].suggest(_Prefixed(trial, method)))

    def tell(self, trial: Any, score: float | None, *, pruned: bool) -> None:
        """How it ended; without a score it has failed."""
        state = self.states.PRUNED if pruned else self.states.FAIL if score is None else self.states.COMPLETE
        self.study.tell(trial, score if state == self.states.COMPLETE else None, state=state)


class _Prefixed:
    """An Optuna trial whose parameters carry their method's name, so that methods don't share learning rates."""

    def __init__(self, trial: Any, method: str) -> None:
        self._trial, self._method = trial, method

    def __getattr__(self, suggest: str) -> Any:
        return lambda name, *arguments, **more: getattr(self._trial, suggest)(f"{self._method}.{name}", *arguments, **more)


def by_tpe(setting: Setting, nearest: "Nearest", *, defaults: bool = True) -> Next:
    """A `JointStudy` asked for as many trials as there may be; `nearest` turns what it draws into what can be trained.

    What `nearest` has nothing for is drawn again, `DRAWS` times at most. The study is told of ends in the order of the trials' release.
    """
    spaces, greater = load_spaces(None, tuple(setting.methods)), setting.metric.greater_is_better
    seed = (zlib.crc32(setting.labels.tobytes()) + setting.draws) % 2**32  # else all data sets would be offered the same
    joint = JointStudy(spaces, seed, greater_is_better=greater, defaults=defaults)
    asked = dict[str, Any]()

    def next_one(history: History) -> Configuration | None:
        for name, trial in history.trials.items():
            if trial.ended and name in asked:
                drawn, ended = asked.pop(name), trial.ended
                for point in ended.curve:
                    drawn.report(point.select_score, point.step)
                joint.tell(drawn, ended.select_score if ended.state != State.FAILED else None, pruned=ended.state == State.STOPPED)
        for _ in range(DRAWS if len(history.trials) < setting.trials * len(setting.methods) else 0):
            drawn, method, values = joint.ask()
            own = [trial.segment.hyper_parameters for trial in history.trials.values() if trial.segment.method == method]
            if (found := nearest(method, values, [json.dumps(tried, sort_keys=True) for tried in own])) is not None:
                asked[f"{method}-{len(own):04d}"] = drawn
                return method, found
            joint.tell(drawn, None, pruned=False)
        return None

    return next_one


# -------------------------------------------------------------------- all of them

Nearest = Callable[[str, Mapping[str, Any], Sequence[str]], Mapping[str, Any] | None]
"""Turns a drawn configuration into one that can be trained, none of those given (as sorted JSON); None where there is none."""


def always(method: str) -> Callable[[Setting, Nearest], Scheduler]:
    """A method's published default, without a look at anything."""
    return lambda own, _: Grid([own.segment((method, own.good[method][0]), 0, own.plan.steps)])


OURS = "ours"
FRESH = "ours-always-on-fresh-seeds"
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "ours-with-written-lists": {"portfolio": False},
    "ours-without-rungs": {"rungs": ()},
    "ours-without-race": {"race": False},
    "ours-without-rungs-and-race": {"rungs": (), "race": False},
}
"""The program with settings of its search changed, by name. The written lists are those of ``search_spaces/*.yaml``, in place of the order
that was learned."""
CONTENDERS: Mapping[str, Callable[[Setting, Nearest], Scheduler]] = {
    OURS: lambda own, _: ours(own),
    FRESH: lambda own, _: ours(own),
    "ours-without-finals": lambda own, _: ours(replace(own, kept=0.0)),
    **{name: lambda own, _, changed=changed: ours(own, **changed) for name, changed in ABLATIONS.items()},  # type: ignore[misc]
    "random": lambda own, _: Plain(own, shuffled(own)),
    "asha": lambda own, _: halved(own),
    "tpe+median": lambda own, nearest: median_stopped(own, by_tpe(own, nearest)),
    "drawn-tpe+median": lambda own, nearest: median_stopped(own, by_tpe(own, nearest, defaults=False)),
    **{f"always-{method}": always(method) for method in FIXED_DEFAULTS},
}
"""By name."""


def answer(ended: Iterable[TrialEnded], metric: Metric) -> TrialEnded | None:
    """The completed trial with the best select score, of equals the first; without any, the best of those that were stopped.

    None where nothing was evaluated.
    """
    scored = [trial for trial in ended if trial.state != State.FAILED and trial.select_score is not None]
    return max(scored, key=lambda trial: (trial.state == State.COMPLETED, metric.sign * (trial.select_score or 0.0)), default=None)
