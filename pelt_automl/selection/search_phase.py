"""The search: a stream of packed trials, one Optuna study a method, rungs from which the better trials go on with their own weights."""

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from pelt_automl.errors import NoTrialCompletedError, SearchSpaceError
from pelt_automl.evidence.savings import score_by
from pelt_automl.methods import METHODS
from pelt_automl.recommendation.costs import DEFAULT_OVER
from pelt_automl.recommendation.decision import best_by_select_score
from pelt_automl.recommendation.outcome import more_time
from pelt_automl.recommendation.wording import in_short
from pelt_automl.records import TIME_LIMIT, CurvePoint, Decision, TrialEnded
from pelt_automl.search.budget import of_use_to_finals
from pelt_automl.search.finalists import wanted_finalists
from pelt_automl.search.promotion import expected_share, promoted
from pelt_automl.search.race import OUT, leaving, out_of_race
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.search.studies import Asked, MethodStudy, open_storage
from pelt_automl.selection.baseline_phase import fitted_in_search
from pelt_automl.selection.context import Context
from pelt_automl.selection.limits import Limits
from pelt_automl.selection.search_trials import SearchTrial, begin_trial, forget, keep, name_of, stop, take_up
from pelt_automl.selection.working_folders import working
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.training.trials import TrialRun

JOURNAL = "studies.journal"
INHERITED = "inherited"
"""The decision to try configurations that another selection found."""
NOT_PROMOTED = "not promoted from its rung"

EXHAUSTED = "nothing left to try"

AHEAD = 2
"""Trials that a method may be ahead of another, whose own wait for a pack."""

FIRST = 2
"""Methods whose defaults are always begun, however short the time is: with fewer there is nothing to compare."""

NOTHING_SHARE = 0.05
"""Share of the time limit that is spent on finishing trials that the clock has stopped near their ends: stopping those saves nothing."""

LAST_RESERVE = 0.15
"""Share of the time limit that is kept for the end even when no trial has a score yet."""


def search(context: Context, methods: Sequence[str]) -> None:
    """Try configurations of each method until all trials are done or the search's share of the time is gone.

    Raises `NoTrialCompletedError` when every trial has failed and no baseline has a score: those that have one are an answer.
    """
    _Search(context, methods).run()
    trials = [trial for trial in context.record.of(TrialEnded) if trial.method in methods]
    if not fitted_in_search(context) and all(trial.state == "failed" or trial.select_score is None for trial in trials):
        causes = "; ".join(sorted({f"{trial.method}: {trial.cause or TIME_LIMIT}" for trial in trials})[:8])
        raise NoTrialCompletedError(f"no trial got as far as its first evaluation ({causes or TIME_LIMIT}). {_advice(context, trials)}")


def _advice(context: Context, trials: Sequence[TrialEnded]) -> str:
    """What to do when nothing was trained, by what went wrong."""
    errors = _errors(trials)
    if not errors:
        return f"Give it {more_time(context.record.events)}"
    if all(cause.partition(":")[0].endswith("MemoryError") or "can't allocate memory" in cause for cause in errors):
        return "Use a smaller --batch-size or --max-length, or a smaller model"
    return "More time won't help: --verbose shows where each training failed"


def _errors(trials: Sequence[TrialEnded]) -> list[str]:
    return [trial.cause for trial in trials if trial.cause not in ("", TIME_LIMIT)]


class _Search:
    """One process's part of the search: gives the training its trials, and judges them at their rungs."""

    def __init__(self, context: Context, methods: Sequence[str]) -> None:
        self.context = context
        self.methods = sorted(methods, key=self._cost_rank)
        """Cheap ones first, so that a short time is spent on many; a dear reference (full fine-tuning) last."""
        self.under_way: dict[str, SearchTrial] = {}
        """Trials that have been asked for and not ended, by name."""
        self.paused: dict[str, SearchTrial] = {}
        """Of these, those that wait at a rung to be judged together, by name."""
        self.going_on: deque[SearchTrial] = deque()
        """Of these, those that were promoted after such a wait and are in no pack yet."""
        self.no_time = False
        """Whether there was too little time for another trial when one was last asked for."""
        self.cut_off: list[SearchTrial] = []
        """Trials that the clock has cut off in their pack."""
        search, data = context.settings.search, context.data
        storage, limits = open_storage(context.folder / JOURNAL), Limits(context)
        self.studies = {
            method: MethodStudy(
                storage,
                method,
                context.spaces[method],
                search.seed,
                greater_is_better=data.metric.greater_is_better,
                refusal=partial(limits.refusal, method),
                sampler=search.sampler,
                first=self._known(method),
            )
            for method in methods
        }
        self.limit = context.clock.limit or 0.0
        self.reserve = self._reserve()
        self.scored = {trial.method for trial in context.record.of(TrialEnded) if trial.select_score is not None} & set(methods)
        """Methods with a score."""
        self.left_over = deque(self._left_over())
        """Of those under way, what a killed process was training."""
        self.trainer = replace(context.trainer("search", self._total_steps(), reserve=0.0), expired=self._expired)

    def run(self) -> None:
        """Take up what a killed process left, then the defaults, then equally many trials of each method that is in the race."""
        self._say_what_is_inherited()
        self._release()
        self.trainer.stream(self, self.context.pack_size)
        self._finish()
        numbers, remaining = {"seconds": self.context.clock.elapsed}, self._open()
        if remaining and not self._affordable(remaining):
            self.context.record.add(Decision("search ended", "search", "the search's share of the time is used", numbers, True))
        for method in remaining:
            if self.studies[method].asked == 0:
                self.context.record.add(Decision("not begun", method, "no time for its first trial", numbers, True))

    def _cost_rank(self, method: str) -> tuple[bool, bool]:
        """Methods that train in packs before those that need the device for themselves; of these, those that leave the backbone alone."""
        return not self.context.shares_packs(method), bool(self.context.modifications(method, METHODS[method].defaults))

    def _finish(self) -> None:
        """Train those that the clock stopped to their ends where that takes next to nothing, and end the others."""
        waiting = [trial for trial in self.under_way.values() if trial not in self.cut_off]
        remaining = sorted([*self.cut_off, *waiting], key=self._seconds_to_end)
        spent = accumulate(self._seconds_to_end(trial) for trial in remaining)
        cheap = [trial for trial, seconds in zip(remaining, spent, strict=True) if seconds <= NOTHING_SHARE * self.limit]
        for trial in cheap:
            if trial in waiting:
                take_up(self.context, trial.run)
            trial.run.progress.state = "running"
        least = LAST_RESERVE * self.limit
        trainer = replace(self.trainer, expired=lambda: self.context.clock.left <= least)
        trainer.train([trial.run for trial in cheap], self.context.plan.steps)
        for trial in remaining:
            if trial not in cheap and trial in waiting:  # paused, or promoted too late
                self._stop(trial, TIME_LIMIT)
                continue
            del self.under_way[trial.run.name]
            if trial.run.running:
                trial.run.end("stopped", TIME_LIMIT)
            self._end(trial)

    def _seconds_to_end(self, trial: SearchTrial) -> float:
        """Of the rest of a training, at its own speed so far; infinite where it hasn't begun or its method is out."""
        progress = trial.run.progress
        if not progress.step or trial.method in self.out:
            return math.inf
        return (self.context.plan.steps - progress.step) * progress.seconds / progress.step

    def _known(self, method: str) -> list[dict[str, Any]]:
        """What to try after the default without asking the sampler: what another selection found, then the portfolio."""
        search, space = self.context.settings.search, self.context.spaces[method]
        handed = [space.searched(configuration) for configuration in self.context.inherited.first.get(method, ())]
        return handed + (space.good()[: portfolio_length(search.trials)] if search.portfolio else [])

    def _say_what_is_inherited(self) -> None:
        said = {decision.subject for decision in self.context.record.of(Decision) if decision.what == INHERITED}
        for method, configurations in self.context.inherited.first.items():
            if method in self.methods and method not in said:
                listed = "; ".join(in_short(configuration) for configuration in configurations)
                self.context.record.add(
                    Decision(INHERITED, method, f"{self.context.inherited.source}, tried right after its default: {listed}")
                )

    def _reserve(self) -> float:
        """Seconds of the limit that the search leaves to the finals: their share, as far as they can use it at the speed seen so far."""
        context, settings = self.context, self.context.settings.search
        share, closing = self.limit * settings.finalist_share, context.closing_seconds(0, 0)
        return of_use_to_finals(share, context.seconds_a_finalist_run, closing, wanted_finalists(context.methods), settings)

    def _expired(self) -> bool:
        """Whether the search's share of the time is used.

        Until there is a first score, it may use most of the finals' share too; and half of it until there are two methods to compare.
        """
        if self.context.clock.limit is None:
            return False
        self.scored |= {trial.method for trial in self.under_way.values() if trial.run.progress.evaluated}
        least = LAST_RESERVE * self.limit
        if self.scored:
            least = self.reserve if len(self.scored) >= min(FIRST, len(self.methods)) else max(least, self.reserve / 2)
        return self.context.clock.left <= least

    def _total_steps(self) -> float:
        return len(self.methods) * (1 + (self.context.trials - 1) * self._expected_share()) * self.context.plan.steps

    def _expected_share(self) -> float:
        """The part of a full training that a trial gets on average, one that isn't a default."""
        return expected_share(self.context.plan, self.context.settings.search.promoted)

    # ------------------------------------------------------------ what the training asks for

    def next(self, waiting: Sequence[TrialRun]) -> TrialRun | None:
        """The next trial of the method that has had the fewest; None while others have to catch up, and when all is done.

        Those that were paused and are promoted come first. A method with a trial that waits for a pack of its kind isn't asked for another,
        and none gets more than `AHEAD` trials more.
        """
        if self.left_over:
            return self.left_over.popleft().run
        if self.going_on:
            return self._go_on()
        open_methods = self._affordable(self._open())
        held_up = {self.under_way[run.name].method for run in waiting}
        free = [method for method in open_methods if method not in held_up]
        self.no_time = not open_methods
        if self.no_time:
            self._release()
            return self._go_on() if self.going_on else None
        if not free:
            return None
        chosen = min(free, key=lambda method: self.studies[method].asked)
        if self.studies[chosen].asked >= min(self.studies[method].asked for method in open_methods) + AHEAD:
            return None
        try:
            return self._begin(begin_trial(self.context, chosen, self.studies[chosen].ask()))
        except SearchSpaceError as error:  # too few of its configurations are within the limits to be drawn
            self.context.record.add(Decision(EXHAUSTED, chosen, str(error)))
            self._release()
            return self.next(waiting)

    def judge(self, run: TrialRun) -> None:
        """Keep a checkpoint of a trial that goes on from its rung; end it where it isn't promoted, or where its method is out.

        Configurations that were known beforehand are all trained to a rung before the best of them go on.
        """
        trial = self.under_way[run.name]
        if trial.method in self.out:
            run.end("stopped", OUT)
        elif self._was_promoted(run.name, run.progress.step):  # since then a kill or a spoilt checkpoint has set it back
            keep(self.context, run)
        elif self._judged_together(trial):
            keep(self.context, run)
            run.pause()
        elif self._promoted(trial):
            keep(self.context, run)
        else:
            run.end("stopped", NOT_PROMOTED)

    def ended(self, run: TrialRun) -> None:
        """Record it, tell Optuna, and see who is still in the race, and who goes on from a rung."""
        if run.paused:
            self._wait(self.under_way[run.name])
        else:
            trial = self.under_way[run.name]
            if run.running:
                self.cut_off.append(trial)
                return
            del self.under_way[run.name]
            self._end(trial)
            self.reserve = self._reserve()
        self._release()
        self._race()
        self._release()

    # ------------------------------------------------------------ methods

    @property
    def out(self) -> set[str]:
        """Methods that have left the race."""
        return out_of_race(self.context.record.of(Decision))

    def _open(self) -> list[str]:
        """Methods of which there are trials to come: as many of each as the settings say, and its share of those that others have left."""
        out = self.out | {decision.subject for decision in self.context.record.of(Decision) if decision.what == EXHAUSTED}
        inside = [method for method in self.methods if method not in out]
        freed = sum(max(0, self.context.trials - self.studies[method].asked) for method in self.methods if method in out)
        most = self.context.trials + (freed // len(inside) if inside else 0)
        return [method for method in inside if self.studies[method].asked < most]

    def _affordable(self, methods: Sequence[str]) -> list[str]:
        """Those of which another trial can be expected to end, with those under way, before the search's time is up.

        A default need only come to its first evaluation, after which it can be compared, but that of a dear method to its end. The first
        two methods always may begin.
        """
        if self.context.clock.limit is None:
            return list(methods)
        plan, left = self.context.plan, self.context.clock.left - self.reserve
        under_way = sum(self._seconds_to_go(trial) for trial in self.under_way.values())
        begun = sum(study.asked > 0 for study in self.studies.values())

        def needed(method: str) -> float:
            first = self.studies[method].asked == 0
            share = self._expected_share() if not first else plan.evaluate_at[0] / plan.steps if self.context.shares_packs(method) else 1.0
            return share * self.context.seconds_a_training_of(method)

        return [method for method in methods if (begun < FIRST and self.studies[method].asked == 0) or under_way + needed(method) <= left]

    def _seconds_to_go(self, trial: SearchTrial) -> float:
        """What a trial under way is expected to take from where it is."""
        share = 1.0 if trial.asked.is_default else self._expected_share()
        done = trial.run.progress.step / self.context.plan.steps
        return max(0.0, share - done) * self.context.seconds_a_training_of(trial.method)

    def _race(self) -> None:
        """Methods whose best trial can't reach the leader's leave the race; none while one of its better trials may go on."""
        if not self.context.settings.search.race:
            return
        metric, slow = self.context.data.metric, {name for name, method in METHODS.items() if method.slow_starter}
        labels = self.context.splits(self.context.settings.search.seed)[1].labels
        trials = [trial for trial in self.context.record.of(TrialEnded) if trial.method in self.methods]
        decisions = self.context.record.of(Decision)
        over = {decision.subject for decision in decisions if decision.what == DEFAULT_OVER}
        first = min(self.context.plan.rungs, default=self.context.plan.steps)
        undecided = {trial.method for trial in self.under_way.values() if trial.run.progress.step >= first}
        for decision in leaving(trials, labels, metric.name, self.out, slow, over, greater_is_better=metric.greater_is_better):
            if decision.subject not in undecided:
                self.context.record.add(decision)

    # ------------------------------------------------------------ trials

    def _left_over(self) -> Iterator[SearchTrial]:
        ended = {trial.trial: trial for trial in self.context.record.of(TrialEnded)}
        for method, study in self.studies.items():
            for asked in study.unfinished():
                name = name_of(method, asked)
                if name in ended:  # killed between the record and Optuna
                    self._tell(method, asked, ended[name])
                    continue
                trial = begin_trial(self.context, method, asked)
                step = trial.run.progress.step
                self.context.record.add(Decision("resumed", name, f"its process was killed; it goes on at step {step}"))
                run = self._begin(trial)
                if self._judged_together(trial) and step in self.context.plan.rungs and not self._was_promoted(name, step):
                    run.pause()
                    self._wait(trial)
                else:
                    yield trial

    def _begin(self, trial: SearchTrial) -> TrialRun:
        self.under_way[trial.run.name] = trial
        return trial.run

    def _go_on(self) -> TrialRun:
        """The next of those that were paused and promoted."""
        run = self.going_on.popleft().run
        take_up(self.context, run)
        return run

    # ------------------------------------------------------------ rungs

    def _judged_together(self, trial: SearchTrial) -> bool:
        """Whether its configuration was known beforehand, so that the best can be chosen of all such ones; the default never stops."""
        return trial.asked.number < len(self.studies[trial.method].known) and not trial.asked.is_default

    def _wait(self, trial: SearchTrial) -> None:
        self.paused[trial.run.name] = trial
        trial.run.progress.best_weights, trial.run.progress.continuation = {}, {}  # its checkpoint has them

    def _release(self) -> None:
        """Let the best of those that are paused at a rung go on, and end the others, as soon as no further one can get there."""
        out = self.out
        for method in self.methods:
            paused = [trial for trial in self.paused.values() if trial.method == method]
            if method in out:
                for trial in paused:
                    self._stop(trial, OUT)
                continue
            if not paused or (self.studies[method].known_left and method in self._open() and not self.no_time):
                continue
            for rung in self.context.plan.rungs:
                here = [trial for trial in paused if trial.run.progress.step == rung]
                if here and not self._on_its_way(method, rung):
                    self._choose(here, rung)

    def _on_its_way(self, method: str, rung: int) -> bool:
        """Whether a trial of the method will come to this rung, or has just come to it, to be judged together with those that are there."""
        others = [trial for name, trial in self.under_way.items() if trial.method == method and name not in self.paused]
        return any(self._judged_together(trial) and (trial.run.progress.step < rung or trial.run.paused) for trial in others)

    def _choose(self, trials: Sequence[SearchTrial], rung: int) -> None:
        """Of all paused trials of a method at a rung those that go on."""
        method, known = trials[0].method, self.studies[trials[0].method].known
        scores = {trial.run.name: score for trial in trials if (score := self._score_at(trial.run.progress.curve, rung)) is not None}
        # judged before: by a process that was killed in the middle, or when there seemed to be no time for more
        judged = set(range(1, len(known))) - {trial.asked.number for trial in trials}
        share = self._share(method)
        better = self.context.data.metric.greater_is_better
        chosen = promoted(scores, self._scores_at(method, rung, judged), share, greater_is_better=better)
        for trial in trials:
            if trial.run.name in chosen:
                del self.paused[trial.run.name]
                self._record_promotion(trial.run.name, rung, scores[trial.run.name], f"among the best {share:.0%} of {method}")
                trial.run.progress.state = "running"
                self.going_on.append(trial)
            else:
                self._stop(trial, NOT_PROMOTED)

    def _promoted(self, trial: SearchTrial) -> bool:
        """Whether a default, or a configuration that the sampler drew, goes on from the rung that it has come to; recorded if it does.

        It is compared with the trials asked for before it, not with all that have got there: so a search that was killed decides the same.
        """
        name, rung = trial.run.name, trial.run.progress.step
        score = self._score_at(trial.run.progress.curve, rung)
        earlier = self._scores_at(trial.method, rung, range(trial.asked.number))
        share = self._share(trial.method)
        default = frozenset({name} if trial.asked.is_default else ())
        better = self.context.data.metric.greater_is_better
        if score is None or name not in promoted({name: score}, earlier, share, always=default, greater_is_better=better):
            return False
        why = "the published default is always trained in full" if default else f"among the best {share:.0%} of {trial.method}"
        self._record_promotion(name, rung, score, why)
        return True

    def _scores_at(self, method: str, rung: int, numbers: Collection[int]) -> list[float]:
        """Scores at a rung of those of a method's trials with these numbers that have come to it."""
        ended = [(trial.method, trial.number, trial.curve) for trial in self.context.record.of(TrialEnded) if trial.stage == "search"]
        beside = [(trial.method, trial.asked.number, trial.run.progress.curve) for trial in self.under_way.values()]
        curves = [curve for own, number, curve in (*ended, *beside) if own == method and number in numbers]
        return [score for curve in curves if curve and curve[-1].step >= rung and (score := self._score_at(curve, rung)) is not None]

    def _score_at(self, curve: Sequence[CurvePoint], rung: int) -> float | None:
        return score_by(curve, rung, self.context.data.metric.greater_is_better)

    def _share(self, method: str) -> float:
        """The share of a method's trials that go on from a rung."""
        share = self.context.settings.search.promoted
        return min(1.0, 2 * share) if METHODS[method].slow_starter else share  # its score at the rung says less

    def _record_promotion(self, name: str, rung: int, score: float, why: str) -> None:
        self.context.record.add(Decision("promoted", name, why, {"rung": rung, "rung_score": score}))

    def _was_promoted(self, name: str, rung: int) -> bool:
        decisions = self.context.record.of(Decision)
        return any(made.what == "promoted" and made.subject == name and made.numbers.get("rung") == rung for made in decisions)

    # ------------------------------------------------------------ ends

    def _stop(self, trial: SearchTrial, cause: str) -> None:
        """End a trial that waits outside of all packs."""
        del self.under_way[trial.run.name]
        self.paused.pop(trial.run.name, None)
        stop(self.context, trial.run, cause)
        self._end(trial)

    def _end(self, trial: SearchTrial) -> None:
        """Record it, tell Optuna, and keep the weights if they are the method's best so far."""
        event = self.context.ended(
            trial.run,
            candidate=trial.run.name,
            method=trial.method,
            stage="search",
            number=trial.asked.number,
            is_default=trial.asked.is_default,
            hyper_parameters=trial.asked.hyper_parameters,
        )
        if trial.run.progress.best_weights and self._is_best(event):
            save_tensors(weights_of_method(self.context.folder, trial.method), trial.run.progress.best_weights, {"trial": event.trial})
        self.context.record.add(event)
        self._tell(trial.method, trial.asked, event)
        forget(self.context, trial.run)
        trial.run.progress.best_weights = {}

    def _is_best(self, event: TrialEnded) -> bool:
        """By the rule of a verdict without finalists, which recommends this trial and needs its weights."""
        if event.state == "failed" or event.select_score is None:
            return False
        others = [other for other in self.context.record.of(TrialEnded) if other.method == event.method and other.stage == "search"]
        return best_by_select_score([*others, event], self.context.data.metric.greater_is_better) is event

    def _tell(self, method: str, asked: Asked, event: TrialEnded) -> None:
        study = self.studies[method]
        if event.state == "completed" and event.select_score is not None:
            study.tell_completed(asked.number, event.select_score)
        elif event.state == "stopped":
            study.tell_stopped(asked.number, event.steps, event.select_score)
        else:
            study.tell_failed(asked.number)


def weights_of_method(folder: Path, method: str) -> Path:
    """The best weights that a method's search has made."""
    return working(folder, "searched") / f"{method}.safetensors"
