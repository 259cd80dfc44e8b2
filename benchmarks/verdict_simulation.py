"""What the verdict's statistics say about made-up finals, held against the truth."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.verdict_worlds import Finals, Floats, World
from pelt_automl.evidence.finalists import Finalist
from pelt_automl.evidence.signed_rank import signed_rank
from pelt_automl.evidence.simultaneous import simultaneous_intervals
from pelt_automl.evidence.statistics import interval, paired_bootstrap, probability_best, share_best
from pelt_automl.recommendation.another_seed import outlook
from pelt_automl.recommendation.standings import Comparison
from pelt_automl.records import FinalistScored
from pelt_automl.tasks.metrics import METRICS

REGION = 0.01
"""Of practical equivalence: one point."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Said:
    """One finals: which statements were right."""

    seeds: int
    pair: bool
    """The interval of the difference of two finalists, named beforehand, holds the true one."""
    mean: bool
    """The interval of a finalist's mean holds the true one."""
    together: bool
    """The intervals of all differences, for all at once, hold the true ones."""
    different: bool
    """Some finalist was said to be different from the observed best."""
    different_singly: bool
    """The same, had each interval been taken by itself."""
    p_best: tuple[float, ...]
    share_best: tuple[float, ...]
    """Without drawing together."""
    best: int
    """The truly best finalist."""
    signed_rank: float
    """The probability that it gives to the observed best being better than the first finalist, which stands for a default."""

    @property
    def leader_is_best(self) -> bool:
        """Whether the finalist with the greatest P(best) is the truly best."""
        return max(range(len(self.p_best)), key=self.p_best.__getitem__) == self.best


def judged(finals: Finals, resamples: int, seed: int) -> Said:
    """What is said about `finals` from so many draws."""
    greater, truth = METRICS[finals.metric].greater_is_better, finals.truth
    sign = 1 if greater else -1
    draws = paired_bootstrap(finals.labels, finals.predictions, finals.metric, resamples, seed, finals.fitted)
    scores = np.array([[METRICS[finals.metric].value(row, finals.labels) for row in rows] for rows in finals.predictions])
    leader = int(np.argmax(sign * scores.mean(axis=1)))
    low, high = simultaneous_intervals(draws)
    apart = truth[:, None] - truth
    by_itself = [interval(sign * (draws[:, leader] - draws[:, other])) for other in range(len(truth)) if other != leader]
    by_seed = sign * (scores[leader] - scores[0])
    return Said(
        seeds=scores.shape[1],
        pair=_holds(interval(draws[:, -1] - draws[:, 0]), truth[-1] - truth[0]),
        mean=_holds(interval(draws[:, 0]), truth[0]),
        together=bool(((low - ROUNDING <= apart) & (apart <= high + ROUNDING)).all()),
        different=bool((sign * (low if greater else high)[leader] > 0).any()),
        different_singly=any(bounds[0] > 0 for bounds in by_itself),
        p_best=tuple(probability_best(draws, greater).tolist()),
        share_best=tuple(share_best(draws, greater).tolist()),
        best=int(np.argmax(sign * truth)),
        signed_rank=signed_rank(by_seed, REGION, 2000).better,
    )


@dataclass(frozen=True)
class Held:
    """How often 95 % intervals held the truth, and their median width in points."""

    coverage: float
    width: float


def held(world: World, repeats: int, resamples: int = 500, seed: int = 0, *, alike: bool = False) -> dict[str, Held]:
    """What intervals about the first (a fitted) and the last (a trained) finalist of `world` hold: means and differences, named beforehand.

    `alike`: with all finalists treated as trained, as before there were fitted ones.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[bool, float]]] = {}
    for repeat in range(repeats):
        finals = world.finals(rng)
        draws = paired_bootstrap(finals.labels, finals.predictions, finals.metric, resamples, repeat, () if alike else finals.fitted)
        asked: dict[str, tuple[int, int | None]] = {"fitted": (0, None), "trained": (-1, None), "trained - fitted": (-1, 0)}
        if world.finalists - world.fitted > 1:
            asked["trained - trained"] = (-1, -2)
        for what, (one, other) in asked.items():
            low, high = interval(draws[:, one] if other is None else draws[:, one] - draws[:, other])
            true = float(finals.truth[one] if other is None else finals.truth[one] - finals.truth[other])
            found.setdefault(what, []).append((_holds((low, high), true), 100 * (high - low)))
    return {what: Held(*_mean_and_median(said)) for what, said in found.items()}


def _mean_and_median(said: list[tuple[bool, float]]) -> tuple[float, float]:
    truths, widths = zip(*said, strict=True)
    return float(np.mean(truths)), float(np.median(widths))


def _holds(bounds: tuple[float, float], truth: float) -> bool:
    return bounds[0] - ROUNDING <= truth <= bounds[1] + ROUNDING


def simulated(world: World, repeats: int, resamples: int = 500, seed: int = 0) -> list[Said]:
    """So many finals of `world`, with its number of seeds."""
    rng = np.random.default_rng(seed)
    return [judged(world.finals(rng), resamples, seed=repeat) for repeat in range(repeats)]


def stopped(world: World, repeats: int, least: int = 3, resamples: int = 500, seed: int = 0) -> list[Said]:
    """The same with seeds added one by one until the program's own rule wants no more: `least` to `world.seeds`.

    Finalists that the rule sends home (clearly behind) are judged on all seeds here, as if they had stayed.
    """
    rng = np.random.default_rng(seed)
    found = []
    for repeat in range(repeats):
        finals = world.finals(rng)
        seeds = least
        while seeds < world.seeds and not outlook(_comparison(finals.first(seeds)), REGION).stop:
            seeds += 1
        found.append(judged(finals.first(seeds), resamples, seed=repeat))
    return found


def _comparison(finals: Finals) -> Comparison:
    score = METRICS[finals.metric].value
    labels = finals.labels.tolist()
    finalists = []
    for index, runs in enumerate(finals.predictions.tolist()):
        name, method = f"f-{index:04d}", "probe" if finals.fitted[index] else "f"
        scored = {
            s: FinalistScored(f"{name}-{s}", name, method, s, score(predictions, labels), predictions) for s, predictions in enumerate(runs)
        }
        finalists.append(Finalist(name, method, False, {}, 1, 1.0, 0.0, scored))
    return Comparison(finalists, labels, finals.metric, METRICS[finals.metric].greater_is_better)


def share(said: list[Said], what: str) -> float:
    """Share of the finals of which the statement `what` is true."""
    return float(np.mean([getattr(one, what) for one in said]))


def brier(said: list[Said], what: str = "p_best") -> float:
    """Mean squared error of the probabilities, halved: 0 when always right and sure, 0.25 for two finalists and 50 %."""
    return float(np.mean([((np.array(getattr(one, what)) - np.eye(len(one.p_best))[one.best]) ** 2).sum() / 2 for one in said]))


def reliability(said: list[Said], edges: tuple[float, ...], what: str = "p_best") -> list[tuple[float, float, int]]:
    """For each bin of the leader's probability: its mean, how often the leader was the truly best, and how many finals."""
    greatest: Floats = np.array([max(getattr(one, what)) for one in said])
    right = np.array([one.leader_is_best for one in said])
    bins = [(greatest >= low) & (greatest < high) for low, high in pairwise(edges)]
    return [(float(greatest[inside].mean()), float(right[inside].mean()), int(inside.sum())) for inside in bins if inside.any()]
