"""Which submodules of a union can be done without, as far as knock-outs can tell."""

from collections.abc import Sequence

from pelt_automl.verdict.knockouts import SubmoduleLoss


def dispensable(losses: Sequence[SubmoduleLoss], region: float) -> list[SubmoduleLoss]:
    """Submodules whose knock-out costs less than the region of practical equivalence, on average over seeds; never all of them.

    Where all cost less, the one that costs most stays. The mean decides, not an upper confidence bound: on 200 examples and three seeds the
    95 % bound of a mean of 0 lies at 1.645 sqrt(0.05 / 600), 1.5 points, where 5 % of the predictions change for nothing. A wrong choice is
    found out all the same, since the smaller union is trained again and has to hold its own among the finalists on the report split: the
    mean decides what is tried, never what is recommended.

    Args:
        losses: of one union, in the metric's unit.
        region: of practical equivalence, in the same unit.
    """
    by_loss = sorted(losses, key=lambda row: (-row.loss, row.submodule))
    cheap = [row for row in by_loss if row.loss < region]
    return cheap[1:] if len(cheap) == len(by_loss) else cheap
