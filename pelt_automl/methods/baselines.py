"""What a selection compares with tuned methods and that trains no backbone: fitted in seconds, on the same examples."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """A contender whose backbone, if it has one, stays as it is. It has no initialization and no order of batches to be lucky with."""

    name: str
    summary: str
    """What is fitted, in one line."""
    reads_backbone: bool
    """Whether it needs the pretrained model to predict."""


BASELINES: Mapping[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("probe", "a regularized linear map (logistic or ridge regression) on the frozen model's features", True),
        Baseline("bag-of-words", "a regularized linear map on TF-IDF weights of words and pairs of words, without any model", False),
        Baseline("neighbors", "the k nearest train examples by the frozen model's features", True),
    )
}
"""By name, in the order in which they are fitted."""
