"""The old scheduler talks: each of its calls as an event, for `tests/recorded`. To be deleted with the old scheduler."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pelt_automl.log.events import Comparison, Decision, RuleLevel, SchedulerCalled, TrialEnded, TrialSeen, What
from pelt_automl.modifications import pack_kind

if TYPE_CHECKING:
    from pelt_automl.selection.context import Context

F = TypeVar("F", bound=Callable[..., Any])

SWITCH = "PELT_AUTOML_RECORD_CALLS"
"""The environment variable that makes it talk, with any value that isn't empty."""

LEVELS: tuple[RuleLevel, ...] = ("consulted", "contested", "fired")

Snapshot = Callable[[], dict[str, Any]]
"""Fields of a `SchedulerCalled` as they are before a call: ``reserve``, ``under_way``, ``asked``, ``seconds_a_training``."""


class Talk:
    """Writes what a scheduler was asked, what it knew, what it said, and which rules had a part in it. It decides nothing."""

    def __init__(self, context: "Context", stage: Any, snapshot: Snapshot) -> None:
        self.context, self.stage, self.snapshot = context, stage, snapshot
        self.on = bool(os.environ.get(SWITCH))
        self.why = ""
        """Set by the scheduler: why `next` gave what it gave."""
        self.hyper_parameters: dict[str, Any] = {}
        """Set by the scheduler: those of a new trial that `next` gave."""
        self._inside = False
        self._rules: dict[str, RuleLevel] = {}
        self._comparisons: list[Comparison] = []

    def rule(self, name: str, *, fired: bool = False, contested: bool = False) -> bool:
        """Note that a rule was consulted, and give back `fired`: whether it changed the outcome.

        `contested`: what it looks at was there, so that either outcome was possible.
        """
        level = LEVELS[2 if fired else 1 if contested else 0]
        if self.on and LEVELS.index(level) >= LEVELS.index(self._rules.get(name, "consulted")):
            self._rules[name] = level
        return fired

    def compared(
        self, method: str, rung: int, scores: Mapping[str, float], others: Mapping[str, float], share: float, promoted: Iterable[str]
    ) -> None:
        """Note who was compared with whom at a rung, and who goes on."""
        if self.on:
            self._comparisons.append(Comparison(method, rung, dict(scores), dict(others), share, sorted(promoted)))

    def call(self, name: Any, trial: str, waiting: Sequence[str], do: Callable[[], Any], about: Mapping[str, Any] | None = None) -> Any:
        """Carry out a call and write it down; inside of another call it is a part of that."""
        if not self.on or self._inside:
            return do()
        clock, self.why, self.hyper_parameters, self._comparisons, self._inside = self.context.clock, "", {}, [], True
        left, before, seen = clock.left, len(self.context.record.events), self.snapshot()
        try:
            result = do()
        finally:
            self._inside = False
        new = self.context.record.events[before:]
        given = getattr(result, "name", None)
        self.context.record.add(
            SchedulerCalled(
                call=name,
                stage=self.stage,
                trial=trial,
                limit=clock.limit,
                seconds_left=None if math.isinf(left) else left,
                waiting=list(waiting),
                given=given,
                why=self.why,
                comparisons=self._comparisons,
                promoted=[event.subject for event in new if isinstance(event, Decision) and event.what == What.PROMOTED],
                ended={event.trial: f"{event.state}: {event.cause}".rstrip(": ") for event in new if isinstance(event, TrialEnded)},
                left_race=[event.subject for event in new if isinstance(event, Decision) and event.what == What.LEFT_RACE],
                rules=self._rules,
                hyper_parameters=self.hyper_parameters,
                about=dict(about or {}),
                **seen,
            )
        )
        self._rules = {}
        return result


def told(method: F) -> F:
    """A method of a scheduler, ``next``, ``judge`` or ``ended``, that is written down by the ``talk`` of its object."""

    @wraps(method)
    def wrapped(self: Any, argument: Any) -> Any:
        if method.__name__ == "next":
            return self.talk.call("next", "", [run.name for run in argument], lambda: method(self, argument))

        def do() -> Any:
            result = method(self, argument)
            self.talk.why = self.talk.why or ": ".join(part for part in (argument.progress.state, argument.progress.cause) if part)
            return result

        return self.talk.call(method.__name__, argument.name, (), do)

    return cast("F", wrapped)


def seen_trial(context: "Context", method: str, number: int, is_default: bool, where: str, run: Any) -> TrialSeen:
    """A trial under way as the scheduler sees it."""
    progress, backbone = run.progress, context.backbone
    last = progress.curve[-1].select_score if progress.curve else None
    kind = pack_kind(run.modifications, backbone.architecture, backbone.shape)
    words = ("alone",) if kind is None else ("prompt" if kind[0] else "no prompt", str(kind[1]))
    return TrialSeen(
        trial=run.name,
        method=method,
        number=number,
        is_default=is_default,
        where=where,
        state=progress.state,
        step=progress.step,
        seconds=progress.seconds,
        evaluated=progress.evaluated,
        score=last,
        pack_kind=", ".join(words),
    )
