"""How numbers and names are written in verdicts and reports."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pelt_automl.log.events import Against, Outcome, Standing, TrialEnded
from pelt_automl.methods import BASELINES
from pelt_automl.tasks.labels import shortened
from pelt_automl.tasks.metrics import METRICS

NOTHING = "\N{EN DASH}"
SUREST = 0.999
"""Probability above which nothing is said to be: it comes from a few thousand draws."""


@dataclass(frozen=True)
class Unit:
    """How a metric's values are shown: points with one decimal, or an error's own unit with three digits."""

    metric: str
    positive_class: str | None = None
    """The class that the metric is about, if it is about one."""

    @property
    def in_points(self) -> bool:
        """Whether values are multiplied by 100: all but errors without a bound, which are in the labels' unit or in nats."""
        return math.isfinite(METRICS[self.metric].high)

    @property
    def own(self) -> str:
        """The unit of an error, in words."""
        return "the labels' own unit" if METRICS[self.metric].in_label_unit else "nats"

    @property
    def scale(self) -> int:
        """What values are multiplied by where they are shown."""
        return 100 if self.in_points else 1

    @property
    def name(self) -> str:
        """The metric in words: ``macro f1``, ``f1 of 'fraud'``."""
        return self.short + (f" of {shortened(self.positive_class)}" if self.positive_class is not None else "")

    @property
    def short(self) -> str:
        """The metric's name alone, for the heads of narrow tables."""
        return self.metric.replace("_", " ")

    def number(self, value: float | None) -> str:
        """``0.8123`` -> ``81.2``; an error of ``0.4567`` -> ``0.457``; None -> a dash."""
        if value is None:
            return NOTHING
        shown = f"{100 * value:.1f}" if self.in_points else f"{value:.3g}"
        return "0.0" if shown == "-0.0" else shown

    def signed(self, value: float | None) -> str:
        """As `number`, with its sign."""
        shown = self.number(value)
        return f"+{shown}" if value is not None and not shown.startswith("-") and float(shown) != 0 else shown

    def amount(self, value: float) -> str:
        """``1.2 points``, or for errors ``0.031``."""
        return f"{self.number(value)} points" if self.in_points else self.number(value)

    def region(self, points: float) -> str:
        """The region of practical equivalence: ``1 point``, ``1 % of the labels' standard deviation``, or for log loss ``0.01 nats``."""
        if self.in_points:
            return f"{points:g} point{'' if points == 1 else 's'}"
        return f"{points:g} % of the labels' standard deviation" if METRICS[self.metric].in_label_unit else f"{points / 100:g} nats"

    def range(self, interval: tuple[float, float]) -> str:
        """``78.9 to 83.4``."""
        return f"{self.number(interval[0])} to {self.number(interval[1])}"


WITHOUT = "-without-"
"""In a candidate's name, before each submodule that it lacks."""


def display_name(candidate: str, method: str, is_default: bool) -> str:
    """``lora (default)``, else ``lora #3`` for the candidate ``lora-0003``; a pruned union is called after the one that it comes from.

    A baseline has one configuration and no number.
    """
    if method in BASELINES:
        return method
    whole, *removed = candidate.split(WITHOUT)
    if removed:
        of, _, number = whole.rpartition("-")
        return f"{display_name(whole, of, is_default=not number.strip('0'))} without {listed(removed)}"
    return f"{method} (default)" if is_default else f"{method} #{candidate.removeprefix(f'{method}-').lstrip('0') or '0'}"


def name_of(row: Standing | Against | TrialEnded) -> str:
    """The display name of the candidate that it is about."""
    return display_name(row.candidate, row.method, row.is_default)


def candidate_names(trials: Sequence[TrialEnded]) -> dict[str, str]:
    """Display name of each candidate, by its first training."""
    return {trial.candidate: name_of(trial) for trial in reversed(trials)}


def value(raw: Any) -> str:
    """A hyper-parameter's value in short: ``5e-4``, ``16``, ``0.1``, ``relu``."""
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, float):
        mantissa, _, exponent = f"{raw:.2e}".partition("e")
        if raw != 0 and not -3 <= int(exponent) <= 5:
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{raw:.4g}" if abs(raw) < 1000 else f"{raw:,.0f}"
    return str(raw)


def in_short(hyper_parameters: Mapping[str, Any]) -> str:
    """``rank 16, alpha 32, learning rate 5e-4``."""
    return ", ".join(f"{name.replace('_', ' ')} {value(raw)}" for name, raw in hyper_parameters.items())


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 7 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def milliseconds(value: float | None) -> str:
    """Three digits: ``9.87``, ``141``; a dash for what wasn't measured."""
    return NOTHING if value is None else f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def gigabytes(value: float | None) -> str:
    """``0.42``; a dash for what wasn't measured."""
    return NOTHING if value is None else f"{value:.2f}"


def percent(probability: float | None) -> str:
    """``0.62`` -> ``62 %``; tiny and near-certain ones keep their side: ``<1 %``, ``>99 %``."""
    if probability is None:
        return NOTHING
    return "<1 %" if 0 < probability < 0.01 else ">99 %" if 0.99 < probability < 1 else f"{100 * probability:.0f} %"


def chance(row: Standing, outcome: Outcome) -> str:
    """P(best) of a finalist as tables show it: a dash on one seed and where the answer isn't a recommendation, and never ``100 %``."""
    told = len(row.seed_scores) > 1 and outcome == Outcome.RECOMMENDED
    return percent(min(row.p_best, SUREST) if told else None)


def went_wrong(row: Standing) -> str:
    """How many of its method's trainings failed or ended with constant predictions: ``3 of 12 (25 %)``; a dash in old records."""
    wrong = row.failed + row.constant
    return f"{wrong} of {row.trainings} ({percent(wrong / row.trainings)})" if row.trainings else NOTHING


def listed(names: Sequence[str]) -> str:
    """``a, b and c``; empty for none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(number: int, noun: str) -> str:
    """``1 seed``, ``1,000 examples``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
