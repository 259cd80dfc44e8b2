"""How far the answer carries: is the recommended configuration better than a prediction that never changes?

Choosing between methods that learned nothing is choosing by luck, however sure the comparison looks. So each verdict is first held
against a constant: the most frequent class of the report examples, or their mean (for the mean absolute error their median). Ties, P(best)
and defaults are only worth reading where that comparison is won.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pelt_automl.log.events import DataDescribed, Outcome, Stage, Standing, State, TrialEnded, What
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.tasks.baselines import best_constant
from pelt_automl.tasks.metrics import METRICS
from pelt_automl.verdict.standings import Difference
from pelt_automl.verdict.wording import Unit, duration, listed

ROUND_SECONDS = 30


def guess_of(data: DataDescribed, labels: Sequence[Any]) -> tuple[Any, str] | None:
    """The best constant prediction for the report's labels, and what it is in words: ``always predicting the most frequent class (55.0)``.

    None where all labels are equal, so that there is nothing to guess. Where the metric is about one class, always saying that class is
    better than never to find it.
    """
    if len(np.unique(np.asarray(labels), axis=0)) < 2:
        return None
    score, constant, name = best_constant(METRICS[data.metric], data.labels, labels, labels)
    return constant, f"always predicting {name} ({Unit(data.metric).number(score)})"


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


def never_compared(history: History) -> list[str]:
    """Methods of the selection of which no trial was trained far enough to have a score, in the selection's order.

    Those that a limit of the user's or the model itself rules out aren't among them: the report says why they are left out.
    """
    known = {trial.method for trial in history.ended() if trial.state == State.FAILED}
    known |= {trial.method for trial in history.ended(Stage.SEARCH) if trial.select_score is not None}
    known |= set(history.decided(What.METHOD_IMPOSSIBLE, What.METHOD_OVER))
    return [method for method in history.started.methods if method not in known] if history.started else []


def _seconds(history: History) -> tuple[float | None, float | None]:
    """The time limit, and the one that would have allowed what the user asked for; None where they aren't known."""
    limit = history.started.settings.get("search", {}).get("seconds") if history.started else None
    return limit, history.plan.seconds_enough if history.plan else None


def was_short_of_time(history: History) -> bool:
    """Whether a longer limit would have changed what was trained.

    Shorter trainings, trainings cut off, methods never compared, finalists that weren't trained on fresh seeds.
    """
    limit, enough = _seconds(history)
    cut = any(trial.out_of_time for trial in history.ended()) or bool(never_compared(history))
    cut = cut or (history.plan is not None and not history.plan.fresh)
    return cut or (limit is not None and enough is not None and enough > limit)


def seconds_that_would_do(history: History) -> int | None:
    """By the speed that was measured, rounded up to half a minute; None where it wasn't measured, or there was no limit."""
    limit, enough = _seconds(history)
    if enough is None or limit is None:
        return None
    return int(-(-(enough if enough > limit else 2 * limit) // ROUND_SECONDS) * ROUND_SECONDS)


def more_time(history: History) -> str:
    """``more time (about 10 min 30 s: --seconds 630)``."""
    seconds = seconds_that_would_do(history)
    return "more time" if seconds is None else f"more time (about {duration(seconds)}: --seconds {seconds})"


def what_would_help(history: History, longer_texts: str = "") -> str:
    """One sentence: what to change before the choice of a method matters, by what held this selection back.

    `longer_texts`: how to read more of the texts, where many were cut.
    """
    k = history.data.k
    time = more_time(history) if was_short_of_time(history) else ""
    helps = [longer_texts, time, f"more labeled examples{'' if k is None else f' (K was {k})'}"]
    return f"What could help: {', '.join(filter(None, helps))} or another model."


def unconfirmed_in_words(history: History, standings: Sequence[Standing]) -> str:
    """That one tuned contender at most could be confirmed though the search had others, and how long it would take; empty when it isn't so.

    Baselines don't count: they always are.
    """
    trials = [trial for trial in history.ended(Stage.SEARCH) if trial.select_score is not None]
    tuned = sum(row.method not in BASELINES for row in standings)
    if tuned > 1 or len({trial.candidate for trial in trials if trial.method not in BASELINES}) <= tuned or not was_short_of_time(history):
        return ""
    seconds = None if never_compared(history) else seconds_that_would_do(history)  # else it has been said of those
    enough = "" if seconds is None else f": about {duration(seconds)} would do (--seconds {seconds})"
    which = "a second contender" if tuned == len(standings) else "a second tuned contender" if tuned else "a tuned contender"
    return f"There was no time to confirm {which}{enough}."


def all_failed_in_words(history: History) -> str:
    """The methods of which every training failed, each with the kind of error; empty when there are none."""
    searched: dict[str, list[TrialEnded]] = {}
    for trial in history.ended(Stage.SEARCH):
        if not trial.out_of_time:
            searched.setdefault(trial.method, []).append(trial)
    failed = [
        f"{method} ({own[0].cause.partition(':')[0]})"
        for method, own in searched.items()
        if all(trial.state == State.FAILED for trial in own)
    ]
    return f"Not compared, because every training failed: {listed(failed)}." if failed else ""


def never_compared_in_words(history: History) -> str:
    """The methods that the time didn't allow, and how long it would take; empty when there are none."""
    missing, seconds = never_compared(history), seconds_that_would_do(history)
    enough = "" if seconds is None else f" About {duration(seconds)} would do (--seconds {seconds})."
    return f"Never compared, for lack of time: {listed(missing)}.{enough}" if missing else ""
