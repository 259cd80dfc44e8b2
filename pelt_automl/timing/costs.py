"""What trainings and all that comes after them take, in seconds: as planned at first, then as the log has seen it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pelt_automl.log.events import Planned, Stage, State, What
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES, METHODS
from pelt_automl.search.budget import COST_SECONDS, COST_SHARE, EVIDENCE_EXAMPLES, FEWEST_REPORT, WRITING, of_use_to_finals
from pelt_automl.search.finalists import wanted_finalists
from pelt_automl.settings import SearchSettings

DEAR = 2.0
"""A training that changes the backbone itself, over one that shares a pack: it also computes the gradients of all weights."""


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
class SeenCosts:
    """Seconds by the history of a selection that has been planned. Pure."""

    methods: Sequence[str]
    """Those of the search."""
    shares_packs: Collection[str]
    """Those whose published configurations can train in a pack with others."""
    steps: int
    """Of a full training in the search."""
    final_steps: int
    """Of a finalist's."""
    settings: SearchSettings
    sizes: Sizes

    def training(self, history: History, method: str | None = None) -> float:
        """A full training of the search with this method, as seen of it so far, else by the others, else as planned; None: with any."""
        seen = [trial for trial in history.ended() if trial.steps and trial.state != State.FAILED]
        own = [trial for trial in seen if trial.method == method]
        dear = DEAR if method is not None and not own and method not in self.shares_packs else 1.0
        if not seen:
            return dear * self._planned(history).seconds_a_training
        seen = own or seen
        return dear * self.steps * sum(trial.seconds for trial in seen) / sum(trial.steps for trial in seen)

    def finalist(self, history: History, method: str | None = None) -> float:
        """A finalist's training."""
        return self.training(history, method) * self.final_steps / self.steps

    def finalist_run(self, history: History) -> float:
        """A finalist's training, and scoring it on the least of report that time is kept for."""
        return self.finalist(history) + self.least_scored * self.example(history)

    @property
    def least_scored(self) -> int:
        """Examples of the report split that time is kept for."""
        return min(FEWEST_REPORT, self.sizes.report)

    def reserve(self, history: History, limit: float) -> float:
        """Of the limit, what the search leaves to the finals: their share, as far as they can use it at the speed seen so far."""
        share, closing = limit * self.settings.finalist_share, self.closing(history, limit)
        return of_use_to_finals(share, self.finalist_run(history), closing, wanted_finalists(self.methods), self.settings)

    def closing(self, history: History, limit: float | None, runs: int = 0, report_examples: int = 0) -> float:
        """Scoring so many finalists' runs, the baselines, measuring costs, the evidence, and the writing."""
        scoring = runs * report_examples * self.example(history)
        return scoring + self.baselines(history) + self.measuring(history, limit) + self.evidence(history) + WRITING

    def baselines(self, history: History) -> float:
        """Fitting the baselines on the finals' least seeds, as far as that isn't done, and scoring them.

        A fit takes as long as the one before the search did. Scoring is one pass of the backbone over the report examples for all of them;
        that over train and select is kept where the seeds divide the same examples.
        """
        trials = [trial for trial in history.ended() if trial.method in BASELINES]
        fitted = [trial for trial in trials if trial.stage == Stage.SEARCH and trial.curve]
        seeds = self.settings.finalist_seeds - len({trial.number for trial in trials if trial.stage == Stage.FINALIST})
        if seeds <= 0:
            return 0.0
        if not any(BASELINES[trial.method].reads_backbone for trial in fitted):
            return seeds * sum(trial.seconds for trial in fitted)
        read = min(self.sizes.most_probed, self.sizes.train) + min(self.sizes.most_probed, self.sizes.select)
        kept = read if self.sizes.pool <= read else 0
        fits = max(0.0, sum(trial.seconds for trial in fitted) - kept * self.example(history))
        return seeds * fits + self.least_scored * self.example(history)

    def measuring(self, history: History, limit: float | None) -> float:
        """Measuring the finalists' costs; nothing is kept for it without a time limit."""
        return min(COST_SECONDS * self._planned(history).finalists, COST_SHARE * (limit or 0.0))

    def evidence(self, history: History) -> float:
        """Measuring gates and knocking submodules out; nothing without a gated finalist, before there are any without a gated method."""
        finalists = history.decided(What.FINALIST)
        methods = {trial.method for trial in history.ended() if trial.candidate in finalists} or set(self.methods)
        if not any(part.gate for method in methods for part in METHODS[method].modifications(METHODS[method].defaults)):
            return 0.0
        return 5 * self.settings.finalist_seeds * min(EVIDENCE_EXAMPLES, self.sizes.select) * self.example(history)

    def _planned(self, history: History) -> Planned:
        return history.of_kind(Planned)[-1]

    def example(self, history: History) -> float:
        """Evaluating an example with one trial."""
        return self._planned(history).example_seconds
