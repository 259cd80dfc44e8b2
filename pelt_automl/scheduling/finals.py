"""The policy of the finals: which configurations are trained again, on how many fresh seed triples, and when they are scored."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from pelt_automl.log.events import (
    Because,
    Decision,
    FinalistScored,
    Released,
    ReportOpened,
    Seeds,
    Segment,
    Stage,
    TrialEnded,
    UnionPruned,
    What,
)
from pelt_automl.log.history import History, Trial
from pelt_automl.methods import BASELINES
from pelt_automl.scheduling.actions import Action, Budget, Finish, Fit, Note, Room, Score, Stop, TakeOver, Train
from pelt_automl.search.finalists import Finalists, choose_finalists, fitted_baselines, has_score
from pelt_automl.settings import SearchSettings
from pelt_automl.timing.policy import POLICY
from pelt_automl.verdict.another_seed import Outlook
from pelt_automl.verdict.decision import best_by_select_score
from pelt_automl.verdict.wording import counted

KEPT = "kept"
"""The number of a `Released` that says how many seconds are left of the limit when the round is cut off."""


class Costs(Protocol):
    """What things take, in seconds, by the history."""

    @property
    def least_scored(self) -> int:
        """Examples of the report split that time is kept for."""

    @property
    def writing(self) -> float:
        """The verdict and the report."""

    def finalist(self, history: History, method: str) -> float:
        """A finalist's training."""

    def example(self, history: History) -> float:
        """Evaluating an example."""

    def scored(self, history: History) -> float:
        """Scoring an example of report, as it was when runs were scored."""

    def closing(self, history: History, limit: float | None, runs: int = 0, report_examples: int = 0) -> float:
        """What comes after the trainings: scoring so many runs on so many examples, and all the rest."""


def finalist_seeds(question: str, index: int) -> Seeds:
    """The seed triple of this index, from the hash of the question: shared by all finalists, and by no other question."""

    def drawn(purpose: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{question}/{index}/{purpose}".encode()).digest()[:4], "big") >> 1

    return Seeds(split=drawn("split"), initialization=drawn("initialization"), order=drawn("order"))


@dataclass(frozen=True)
class Finals:
    """Decides the finals. Pure: everything that it knows is in the history, so that a kill changes nothing but one thing: what of
    a further round wasn't released before it is decided again.

    - *choice*: the best configuration of each method and the fixed defaults, as many as there is time for (see `choose_finalists`).
    - *taking over*: where the time limit is too short for finals on fresh seeds, the search's best trainings of the two best methods stand
      for the first seed as they are, with the search's seeds. They are scored before anything is trained: a fresh seed of two is worth less
      than the report examples that its time would cost.
    - *rounds*: what is trained next is released whole, paired over the finalists: the least seeds together where time is ample, else seed
      by seed as long as there is time; then seed by seed. A round is cut off when only the time is left that was kept for what follows.
    - *scoring*: when the least seeds are trained, and after each further round, on the same examples of report for all.
    - *a second look*: where the time was too short for all of report and scoring then took less than was thought, all runs are scored on
      more examples, once: at once where trainings were taken over, else when nothing else is left to do.
    - *joining*: those that there seemed to be no time for join on the least seeds, as far as these are scored, one by one. A leader alone
      is trained and scored on one seed first: a second contender is worth more than a second seed.
    - *further seeds*, as long as the answer may change (see `pelt_automl.verdict.another_seed`), are for the best and its challenger alone:
      the next one of who has fewer, or of both; with several devices as many of the next seeds as they can train at the same time.
    - *baselines* are fitted on the seeds that others are trained on, whatever they scored, or by themselves where no other is scored.
    - *smaller unions*, found after the finals, are trained on the least seeds, as far as these are scored.
    """

    seeds: Callable[[int], Seeds]
    """The triple of an index."""
    settings: SearchSettings
    steps: int
    """Of a finalist's training."""
    report: int
    """Examples that the report split has."""
    greater_is_better: bool
    far: float
    """See `choose_finalists`; in the metric's unit."""
    costs: Costs
    outlook: Callable[[History], Outlook]
    """What another seed would be good for."""
    search_seeds: Seeds | None = None
    """The search's triple, where its trainings stand for the first seed; None: there is time for fresh ones."""

    def actions(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:
        """The next round, its end when the time is up, or what is to be fitted, scored or noted before the next; see the rules above."""
        decided = self._decided(history, room, budget)
        if room.devices == 1:
            return decided
        trains = [action for action in decided if isinstance(action, Train)]
        longest = iter(sorted(trains, key=lambda action: -self.costs.finalist(history, action.segment.method)))
        return [next(longest) if isinstance(action, Train) else action for action in decided]

    def _decided(self, history: History, room: Room, budget: Budget) -> Sequence[Action]:
        if under_way := _under_way(history):
            up = budget.left <= _kept(history)
            return [Stop(trial.name, Because.TIME) for trial in under_way if not trial.stopped] if up else []
        found = self.found(history, budget)
        decided, closed = history.decided(What.FINALIST), history.decided(What.NO_TIME_FOR_FINALIST)
        known = {trial.candidate: trial for trial in [*found.chosen, *found.no_time_for]}
        finalists = [known[name] for name in decided if name in known]
        waiting = [trial for name, trial in known.items() if name not in decided and name not in closed]
        trained = [trial for trial in history.ended(Stage.FINALIST) if trial.method not in BASELINES]
        if not trained and (new := [trial for trial in found.chosen if trial.candidate not in decided]):
            return [Note(found.decision(trial)) for trial in new]
        if taken := self._taken_over(history, finalists):
            return taken
        scored = {event.trial for event in history.scored}
        unscored = [run for run in history.finals() if run.trial not in scored]
        alone = len(finalists) == 1 and bool(waiting) and not scored
        if alone and not trained:
            return self._round(history, budget, self._segments(finalists, [0]))
        if alone and len(trained) == 1 and unscored:
            return self._scored(history, budget, POLICY.room_for_another)
        indices = self._scored_indices(history)
        if unscored and (self.search_seeds is not None or {run.number for run in unscored}.intersection(indices)):
            return self._scored(history, budget)
        for trial in waiting if scored and not unscored and self.search_seeds is None else ():
            runs = self._segments([trial], indices)
            if self._time_for(history, budget, runs) >= 1:
                return [*self._round(history, budget, runs), Note(found.decision(trial))]  # a kill between them loses no training
        if self.search_seeds is not None and (more := self._second_look(history, budget)):
            return more
        return (
            self._least_seeds(history, budget, finalists)
            or (self._scored(history, budget) if unscored else [])
            or [Note(found.left_out(trial)) for trial in waiting if finalists]
            or self._further_seeds(history, room, budget, finalists)
            or self._baselines_alone(history, budget)
            or self._smaller_unions(history, budget)
            or self._second_look(history, budget)
            or [Finish()]
        )

    def deadline(self, history: History, room: Room, budget: Budget) -> float:  # noqa: ARG002 the protocol's
        """When no more than what is kept is left."""
        return _kept(history) if _under_way(history) else -math.inf

    def found(self, history: History, budget: Budget) -> Finalists:
        """What the search leads to in the time that is left."""
        trials = [trial for trial in history.ended() if trial.method not in BASELINES]
        if self.search_seeds is not None:
            trials = self._kept(trials)

        def affordable(wanted: Sequence[TrialEnded]) -> int:
            return self.affordable(history, budget, wanted)

        far = self.far if self.search_seeds is None else -math.inf  # no place of its own for a default
        return choose_finalists(trials, affordable, out=history.out_of_race, far=far, greater_is_better=self.greater_is_better)

    def affordable(self, history: History, budget: Budget, wanted: Sequence[TrialEnded]) -> int:
        """How many of these, most wanted first, can be confirmed in the time that is left, at the speed that each method has shown.

        All that fit on the least number of seeds; else two on one seed each, for which evidence and costs may be given up; else the first
        alone. Of trainings that are taken over, two.
        """
        if budget.limit is None:
            return len(wanted)
        if self.search_seeds is not None:
            return POLICY.fewest_finalists
        example = self.costs.example(history)
        training = [self.costs.finalist(history, trial.method) for trial in wanted]
        left, scoring = budget.left - self.costs.closing(history, budget.limit), self.costs.least_scored * example
        seeds = self.settings.finalist_seeds
        fitting = sum(seeds * (seconds + count * scoring) <= left for count, seconds in enumerate(accumulate(training), 1))
        least = sum(training[:1]) + POLICY.second * sum(training[1:2]) + 2 * POLICY.fewest_scored * example
        return fitting if fitting >= 2 else 2 if least <= budget.left - self.costs.writing else 1

    # -------------------------------------------------------------------- rounds

    def _segments(self, candidates: Iterable[TrialEnded | UnionPruned], indices: Iterable[int]) -> list[Segment]:
        """Whole trainings of candidates on seed triples, seed by seed."""
        candidates = list(candidates)
        return [
            Segment(
                f"final-{own.candidate}-seed{index}", own.candidate, own.method, dict(own.hyper_parameters), Stage.FINALIST, index,
                isinstance(own, TrialEnded) and own.is_default, self._triple(index), self.steps, 0, self.steps,
            )
            for index in indices
            for own in candidates
        ]  # fmt: skip

    def _triple(self, index: int) -> Seeds:
        return self.search_seeds if index == 0 and self.search_seeds is not None else self.seeds(index)

    def _kept(self, trials: Iterable[TrialEnded]) -> list[TrialEnded]:
        """Of each method the training whose weights the search has kept."""
        by_method: dict[str, list[TrialEnded]] = {}
        for trial in trials:
            if trial.stage == Stage.SEARCH and has_score(trial):
                by_method.setdefault(trial.method, []).append(trial)
        return [best_by_select_score(own, self.greater_is_better) for own in by_method.values()]

    def _taken_over(self, history: History, finalists: Iterable[TrialEnded]) -> list[Action]:
        """Those of the search that aren't yet."""
        runs = [
            replace(own, trial=f"final-{own.candidate}-seed0", stage=Stage.FINALIST, number=0)
            for own in finalists
            if self.search_seeds is not None
        ]
        return [TakeOver(run) for run in runs if run.trial not in history.trials]

    def _round(self, history: History, budget: Budget, runs: Sequence[Segment]) -> list[Action]:
        """Those that aren't trained yet."""
        kept = {KEPT: self.reserve(history, budget, runs)}
        return [Train(run, Because.FIRST, kept) for run in _todo(history, runs)]

    def _time_for(self, history: History, budget: Budget, runs: Sequence[Segment]) -> float:
        """The time that is left for training over what these runs are predicted to take, as far as they aren't done."""
        predicted = sum(self.costs.finalist(history, run.method) for run in _todo(history, runs))
        return (budget.left - self.reserve(history, budget, runs)) / predicted if predicted else math.inf

    def reserve(self, history: History, budget: Budget, runs: Sequence[Segment]) -> float:
        """Seconds kept for scoring these runs and those that wait for it, for evidence and writing.

        Half of what is left at most before anything is scored: fewer report examples are then scored, and evidence and costs may be left
        out.
        """
        if budget.limit is None:
            return 0.0
        trained = {run.trial for run in history.finals() if run.method not in BASELINES} | {run.trial for run in runs}
        unscored, opened = len(trained - {scored.trial for scored in history.scored}), history.opened
        closing = self.costs.closing(history, budget.limit, unscored, opened.examples if opened else self.costs.least_scored)
        return closing if opened else min(closing, max(0.0, budget.left) / 2)

    def _in_time(self, history: History, budget: Budget, index: int, runs: Sequence[Segment]) -> list[Action]:
        """A seed's round; where the time is too short for it, that. The first seed is always tried."""
        if index == 0 or self._time_for(history, budget, runs) >= 1:
            return self._round(history, budget, runs)
        needed = sum(self.costs.finalist(history, run.method) for run in _todo(history, runs)) + self.reserve(history, budget, runs)
        return [_no_time(index, {"seconds_left": budget.left, "seconds_needed": needed})]

    def _least_seeds(self, history: History, budget: Budget, finalists: Sequence[TrialEnded]) -> list[Action]:
        every_run = self._segments(finalists, range(self.settings.finalist_seeds))
        todo = _todo(history, every_run)
        if not todo or history.decided(What.NO_TIME_FOR_SEED):
            return []
        if self._time_for(history, budget, every_run) >= POLICY.ample:
            return self._round(history, budget, every_run)
        index = todo[0].number
        return self._in_time(history, budget, index, [run for run in every_run if run.number == index])

    def _further_seeds(self, history: History, room: Room, budget: Budget, finalists: Sequence[TrialEnded]) -> list[Action]:
        """For the best and its challenger, as long as it may change the answer and there is time."""
        if not finalists or not history.scored or history.decided(What.NO_TIME_FOR_SEED, What.ENOUGH_SEEDS):
            return []
        found = self.outlook(history)
        if found.stop:
            return [Note(Decision(What.ENOUGH_SEEDS, "finalists", found.stop, found.numbers))]
        pair = [trial for trial in finalists if trial.candidate in found.pair]
        todo = _todo(history, self._segments(pair, range(self.settings.most_seeds)))
        if not todo:
            why = f"the best and its challenger were trained on {counted(self.settings.most_seeds, 'seed')}, the most that are allowed"
            return [Note(Decision(What.ENOUGH_SEEDS, "finalists", why, found.numbers))]
        why = "by all of its interval it is further behind the best than the region of practical equivalence"
        leave = [name for name in found.behind if name not in history.out_of_finals]
        notes: list[Action] = [Note(Decision(What.LEFT_FINALS, name, why, found.numbers)) for name in leave]
        rounds = [runs for runs in _next_seeds(todo) if len(runs) <= room.devices and self._time_for(history, budget, runs) >= 1]
        runs = rounds[-1] if rounds else _next_seeds(todo)[0]
        return [*notes, *self._in_time(history, budget, runs[0].number, runs)]

    def _smaller_unions(self, history: History, budget: Budget) -> list[Action]:
        """All together without a limit; else one by one, so that there may be time for the first."""
        left_out = history.decided(What.SAME_CONFIGURATION, What.NO_TIME_FOR_FINALIST)
        unions = [union for union in history.of_kind(UnionPruned) if union.candidate not in left_out]
        indices = self._scored_indices(history)
        for some in [unions] if budget.limit is None else [[union] for union in unions]:
            runs = self._segments(some, indices)
            if not _todo(history, runs):
                continue
            if self._time_for(history, budget, runs) >= 1:
                return self._round(history, budget, runs)
            why = "the time left is too short to train it on the finalists' seeds"
            numbers = {"seconds_left": budget.left}
            return [Note(Decision(What.NO_TIME_FOR_FINALIST, union.candidate, why, numbers)) for union in some]
        return []

    def _scored_indices(self, history: History) -> list[int]:
        """Of the least seeds, those that anybody is scored on."""
        return sorted({scored.seed_index for scored in history.scored if scored.seed_index < self.settings.finalist_seeds})

    # -------------------------------------------------------------------- fitting and scoring

    def _scored(self, history: History, budget: Budget, more_runs: int = 0) -> Sequence[Action]:
        """Score what is trained and isn't scored, baselines on the same seeds among it; those have to be fitted first.

        `more_runs`: as many more are expected to follow, so that fewer examples are opened where the time is short.
        """
        if fits := self._fits(history, sorted({run.number for run in history.finals() if run.method not in BASELINES})):
            return fits
        scored = {event.trial for event in history.scored}
        runs = [run for run in history.finals() if run.trial not in scored]
        return [Score(tuple(run.trial for run in runs), self.examples(history, budget, _passes(runs) + more_runs))]

    def _second_look(self, history: History, budget: Budget) -> Sequence[Action]:
        """Score all on more examples where the time that is left is enough for many, at the speed that scoring has shown."""
        looks = {opened.examples for opened in history.of_kind(ReportOpened)}
        if budget.limit is None or len(looks) != 1 or not history.scored:
            return []
        a_pass, before = _passes(history.scored) * self.costs.scored(history), max(looks)
        examples = self._affordable_examples(history, budget, a_pass, before)
        if examples < min(self.report, POLICY.more_scored * before) or examples == before:
            return []
        return [Score(tuple(run.trial for run in history.scored), examples)]

    def examples(self, history: History, budget: Budget, runs: int) -> int:
        """How many of the report split are scored: as many as at an earlier opening, all, or what the time allows for so many runs.

        The least that time is kept for comes before evidence and costs, the few that an interval needs before all else.
        """
        if history.opened:
            return history.opened.examples
        if budget.limit is None:
            return self.report
        a_pass = runs * self.costs.example(history)
        few = min(POLICY.few_scored, int((max(0.0, budget.left) + POLICY.late * max(budget.limit, budget.elapsed)) / a_pass))
        return min(self.report, max(POLICY.fewest_scored, few, self._affordable_examples(history, budget, a_pass)))

    def _affordable_examples(self, history: History, budget: Budget, a_pass: float, before: int = 0) -> int:
        """Of report, those that can be scored in the time left, with the ones scored `before`. `a_pass`: seconds of a further one."""

        def fitting(kept: float, most: int) -> int:
            return min(most, before + int(POLICY.scoring * (budget.left - kept) / a_pass))

        closing = self.costs.closing(history, budget.limit)
        return max(fitting(self.costs.writing, self.costs.least_scored), fitting(closing, self.report))

    def _fits(self, history: History, indices: Iterable[int]) -> list[Action]:
        return [
            Fit(trial.method, index, self._triple(index))
            for index in indices
            for trial in fitted_baselines(history)
            if f"final-{trial.candidate}-seed{index}" not in history.trials and trial.candidate not in history.out_of_finals
        ]

    def _baselines_alone(self, history: History, budget: Budget) -> list[Action]:
        """By themselves where no other is scored, on one seed at least."""
        if any(scored.method not in BASELINES for scored in history.scored):
            return []
        for index in range(self.settings.finalist_seeds):
            if not (fits := self._fits(history, [index])):
                continue
            if not index or budget.left > self.costs.writing:
                return fits
            return [] if history.decided(What.NO_TIME_FOR_SEED) else [_no_time(index, {"seconds_left": budget.left})]
        return []


def _passes(runs: Sequence[TrialEnded | FinalistScored]) -> int:
    """Of the backbone over an example, to score these: all baselines together share one."""
    trained = sum(run.method not in BASELINES for run in runs)
    return trained + (trained < len(runs))


def _under_way(history: History) -> list[Trial]:
    return [trial for trial in history.trials.values() if trial.segment.stage == Stage.FINALIST and trial.ended is None]


def _kept(history: History) -> float:
    """What the round under way leaves of the limit, as was decided when it was released."""
    return next((event.numbers[KEPT] for event in reversed(history.of_kind(Released)) if KEPT in event.numbers), 0.0)


def _todo(history: History, runs: Sequence[Segment]) -> list[Segment]:
    """Those that no earlier start has trained."""
    return [run for run in runs if run.trial not in history.trials]


def _next_seeds(runs: Sequence[Segment]) -> list[list[Segment]]:
    """Of runs, seed by seed: those of the next seed, of the next two, and so on."""
    return [[run for run in runs if run.number <= number] for number in sorted({run.number for run in runs})]


def _no_time(index: int, numbers: dict[str, float]) -> Note:
    return Note(Decision(What.NO_TIME_FOR_SEED, f"seed {index}", "the time left is too short for another seed", numbers))
