"""What would one have got without the selection? The recommended configuration against the fixed defaults, and the runner-up."""

from collections.abc import Sequence

from pelt_automl.log.events import Against, Standing
from pelt_automl.methods import FIXED_DEFAULTS
from pelt_automl.verdict.signed_rank import FEWEST, signed_rank
from pelt_automl.verdict.standings import Comparison


def fixed_defaults(standings: Sequence[Standing]) -> list[Standing]:
    """The published defaults that are finalists whatever the search found, in their fixed order."""
    return [row for method in FIXED_DEFAULTS for row in standings if row.is_default and row.method == method]


def against(comparison: Comparison, winner: Standing, standings: Sequence[Standing], region: float) -> list[Against]:
    """`winner` against each fixed default other than itself, and against the best of the others if that is no fixed default.

    Args:
        comparison: of the finalists.
        winner: the recommended one.
        standings: all finalists, best first.
        region: of practical equivalence, in the metric's unit.
    """
    others = [row for row in standings if row.candidate != winner.candidate]
    defaults = fixed_defaults(others)
    return [
        _against(comparison, winner, row, row in defaults, region)
        for row in [*defaults, *(row for row in others[:1] if row not in defaults)]
    ]


def _against(comparison: Comparison, winner: Standing, other: Standing, is_fixed: bool, region: float) -> Against:
    difference = comparison.difference(winner.candidate, other.candidate)
    by_seed = comparison.seed_differences(winner.candidate, other.candidate)
    opinion = signed_rank(by_seed, region) if len(by_seed) >= FEWEST else (None, None, None)
    return Against(
        candidate=other.candidate,
        method=other.method,
        role="default" if is_fixed else "runner-up",
        is_default=other.is_default,
        score=other.report_score,
        lead=difference.value,
        lead_interval=difference.together,
        distinguishable=difference.distinguishable,
        better=opinion[0],
        equivalent=opinion[1],
        worse=opinion[2],
    )
