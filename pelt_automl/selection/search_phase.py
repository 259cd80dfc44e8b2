"""The search: rounds of packed trials, one Optuna study a method, two rungs with continuation from a trial's own weights."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pelt_automl.errors import NoTrialCompletedError, SelectionError
from pelt_automl.methods import METHODS
from pelt_automl.recommendation.decision import best_by_select_score
from pelt_automl.records import CurvePoint, Decision, Seeds, TrialEnded
from pelt_automl.search.promotion import promoted
from pelt_automl.search.studies import Asked, MethodStudy, exclusive, open_storage
from pelt_automl.selection.context import Context
from pelt_automl.training.checkpoints import load_progress, save_progress, save_tensors
from pelt_automl.training.trials import TrialRun

JOURNAL = "studies.journal"
TIME_LIMIT = "time limit"

LAST_RESERVE = 0.15
"""Share of the time limit that is kept for the end even when no trial has a score yet."""


@dataclass
class _SearchTrial:
    """A trial of the search on its way."""

    method: str
    asked: Asked
    run: TrialRun


def search(context: Context, methods: Sequence[str]) -> None:
    """Try configurations of each method until all trials are done or the search's share of the time is gone.

    Raises `SelectionError` when another process is searching one of the methods in the same folder, and `NoTrialCompletedError` when
    every trial has failed.
    """
    with ExitStack() as stack:
        for method in methods:
            if not stack.enter_context(exclusive(context.folder / f"{method}.lock")):
                raise SelectionError(f"another process is searching {method} in {context.folder}; wait for it, or choose another --output")
        _Search(context, methods).run_rounds()
    trials = [trial for trial in context.record.of(TrialEnded) if trial.method in methods]
    if all(trial.state == "failed" or trial.select_score is None for trial in trials):
        causes = "; ".join(sorted({f"{trial.method}: {trial.cause or TIME_LIMIT}" for trial in trials})[:8])
        raise NoTrialCompletedError(
            f"no trial got as far as its first evaluation ({causes or TIME_LIMIT}); give more --seconds, with a new --output"
        )


class _Search:
    """One process's part of the search."""

    def __init__(self, context: Context, methods: Sequence[str]) -> None:
        self.context, self.methods = context, methods
        self.under_way: Sequence[_SearchTrial] = ()
        search, data = context.settings.search, context.data
        storage = open_storage(context.folder / JOURNAL)
        self.studies = {
            method: MethodStudy(
                storage,
                method,
                context.spaces[method],
                search.seed,
                greater_is_better=data.metric.greater_is_better,
                refusal=partial(context.refusal, method),
            )
            for method in methods
        }
        self.limit = context.clock.limit or 0.0
        self.reserve = self.limit * search.finalist_share
        self.scored = False
        self.trainer = replace(context.trainer("search", self._total_steps(), reserve=0.0), expired=self._expired)

    def _expired(self) -> bool:
        """Whether the search's share of the time is used; until there is a first score, it may use most of the finalists' too."""
        if self.context.clock.limit is None:
            return False
        self.scored = self.scored or any(trial.run.progress.curve for trial in self.under_way)
        return self.context.clock.left <= (self.reserve if self.scored else LAST_RESERVE * self.limit)

    def _total_steps(self) -> float:
        search, plan = self.context.settings.search, self.context.plan
        in_full = min(search.trials, 1 + search.promoted * search.trials)
        return len(self.methods) * (in_full * plan.steps + (search.trials - in_full) * plan.rung_steps)

    def run_rounds(self) -> None:
        """Take up what a killed process left, then the defaults, then rounds of equally many trials a method."""
        self._round(self._left_over())
        while trials := self._next_round():
            self._round(trials)

    def _left_over(self) -> list[_SearchTrial]:
        ended = {trial.trial: trial for trial in self.context.record.of(TrialEnded)}
        found = []
        for method, study in self.studies.items():
            for asked in study.unfinished():
                name = _name(method, asked)
                if name in ended:  # killed between the record and Optuna
                    self._tell(method, asked, ended[name])
                    continue
                found.append(self._trial(method, asked))
                self.context.record.add(
                    Decision("resumed", name, f"was under way when an earlier start ended, at step {found[-1].run.progress.step}")
                )
        return found

    def _next_round(self) -> list[_SearchTrial]:
        """The next configurations: first each method's default, then equally many of each method; none when all is done."""
        most = self.context.settings.search.trials
        open_methods = [method for method in self.methods if self.studies[method].asked < most]
        first = [method for method in open_methods if self.studies[method].asked == 0]
        if first:
            return [self._trial(method, self.studies[method].ask()) for method in first]
        each = max(1, self.context.pack_size // max(1, len(self.methods)))
        each = min(each, self._affordable(len(open_methods)))
        if each == 0 and open_methods:
            self.context.record.add(
                Decision("search ended", "search", "the search's share of the time is used", {"seconds": self.context.clock.elapsed})
            )
        return [
            self._trial(method, self.studies[method].ask())
            for method in open_methods
            for _ in range(min(each, most - self.studies[method].asked))
        ]

    def _affordable(self, methods: int) -> int:
        """Trials a method that can reach their rung, and the promoted ones the end, before the search's time is up."""
        if self.context.clock.limit is None or methods == 0:
            return self.context.settings.search.trials
        left = self.context.clock.left - self.reserve
        plan, share = self.context.plan, self.context.settings.search.promoted
        full = self.context.seconds_a_training
        one = full * (share + (1 - share) * plan.rung_steps / plan.steps)
        return max(0, int(left / (one * methods)))

    def _trial(self, method: str, asked: Asked) -> _SearchTrial:
        seed = self.context.settings.search.seed  # all trials of the search share their seeds, so that their scores are paired
        name = _name(method, asked)
        run = self.context.run(name, method, asked.hyper_parameters, Seeds(seed, seed, seed))
        checkpoint = self._checkpoint(name)
        if checkpoint.is_file():
            try:
                run.progress = load_progress(checkpoint)
            except SelectionError as error:
                self.context.record.add(Decision("started anew", name, f"its checkpoint can't be read: {error}"))
        return _SearchTrial(method, asked, run)

    def _checkpoint(self, name: str) -> Path:
        return self.context.folder / "checkpoints" / f"{name}.safetensors"

    def _round(self, trials: Sequence[_SearchTrial]) -> None:
        self.under_way = trials
        size = self.context.pack_size
        for start in range(0, len(trials), size):
            self.trainer.train([trial.run for trial in trials[start : start + size]], until=self.context.plan.rung_steps)
        going_on = self._after_the_rung(trials)
        for start in range(0, len(going_on), size):
            self.trainer.train([trial.run for trial in going_on[start : start + size]], until=self.context.plan.steps)
        for trial in going_on:
            if trial.run.running:
                trial.run.end("stopped", TIME_LIMIT)
            self._end(trial)

    def _after_the_rung(self, trials: Sequence[_SearchTrial]) -> list[_SearchTrial]:
        """End what has failed, isn't promoted, or ran out of time; keep checkpoints of the rest."""
        chosen = {name for method in self.methods for name in self._promoted(method, [t for t in trials if t.method == method])}
        going_on = []
        for trial in trials:
            on_the_way = trial.run.running and trial.run.progress.step >= self.context.plan.rung_steps
            if on_the_way and trial.run.name in chosen:
                save_progress(self._checkpoint(trial.run.name), trial.run.progress)
                going_on.append(trial)
                continue
            if trial.run.running:
                trial.run.end("stopped", "not promoted from its rung" if on_the_way else TIME_LIMIT)
            self._end(trial)
        return going_on

    def _promoted(self, method: str, trials: Sequence[_SearchTrial]) -> set[str]:
        rung, better = self.context.plan.rung_steps, self.context.data.metric.greater_is_better
        new = {t.run.name: score for t in trials if (score := _rung_score(t.run.progress.curve, rung, better)) is not None}
        earlier = [
            score
            for ended in self.context.record.of(TrialEnded)
            if ended.method == method and ended.stage == "search" and (score := _rung_score(ended.curve, rung, better)) is not None
        ]
        share = self.context.settings.search.promoted
        if METHODS[method].slow_starter:
            share = min(1.0, 2 * share)  # a longer grace: its score at the rung says less
        default = frozenset(t.run.name for t in trials if t.asked.is_default)
        going_on = promoted(new, earlier, share, always=default, greater_is_better=better)
        for name, score in new.items():
            if name in going_on:
                why = "the published default is always trained in full" if name in default else f"among the best {share:.0%} of {method}"
                self.context.record.add(Decision("promoted", name, why, {"rung_score": score}))
        return going_on

    def _end(self, trial: _SearchTrial) -> None:
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
        self._checkpoint(trial.run.name).unlink(missing_ok=True)
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
    return folder / "searched" / f"{method}.safetensors"


def _name(method: str, asked: Asked) -> str:
    return f"{method}-{asked.number:04d}"


def _rung_score(curve: Sequence[CurvePoint], rung: int, greater_is_better: bool) -> float | None:
    """The best select score up to the rung; None before the first evaluation."""
    scores = [point.select_score for point in curve if point.step <= rung]
    if not scores:
        return None
    return max(scores) if greater_is_better else min(scores)
