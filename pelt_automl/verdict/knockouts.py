"""What each submodule is worth: the score that is lost when it is truly switched off."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pelt_automl.log.events import Event, KnockedOut, of_kind, sign_of
from pelt_automl.verdict.gates import deviation, mean


@dataclass(frozen=True)
class SubmoduleLoss:
    """A submodule of a finalist, switched off after the training."""

    submodule: str
    loss: float
    """Mean over seeds of what is lost on the select split, in the metric's unit; positive: the submodule helps."""
    seed_spread: float
    """Standard deviation over seeds; 0 with one seed."""
    by_seed: dict[int, float]
    """Loss for each seed index."""
    score: float
    """Mean over seeds with everything on."""
    score_without: float
    """Mean over seeds with this submodule off."""


def submodule_losses(events: Iterable[Event], candidate: str, greater_is_better: bool = True) -> list[SubmoduleLoss]:
    """One row a submodule of `candidate` that was switched off, the greatest loss first."""
    runs: dict[str, dict[int, KnockedOut]] = defaultdict(dict)
    for event in of_kind(events, KnockedOut):
        if event.candidate == candidate:
            runs[event.submodule][event.seed_index] = event
    sign = sign_of(greater_is_better)
    return sorted((_loss(name, seeds, sign) for name, seeds in runs.items()), key=lambda row: -row.loss)


def _loss(submodule: str, seeds: dict[int, KnockedOut], sign: int) -> SubmoduleLoss:
    by_seed = {seed: sign * (run.score - run.score_without) for seed, run in sorted(seeds.items())}
    losses = list(by_seed.values())
    return SubmoduleLoss(
        submodule,
        loss=mean(losses),
        seed_spread=deviation(losses),
        by_seed=by_seed,
        score=mean([run.score for run in seeds.values()]),
        score_without=mean([run.score_without for run in seeds.values()]),
    )
