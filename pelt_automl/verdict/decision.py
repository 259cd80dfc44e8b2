"""The decision: among the finalists that are practically as good as the best, the cheapest is recommended."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from pelt_automl.errors import NoTrialCompletedError, SelectionError
from pelt_automl.log.events import (
    DataDescribed,
    Decision,
    Event,
    Outcome,
    Standing,
    State,
    TrialEnded,
    UnionPruned,
    VerdictReached,
    of_kind,
    sign_of,
)
from pelt_automl.methods import BASELINES
from pelt_automl.verdict.another_seed import Outlook, out_of_finals, outlook
from pelt_automl.verdict.costs import NOT_MEASURED, cheapest, possible_preference, with_costs
from pelt_automl.verdict.finalists import Finalist, finalists, report_labels
from pelt_automl.verdict.outcome import (
    all_failed_in_words,
    guess_of,
    lead_over,
    never_compared_in_words,
    outcome_of,
    unconfirmed_in_words,
    what_would_help,
)
from pelt_automl.verdict.pareto import with_front
from pelt_automl.verdict.points import point
from pelt_automl.verdict.reliability import reliability
from pelt_automl.verdict.standings import Comparison
from pelt_automl.verdict.statement import fallback_statement, statement
from pelt_automl.verdict.warnings import all_warnings, longer_texts
from pelt_automl.verdict.without_us import against


def decide(events: Sequence[Event], equivalence: float, prefer: str) -> VerdictReached:
    """The verdict on a selection whose finalists have been scored.

    The rule: a finalist is *tied* when its mean report score is at most the region of practical equivalence worse than the best mean;
    the cheapest of the tied is recommended, of equally cheap ones the better. Without any scored finalist the trial with the best
    select score is recommended, with a warning.

    Args:
        events: of the selection so far.
        equivalence: the region in points. 1 point is 0.01 of the metric; for errors (mae, rmse) 1 % of the standard deviation of the
            report labels.
        prefer: what makes a finalist cheap: ``params`` (trainable parameters kept), ``latency`` (of one text, served; parameters where it
            wasn't measured), ``time`` (mean training seconds), or ``score`` (the better mean: costs don't matter).

    Raises:
        NoTrialCompletedError: no trial has a select score.
        SelectionError: the records hold no data description, or contradict themselves.
    """
    described = of_kind(events, DataDescribed)
    if not described:
        raise SelectionError("the selection's records lack the description of the data: it was killed at its start; run it again")
    data, found = described[-1], finalists(events)
    if not found:
        return _fall_back(events, data)
    labels = report_labels(events)
    comparison = compare(events, found, labels, data)
    region = region_of_equivalence(equivalence, data.metric, labels)
    standings = with_front(with_costs(_with_failures(comparison.standings(region), events), events))
    tied = [row for row in standings if row.tied]
    winner, decisive = cheapest(tied, prefer), possible_preference(prefer, tied)
    rivals, guess = against(comparison, winner, standings, region), guess_of(data, labels)
    outcome = outcome_of(lead_over(comparison, winner.candidate, guess), region)
    unconfirmed = unconfirmed_in_words(events, standings)
    untuned = all(row.method in BASELINES for row in standings)
    so_far = bool(unconfirmed) or untuned or len(winner.seed_scores) == 1
    closing = [
        all_failed_in_words(events),
        never_compared_in_words(events),
        unconfirmed,
        *([] if outcome == Outcome.RECOMMENDED else [what_would_help(events, data, longer_texts(events))]),
    ]
    return VerdictReached(
        method=winner.method,
        candidate=winner.candidate,
        standings=standings,
        report_metric=data.metric,
        report_score=winner.report_score,
        p_best=winner.p_best if len(standings) > 1 and len(winner.seed_scores) > 1 else None,
        statement=statement(
            winner,
            standings,
            rivals,
            data,
            equivalence,
            decisive,
            len(labels),
            of_kind(events, UnionPruned),
            outcome=outcome,
            than=guess.in_words(data.metric) if guess else "a constant prediction",
            so_far=so_far,
            closing=[sentence for sentence in closing if sentence],
        ),
        margins={rival.candidate: rival.lead for rival in rivals if rival.role == "default"},
        warnings=[
            *([NOT_MEASURED] if decisive != prefer else []),
            *all_warnings(events, comparison.shared),
        ],
        against=rivals,
        outcome=outcome,
        so_far=so_far,
    )


def _with_failures(standings: Sequence[Standing], events: Sequence[Event]) -> list[Standing]:
    """Each with the trainings of its method that went wrong."""
    by_method = reliability(events)
    return [replace(row, **asdict(by_method[row.method])) for row in standings]


def compare(events: Sequence[Event], found: Sequence[Finalist], labels: Sequence[float], data: DataDescribed) -> Comparison:
    """The comparison of these finalists, those that have left the finals left out of it."""
    return Comparison(found, labels, data.metric, data.greater_is_better, out_of_finals(of_kind(events, Decision)))


def outlook_of(events: Sequence[Event], equivalence: float) -> Outlook:
    """What another seed would be good for, by the records so far (see `outlook`); nothing without a scored finalist."""
    data, found = of_kind(events, DataDescribed)[-1], finalists(events)
    if not found:
        return Outlook("no finalist could be scored")
    labels = report_labels(events)
    return outlook(compare(events, found, labels, data), region_of_equivalence(equivalence, data.metric, labels))


def region_of_equivalence(equivalence: float, metric: str, labels: Sequence[float]) -> float:
    """The region of practical equivalence in the metric's unit, from points."""
    return equivalence * point(metric, labels)


def _fall_back(events: Sequence[Event], data: DataDescribed) -> VerdictReached:
    trial = best_by_select_score(of_kind(events, TrialEnded), data.greater_is_better)
    warning = "No finalist was scored on the report split: this rests on select scores alone, which are too good on average."
    sign = data.sign
    learned = data.guess_on_select is None or sign * ((trial.select_score or 0.0) - data.guess_on_select) > 0
    closing = [all_failed_in_words(events), never_compared_in_words(events), what_would_help(events, data, longer_texts(events))]
    return VerdictReached(
        method=trial.method,
        candidate=trial.candidate,
        standings=[],
        report_metric=data.metric,
        report_score=None,
        p_best=None,
        statement=fallback_statement(trial, data, [sentence for sentence in closing if sentence], learned=learned),
        margins={},
        warnings=[warning, *all_warnings(events, None)],
        outcome=Outcome.TENTATIVE if learned else Outcome.NOTHING_LEARNED,
    )


def best_by_select_score(trials: Sequence[TrialEnded], greater_is_better: bool) -> TrialEnded:
    """The trial to recommend when none was confirmed: varied predictions before constant ones, then the best select score, whether it was
    trained to its end or not, then the fewest parameters.

    Raises `NoTrialCompletedError` with the causes when no trial that didn't fail has a finite select score.
    """
    usable = [trial for trial in trials if trial.state != State.FAILED]
    scored = [(t, t.select_score) for t in usable if t.select_score is not None and math.isfinite(t.select_score)]
    if not scored:
        causes = sorted({f"{trial.trial}: {trial.cause or trial.state}" for trial in trials})[:5]
        raise NoTrialCompletedError(
            f"none of {len(trials)} trials was trained far enough to be scored, so that there is nothing to recommend. "
            f"{'Causes: ' + '; '.join(causes) if causes else 'Give it more time (--seconds)'}"
        )
    sign = -sign_of(greater_is_better)
    return min(
        scored,
        key=lambda pair: (pair[0].constant_predictions, sign * pair[1], pair[0].parameters["kept"]),
    )[0]
