"""The decision: among the finalists that are practically as good as the best, the cheapest is recommended."""

import math
from collections.abc import Sequence
from dataclasses import replace

from pelt_automl.errors import NoTrialCompletedError
from pelt_automl.log.events import Outcome, Stage, State, TrialEnded, UnionPruned, VerdictReached, sign_of
from pelt_automl.log.history import History
from pelt_automl.methods import BASELINES
from pelt_automl.verdict.another_seed import Outlook, outlook
from pelt_automl.verdict.costs import NOT_MEASURED, cheapest, possible_preference, with_costs
from pelt_automl.verdict.finalists import with_failures
from pelt_automl.verdict.outcome import (
    all_failed_in_words,
    guess_of,
    never_compared_in_words,
    outcome_of,
    unconfirmed_in_words,
    what_would_help,
)
from pelt_automl.verdict.pareto import with_front
from pelt_automl.verdict.standings import Comparison
from pelt_automl.verdict.statement import fallback_statement, statement
from pelt_automl.verdict.warnings import all_warnings, longer_texts
from pelt_automl.verdict.without_us import against


def decide(history: History, equivalence: float, prefer: str) -> VerdictReached:
    """The verdict on a selection whose finalists have been scored.

    The rule: a finalist is *tied* when its mean report score is at most the region of practical equivalence worse than the best mean;
    the cheapest of the tied is recommended, of equally cheap ones the better. Without any scored finalist the trial with the best
    select score is recommended, with a warning.

    Args:
        history: of the selection so far.
        equivalence: the region in points. 1 point is 0.01 of the metric (log loss: nats); for mae and rmse 1 % of the standard deviation of
            the report labels.
        prefer: what makes a finalist cheap: ``params`` (trainable parameters kept), ``latency`` (of one text, served; parameters where it
            wasn't measured), ``time`` (mean training seconds), or ``score`` (the better mean: costs don't matter).

    Raises:
        NoTrialCompletedError: no trial has a select score.
        SelectionError: the records hold no data description, or contradict themselves.
    """
    data, comparison = history.data, Comparison.of(history)
    closing = [all_failed_in_words(history), never_compared_in_words(history)]
    if comparison is None:
        return _fall_back(history, closing)
    region = comparison.region(equivalence)
    standings = with_front(with_costs(with_failures(comparison.standings(region), history, comparison.finalists), history))
    tied = [row for row in standings if row.tied]
    winner, decisive = cheapest(tied, prefer), possible_preference(prefer, tied)
    rivals, guess = against(comparison, winner, standings, region), guess_of(data, comparison.labels)
    outcome = outcome_of(comparison.lead_over_constant(winner.candidate, guess[0]) if guess else None, region)
    closing.append(unconfirmed := unconfirmed_in_words(history, standings))
    if outcome != Outcome.RECOMMENDED:
        closing.append(what_would_help(history, longer_texts(history)))
    verdict = VerdictReached(
        method=winner.method,
        candidate=winner.candidate,
        standings=standings,
        report_metric=data.metric,
        report_score=winner.report_score,
        p_best=winner.p_best if len(standings) > 1 and len(winner.seed_scores) > 1 else None,
        statement="",
        margins={rival.candidate: rival.lead for rival in rivals if rival.role == "default"},
        warnings=[*([NOT_MEASURED] if decisive != prefer else []), *all_warnings(history, comparison)],
        against=rivals,
        outcome=outcome,
        so_far=bool(unconfirmed) or all(row.method in BASELINES for row in standings) or len(winner.seed_scores) == 1,
    )
    than = guess[1] if guess else "a constant prediction"
    examples, pruned = len(comparison.labels), history.of_kind(UnionPruned)
    return replace(verdict, statement=statement(verdict, data, equivalence, decisive, examples, pruned, than, closing))


def outlook_of(history: History, equivalence: float, most_seeds: int) -> Outlook:
    """What another seed would be good for, by the records so far (see `outlook`); nothing without a scored finalist."""
    comparison = Comparison.of(history)
    if comparison is None:
        return Outlook("no finalist could be scored")
    return outlook(comparison, comparison.region(equivalence), on_all_seeds(history, most_seeds))


def on_all_seeds(history: History, most_seeds: int) -> set[str]:
    """Finalists that have been trained on so many seeds, whether or not that went well."""
    return {trial.candidate for trial in history.ended(Stage.FINALIST) if trial.number >= most_seeds - 1}


def _fall_back(history: History, closing: Sequence[str]) -> VerdictReached:
    data = history.data
    trial = best_by_select_score(history.ended(), data.greater_is_better)
    learned = data.guess_on_select is None or data.sign * ((trial.select_score or 0.0) - data.guess_on_select) > 0
    warning = "No finalist was scored on the report split: this rests on select scores alone, which are too good on average."
    return VerdictReached(
        method=trial.method,
        candidate=trial.candidate,
        standings=[],
        report_metric=data.metric,
        report_score=None,
        p_best=None,
        statement=fallback_statement(trial, data, [*closing, what_would_help(history, longer_texts(history))], learned=learned),
        margins={},
        warnings=[warning, *all_warnings(history, None)],
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
