"""The recommended configuration against one other finalist: a row of the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


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


def against_from(data: Mapping[str, Any]) -> Against:
    """One from its JSON object. Fields that a later version may have added are left out."""
    known = {key: value for key, value in data.items() if key in {f.name for f in fields(Against)}}
    return Against(**known | {"lead_interval": tuple(data["lead_interval"])})
