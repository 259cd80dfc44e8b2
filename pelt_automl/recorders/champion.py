"""Which version of a registered model is the champion: the rule, apart from MLflow."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import msgspec

NOTHING_LEARNED = "nothing-learned"
ERRORS = ("mae", "rmse", "log_loss")
"""Metrics in a unit of their own; the others are shown in points."""


@dataclass(frozen=True)
class Claim:
    """What a version says of itself in its tags, as far as the rule needs it."""

    version: str
    outcome: str
    data: str
    """SHA-256 of the task's data, as `report`: of its report split."""
    report: str
    metric: str
    greater_is_better: bool
    score: float | None = None
    """On the report split."""
    k: int | None = None
    """Labeled examples; None for all."""

    def tags(self) -> dict[str, str]:
        """The inverse of `claim_from`."""
        values = {key: value for key, value in asdict(self).items() if key != "version"}
        return {f"pelt.{key}": "" if value is None else str(value) for key, value in values.items()}

    @property
    def shown(self) -> str:
        """``accuracy 81.2``."""
        if self.score is None:
            return "without a score"
        return f"{self.metric.replace('_', ' ')} {self.number}"

    @property
    def number(self) -> str:
        """The score in points, or for errors with three digits."""
        if self.score is None:
            return "none"
        return f"{self.score:.3g}" if self.metric in ERRORS else f"{100 * self.score:.1f}"


def claim_from(version: str, tags: Mapping[str, str]) -> Claim | None:
    """What a version's tags say; None when this program hasn't written them."""
    own = {key.removeprefix("pelt."): value for key, value in tags.items() if key.startswith("pelt.")}
    own = {key: value for key, value in own.items() if value or key not in ("score", "k")}  # they are empty where there is none
    try:
        return msgspec.convert(own | {"version": version}, Claim, strict=False)
    except msgspec.ValidationError:
        return None


def rule(new: Claim, holder: Claim | None) -> tuple[bool, str]:
    """Whether `new` takes the alias from `holder` (None: nobody has it), and what is said.

    It does when it is better on the same report split, or when the task's data have changed; never when it has learned nothing, has no
    score, or had fewer labeled examples of the same data.
    """
    reason = "learned nothing" if new.outcome == NOTHING_LEARNED else "has no score on the report split" if new.score is None else ""
    if reason:
        stays = f"champion stays with version {holder.version} ({holder.shown})" if holder else "there is still no champion"
        return False, f"{stays}: version {new.version} {reason}"
    if holder is None:
        return True, f"version {new.version} is the champion ({new.shown})"
    if reason := _in_favor_of(holder, new):
        return False, f"champion stays with version {holder.version} ({holder.shown}), {reason}"
    why = "the data have changed" if holder.data != new.data else f"better than version {holder.version} ({holder.number})"
    return True, f"version {new.version} is the champion now ({new.shown}): {why}"


def _in_favor_of(holder: Claim, new: Claim) -> str:
    """Why the champion stays; empty when it doesn't."""
    if holder.data != new.data:
        return ""
    if holder.report != new.report:
        return f"which was measured on other examples than version {new.version} ({new.shown})"
    if holder.metric != new.metric:
        return f"which was chosen by another metric than version {new.version} ({new.shown})"
    if (new.k or math.inf) < (holder.k or math.inf):
        return f"which had more labeled examples than version {new.version} ({new.shown} with {new.k})"
    assert new.score is not None
    if holder.score is None or (new.score > holder.score if new.greater_is_better else new.score < holder.score):
        return ""
    return f"which is {'as good as' if new.score == holder.score else 'better than'} version {new.version} ({new.number})"
