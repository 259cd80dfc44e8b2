"""What trainings and all that comes after them take, in seconds: by what is known of the speed at first, then as the log has seen it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from pelt_automl.design_space import submodules
from pelt_automl.log.events import Planned, Stage, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, FIXED_DEFAULTS, METHODS
from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import make_plan

LEFT = "seconds_left"
"""The number of `Planned` that says how many seconds of the limit were left."""


@dataclass(frozen=True)
class Sizes:
    """Examples."""

    train: int
    select: int
    report: int
    pool: int
    """That train and select are divided from; of each split seed others."""
    most_probed: int
    """Of train and of select, those that the baselines read at most."""


@dataclass(frozen=True)
class Speed:
    """On this machine, with this backbone and these texts."""

    step: float
    """Seconds for one optimizer step of one trial in a pack."""
    example: float
    """Seconds to evaluate one example with one trial."""


@dataclass(frozen=True)
class Plan:
    """What a selection does, as far as it depends on the time."""

    steps: int
    """Optimizer steps of a full training in the search."""
    final_steps: int
    """Of a finalist's training; never fewer than in the search."""
    finalists: int
    """Configurations that can be confirmed; decided again when the search has ended."""
    seeds: int
    """Fresh seeds that each of them can be trained on; decided again when they are trained. 0: their trainings in the search are scored."""


@dataclass(frozen=True)
class Costs:
    """Seconds by a plan, or by the history of a selection that has one. Pure."""

    methods: Sequence[str]
    """Those of the search."""
    shares_packs: Collection[str]
    """Those whose published configurations can train in a pack with others."""
    search: SearchSettings
    training_settings: TrainingSettings
    sizes: Sizes
    writing: float = POLICY.writing
    """Of the verdict and the report at the very end."""

    # ---------------------------------------------------------------- of a plan

    @property
    def wanted_finalists(self) -> int:
        """How many there are at most without a time limit: the best of each method and the fixed defaults."""
        return len(self.methods) + sum(method in self.methods for method in FIXED_DEFAULTS)

    @property
    def slowdown(self) -> float:
        """A trial's step, averaged over the methods, over one of a trial that shares a pack, as far as any does."""
        alone = sum(method not in self.shares_packs for method in self.methods)
        return 1 + (POLICY.dear - 1) * alone / len(self.methods) if alone < len(self.methods) else 1.0

    def full(self, steps: int, speed: Speed) -> float:
        """A full training of so many steps, with its evaluations."""
        plan = make_plan(steps, self.search.rungs, self.sizes.select, self.training_settings)
        return plan.steps * speed.step + plan.looked_at(self.sizes.select) * speed.example

    def searching(self, steps: int, speed: Speed, trials: int = 1) -> float:
        """Of each method the default in full, and of its other trials the part that they get on average."""
        schedule = make_plan(steps, self.search.rungs, self.sizes.select, self.training_settings)
        shares = 1 + (trials - 1) * schedule.expected_share(self.search.promoted)
        return len(self.methods) * shares * self.full(steps, speed)

    def finals(self, plan: Plan, speed: Speed) -> float:
        """A plan's finals: trainings, the least of report that time is kept for, and the evidence."""
        training, seeds = self.full(plan.final_steps, speed) if plan.seeds else 0.0, plan.seeds or 1
        run = training + self.least_scored * speed.example
        return plan.finalists * seeds * run + self._dissections(self.methods) * seeds * speed.example

    # ---------------------------------------------------------------- as the log has seen it

    def training(self, history: History, method: str | None = None) -> float:
        """A full training of the search with this method, as seen of it so far, else by the others, else as planned; None: with any.

        With several workers, which train at the same time, its share of the time that all of them take.
        """
        seen = [trial for trial in history.ended() if trial.steps and trial.state != State.FAILED]
        own = [trial for trial in seen if trial.method == method]
        dear = POLICY.dear if method is not None and not own and method not in self.shares_packs else 1.0
        if not seen:
            return dear * _planned(history).seconds_a_training
        seen = own or seen
        a_step = sum(trial.seconds for trial in seen) / sum(trial.steps for trial in seen)
        return dear * _planned(history).steps * a_step / max(1, len(history.workers))

    def finalist(self, history: History, method: str | None = None) -> float:
        """A finalist's training."""
        plan = _planned(history)
        return self.training(history, method) * (plan.final_steps or plan.steps) / plan.steps

    def example(self, history: History) -> float:
        """Evaluating an example with one trial.

        The plan's figure is as far off as that of the trainings has turned out to be. One that was measured is never too high by that: it
        is of packs, and some trainings take less than those.
        """
        plan = _planned(history)
        off = self.training(history) / plan.seconds_a_training
        return plan.example_seconds * (off if plan.figures in ("remembered", "estimated") else max(1.0, off))

    def scored(self, history: History) -> float:
        """Scoring one report example with one run, as it was at the first opening; before it, as evaluating an example.

        All baselines together count as a run.
        """
        opened, scored = history.opened, history.scored
        seconds = sum(run.seconds for run in scored)
        if opened is None or seconds <= 0:
            return self.example(history)
        trained = sum(run.method not in BASELINES for run in scored)
        return seconds / (opened.examples * (trained + (trained < len(scored))))

    @property
    def least_scored(self) -> int:
        """Examples of the report split that time is kept for."""
        return min(POLICY.fewest_report, self.sizes.report)

    def reserve(self, history: History, limit: float) -> float:
        """Of the limit, what the search leaves to the finals: their share, as far as they can use it at the speed seen so far.

        Where trainings of the search are scored as they are, the time for that, and for what comes after it.
        """
        share, closing = limit * self.search.finalist_share, self.closing(history, limit)
        if not _planned(history).fresh:
            return min(share, closing + POLICY.fewest_finalists * self.least_scored * self.example(history))
        one_run = self.finalist(history) + self.least_scored * self.example(history)
        return of_use_to_finals(share, one_run, closing, self.wanted_finalists, self.search)

    def last_reserve(self, history: History, limit: float) -> float:
        """Of the limit, what the search leaves even where nothing has a score yet: `few_scored` examples of report are to be scored.

        With one pass for each of the fewest finalists, and one for all baselines.
        """
        passes = POLICY.fewest_finalists + bool(self._fitted(history))
        scoring = passes * min(POLICY.few_scored, self.sizes.report) * self.example(history) + self.writing
        left = _planned(history).numbers.get(LEFT, limit)
        return max(POLICY.last_reserve * limit, min(scoring, POLICY.last_half * left))

    def closing(self, history: History, limit: float | None, runs: int = 0, report_examples: int = 0) -> float:
        """Scoring so many finalists' runs, the baselines, measuring costs, the evidence, and the writing.

        Nothing is kept for measuring costs without a time limit.
        """
        scoring = runs * report_examples * self.example(history)
        measuring = min(POLICY.cost_seconds * _planned(history).finalists, POLICY.cost_share * (limit or 0.0))
        return scoring + self.baselines(history) + measuring + self.evidence(history) + self.writing

    def baselines(self, history: History) -> float:
        """Fitting the baselines on the finals' least seeds, as far as that isn't done, and scoring them.

        A fit takes as long as the one before the search did, which stands for that on the search's seeds. Scoring is one pass of the
        backbone over the report examples for all of them; that over train and select is kept where the seeds divide the same examples.
        """
        trials, fitted = [trial for trial in history.ended() if trial.method in BASELINES], self._fitted(history)
        seeds = self._least_seeds(history) - len({trial.number for trial in trials if trial.stage == Stage.FINALIST})
        if seeds <= 0:
            return 0.0
        reads = any(BASELINES[trial.method].reads_backbone for trial in fitted)
        if not _planned(history).fresh:
            return reads * self.least_scored * self.example(history)
        if not reads:
            return seeds * sum(trial.seconds for trial in fitted)
        read = min(self.sizes.most_probed, self.sizes.train) + min(self.sizes.most_probed, self.sizes.select)
        kept = read if self.sizes.pool <= read else 0
        fits = max(0.0, sum(trial.seconds for trial in fitted) - kept * self.example(history))
        return seeds * fits + self.least_scored * self.example(history)

    def _fitted(self, history: History) -> list[TrialEnded]:
        return [trial for trial in history.ended(Stage.SEARCH) if trial.method in BASELINES and trial.curve]

    def evidence(self, history: History) -> float:
        """Measuring gates and knocking submodules out; nothing without a gated finalist, before there are any without a gated method."""
        finalists = history.decided(What.FINALIST)
        methods = {trial.method for trial in history.ended() if trial.candidate in finalists} or set(self.methods)
        return self._least_seeds(history) * self._dissections(methods) * self.example(history)

    def _least_seeds(self, history: History) -> int:
        return self.search.finalist_seeds if _planned(history).fresh else 1

    def _dissections(self, methods: Collection[str]) -> int:
        """Examples evaluated to take one run apart, of the union for which that takes the longest."""
        return max(map(_passes, methods), default=0) * min(POLICY.evidence_examples, self.sizes.select)


@cache
def _passes(method: str) -> int:
    """Evaluations that it takes to take a union apart: at its start, whole, and without each of its submodules; none without a gate."""
    parts = METHODS[method].modifications(METHODS[method].defaults)
    return 2 + len(submodules(parts)) if any(part.gate for part in parts) else 0


def of_use_to_finals(share: float, one_run: float, closing: float, finalists: int, search: SearchSettings) -> float:
    """Seconds of the finals' `share` that they can fill: the least seeds of all finalists, then whole further seeds of two of them.

    What is too short for another one is the search's. It is all of the share where that is too short for a seed of the fewest finalists,
    since they are trained anyhow.

    Args:
        share: seconds that the finals may take.
        one_run: seconds to train one finalist on one seed and to score it.
        closing: seconds that the end of the selection takes after them.
        finalists: candidates without a limit.
        search: the settings.
    """
    fewest, least = min(POLICY.fewest_finalists, finalists), search.finalist_seeds
    runs = {fewest * seeds for seeds in range(1, least)}  # the fewest are trained on fewer seeds than are wanted
    further = range(max(least, search.most_seeds) - least + 1)
    runs |= {count * least + min(count, 2) * seeds for count in range(fewest, finalists + 1) for seeds in further}
    return max((needed for count in runs if (needed := count * one_run + closing) <= share), default=share)


def _planned(history: History) -> Planned:
    plan = history.plan
    assert plan is not None, "trainings follow a plan"
    return plan
