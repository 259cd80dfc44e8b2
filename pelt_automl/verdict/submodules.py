"""What was measured of the submodules of a finalist union: gates, contributions and knock-outs, over seeds, sites and layers.

UniPELT's paper prints no gate value, so that a gate is a hypothesis here (see `pelt_automl.verdict.strength`), never a verdict.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from pelt_automl.log.events import ContributionMeasured, Event, GateMeasured, KnockedOut
from pelt_automl.log.history import History

MEASURES: dict[str, tuple[type[Event], Callable[[Any], float]]] = {
    "gate": (GateMeasured, lambda event: event.mean),  # 0 (closed) to 1 (open), mean over examples
    "spread": (GateMeasured, lambda event: event.spread),  # of a gate over examples
    "drift": (GateMeasured, lambda event: event.mean - event.start),  # of a gate from its start, which is about 0.5
    "contribution": (ContributionMeasured, lambda event: event.mean),  # see `pelt_automl.modifications.observed.contribution`
    "knock-out": (KnockedOut, lambda event: event.score - event.score_without),  # what is lost without it, for an accuracy
}
"""What is known of a submodule, the events that say it, and how."""


@dataclass(frozen=True)
class Measure:
    """One of `MEASURES` of one submodule of a finalist."""

    submodule: str
    values: dict[int, dict[tuple[str, int], float]]
    """By seed index, then by site and layer; a knock-out has one value a seed. One measured again after a restart is there once."""

    @property
    def by_seed(self) -> dict[int, float]:
        """Mean over sites and layers."""
        return {seed: fmean(own.values()) for seed, own in sorted(self.values.items())}

    @property
    def by_place(self) -> dict[tuple[str, int], list[float]]:
        """The seeds' values, by site and layer."""
        places = sorted({place for own in self.values.values() for place in own})
        return {place: [own[place] for own in self.values.values() if place in own] for place in places}

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.by_seed.values())

    @property
    def seed_spread(self) -> float:
        """Standard deviation over seeds; 0 with one seed, which tells nothing."""
        return _deviation(list(self.by_seed.values()))


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def measured(history: History, what: str, candidate: str, sign: int = 1) -> list[Measure]:
    """One row a submodule of `candidate`, the greatest mean first.

    Args:
        history: of the selection.
        what: a name in `MEASURES`.
        candidate: the finalist.
        sign: what values are multiplied by: for a knock-out the metric's, so that positive means that the submodule helps.
    """
    kind, value = MEASURES[what]
    found: dict[str, dict[int, dict[tuple[str, int], float]]] = defaultdict(lambda: defaultdict(dict))
    for event in history.of_kind(kind):
        if isinstance(event, GateMeasured | ContributionMeasured | KnockedOut) and event.candidate == candidate:
            place = ("", 0) if isinstance(event, KnockedOut) else (event.site, event.layer)
            found[event.submodule][event.seed_index][place] = sign * value(event)
    return sorted((Measure(name, dict(own)) for name, own in found.items()), key=lambda row: -row.mean)


def union_candidates(history: History) -> list[str]:
    """Finalists that were taken apart, those with gates before others."""
    gates, shares = history.of_kind(GateMeasured), history.of_kind(ContributionMeasured)
    names = [own.candidate for own in gates] + [own.candidate for own in shares] + [own.candidate for own in history.of_kind(KnockedOut)]
    return list(dict.fromkeys(names))


def place_rows(history: History, candidate: str) -> dict[tuple[str, str, int], dict[str, float]]:
    """What is known of each submodule, site and layer of `candidate`, in this order.

    ``gate``, ``spread``, ``drift`` and ``contribution`` are means over seeds, ``seeds`` is the gate's standard deviation over them. What
    wasn't measured isn't there: gates of a union without any, contributions in old records. A prefix with a gate for keys and one for
    values has three sites: ``heads``, ``heads.key``, ``heads.value``.
    """
    found: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for what in ("gate", "spread", "drift", "contribution"):
        for row in measured(history, what, candidate):
            for place, values in row.by_place.items():
                found[row.submodule, *place] |= {what: fmean(values)} | ({"seeds": _deviation(values)} if what == "gate" else {})
    return dict(sorted(found.items()))


def dispensable(losses: Sequence[Measure], region: float) -> list[Measure]:
    """Submodules whose knock-out costs less than the region of practical equivalence, on average over seeds; never all of them.

    Where all cost less, the one that costs most stays. The mean decides, not an upper confidence bound: on 200 examples and three seeds the
    95 % bound of a mean of 0 lies at 1.645 sqrt(0.05 / 600), 1.5 points, where 5 % of the predictions change for nothing. A wrong choice is
    found out all the same, since the smaller union is trained again and has to hold its own among the finalists on the report split: the
    mean decides what is tried, never what is recommended.

    Args:
        losses: of one union, in the metric's unit.
        region: of practical equivalence, in the same unit.
    """
    by_loss = sorted(losses, key=lambda row: (-row.mean, row.submodule))
    cheap = [row for row in by_loss if row.mean < region]
    return cheap[1:] if len(cheap) == len(by_loss) else cheap
