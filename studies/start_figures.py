"""What the table says of where a training starts, as numbers: from a table of trainings (see `studies.table_files.load_table`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pelt_automl.methods import BASELINES
from studies.table_grid import DEFAULT, PROBE, K

FEWEST_SOURCES = 3
"""That an interval may rest on."""
FEWEST_RANKED = 5
"""Trainings that a rank correlation may rest on."""
CLOSE = 1.0
"""Points of the metric (1 point = 0.01): within so many a score is as good as another."""
CONFIDENCE = 0.95

MOMENTS = {"25": "25 % of the steps", "50": "50 %", "100": "100 %", "report": "report, best checkpoint"}
"""The first three on select."""


@dataclass(frozen=True)
class Estimate:
    """A mean over sources."""

    mean: float
    interval: tuple[float, float] | None
    """None of fewer than `FEWEST_SOURCES`."""
    sources: int


def over_sources(frame: pd.DataFrame, value: str, inside: Sequence[str] = ("method", "task")) -> Estimate | None:
    """The mean of `value`, averaged inside each source over what `inside` names, one after the other; None of nothing."""
    kept = frame.dropna(subset=[value])
    if kept.empty:
        return None
    levels = ["source", *reversed(inside)]
    means = kept.groupby(levels)[value].mean()
    while levels := levels[:-1]:
        means = means.groupby(level=levels).mean()
    return _estimate(means.to_numpy())


def _estimate(by_source: np.ndarray[Any, Any]) -> Estimate:
    from scipy.stats import t

    n, mean = len(by_source), float(by_source.mean())
    if n < FEWEST_SOURCES:
        return Estimate(mean, None, n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * by_source.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, (mean - half, mean + half), n)


# -------------------------------------------------------------------- what is compared


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """Trainings at `K`, with their scores at each of `MOMENTS` in points; NaN where they failed before. Greater is better throughout."""
    frame = table[table["k"] == K].copy()
    at = [_moments(*row) for row in zip(frame["curve_step"], frame["curve_score"], frame["rungs"], frame["steps"], strict=True)]
    for place, name in enumerate(("25", "50", "100")):
        frame[name] = [own[place] for own in at]
    frame["report"] = frame["report_score"].astype(float)
    sign = np.where(frame["metric"].isin(["rmse", "mae"]), -1.0, 1.0)
    for name in MOMENTS:
        frame[name] = 100 * sign * frame[name].astype(float)
    return frame


def _moments(steps: Sequence[int], scores: Sequence[float], rungs: Sequence[int], end: int) -> list[float]:
    """After a quarter, half and all of the steps; NaN for what hasn't been reached."""
    by_step = dict(zip(steps, scores, strict=True))
    return [float(by_step.get(step, np.nan)) for step in (*rungs, end)] if len(rungs) == 2 else [float("nan")] * 3


def starts_compared(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each default that was trained from both starts with the same seeds: scores ``25_probe``, ``25_random``, and ``25`` between.

    Failed trainings leave their pair out. ``above_chance``: whether the split's probe was, so that the program would start from it.
    """
    own = frame[(frame["configuration"] == DEFAULT) & (frame["failure"] == "")]
    keys = ["source", "task", "method", "seed"]
    probe, random = (own[own["head_start"] == start] for start in ("probe", "random"))
    pairs = probe[[*keys, "above_chance", *MOMENTS]].merge(random[[*keys, *MOMENTS]], on=keys, suffixes=("_probe", "_random"))
    for name in MOMENTS:
        pairs[name] = pairs[f"{name}_probe"] - pairs[f"{name}_random"]
    return pairs


def probe_alone(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a task: the probe against the best configuration, on the seeds of both.

    The best is that with the greatest mean difference to the probe; it is found on the scores that it is then compared by, which flatters
    it. ``close``: the share of seeds on which the probe is no more than `CLOSE` points worse.
    """
    done = frame[frame["failure"] == ""]
    probe = done[done["method"] == PROBE].set_index(["task", "seed"])["report"]
    tuned = done[~done["method"].isin(list(BASELINES))].copy()
    tuned["probe"] = [probe.get((task, seed), np.nan) for task, seed in zip(tuned["task"], tuned["seed"], strict=True)]
    tuned["behind"] = tuned["report"] - tuned["probe"]
    tuned = tuned.dropna(subset=["behind"])
    rows = []
    for (source, task), own in tuned.groupby(["source", "task"], sort=False):
        candidates = list(own.groupby(["method", "configuration", "head_start"]))
        (method, configuration, start), best = max(candidates, key=lambda one: float(one[1]["behind"].mean()))
        rows.append(
            {
                "source": source,
                "task": task,
                "configurations": len(candidates),
                "trainings": len(own),
                "seeds": len(best),
                "method": method,
                "best": f"{configuration}, {start} start",
                "best_score": best["report"].mean(),
                "probe": best["probe"].mean(),
                "behind": best["behind"].mean(),
                "close": float((best["behind"] <= CLOSE).mean()),
            }
        )
    return pd.DataFrame(rows)


GROUPS: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "probe start, defaults": lambda own: (own["head_start"] == "probe") & (own["configuration"] == DEFAULT),
    "random start, defaults": lambda own: (own["head_start"] == "random") & (own["configuration"] == DEFAULT),
    "probe start, all configurations": lambda own: own["head_start"] == "probe",
}
"""Whose ranks are compared, inside a task and seed."""


def rank_correlations(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """A row for each task and seed: Spearman's correlation over trainings of the score at a rung and of the final one.

    Columns ``25 with 100``, ``25 with report``, and so on; NaN where all have one score.
    """
    done = frame[(frame["failure"] == "") & ~frame["method"].isin(list(BASELINES))]
    rows = []
    for (source, task, seed), own in done[GROUPS[group](done)].groupby(["source", "task", "seed"]):
        if len(own) >= FEWEST_RANKED:
            found = {f"{at} with {end}": _spearman(own[at], own[end]) for at, end in RANKED}
            rows.append({"source": source, "task": task, "seed": seed, "trainings": len(own)} | found)
    return pd.DataFrame(rows, columns=["source", "task", "seed", "trainings", *(f"{at} with {end}" for at, end in RANKED)])


RANKED = (("25", "100"), ("50", "100"), ("25", "report"), ("50", "report"), ("100", "report"))


def _spearman(a: pd.Series, b: pd.Series) -> float:
    from scipy.stats import spearmanr

    if a.isna().any() or b.isna().any() or a.nunique() < 2 or b.nunique() < 2:
        return float("nan")
    return float(spearmanr(a, b).statistic)
