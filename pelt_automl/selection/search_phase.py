"""The search: a stream of packed trials, one Optuna study a method, rungs from which the better trials go on with their own weights."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from pelt_automl.errors import NoTrialCompletedError, SearchSpaceError
from pelt_automl.evidence.savings import score_by
from pelt_automl.log.events import Because, CurvePoint, Decision, Phase, Stage, State, TrialEnded, What
from pelt_automl.methods import METHODS
from pelt_automl.recommendation.decision import best_by_select_score
from pelt_automl.recommendation.outcome import more_time
from pelt_automl.recommendation.wording import in_short
from pelt_automl.search.budget import of_use_to_finals
from pelt_automl.search.finalists import wanted_finalists
from pelt_automl.search.promotion import expected_share, promoted
from pelt_automl.search.proposer import Asked
from pelt_automl.search.race import LONG_GRACE, _may_leave, leaving
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.search.studies import MethodStudy, open_storage
from pelt_automl.selection.baseline_phase import fitted_in_search
from pelt_automl.selection.context import Context
from pelt_automl.selection.limits import Limits
from pelt_automl.selection.search_trials import SearchTrial, begin_trial, forget, keep, name_of, stop, take_up
from pelt_automl.selection.talking import Talk, seen_trial, told
from pelt_automl.selection.working_folders import working
from pelt_automl.training.checkpoints import save_tensors
from pelt_automl.training.trials import TrialRun

JOURNAL = "studies.journal"
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
    trials = [trial for trial in context.record.history.ended() if trial.method in methods]
    if not fitted_in_search(context) and all(trial.state == State.FAILED or trial.select_score is None for trial in trials):
        causes = "; ".join(sorted({f"{trial.method}: {trial.cause or Because.TIME}" for trial in trials})[:8])
        raise NoTrialCompletedError(f"no trial got as far as its first evaluation ({causes or Because.TIME}). {_advice(context, trials)}")


def _advice(context: Context, trials: Sequence[TrialEnded]) -> str:
    """What to do when nothing was trained, by what went wrong."""
    errors = _errors(trials)
    if not errors:
        return f"Give it {more_time(context.record.events)}"
    if all(cause.partition(":")[0].endswith("MemoryError") or "can't allocate memory" in cause for cause in errors):
        return "Use a smaller --batch-size or --max-length, or a smaller model"
    return "More time won't help: --verbose shows where each training failed"


def _errors(trials: Sequence[TrialEnded]) -> list[str]:
    return [trial.cause for trial in trials if trial.cause not in ("", Because.TIME)]


class _Search:
    """One process's part of the search: gives the training its trials, and judges them at their rungs."""

    def __init__(self, context: Context, methods: Sequence[str]) -> None:
        self.context = context
        self.talk = Talk(context, "search", self._snapshot)
        self.methods = sorted(methods, key=self._cost_rank)
        """Cheap ones first, so that a short time is spent on many; a dear reference (full fine-tuning) last."""
        self.talk.rule("cost order", fired=self.methods != list(methods), contested=len(methods) > 1)
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
        self.scored = {trial.method for trial in context.record.history.ended() if trial.select_score is not None} & set(methods)
        """Methods with a score."""
        self.left_over: deque[SearchTrial] = deque()
        """Of those under way, what a killed process was training."""
        self.talk.call("start", "", (), lambda: self.left_over.extend(self._left_over()), self._constants())
        self.trainer = replace(context.trainer(Phase.SEARCH, self._total_steps(), reserve=0.0), expired=self._expired)

    def run(self) -> None:
        """Take up what a killed process left, then the defaults, then equally many trials of each method that is in the race."""
        self._say_what_is_inherited()
        self._release()
        self.trainer.stream(self, self.context.pack_size)
        self.talk.call("finish", "", (), self._finish)
        numbers, remaining = {"seconds": self.context.clock.elapsed}, self._open()
        if remaining and not self._affordable(remaining):
            self.context.record.add(Decision(What.SEARCH_ENDED, "search", "the search's share of the time is used", numbers))
        for method in remaining:
            if self.studies[method].asked == 0:
                self.context.record.add(Decision(What.NOT_BEGUN, method, "no time for its first trial", numbers))

    def _cost_rank(self, method: str) -> tuple[bool, bool]:
        """Methods that train in packs before those that need the device for themselves; of these, those that leave the backbone alone."""
        return not self.context.shares_packs(method), bool(self.context.modifications(method, METHODS[method].defaults))

    def _finish(self) -> None:
        """Train those that the clock stopped to their ends where that takes next to nothing, and end the others."""
        waiting = [trial for trial in self.under_way.values() if trial not in self.cut_off]
        remaining = sorted([*self.cut_off, *waiting], key=self._seconds_to_end)
        spent = accumulate(self._seconds_to_end(trial) for trial in remaining)
        cheap = [trial for trial, seconds in zip(remaining, spent, strict=True) if seconds <= NOTHING_SHARE * self.limit]
        self.talk.rule("nearly done", fired=bool(cheap), contested=any(trial.run.progress.step for trial in remaining))
        for trial in cheap:
            if trial in waiting:
                take_up(self.context, trial.run)
            trial.run.progress.state = "running"
        least = LAST_RESERVE * self.limit
        trainer = replace(self.trainer, expired=lambda: self.context.clock.left <= least)
        trainer.train([trial.run for trial in cheap], self.context.plan.steps)
        for trial in remaining:
            if trial not in cheap and trial in waiting:  # paused, or promoted too late
                self._stop(trial, Because.TIME)
                continue
            del self.under_way[trial.run.name]
            if trial.run.running:
                trial.run.end("stopped", Because.TIME)
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
        said = self.context.record.history.decided(What.INHERITED)
        for method, configurations in self.context.inherited.first.items():
            if method in self.methods and method not in said:
                listed = "; ".join(in_short(configuration) for configuration in configurations)
                self.context.record.add(
                    Decision(What.INHERITED, method, f"{self.context.inherited.source}, tried right after its default: {listed}")
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
        expired, plainly = self.context.clock.left <= least, self.context.clock.left <= self.reserve
        few = len(self.scored) < min(FIRST, len(self.methods))
        rule = "until two scores" if self.scored else "until a score"
        self.talk.rule(rule, fired=few and expired != plainly, contested=few and plainly)
        if expired:
            self.talk.call("expired", "", (), lambda: None)
        return expired

    def _total_steps(self) -> float:
        return len(self.methods) * (1 + (self.context.trials - 1) * self._expected_share()) * self.context.plan.steps

    def _expected_share(self) -> float:
        """The part of a full training that a trial gets on average, one that isn't a default."""
        return expected_share(self.context.plan, self.context.settings.search.promoted)

    # ------------------------------------------------------------ what the training asks for

    @told
    def next(self, waiting: Sequence[TrialRun]) -> TrialRun | None:
        """The next trial of the method that has had the fewest; None while others have to catch up, and when all is done.

        Those that were paused and are promoted come first. A method with a trial that waits for a pack of its kind isn't asked for another,
        and none gets more than `AHEAD` trials more.
        """
        rule = self.talk.rule
        if rule("left over first", fired=bool(self.left_over)):
            self.talk.why = "left over"
            return self.left_over.popleft().run
        if self.going_on:
            rule("going on first", contested=True, fired=bool(self._affordable(self._open())))
            return self._go_on()
        rule("going on first")
        open_methods = self._affordable(self._open())
        held_up = {self.under_way[run.name].method for run in waiting}
        free = [method for method in open_methods if method not in held_up]
        self.no_time = not open_methods
        if self.no_time:
            paused = list(self.paused)
            self._release()
            all_done = not self._open()
            rule("judged for lack of time", fired=not all_done and list(self.paused) != paused, contested=not all_done and bool(paused))
            self.talk.why = "all done" if all_done else "no time"
            return self._go_on() if self.going_on else None
        fewest = min(open_methods, key=lambda method: self.studies[method].asked)
        if not free:
            rule("held up", fired=True)
            self.talk.why = "held up"
            return None
        chosen = min(free, key=lambda method: self.studies[method].asked)
        rule("held up", fired=chosen != fewest, contested=bool(held_up & set(open_methods)))
        rule("fewest first", fired=chosen != free[0], contested=len(free) > 1)
        ahead = self.studies[chosen].asked - self.studies[fewest].asked
        if rule("ahead", fired=ahead >= AHEAD, contested=ahead > 0):
            self.talk.why = "ahead"
            return None
        try:
            trial = begin_trial(self.context, chosen, self.studies[chosen].ask())
        except SearchSpaceError as error:  # too few of its configurations are within the limits to be drawn
            self.context.record.add(Decision(What.EXHAUSTED, chosen, str(error)))
            rule("exhausted", fired=True)
            self._release()
            return self.next(waiting)
        known = 0 < trial.asked.number < len(self.studies[chosen].known)
        rule("known first", fired=known, contested=not trial.asked.is_default)
        rule("exhausted")
        self.talk.why, self.talk.hyper_parameters = "asked", trial.asked.hyper_parameters
        return self._begin(trial)

    @told
    def judge(self, run: TrialRun) -> None:
        """Keep a checkpoint of a trial that goes on from its rung; end it where it isn't promoted, or where its method is out.

        Configurations that were known beforehand are all trained to a rung before the best of them go on.
        """
        trial = self.under_way[run.name]
        rule, out, before = self.talk.rule, self.out, self._was_promoted(run.name, run.progress.step)
        if rule("out at a rung", fired=trial.method in out, contested=bool(out)):
            run.end("stopped", Because.METHOD_OUT)
        elif rule("promoted before", fired=before):  # since then a kill or a spoilt checkpoint has set it back
            keep(self.context, run)
        elif rule("judged together", fired=self._judged_together(trial), contested=not trial.asked.is_default):
            keep(self.context, run)
            run.pause()
        elif self._promoted(trial):
            keep(self.context, run)
        else:
            run.end("stopped", Because.NOT_PROMOTED)

    @told
    def ended(self, run: TrialRun) -> None:
        """Record it, tell Optuna, and see who is still in the race, and who goes on from a rung."""
        if run.paused:
            self._wait(self.under_way[run.name])
        else:
            trial = self.under_way[run.name]
            if self.talk.rule("cut off", fired=run.running, contested=self.limit > 0):
                self.cut_off.append(trial)
                return
            del self.under_way[run.name]
            self._end(trial)
            before, self.reserve = self.reserve, self._reserve()
            self.talk.rule("reserve by speed", fired=before != self.reserve, contested=self.limit > 0)
        self._release()
        self._race()
        self._release()

    # ------------------------------------------------------------ methods

    @property
    def out(self) -> set[str]:
        """Methods that have left the race."""
        return self.context.record.history.out_of_race

    def _open(self) -> list[str]:
        """Methods of which there are trials to come: as many of each as the settings say, and its share of those that others have left."""
        out = self.out | set(self.context.record.history.decided(What.EXHAUSTED))
        inside = [method for method in self.methods if method not in out]
        freed = sum(max(0, self.context.trials - self.studies[method].asked) for method in self.methods if method in out)
        most = self.context.trials + (freed // len(inside) if inside else 0)
        found = [method for method in inside if self.studies[method].asked < most]
        gained = any(self.studies[method].asked >= self.context.trials for method in found)
        self.talk.rule("freed trials", fired=gained, contested=freed > 0 and bool(inside))
        return found

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

        found = [method for method in methods if (begun < FIRST and self.studies[method].asked == 0) or under_way + needed(method) <= left]
        self._talk_of_affording(methods, found, needed, left - under_way, begun)
        return found

    def _talk_of_affording(
        self, methods: Sequence[str], found: Sequence[str], needed: Callable[[str], float], left: float, begun: int
    ) -> None:
        first = [method for method in methods if self.studies[method].asked == 0]
        rule, plan = self.talk.rule, self.context.plan
        rule("affordable", fired=len(found) < len(methods), contested=bool(methods))
        rule("first two", fired=begun < FIRST and any(needed(method) > left for method in first), contested=begun < FIRST and bool(first))
        packed = [method for method in first if self.context.shares_packs(method) and begun >= FIRST]
        in_full = [self.context.seconds_a_training_of(method) for method in packed]
        gained = any(needed(method) <= left < seconds for method, seconds in zip(packed, in_full, strict=True))
        rule("a default to its first score", fired=gained, contested=bool(packed))
        dear = [method for method in first if not self.context.shares_packs(method) and begun >= FIRST]
        share = plan.evaluate_at[0] / plan.steps
        rule("a dear default to its end", fired=any(share * needed(m) <= left < needed(m) for m in dear), contested=bool(dear))

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
        trials = [trial for trial in self.context.record.history.ended() if trial.method in self.methods]
        decisions = self.context.record.history.of_kind(Decision)
        over = {decision.subject for decision in decisions if decision.what == What.DEFAULT_OVER}
        first = min(self.context.plan.rungs, default=self.context.plan.steps)
        undecided = {trial.method for trial in self.under_way.values() if trial.run.progress.step >= first}
        found = leaving(trials, labels, metric.name, self.out, slow, over, greater_is_better=metric.greater_is_better)
        self.talk.rule("undecided", fired=any(d.subject in undecided for d in found), contested=bool(found))
        if self.talk.on:
            self._talk_of_race(trials, labels, slow, over, {decision.subject for decision in found})
        for decision in found:
            if decision.subject not in undecided:
                self.context.record.add(decision)

    def _talk_of_race(self, trials: list[TrialEnded], labels: Any, slow: set[str], over: set[str], found: set[str]) -> None:
        """Who would leave without each of the race's rules."""
        metric, every = self.context.data.metric, set(self.methods)
        inside = {trial.method for trial in trials if trial.state == State.COMPLETED} - self.out

        def without(trials: list[TrialEnded], slow: set[str], over: set[str]) -> set[str]:
            left = leaving(trials, labels, metric.name, self.out, slow, over, greater_is_better=metric.greater_is_better)
            return {decision.subject for decision in left}

        more = [replace(trial, state=State.STOPPED) for trial in trials for _ in range(LONG_GRACE)]
        may = {method for method in inside if _may_leave(method, trials, slow, over)}
        rule = self.talk.rule
        rule("race", fired=bool(found), contested=len(inside) > 1 and bool(may))
        rule("grace", fired=without([*trials, *more], slow, over) != found, contested=len(inside) > 1)
        rule("grace of a slow starter", fired=without(trials, set(), over) != found, contested=bool(inside & slow) and len(inside) > 1)
        rule("default in full first", fired=without(trials, slow, every) != found, contested=bool(inside - may) and len(inside) > 1)
        rule("default over a limit", fired=without(trials, slow, set()) != found, contested=bool(inside & over) and len(inside) > 1)

    # ------------------------------------------------------------ trials

    def _left_over(self) -> Iterator[SearchTrial]:
        ended = {trial.trial: trial for trial in self.context.record.history.ended()}
        for method, study in self.studies.items():
            for asked in study.unfinished():
                name = name_of(method, asked)
                if self.talk.rule("told late", fired=name in ended):  # killed between the record and Optuna
                    self._tell(method, asked, ended[name])
                    continue
                trial = begin_trial(self.context, method, asked)
                step = trial.run.progress.step
                self.context.record.add(Decision(What.RESUMED, name, f"its process was killed; it goes on at step {step}"))
                run = self._begin(trial)
                waits = self._judged_together(trial) and step in self.context.plan.rungs and not self._was_promoted(name, step)
                if self.talk.rule("still paused", fired=waits, contested=step > 0):
                    run.pause()
                    self._wait(trial)
                else:
                    yield trial

    def _begin(self, trial: SearchTrial) -> TrialRun:
        self.under_way[trial.run.name] = trial
        return trial.run

    def _go_on(self) -> TrialRun:
        """The next of those that were paused and promoted."""
        self.talk.why = "going on"
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
            if self.talk.rule("out while paused", fired=bool(paused) and method in out, contested=bool(paused and out)) or method in out:
                for trial in paused:
                    self._stop(trial, Because.METHOD_OUT)
                continue
            if not paused:
                continue
            here = {rung: [trial for trial in paused if trial.run.progress.step == rung] for rung in self.context.plan.rungs}
            ready = [rung for rung, trials in here.items() if trials and not self._on_its_way(method, rung)]
            more = self.studies[method].known_left and method in self._open() and not self.no_time
            if self.talk.rule("known left", fired=bool(more and ready), contested=True) or more:
                continue
            for rung, trials in here.items():
                if trials and not self.talk.rule("on its way", fired=self._on_its_way(method, rung), contested=True):
                    self._choose(trials, rung)

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
        earlier = self._scores_at(method, rung, judged)
        chosen = promoted(scores, list(earlier.values()), share, greater_is_better=better)
        if self.talk.on:
            alone = promoted(scores, [], share, greater_is_better=better)
            self.talk.rule("judged before", fired=chosen != alone, contested=bool(earlier))
            self._talk_of_promotion(method, rung, scores, earlier, chosen)
        for trial in trials:
            if trial.run.name in chosen:
                del self.paused[trial.run.name]
                self._record_promotion(trial.run.name, rung, scores[trial.run.name], f"among the best {share:.0%} of {method}")
                trial.run.progress.state = "running"
                self.going_on.append(trial)
            else:
                self._stop(trial, Because.NOT_PROMOTED)

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
        if score is None:
            return False
        chosen = promoted({name: score}, list(earlier.values()), share, always=default, greater_is_better=better)
        if self.talk.on:
            self._talk_of_judging(trial, score, earlier, chosen)
        if name not in chosen:
            return False
        why = "the published default is always trained in full" if default else f"among the best {share:.0%} of {trial.method}"
        self._record_promotion(name, rung, score, why)
        return True

    def _scores_at(self, method: str, rung: int, numbers: Collection[int]) -> dict[str, float]:
        """Scores at a rung, by name, of those of a method's trials with these numbers that have come to it."""
        ended = [(t.method, t.number, t.trial, t.curve) for t in self.context.record.history.ended(Stage.SEARCH)]
        beside = [(trial.method, trial.asked.number, name, trial.run.progress.curve) for name, trial in self.under_way.items()]
        curves = {name: curve for own, number, name, curve in (*ended, *beside) if own == method and number in numbers}
        at_rung = {name: self._score_at(curve, rung) for name, curve in curves.items() if curve and curve[-1].step >= rung}
        return {name: score for name, score in at_rung.items() if score is not None}

    def _score_at(self, curve: Sequence[CurvePoint], rung: int) -> float | None:
        return score_by(curve, rung, self.context.data.metric.greater_is_better)

    def _share(self, method: str) -> float:
        """The share of a method's trials that go on from a rung."""
        share = self.context.settings.search.promoted
        return min(1.0, 2 * share) if METHODS[method].slow_starter else share  # its score at the rung says less

    def _talk_of_judging(self, trial: SearchTrial, score: float, earlier: dict[str, float], chosen: set[str]) -> None:
        name, rung, default = trial.run.name, trial.run.progress.step, trial.asked.is_default
        every = self._scores_at(trial.method, rung, range(1_000_000))

        def among(others: dict[str, float]) -> set[str]:
            better = self.context.data.metric.greater_is_better
            scores = [own for other, own in others.items() if other != name]
            return promoted({name: score}, scores, self._share(trial.method), greater_is_better=better)

        self.talk.rule("the default goes on", fired=default and among(earlier) != chosen, contested=default)
        later = bool(every.keys() - earlier.keys() - {name}) and not default
        self.talk.rule("judged by those before", fired=later and among(every) != chosen, contested=later)
        self._talk_of_promotion(trial.method, rung, {name: score}, earlier, chosen)

    def _talk_of_promotion(
        self, method: str, rung: int, scores: dict[str, float], others: dict[str, float], chosen: Collection[str]
    ) -> None:
        share, plain = self._share(method), self.context.settings.search.promoted
        better = self.context.data.metric.greater_is_better
        slow, judged = METHODS[method].slow_starter, [name for name in scores if name not in chosen or not name.endswith("-0000")]
        plainly = promoted(scores, list(others.values()), plain, greater_is_better=better)
        differs = any((name in chosen) != (name in plainly) for name in judged)
        self.talk.rule("a slow starter's share", fired=slow and differs, contested=slow and len(scores) + len(others) > 1)
        self.talk.rule("quota", fired=len(chosen) < len(scores), contested=len(scores) + len(others) > 1)
        self.talk.compared(method, rung, scores, others, share, chosen)

    def _snapshot(self) -> dict[str, Any]:
        """What it knows, for `Talk`."""
        going_on, left_over = list(self.going_on), list(self.left_over)

        def where(trial: SearchTrial) -> str:
            places = {"left over": left_over, "going on": going_on, "paused": list(self.paused.values()), "cut off": self.cut_off}
            return next((name for name, trials in places.items() if trial in trials), "given")

        return {
            "reserve": self.reserve,
            "under_way": [
                seen_trial(self.context, t.method, t.asked.number, t.asked.is_default, where(t), t.run) for t in self.under_way.values()
            ],
            "asked": {method: study.asked for method, study in self.studies.items()},
            "seconds_a_training": {method: self.context.seconds_a_training_of(method) for method in self.methods},
        }

    def _constants(self) -> dict[str, Any]:
        """What doesn't change in a search, for `Talk`."""
        context, search, plan = self.context, self.context.settings.search, self.context.plan
        return {
            "methods": self.methods,
            "known": {method: study.known for method, study in self.studies.items()},
            "trials": context.trials,
            "steps": plan.steps,
            "rungs": list(plan.rungs),
            "evaluate_at": list(plan.evaluate_at),
            "final_steps": context.final_plan.steps,
            "pack_size": context.pack_size,
            "shares_packs": {method: context.shares_packs(method) for method in self.methods},
            "slow_starters": [method for method in self.methods if METHODS[method].slow_starter],
            "promoted": search.promoted,
            "race": search.race,
            "patience": plan.patience,
            "expected_share": self._expected_share(),
            "metric": context.data.metric.name,
            "select_labels": context.splits(search.seed)[1].labels.tolist(),
        }

    def _record_promotion(self, name: str, rung: int, score: float, why: str) -> None:
        self.context.record.add(Decision(What.PROMOTED, name, why, {"rung": rung, "rung_score": score}))

    def _was_promoted(self, name: str, rung: int) -> bool:
        decisions = self.context.record.history.of_kind(Decision)
        return any(made.what == What.PROMOTED and made.subject == name and made.numbers.get("rung") == rung for made in decisions)

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
            stage=Stage.SEARCH,
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
        if event.state == State.FAILED or event.select_score is None:
            return False
        others = [other for other in self.context.record.history.ended(Stage.SEARCH) if other.method == event.method]
        return best_by_select_score([*others, event], self.context.data.metric.greater_is_better) is event

    def _tell(self, method: str, asked: Asked, event: TrialEnded) -> None:
        study = self.studies[method]
        if event.state == State.COMPLETED and event.select_score is not None:
            study.tell_completed(asked.number, event.select_score)
        elif event.state == State.STOPPED:
            study.tell_stopped(asked.number, event.steps, event.select_score)
        else:
            study.tell_failed(asked.number)


def weights_of_method(folder: Path, method: str) -> Path:
    """The best weights that a method's search has made."""
    return working(folder, "searched") / f"{method}.safetensors"
