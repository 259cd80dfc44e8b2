"""How far the answer carries: is the recommended configuration better than a prediction that never changes?

Choosing between methods that learned nothing is choosing by luck, however sure the comparison looks. So each verdict is first held
against a constant: the most frequent class of the report examples, or their mean. Ties, P(best) and defaults are only worth reading
where that comparison is won.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    Event,
    Outcome,
    Planned,
    SelectionStarted,
    Stage,
    Standing,
    State,
    TrialEnded,
    What,
    of_kind,
)
from pelt_automl.methods import BASELINES
from pelt_automl.tasks.baselines import best_constant
from pelt_automl.tasks.metrics import METRICS
from pelt_automl.verdict.standings import Comparison, Difference
from pelt_automl.verdict.wording import Unit, duration, listed

ROUND_SECONDS = 30


@dataclass(frozen=True)
class Guess:
    """A prediction that is always the same."""

    prediction: Any
    """The class index, or the number."""
    score: float
    """On the report examples, in the metric's unit."""
    name: str
    """``the most frequent class``, ``the mean``, ``'fraud'``."""

    def in_words(self, metric: str) -> str:
        """``always predicting the most frequent class (55.0)``."""
        return f"always predicting {self.name} ({Unit(metric).number(self.score)})"


def guess_of(data: DataDescribed, labels: Sequence[Any]) -> Guess | None:
    """The best constant for the report's labels; None where all labels are equal, so that there is nothing to guess.

    Where the metric is about one class, always saying that class is better than never to find it.
    """
    if len(np.unique(np.asarray(labels), axis=0)) < 2:
        return None
    score, constant, name = best_constant(METRICS[data.metric], data.labels, labels, labels)
    return Guess(constant, score, name)


def outcome_of(lead: Difference | None, region: float) -> Outcome:
    """What the lead over a constant prediction allows to say; `lead` is None where nothing could be compared with one.

    Args:
        lead: of the recommended configuration, in the metric's unit, with its 95 % interval.
        region: of practical equivalence, in the same unit.
    """
    if lead is None:
        return Outcome.TENTATIVE
    low, high = lead.interval
    if high < region:
        return Outcome.NOTHING_LEARNED
    return Outcome.RECOMMENDED if low > 0 else Outcome.TENTATIVE


def lead_over(comparison: Comparison, candidate: str, guess: Guess | None) -> Difference | None:
    """By how much the finalist is better than the constant, paired over examples and seeds."""
    return None if guess is None else comparison.lead_over_constant(candidate, guess.prediction)


def never_compared(events: Sequence[Event]) -> list[str]:
    """Methods of the selection of which no trial was trained far enough to have a score, in the selection's order.

    Those that a limit of the user's or the model itself rules out aren't among them: the report says why they are left out.
    """
    started = of_kind(events, SelectionStarted)
    if not started:
        return []
    scored = {trial.method for trial in of_kind(events, TrialEnded) if trial.stage == Stage.SEARCH and trial.select_score is not None}
    failed = {trial.method for trial in of_kind(events, TrialEnded) if trial.state == State.FAILED}
    ruled_out = {decision.subject for decision in of_kind(events, Decision) if decision.what in (What.METHOD_IMPOSSIBLE, What.METHOD_OVER)}
    return [method for method in started[0].methods if method not in scored | failed | ruled_out]


def was_short_of_time(events: Sequence[Event]) -> bool:
    """Whether a longer limit would have changed what was trained: shorter trainings, trainings cut off, methods never compared."""
    planned, started = of_kind(events, Planned), of_kind(events, SelectionStarted)
    limit = started[0].settings.get("search", {}).get("seconds") if started else None
    enough = planned[-1].seconds_enough if planned else None
    cut = any(trial.out_of_time for trial in of_kind(events, TrialEnded))
    return cut or bool(never_compared(events)) or (limit is not None and enough is not None and enough > limit)


def seconds_that_would_do(events: Sequence[Event]) -> int | None:
    """By the speed that was measured, rounded up to half a minute; None where it wasn't measured, or the limit was longer."""
    planned, started = of_kind(events, Planned), of_kind(events, SelectionStarted)
    enough = planned[-1].seconds_enough if planned else None
    limit = started[0].settings.get("search", {}).get("seconds") if started else None
    if enough is None or limit is None:
        return None
    seconds = max(enough, 2 * limit if enough <= limit else enough)
    return int(-(-seconds // ROUND_SECONDS) * ROUND_SECONDS)


def more_time(events: Sequence[Event]) -> str:
    """``more time (about 10 min 30 s: --seconds 630)``."""
    seconds = seconds_that_would_do(events)
    return "more time" if seconds is None else f"more time (about {duration(seconds)}: --seconds {seconds})"


def what_would_help(events: Sequence[Event], data: DataDescribed, longer_texts: str = "") -> str:
    """One sentence: what to change before the choice of a method matters, by what held this selection back.

    `longer_texts`: how to read more of the texts, where many were cut.
    """
    k = "" if data.k is None else f" (K was {data.k})"
    helps = [f"more labeled examples{k}", "another model"]
    if was_short_of_time(events):
        helps.insert(0, more_time(events))
    if longer_texts:
        helps.insert(0, longer_texts)
    return f"What could help: {', '.join(helps[:-1])} or {helps[-1]}."


def unconfirmed_in_words(events: Sequence[Event], standings: Sequence[Standing]) -> str:
    """That one tuned contender at most could be confirmed though the search had others, and how long it would take; empty when it isn't so.

    Baselines don't count: they always are.
    """
    trials = [trial for trial in of_kind(events, TrialEnded) if trial.stage == Stage.SEARCH and trial.select_score is not None]
    searched = {trial.candidate for trial in trials if trial.method not in BASELINES}
    tuned = [row for row in standings if row.method not in BASELINES]
    if len(tuned) > 1 or len(searched) <= len(tuned) or not was_short_of_time(events):
        return ""
    seconds = None if never_compared(events) else seconds_that_would_do(events)  # else it has been said of those
    enough = "" if seconds is None else f": about {duration(seconds)} would do (--seconds {seconds})"
    which = "a second contender" if len(tuned) == len(standings) else "a second tuned contender" if tuned else "a tuned contender"
    return f"There was no time to confirm {which}{enough}."


def all_failed_in_words(events: Sequence[Event]) -> str:
    """The methods of which every training failed, each with the kind of error; empty when there are none."""
    searched: dict[str, list[TrialEnded]] = {}
    for trial in of_kind(events, TrialEnded):
        if trial.stage == Stage.SEARCH and not trial.out_of_time:
            searched.setdefault(trial.method, []).append(trial)
    failed = {name: own[0].cause.partition(":")[0] for name, own in searched.items() if all(trial.state == State.FAILED for trial in own)}
    return f"Not compared, because every training failed: {listed([f'{m} ({why})' for m, why in failed.items()])}." if failed else ""


def never_compared_in_words(events: Sequence[Event]) -> str:
    """The methods that the time didn't allow, and how long it would take; empty when there are none."""
    missing = never_compared(events)
    if not missing:
        return ""
    seconds = seconds_that_would_do(events)
    enough = "" if seconds is None else f" About {duration(seconds)} would do (--seconds {seconds})."
    return f"Never compared, for lack of time: {listed(missing)}.{enough}"
