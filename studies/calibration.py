"""Are the verdict's statements true as often as they say? Made-up finals with a known truth, judged by the program's own statistics.

Intervals: how often they hold the truth, for one difference named beforehand, one mean, and all differences at once; also where some
finalists are fitted without a random start, and where finalists have different seeds. "Different": how often it is said of equal finalists.
P(best): how often the leader is the truly best, by what was said. The same with seeds added until the program's rule
(`pelt_automl.verdict.another_seed`) wants no more.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pelt_automl.tasks.metrics import METRICS
from pelt_automl.verdict.another_seed import CERTAIN, NARROWER, narrowed_by, outlook
from pelt_automl.verdict.finalists import Finalist, Run
from pelt_automl.verdict.signed_rank import signed_rank
from pelt_automl.verdict.simultaneous import simultaneous_intervals
from pelt_automl.verdict.standings import Comparison
from pelt_automl.verdict.statistics import interval, paired_bootstrap, probability_best, share_best, shrunken, unequal_bootstrap
from studies.harness import Report, Row, add_options, numbers, parser, say

# -------------------------------------------------------------------- made-up finals

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DIFFICULTY, TASTE, CHANCE = 0.35, 0.15, 0.5
"""Shares of the latent variance: of the example for all, of the example for one finalist, of the example in one run."""
FITTED_CHANCE = 0.05
"""Share of the example in one run where nothing starts at random: what is less than `CHANCE` is the finalist's taste."""
POSITIVES = 0.25
"""Share of the positive class where the metric is macro F1."""
SLOPE = 0.28
"""Accuracy gained a unit of skill, at an accuracy of 80 %."""


@dataclass(frozen=True)
class World:
    """What a finals looks like, and what is true in it: finalists of stated skill, seeds that help or hurt, examples that are hard for all.

    A run's prediction of an example depends on a latent number, after the crossed random effects of a finals::

        z[f, s, e] = skill_f + common_s + own_fs + difficulty_e + taste_fe + chance_fse

    For classification the prediction is right where ``z > 0``; for ``mae`` the error is a number of that size. The variances of difficulty,
    taste and chance sum to 1, so that the true score is a closed form (an integral over the seeds for macro F1).
    """

    finalists: int
    seeds: int
    metric: str = "accuracy"
    examples: int = 300
    own: float = 2.0
    """Standard deviation over seeds of a finalist's accuracy, in points, beside what all share."""
    common: float = 2.0
    """Standard deviation over seeds of what helps or hurts all finalists alike, in points."""
    unstable: float = 1.0
    """The first finalist's `own`, as a multiple of the others'."""
    fitted: int = 0
    """How many finalists, the first ones, are fitted without a random start: `FITTED_CHANCE`, and `fitted_own` for `own`."""
    fitted_own: float = 0.3
    """Standard deviation over seeds of a fitted finalist's accuracy, in points, beside what all share."""
    spread: float = 0.0
    """Standard deviation of the finalists' true accuracies, in points; 0: all are equal."""
    center: float = 0.8
    runs: tuple[int, ...] = ()
    """Seeds that each finalist has, from the first one on; by default all."""
    apart: int = 0
    """Seeds that the last finalist begins later with than the others."""
    failing: float = 0.0
    """Share of the runs that fail; a finalist whose runs have all failed keeps its first."""

    def has(self, rng: np.random.Generator) -> Bools:
        """(F, S): which runs there are."""
        most = np.array(self.runs or [self.seeds] * self.finalists)[:, None]
        first = np.where(np.arange(self.finalists) < self.finalists - 1, 0, self.apart)[:, None]
        seed = np.arange(self.seeds)
        has = (seed >= first) & (seed < first + most)
        kept = has & (rng.random(has.shape) >= self.failing) if self.failing else has
        return np.asarray(np.where(kept.any(axis=1, keepdims=True), kept, has & (seed == first)), np.bool_)

    def finals(self, rng: np.random.Generator) -> "Finals":
        """One finals of this world."""
        F, S, n = self.finalists, self.seeds, self.examples
        aims = np.clip(self.center + rng.normal(0, self.spread / 100, F), 0.55, 0.97)
        own_sd = np.full(F, self.own / 100 / SLOPE)
        own_sd[0] *= self.unstable
        own_sd[: self.fitted] = self.fitted_own / 100 / SLOPE
        fitted = np.arange(F) < self.fitted
        taste = np.where(fitted, TASTE + CHANCE - FITTED_CHANCE, TASTE)[:, None, None]
        chance = np.where(fitted, FITTED_CHANCE, CHANCE)[:, None, None]
        common_sd = self.common / 100 / SLOPE
        seed = rng.normal(0, common_sd, (1, S)) + rng.normal(0, 1, (F, S)) * own_sd[:, None]
        noise = (
            math.sqrt(DIFFICULTY) * rng.standard_normal((1, 1, n))
            + np.sqrt(taste) * rng.standard_normal((F, 1, n))
            + np.sqrt(chance) * rng.standard_normal((F, S, n))
        )
        who = tuple(fitted.tolist())
        seed_variance = own_sd**2 + common_sd**2
        if self.metric == "mae":
            # A seed scales a run's errors by as many points as it would move an accuracy.
            sizes = 1 - aims
            labels = rng.standard_normal(n)
            predictions = labels + sizes[:, None, None] * (1 + seed * SLOPE)[:, :, None] * noise
            return Finals(self.metric, labels, predictions, sizes * math.sqrt(2 / math.pi), who)
        skills = ndtri(aims) * np.sqrt(1 + seed_variance)
        right = skills[:, None, None] + seed[:, :, None] + noise > 0
        if self.metric == "accuracy":
            return Finals(self.metric, np.zeros(n), (~right).astype(np.float64), aims, who)
        labels = (rng.random(n) < POSITIVES).astype(np.float64)
        return Finals(self.metric, labels, np.where(right, labels, 1 - labels), _true_macro_f1(skills, seed_variance), who)


@dataclass(frozen=True)
class Finals:
    """What a comparison gets to see, and the truth."""

    metric: str
    labels: Floats
    """(n,)"""
    predictions: Floats
    """(F, S, n)"""
    truth: Floats
    """(F,): expected score over seeds and examples."""
    fitted: tuple[bool, ...] = ()
    """(F,): whether it is fitted without a random start."""

    def of(self, finalists: Bools, seeds: Bools) -> "Finals":
        """Of some finalists and seeds alone."""
        fitted = tuple(one for one, there in zip(self.fitted, finalists, strict=True) if there)
        return Finals(self.metric, self.labels, self.predictions[finalists][:, seeds], self.truth[finalists], fitted)


def _true_macro_f1(skills: Floats, seed_variance: Floats) -> Floats:
    """(F,): mean over seeds of the macro F1 on endless examples, both classes being recognized equally well."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    hit = ndtr(skills[:, None] + np.sqrt(seed_variance)[:, None] * nodes)
    parts = [2 * share * hit / (share + share * hit + (1 - share) * (1 - hit)) for share in (POSITIVES, 1 - POSITIVES)]
    expected: Floats = (sum(parts) / 2) @ weights / weights.sum()
    return expected


# -------------------------------------------------------------------- the worlds

REGION = 0.01
"""Of practical equivalence: one point."""
SURELY = 0.95
"""P(best) at which the rule before top-two allocation stopped."""
ROUNDING = 1e-9
EDGES = (0.0, 0.4, 0.6, 0.8, 0.95, 1.01)
USUAL = World(2, 3, own=2, common=2)
SPREADS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Points by which finalists truly differ (standard deviation) where the probability of being the best is looked at."""
LUCK = {
    "no luck of seeds": World(2, 3, own=0, common=0),
    "usual": USUAL,
    "shaky": World(2, 3, own=5, common=2),
    "one shakier (x2)": replace(USUAL, unstable=2),
    "one shakier (x4)": replace(USUAL, unstable=4),
    "usual, macro_f1": replace(USUAL, metric="macro_f1"),
    "usual, mae": replace(USUAL, metric="mae"),
}
"""Kinds of luck; points of standard deviation over seeds."""
FITTED_LUCK = {"usual": USUAL, "of the start": World(2, 3, own=2, common=0.5), "shaky starts": World(2, 3, own=5, common=0.5)}
"""The same where some finalists are fitted without a random start and have 0.3 points for `own`."""

UNEQUAL = {
    "6, 3": World(2, 6, runs=(6, 3)),
    "3, 6": World(2, 6, runs=(3, 6)),
    "6, 6, 3, 3": World(4, 6, runs=(6, 6, 3, 3)),
    "3, 2, 1": World(3, 3, runs=(3, 2, 1)),
    "8, 4, 2, 1": World(4, 8, runs=(8, 4, 2, 1)),
    "1, 2, 4, 8": World(4, 8, runs=(1, 2, 4, 8)),
    "5 each, 20 % fail": World(4, 5, failing=0.2),
    "3 each, the last one's others": World(4, 6, runs=(3, 3, 3, 3), apart=3),
}
"""Finalists with different seeds, from the first one on."""
UNEQUAL_LUCK: dict[str, Row] = {
    "none": {"own": 0.0, "common": 0.0},
    "usual": {},
    "shaky": {"own": 5.0},
    "of all": {"own": 1.0, "common": 5.0},
    "first one shakier (x2)": {"unstable": 2.0},
    "first one shakier (x4)": {"unstable": 4.0},
    "usual, macro_f1": {"metric": "macro_f1"},
    "usual, mae": {"metric": "mae"},
    "first one fitted": {"fitted": 1},
    "first one fitted, shaky starts": {"fitted": 1, "own": 5.0, "common": 0.5},
}
"""What differs from `USUAL` luck in these."""

# -------------------------------------------------------------------- one finals


def judged(finals: Finals, resamples: int, seed: int, has: Bools | None = None) -> Row:
    """Which statements about `finals` from so many draws are right; `has` (F, S) says which runs there are, by default all.

    - ``pair``: the interval of a difference named beforehand (last and first) holds the true one; ``first_two``: the same
    - ``mean``, ``last_mean``, ``leaders_mean``: that of a mean, of the first, the last, the observed best
    - ``recommended``: that of the mean of the first of the tied, whose order stands for that of costs
    - ``mean_drawn``, ``leaders_mean_drawn``, ``recommended_drawn``: the same by draws that are drawn together, as for P(best)
    - ``together``: those of all differences, for all at once; ``leaders_differences``: of those to the observed best
    - ``different``: some finalist was said to be different from the observed best; ``different_singly``: the same, had each interval been
      taken by itself
    - ``said``, ``plain_said``: the leader's P(best), drawn together and as the plain share of the draws; ``true``, ``plain_true``: whether
      that leader is the truly best; ``brier``, ``plain_brier``
    - ``signed_rank``: the probability that it gives to the observed best being better than the first finalist, which stands for a default
    """
    metric, truth = METRICS[finals.metric], finals.truth
    sign = metric.sign
    scores = np.array([[metric.value(run, finals.labels) for run in runs] for runs in finals.predictions])
    if has is None or has.all():
        means = scores.mean(axis=1)
        draws = paired_bootstrap(finals.labels, finals.predictions, finals.metric, resamples, seed, finals.fitted)
    else:
        means, draws = unequal_bootstrap(finals.labels, finals.predictions, has, finals.metric, resamples, seed, finals.fitted)
    leader, best = int(np.argmax(sign * means)), int(np.argmax(sign * truth))
    low, high = simultaneous_intervals(draws)
    apart = truth[:, None] - truth
    held = (low - ROUNDING <= apart) & (apart <= high + ROUNDING)
    recommended = int(np.argmax(sign * (means[leader] - means) <= REGION + ROUNDING))
    asked = {"mean": 0, "last_mean": -1, "leaders_mean": leader, "recommended": recommended}
    singly = [interval(sign * (draws[:, leader] - draws[:, other])) for other in range(len(truth)) if other != leader]
    row: Row = {
        "seeds": scores.shape[1],
        "pair": _holds(interval(draws[:, -1] - draws[:, 0]), truth[-1] - truth[0]),
        "first_two": _holds(interval(draws[:, 1] - draws[:, 0]), truth[1] - truth[0]),
        "together": bool(held.all()),
        "leaders_differences": bool(held[leader].all()),
        "different": bool((sign * (low if sign > 0 else high)[leader] > 0).any()),
        "different_singly": any(bounds[0] > 0 for bounds in singly),
        "signed_rank": signed_rank(sign * (scores[leader] - scores[0]), REGION, 2000).better,
    }
    for what, of in (("", draws), ("_drawn", shrunken(draws))):
        row |= {f"{name}{what}": _holds(interval(of[:, who]), truth[who]) for name, who in asked.items()}
    for name, p in (("", probability_best(draws, sign > 0)), ("plain_", share_best(draws, sign > 0))):
        error = ((p - np.eye(len(p))[best]) ** 2).sum() / 2
        row |= {f"{name}said": float(p.max()), f"{name}true": int(p.argmax()) == best, f"{name}brier": float(error)}
    return row


def _holds(bounds: tuple[float, float], truth: float) -> bool:
    return bounds[0] - ROUNDING <= truth <= bounds[1] + ROUNDING


def simulated(world: World, repeats: int, resamples: int = 500, seed: int = 0) -> pd.DataFrame:
    """`judged` of so many finals of `world`, with its number of seeds."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame([judged(world.finals(rng), resamples, repeat, world.has(rng)) for repeat in range(repeats)])


def stopped(world: World, repeats: int, least: int = 3, resamples: int = 500, seed: int = 0, *, compare: bool = True) -> pd.DataFrame:
    """The same by the program's own rule: all on the `least` seeds, further ones, `world.seeds` at most, for the best and its challenger.

    Judged is what the rule has left in: without finalists that it sent home (clearly behind), as in the verdict. ``runs``: trainings;
    ``within``: whether the best mean is truly within the region of the best; ``sure``: whether it stopped since that is probable enough;
    ``home``: whether somebody truly within the region of the best was sent home; ``for_all``, ``for_all_within``: of `for_all`, where the
    two are to be compared.
    """
    rng, found = np.random.default_rng(seed), []
    for repeat in range(repeats):
        finals, has, out = world.finals(rng), np.arange(world.seeds) < np.full((world.finalists, 1), least), set[str]()
        while True:
            full = {f"f-{index}" for index in np.flatnonzero(has.all(axis=1))}
            if (ahead := outlook(_compared(finals, has, out), REGION, full)).stop:
                break
            pair = [int(name.removeprefix("f-")) for name in ahead.pair]
            counts = has[pair].sum(axis=1)
            if counts.min() == world.seeds:
                break
            out |= set(ahead.behind)
            has[[one for one, count in zip(pair, counts, strict=True) if count == counts.min()], counts.min()] = True
        left = np.array([f"f-{index}" not in out for index in range(world.finalists)])
        good, used = METRICS[world.metric].sign * finals.truth, has[left].any(axis=0)
        row = judged(finals.of(left, used), resamples, repeat, has[left][:, used])
        row |= {"finalists": world.finalists, "runs": int(has.sum()), "home": bool((good[~left] >= good.max() - REGION).any())}
        row |= {"sure": ahead.numbers["p_within_the_region"] > CERTAIN, "within": _within(finals, _compared(finals, has, out))}
        row |= dict(zip(("for_all", "for_all_within"), for_all(finals, least) if compare else (math.nan, math.nan), strict=True))
        found.append(row)
    return pd.DataFrame(found)


def for_all(finals: Finals, least: int) -> tuple[int, bool]:
    """Trainings, and whether the best mean is truly within the region, by the rule before top-two allocation.

    A seed more for all who aren't behind until the best is surely the best, all who are left are practically equivalent, or another seed
    would hardly narrow anything.
    """
    finalists, most, _ = finals.predictions.shape
    has, out = np.zeros((finalists, most), dtype=bool), set[str]()
    for seeds in range(least, most + 1):
        has[[index for index in range(finalists) if f"f-{index}" not in out], :seeds] = True
        compared = _compared(finals, has, out)
        best, p_best = compared.best(), compared.p_best()
        apart = {name: compared.difference(best, name).together for name in compared.compared if name != best}
        out |= {name for name, (low, _) in apart.items() if low > REGION}
        left = [name for name in apart if name not in out]
        if p_best[best] > SURELY or all(apart[name][1] <= REGION for name in left):
            break
        if narrowed_by(compared, best, max(left, key=lambda name: p_best[name])) < NARROWER:
            break
    return int(has.sum()), _within(finals, compared)


def _within(finals: Finals, compared: Comparison) -> bool:
    good = METRICS[finals.metric].sign * finals.truth
    return bool(good[int(compared.best().removeprefix("f-"))] >= good.max() - REGION)


def _compared(finals: Finals, has: Bools, out: Collection[str] = ()) -> Comparison:
    runs = {f"f-{index}": {seed: said for seed, said in enumerate(own) if has[index, seed]} for index, own in enumerate(finals.predictions)}
    who = {name: ("probe" if fitted else "f", 1) for name, fitted in zip(runs, finals.fitted, strict=True)}
    return comparison(runs, who, finals.labels.tolist(), finals.metric, out)


def comparison(
    runs: Mapping[str, Mapping[int, Any]], who: Mapping[str, tuple[str, int]], labels: Sequence[float], metric: str,
    out: Collection[str] = (),
) -> Comparison:  # fmt: skip
    """Finalists as the program compares them: `runs` has what each says of the report examples by seed, `who` its method and parameters."""
    finalists = []
    for name, own in runs.items():
        value = METRICS[metric].value
        scored = {seed: Run(f"{name}-{seed}", value(np.asarray(said), np.asarray(labels)), said) for seed, said in own.items()}
        finalists.append(Finalist(name, who[name][0], False, {}, who[name][1], 1.0, 0.0, scored))
    return Comparison(finalists, list(labels), metric, out)


def held(world: World, repeats: int, resamples: int = 500, seed: int = 0, *, alike: bool = False) -> pd.DataFrame:
    """How often 95 % intervals hold the truth (``coverage``) and their median ``width`` in points, by what they are about (the index).

    About the first (a fitted) and the last (a trained) finalist of `world`: means, and differences named beforehand. `alike`: with all
    finalists treated as trained, as before there were fitted ones.
    """
    rng, rows = np.random.default_rng(seed), []
    asked: dict[str, tuple[int, int | None]] = {"fitted": (0, None), "trained": (-1, None), "trained - fitted": (-1, 0)}
    if world.finalists - world.fitted > 1:
        asked["trained - trained"] = (-1, -2)
    for repeat in range(repeats):
        finals = world.finals(rng)
        draws = paired_bootstrap(finals.labels, finals.predictions, finals.metric, resamples, repeat, () if alike else finals.fitted)
        for what, (one, other) in asked.items():
            low, high = interval(draws[:, one] if other is None else draws[:, one] - draws[:, other])
            true = float(finals.truth[one] if other is None else finals.truth[one] - finals.truth[other])
            rows.append({"what": what, "coverage": _holds((low, high), true), "width": 100 * (high - low)})
    return pd.DataFrame(rows).groupby("what", sort=False).agg({"coverage": "mean", "width": "median"})


def reliability(said: pd.DataFrame, edges: Sequence[float] = EDGES, what: str = "") -> list[Row]:
    """For each bin of the leader's probability its mean, how often the leader was the truly best, and how many finals."""
    bins = said.groupby(pd.cut(said[f"{what}said"], list(edges), right=False), observed=True)
    return [{"said": own[f"{what}said"].mean(), "true": own[f"{what}true"].mean(), "finals": len(own)} for _, own in bins]


# -------------------------------------------------------------------- tables


def _shares(said: pd.DataFrame) -> Row:
    columns = {"pair": "difference", "mean": "mean", "together": "all differences"}
    return {name: float(said[column].mean()) for column, name in columns.items()}


def intervals(report: Report, finalists: Sequence[int], seeds: Sequence[int], repeats: int, resamples: int) -> None:
    """Coverage, and what is said of equal finalists."""
    error = math.sqrt(0.95 * 0.05 / repeats)
    for (name, luck), F, S in product(LUCK.items(), finalists, seeds):
        say(f"intervals: {name}, {F} finalists, {S} seeds")
        said = simulated(replace(luck, finalists=F, seeds=S), repeats, resamples)
        wrong = {"false different": said["different"].mean(), "singly": said["different_singly"].mean()}
        drawn = {"leaders_mean": "leader's mean", "leaders_mean_drawn": "the same, drawn together", "mean_drawn": "mean, drawn together"}
        wrong |= {title: said[column].mean() for column, title in drawn.items()}
        sure = {"signed rank > 95 %": float((said["signed_rank"] > 0.95).mean())}
        title = f"Equal finalists: shares of {repeats} finals (standard error at 95 %: {error:.1%})"
        report.add(title, luck=name, finalists=F, seeds=S, **_shares(said), **wrong, **sure)


def fitted_ones(
    report: Report, finalists: Sequence[int], fitted: Sequence[int], seeds: Sequence[int], repeats: int, resamples: int
) -> None:
    """Coverage and widths where the first finalists are fitted without a random start, with and without treating them so."""
    for (name, luck), F, k, S in product(FITTED_LUCK.items(), finalists, fitted, seeds):
        if k < F:
            say(f"fitted finalists: {name}, {k} of {F}, {S} seeds")
            for treated in ("alike", "by itself"):
                found = held(replace(luck, finalists=F, fitted=k, seeds=S), repeats, resamples, alike=treated == "alike")
                widths = {f"width: {what}": width for what, width in found["width"].items()}
                row = {"luck": name, "finalists": F, "of them fitted": k, "seeds": S, "treated": treated}
                title = f"Fitted finalists: coverage in {repeats} finals, and median widths of the intervals in points"
                report.add(title, **row, **{str(what): share for what, share in found["coverage"].items()}, **widths)


def probabilities(report: Report, finalists: Sequence[int], seeds: int, repeats: int, resamples: int) -> None:
    """P(best) against how often it is true, for true spreads from nothing much to a lot; and in bins over all of them."""
    every = []
    for spread, F in product(SPREADS, finalists):
        say(f"P(best): spread {spread}, {F} finalists")
        said = simulated(World(F, seeds, own=2, common=2, spread=spread), repeats, resamples)
        every.append(said)
        means: Any = said[["said", "true", "brier", "plain_said", "plain_brier"]].astype(float).mean()
        title = f"P(best) of the leader, {seeds} seeds, finalists that truly differ by `spread` points"
        report.add(title, spread=spread, finalists=F, **dict(means), **_shares(said))
    for name, what in (("P(best)", ""), ("plain share of draws", "plain_")):
        for row in reliability(pd.concat(every), what=what):
            report.add("All of the above, by what was said", what=name, **row)


def unequal_ones(report: Report, repeats: int, resamples: int, seed: int) -> None:
    """Coverage and P(best) where finalists have different seeds, over true spreads from nothing much to a lot."""
    error = math.sqrt(0.95 * 0.05 / repeats)
    title = f"Different seeds: shares of {repeats} finals (standard error at 95 %: {error:.1%})"
    columns = {"leaders_mean": "leader's mean", "leaders_mean_drawn": "the same, drawn together", "recommended": "recommended one's mean"}
    columns |= {"recommended_drawn": "that, drawn together", "mean": "first's mean", "mean_drawn": "mean, drawn together"}
    columns |= {"last_mean": "last's mean", "last_mean_drawn": "last's, drawn together", "pair": "first - last"}
    columns |= {"first_two": "first - second", "leaders_differences": "leader's differences"}
    for at, ((luck, changes), (seeds, world)) in enumerate(product(UNEQUAL_LUCK.items(), UNEQUAL.items())):
        say(f"different seeds: {seeds}, {luck}")
        worlds = [replace(world, spread=spread, **changes) for spread in SPREADS]
        each = [simulated(own, repeats // len(worlds), resamples, 1000 * seed + 10 * at + of) for of, own in enumerate(worlds)]
        said = pd.concat(each)
        shares = {name: float(said[column].mean()) for column, name in columns.items()}
        report.add(title, luck=luck, seeds=seeds, **shares, **dict(said[["said", "true", "brier"]].astype(float).mean()))


def stopping(report: Report, finalists: Sequence[int], most: int, repeats: int, resamples: int, seed: int, *, compare: bool = True) -> None:
    """With seeds added until the rule wants no more: usual luck for three true spreads, the other kinds of luck for one."""
    every, error = [], math.sqrt(0.95 * 0.05 / repeats)
    columns = {"leaders_mean": "leader's mean", "leaders_mean_drawn": "the same, drawn together", "recommended": "recommended one's mean"}
    columns |= {"recommended_drawn": "that, drawn together", "mean_drawn": "mean, drawn together"}
    columns |= {"leaders_differences": "leader's differences", "different": "different", "home": "home"}
    worlds = [("usual", 0.0), ("usual", 4.0), *((name, 2.0) for name in LUCK)]
    for at, ((name, spread), F) in enumerate(product(worlds, finalists)):
        say(f"stopping: {name}, spread {spread}, {F} finalists")
        world = replace(LUCK[name], finalists=F, seeds=most, spread=spread)
        said = stopped(world, repeats, resamples=resamples, seed=1000 * seed + at, compare=compare)
        row = {"trainings": said["runs"].mean(), "for all": said["for_all"].mean(), **_shares(said)}
        row |= {title: float(said[column].mean()) for column, title in columns.items()}
        if spread:
            row |= dict(said[["said", "true", "brier"]].astype(float).mean())
        every.append(said.assign(spread=spread))
        title = f"3 to {most} seeds, as many as the rule wants ({repeats} finals; standard error at 95 %: {error:.1%})"
        report.add(title, luck=name, spread=spread, finalists=F, **row)
    said = pd.concat(every)
    sure, equal = said[said["sure"]], said[said["spread"] == 0]
    shares = {"finals": len(said), **_shares(said), **{title: float(said[column].mean()) for column, title in columns.items()}}
    report.add("All of the above", **shares, **{"different, equal finalists": float(equal["different"].mean())})
    for size, own in said.groupby("finalists") if compare else ():
        saved = {"trainings": own["runs"].mean(), "for all": own["for_all"].mean(), "share": own["runs"].sum() / own["for_all"].sum()}
        within = {"within the region": float(own["within"].mean()), "for all, within": float(own["for_all_within"].mean())}
        report.add("Against a seed more for all until the best is surely the best", finalists=size, **saved, **within)
    report.add("Stopped since probably within the region", finals=len(sure), share=len(sure) / len(said), true=float(sure["within"].mean()))
    for row in reliability(said[said["spread"] > 0]):
        report.add("P(best) when the rule has stopped, by what was said", **row)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print, write."""
    made = parser("calibration", __doc__)
    add_options(made, {
        "repeats": (int, 1000, "made-up finals a row"),
        "stopping-repeats": (int, 300, "the same where seeds are added by the rule"),
        "seed": (int, 0, "of the finals whose finalists have different seeds, by chance or by the rule"),
        "resamples": (int, 500, "draws of the bootstrap; the program takes 2,000"),
        "finalists": (numbers, [2, 4, 8], "in a finals"),
        "seeds": (numbers, [3, 5, 10], "of a finals"),
        "fitted": (numbers, [1, 3], "finalists that are fitted without a random start"),
        "alone": (bool, False, "without the rule before, a seed more for all, next to the program's"),
        "only": (("all", "fitted", "unequal", "stopping"), "all", "one table: fitted finalists, different seeds, the rule"),
    })  # fmt: skip
    asked = made.parse_args(arguments)
    report = Report("calibration", asked)
    if asked.only in ("all", "unequal"):
        unequal_ones(report, asked.repeats, asked.resamples, asked.seed)
    if asked.only in ("all", "fitted"):
        fitted_ones(report, asked.finalists, asked.fitted, asked.seeds, asked.repeats, asked.resamples)
    if asked.only == "all":
        intervals(report, asked.finalists, asked.seeds, asked.repeats, asked.resamples)
        probabilities(report, asked.finalists, min(asked.seeds), asked.repeats, asked.resamples)
    if asked.only in ("all", "stopping"):
        stopping(report, asked.finalists, max(asked.seeds), asked.stopping_repeats, asked.resamples, asked.seed, compare=not asked.alone)
    report.write()


if __name__ == "__main__":
    main()
