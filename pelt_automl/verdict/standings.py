"""The finalists side by side: means, intervals, probability of being best, differences to the best."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from pelt_automl.log.events import Standing
from pelt_automl.log.history import History
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.metrics import Floats
from pelt_automl.verdict.finalists import Finalist, finalists, report_labels
from pelt_automl.verdict.simultaneous import simultaneous_intervals
from pelt_automl.verdict.statistics import interval, paired_bootstrap, point, probability_best, probability_within, unequal_bootstrap

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


class Table:
    """Means of some finalists, and draws of them."""

    def __init__(self, candidates: Sequence[str], means: Sequence[float], draws: Floats) -> None:
        """`means`: (F,) and `draws`: (R, F), in the order of `candidates`."""
        self.draws, self.means = draws, dict(zip(candidates, means, strict=True))
        self.place = {name: at for at, name in enumerate(candidates)}

    def of(self, candidate: str) -> Floats:
        """(R,)."""
        return np.asarray(self.draws[:, self.place[candidate]], np.float64)

    @cached_property
    def together(self) -> tuple[Floats, Floats]:
        """Of how much higher one mean is than another, ``(F, F)``: low and high ends, 95 % for all pairs at once."""
        return simultaneous_intervals(self.draws)


class Comparison:
    """Everything that can be said about the finalists' report scores.

    All finalists that are still in are `compared`, on all of their runs; where they have different seeds, a mean is that of the model in
    `pelt_automl.verdict.unequal_seeds`. One that has left the finals, clearly behind, changes nothing for them; its mean and
    its differences are those of the model of all their runs and its own. It can't be tied, nor be the best.
    """

    def __init__(self, finalists: Sequence[Finalist], labels: Sequence[Any], metric: str, out: Collection[str] = ()) -> None:
        """Compare `finalists`, each with at least one run; `labels` belong to the predictions of all runs.

        `out`: those that got no further seeds since they were clearly behind; they are left out unless nobody else is there.
        `alike`: whether all compared have the same seeds.
        """
        self.finalists, self.labels, self.metric, self.sign = finalists, labels, metric, METRICS[metric].sign
        self._labels = METRICS[metric].values(labels)
        self._by_name = {finalist.candidate: finalist for finalist in finalists}
        still_in = [name for name in self._by_name if name not in out] or list(self._by_name)
        self.compared = tuple(still_in)
        runs = [set(self._by_name[name].runs) for name in still_in]
        self.alike = all(own == runs[0] for own in runs)
        self._table = self._draw(still_in)
        self._tables: dict[str, Table] = {}

    @staticmethod
    def of(history: History) -> "Comparison | None":
        """Of a selection's finalists, those that have left the finals left out of it; None without a scored one.

        Raises `SelectionError` when the records contradict themselves (see `finalists`).
        """
        found = finalists(history)
        return Comparison(found, report_labels(history), history.data.metric, history.out_of_finals) if found else None

    def region(self, equivalence: float) -> float:
        """The region of practical equivalence in the metric's unit, from points."""
        return equivalence * point(self.metric, self._labels)

    def _draw(self, candidates: Sequence[str]) -> Table:
        """Of `candidates` on all of their runs."""
        own = [self._by_name[name].runs for name in candidates]
        fitted = [self._by_name[name].fitted for name in candidates]
        seeds = sorted(set().union(*own))
        has = np.array([[seed in runs for seed in seeds] for runs in own])
        # Where there is no run, any other stands in: it isn't looked at.
        predictions = [[runs.get(seed, next(iter(runs.values()))).predictions for seed in seeds] for runs in own]
        array = METRICS[self.metric].values(predictions)
        if has.all():
            means = [fmean(runs[seed].report_score for seed in seeds) for runs in own]
            return Table(candidates, means, paired_bootstrap(self._labels, array, self.metric, fitted=fitted))
        found, draws = unequal_bootstrap(self._labels, array, has, self.metric, fitted=fitted)
        return Table(candidates, found.tolist(), draws)

    def _table_of(self, candidate: str) -> Table:
        """The draws that `candidate` stands in: the comparison's; if it is out, those of the compared and itself."""
        if candidate in self.compared:
            return self._table
        if candidate not in self._tables:
            self._tables[candidate] = self._draw([*self.compared, candidate])
        return self._tables[candidate]

    def mean(self, candidate: str) -> float:
        """A finalist's mean: of its scores, or as the model of all runs makes it where seeds are different."""
        return self._table_of(candidate).means[candidate]

    def seed_scores(self, candidate: str) -> list[float]:
        """Report scores on all of a finalist's seeds."""
        return [run.report_score for _, run in sorted(self._by_name[candidate].runs.items())]

    def best(self) -> str:
        """The compared finalist with the best mean; of equals the one with the fewest parameters, then the first by name."""
        return min(
            self.compared,
            key=lambda name: (round(-self.sign * self.mean(name), 9), self._by_name[name].parameters, name),
        )

    def difference(self, better: str, worse: str) -> Difference:
        """By how much `better`, which must be one of the compared, is better than `worse`."""
        if better == worse:
            return Difference(0.0, (0.0, 0.0), (0.0, 0.0))
        table = self._table_of(worse)
        value = table.means[better] - table.means[worse]
        one, other = (better, worse) if self.sign > 0 else (worse, better)
        low, high = (float(end[table.place[one], table.place[other]]) for end in table.together)
        return Difference(self.sign * value, interval(self.sign * (table.of(better) - table.of(worse))), (low, high))

    def seed_differences(self, better: str, worse: str) -> list[float]:
        """By how much `better` is better than `worse` on each seed that both have; empty without a common one."""
        one, other = self._by_name[better].runs, self._by_name[worse].runs
        shared = sorted(set(one) & set(other))
        return [self.sign * (one[seed].report_score - other[seed].report_score) for seed in shared]

    def interval(self, candidate: str) -> tuple[float, float]:
        """95 % interval of a finalist's mean, within the metric's range."""
        (low, high), of = interval(self._table_of(candidate).of(candidate)), METRICS[self.metric]
        return max(low, of.low), min(high, of.high)

    def lead_over_constant(self, candidate: str, constant: Any) -> Difference:
        """By how much a finalist's mean is better than always predicting `constant` (for instance a class index).

        The finalist's draws less the constant's on the same resamples.
        """
        always = METRICS[self.metric].values([constant] * len(self._labels))
        draws = self._table_of(candidate).of(candidate) - paired_bootstrap(self._labels, always[None, None], self.metric)[:, 0]
        ends = interval(self.sign * draws)
        return Difference(self.sign * (self.mean(candidate) - METRICS[self.metric].value(always, self._labels)), ends, ends)

    def variance_by_examples(self, first: str, second: str) -> float:
        """Of the difference of two compared finalists' means over the seeds that both have: what other examples would change."""
        both = sorted(set(self._by_name[first].runs) & set(self._by_name[second].runs))
        runs = [self._by_name[name].runs[seed].predictions for name in (first, second) for seed in both]
        draws = paired_bootstrap(
            self._labels, METRICS[self.metric].values(runs)[:, None], self.metric
        )  # each run by itself: no seeds to draw
        mean_first, mean_second = (half.mean(axis=1) for half in np.split(draws, 2, axis=1))
        return float(np.var(mean_first - mean_second, ddof=1))

    def p_best(self) -> dict[str, float]:
        """The probability of each compared finalist to be the best of them."""
        return dict(zip(self.compared, probability_best(self._table.draws, self.sign > 0).tolist(), strict=True))

    def p_within(self, region: float) -> float:
        """The probability that none of the compared is better than the one with the best mean by more than `region`, in its unit."""
        return probability_within(self._table.draws, self._table.place[self.best()], region, self.sign > 0)

    def fitted(self) -> set[str]:
        """Those compared that have neither a random start nor an order of training."""
        return {name for name in self.compared if self._by_name[name].fitted}

    def standings(self, region: float) -> list[Standing]:
        """The finalists, best mean first, those left out of the comparison last.

        Args:
            region: of practical equivalence, in the metric's unit; a finalist is tied when its mean is at most this much worse.
        """
        p_best, best = self.p_best(), self.best()
        rows = [
            self._standing(finalist, p_best.get(finalist.candidate), self.difference(best, finalist.candidate), region)
            for finalist in self.finalists
        ]
        return sorted(rows, key=lambda row: (row.candidate not in p_best, row.difference, row.candidate != best, row.candidate))

    def _standing(self, finalist: Finalist, p_best: float | None, difference: Difference, region: float) -> Standing:
        scores = self.seed_scores(finalist.candidate)
        return Standing(
            candidate=finalist.candidate,
            method=finalist.method,
            is_default=finalist.is_default,
            hyper_parameters=finalist.hyper_parameters,
            parameters=finalist.parameters,
            training_seconds=finalist.training_seconds,
            report_score=self.mean(finalist.candidate),
            report_interval=self.interval(finalist.candidate),
            seed_scores=scores,
            select_score=finalist.select_score,
            p_best=p_best or 0.0,
            difference=difference.value,
            difference_interval=difference.together,
            tied=p_best is not None and difference.value <= region + ROUNDING,
            distinguishable=difference.distinguishable,
            worst_seed=self.sign * min(self.sign * run.report_score for run in finalist.runs.values()),
        )
