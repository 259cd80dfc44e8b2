"""The finalists side by side: means, intervals, probability of being best, differences to the best."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pelt_automl.log.events import Standing, sign_of
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.finalists import Finalist
from pelt_automl.verdict.gates import mean
from pelt_automl.verdict.simultaneous import simultaneous_intervals
from pelt_automl.verdict.statistics import SharedSeeds, interval, paired_bootstrap, probability_best, shared_seeds
from pelt_automl.verdict.wording import Unit

ROUNDING = 1e-9
"""Differences below this are rounding."""


@dataclass(frozen=True)
class Difference:
    """By how much one finalist is better than another, in the metric's unit; positive whatever the metric's direction."""

    value: float
    interval: tuple[float, float]
    """95 % for this difference by itself, paired over seeds and examples."""
    together: tuple[float, float]
    """95 % for the differences of all finalists at once: the one to quote of finalists that the scores have singled out."""

    @property
    def distinguishable(self) -> bool:
        """Whether the interval for all at once leaves 0 out."""
        return self.together[0] > 0 or self.together[1] < 0


@dataclass(frozen=True)
class Table:
    """Draws of the mean scores of some finalists over the seeds that they share."""

    candidates: tuple[str, ...]
    seeds: tuple[int, ...]
    draws: Floats
    """(R, F), in the order of `candidates`."""

    def of(self, candidate: str) -> Floats:
        """(R,)."""
        column: Floats = self.draws[:, self.candidates.index(candidate)]
        return column

    @cached_property
    def _together(self) -> tuple[Floats, Floats]:
        return simultaneous_intervals(self.draws)

    def together(self, first: str, second: str) -> tuple[float, float]:
        """Of how much higher the mean of `first` is: 95 % for all pairs at once."""
        at = self.candidates.index(first), self.candidates.index(second)
        low, high = self._together
        return float(low[at]), float(high[at])


class Comparison:
    """Everything that can be said about the finalists' report scores.

    Means and draws are over the seeds that all compared finalists share (`shared`). So that a failed run of a hopeless finalist doesn't
    cost the others a seed, one that lacks a seed is left out of the comparison when on the seeds that all share it is distinguishably
    worse than the best; `shared_seeds` leaves out those that lack most. A finalist that was left out stands with its own seeds; its
    difference to another is over the seeds that it shares with the compared. It can't be tied, nor be the best.
    """

    def __init__(
        self, finalists: Sequence[Finalist], labels: Sequence[Any], metric: str, greater_is_better: bool, out: Collection[str] = ()
    ) -> None:
        """Compare `finalists`, each with at least one run; `labels` belong to the predictions of all runs.

        `out`: those that got no further seeds since they were clearly behind; they are left out unless nobody else is there.
        """
        self.finalists = finalists
        self.metric = metric
        self.sign = sign_of(greater_is_better)
        self._labels = np.asarray(labels, np.float64)
        self._by_name = {finalist.candidate: finalist for finalist in finalists}
        still_in = [name for name in self._by_name if name not in out] or list(self._by_name)
        self._compare(still_in)
        if hopeless := self._hopeless(still_in):
            self._compare([name for name in still_in if name not in hopeless])

    def _compare(self, candidates: Sequence[str]) -> None:
        found = shared_seeds({name: list(self._by_name[name].runs) for name in candidates})
        left_out = tuple(name for name in self._by_name if name not in found.compared)
        self.shared = SharedSeeds(found.seeds, found.compared, left_out)
        self._table = self._draw(found.compared, found.seeds)
        self._tables: dict[str, Table] = {}

    def _hopeless(self, candidates: Sequence[str]) -> set[str]:
        best, every = self.best(), {seed for name in candidates for seed in self._by_name[name].runs}
        lacking = [name for name in self.shared.compared if set(self._by_name[name].runs) != every]
        return {name for name in lacking if self.difference(best, name).interval[0] > 0}

    def _draw(self, candidates: Sequence[str], seeds: Sequence[int]) -> Table:
        predictions = [[self._by_name[name].runs[seed].predictions for seed in seeds] for name in candidates]
        fitted = [self._by_name[name].fitted for name in candidates]
        draws = paired_bootstrap(self._labels, np.asarray(predictions, np.float64), self.metric, fitted=fitted)
        return Table(tuple(candidates), tuple(seeds), draws)

    def _table_of(self, candidate: str) -> Table:
        """The draws that `candidate` stands in: the comparison's; if it was left out, with the compared on common seeds, or alone."""
        if candidate in self.shared.compared:
            return self._table
        if candidate not in self._tables:
            own = self._by_name[candidate].runs
            common = [seed for seed in self.shared.seeds if seed in own]
            together = self._draw([*self.shared.compared, candidate], common) if common else self._draw([candidate], list(own))
            self._tables[candidate] = together
        return self._tables[candidate]

    def _mean(self, candidate: str, seeds: Sequence[int]) -> float:
        return mean([self._by_name[candidate].runs[seed].report_score for seed in seeds])

    def seeds(self, candidate: str) -> list[int]:
        """The seeds that a finalist's mean is over."""
        return list(self.shared.seeds if candidate in self.shared.compared else self._by_name[candidate].runs)

    def seed_scores(self, candidate: str) -> list[float]:
        """Report scores on `seeds`."""
        return [self._by_name[candidate].runs[seed].report_score for seed in self.seeds(candidate)]

    def best(self) -> str:
        """The compared finalist with the best mean; of equals the one with the fewest parameters, then the first by name."""
        return min(
            self.shared.compared,
            key=lambda name: (round(-self.sign * self._mean(name, self.shared.seeds), 9), self._by_name[name].parameters, name),
        )

    def difference(self, better: str, worse: str) -> Difference:
        """By how much `better`, which must be one of the compared, is better than `worse`."""
        if better == worse:
            return Difference(0.0, (0.0, 0.0), (0.0, 0.0))
        table = self._table_of(worse)
        if better not in table.candidates:
            return self._unpaired(better, worse)
        value = self._mean(better, table.seeds) - self._mean(worse, table.seeds)
        draws = self.sign * (table.of(better) - table.of(worse))
        higher, lower = (better, worse) if self.sign > 0 else (worse, better)
        return Difference(self.sign * value, interval(draws), table.together(higher, lower))

    def _unpaired(self, better: str, worse: str) -> Difference:
        """Without a common seed: the intervals of the two means, set against each other (wider than need be)."""
        (low, high), (other_low, other_high) = self.interval(better), self.interval(worse)
        bounds = sorted((self.sign * (low - other_high), self.sign * (high - other_low)))
        value = self._mean(better, self.seeds(better)) - self._mean(worse, self.seeds(worse))
        return Difference(self.sign * value, (bounds[0], bounds[1]), (bounds[0], bounds[1]))

    def seed_differences(self, better: str, worse: str) -> list[float]:
        """By how much `better` is better than `worse` on each seed that both were compared on; empty without a common one."""
        one, other = self._by_name[better].runs, self._by_name[worse].runs
        shared = [seed for seed in self.shared.seeds if seed in other]
        return [self.sign * (one[seed].report_score - other[seed].report_score) for seed in shared]

    def interval(self, candidate: str) -> tuple[float, float]:
        """95 % interval of a finalist's mean, within the metric's range."""
        return Unit(self.metric).clip(interval(self._table_of(candidate).of(candidate)))

    def lead_over_constant(self, candidate: str, constant: Any) -> Difference:
        """By how much a finalist is better than always predicting `constant` (for instance a class index), on its own seeds.

        As a pair: two finalists borrow nothing of each other, so that the spread of the difference is the finalist's own.
        """
        seeds = self.seeds(candidate)
        own = [self._by_name[candidate].runs[seed].predictions for seed in seeds]
        rows = np.asarray([own, [[constant] * len(self._labels)] * len(seeds)], np.float64)
        draws = paired_bootstrap(self._labels, rows, self.metric)
        score = METRICS[self.metric].value([constant] * len(self._labels), self._labels)
        bounds = interval(self.sign * (draws[:, 0] - draws[:, 1]))
        return Difference(self.sign * (self._mean(candidate, seeds) - score), bounds, bounds)

    def variance_by_examples(self, first: str, second: str) -> float:
        """Of the difference of two compared finalists' means: what other examples would change, on the same seeds."""
        runs = [self._by_name[name].runs[seed].predictions for name in (first, second) for seed in self.shared.seeds]
        draws = paired_bootstrap(self._labels, np.asarray(runs, np.float64)[:, None], self.metric)  # each run by itself: no seeds to draw
        mean_first, mean_second = (half.mean(axis=1) for half in np.split(draws, 2, axis=1))
        return float(np.var(mean_first - mean_second, ddof=1))

    def p_best(self) -> dict[str, float]:
        """The probability of each compared finalist to be the best of them."""
        return dict(zip(self.shared.compared, probability_best(self._table.draws, self.sign > 0).tolist(), strict=True))

    def standings(self, region: float) -> list[Standing]:
        """The finalists, best mean first, those left out of the comparison last.

        Args:
            region: of practical equivalence, in the metric's unit; a finalist is tied when its mean is at most this much worse.
        """
        p_best = self.p_best()
        rows = [self._standing(finalist, p_best.get(finalist.candidate), region) for finalist in self.finalists]
        best = self.best()
        return sorted(rows, key=lambda row: (row.candidate not in p_best, row.difference, row.candidate != best, row.candidate))

    def _standing(self, finalist: Finalist, p_best: float | None, region: float) -> Standing:
        name = finalist.candidate
        scores, difference = self.seed_scores(name), self.difference(self.best(), name)
        return Standing(
            candidate=name,
            method=finalist.method,
            is_default=finalist.is_default,
            hyper_parameters=finalist.hyper_parameters,
            parameters=finalist.parameters,
            training_seconds=finalist.training_seconds,
            report_score=mean(scores),
            report_interval=self.interval(name),
            seed_scores=scores,
            select_score=finalist.select_score,
            p_best=p_best or 0.0,
            difference=difference.value,
            difference_interval=difference.together,
            tied=p_best is not None and difference.value <= region + ROUNDING,
            distinguishable=difference.distinguishable,
            worst_seed=self.sign * min(self.sign * run.report_score for run in self._by_name[name].runs.values()),
        )
