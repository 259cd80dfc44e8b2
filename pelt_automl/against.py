"""The recommended configuration against one other finalist: a row of the verdict."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Against:
    """The recommended configuration against another finalist."""

    candidate: str
    method: str
    role: Literal["default", "runner-up"]
    """``default``: a fixed published default, what one would have got without a selection; ``runner-up``: the best of the others."""
    is_default: bool
    score: float
    """The other's report score."""
    lead: float
    """Of the recommended configuration over it, in the metric's unit; positive is better."""
    lead_interval: tuple[float, float]
    """95 % for the differences of all finalists at once."""
    distinguishable: bool
    """Whether the interval leaves 0 out."""
    better: float | None
    """Bayesian signed-rank test over the shared seeds: probability that it is better by more than the region of practical equivalence;
    None with too few seeds."""
    equivalent: float | None
    worse: float | None
