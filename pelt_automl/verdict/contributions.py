"""What share of the hidden states each submodule's change really is (see `pelt_automl.modifications.observed.contribution`)."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pelt_automl.log.events import ContributionMeasured, Event, of_kind
from pelt_automl.verdict.gates import deviation, mean


@dataclass(frozen=True)
class SubmoduleContribution:
    """A submodule's contribution over its layers and sites."""

    submodule: str
    mean: float
    """Over seeds, layers and sites of the mean over examples and tokens; 0: changes nothing, 1: as long as what it is added to."""
    seed_spread: float
    """Standard deviation over seeds; 0 with one seed."""
    by_seed: dict[int, float]
    """Mean over layers and sites for each seed index."""
    by_place: dict[tuple[str, int], float]
    """Mean over seeds, by site and layer."""


def submodule_contributions(events: Iterable[Event], candidate: str) -> list[SubmoduleContribution]:
    """One row a submodule of `candidate`, the greatest contribution first. One measured again after a restart counts once."""
    found: dict[str, dict[tuple[int, str, int], float]] = defaultdict(dict)
    for event in of_kind(events, ContributionMeasured):
        if event.candidate == candidate:
            found[event.submodule][event.seed_index, event.site, event.layer] = event.mean
    return sorted((_row(name, own) for name, own in found.items()), key=lambda row: -row.mean)


def _row(submodule: str, found: dict[tuple[int, str, int], float]) -> SubmoduleContribution:
    seeds: dict[int, list[float]] = defaultdict(list)
    places: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (seed, site, layer), value in sorted(found.items()):
        seeds[seed].append(value)
        places[site, layer].append(value)
    by_seed = {seed: mean(values) for seed, values in seeds.items()}
    return SubmoduleContribution(
        submodule,
        mean=mean(list(by_seed.values())),
        seed_spread=deviation(list(by_seed.values())),
        by_seed=by_seed,
        by_place={place: mean(values) for place, values in sorted(places.items())},
    )
