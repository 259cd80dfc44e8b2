"""How far an answer carries: by its lead over a constant prediction, and what the first sentence then says."""

from dataclasses import replace
from pathlib import Path

import pytest

from pelt_automl.log.events import (
    DataDescribed,
    FinalistScored,
    Planned,
    ReportOpened,
    SelectionStarted,
    Standing,
    TrialEnded,
    VerdictReached,
    of_kind,
)
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.report.summary import summarize
from pelt_automl.verdict.decision import decide
from pelt_automl.verdict.finalists import Finalist, Run
from pelt_automl.verdict.outcome import guess_of, never_compared, outcome_of
from pelt_automl.verdict.standings import Comparison, Difference

LABELS = [0.0, 0.0, 0.0, 1.0]  # always class 0: accuracy 0.75; median 0: mae 1 / 4; mean 0.25: rmse sqrt(3 / 16)


def described(metric="accuracy", kind="classification", greater=True):
    return DataDescribed("t", kind, metric, greater, [], 16, "strict", {}, {})


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.002, 0.2), "recommended"),
        ((-0.02, 0.2), "tentative"),
        ((0.0, 0.2), "tentative"),
        ((-0.02, 0.011), "tentative"),
        ((-0.02, 0.009), "nothing-learned"),
        ((-0.3, -0.1), "nothing-learned"),  # worse than a constant
        ((0.001, 0.009), "nothing-learned"),  # better for certain, but by less than anybody cares for
    ],
)
def test_the_outcome_follows_the_interval_of_the_lead_over_a_constant(interval, outcome):
    assert outcome_of(Difference(sum(interval) / 2, interval, interval), region=0.01) == outcome


def test_without_anything_to_compare_with_the_answer_is_tentative():
    assert guess_of(described(), [1.0, 1.0, 1.0]) is None
    assert outcome_of(None, region=0.01) == "tentative"


@pytest.mark.parametrize(
    ("metric", "kind", "greater", "words"),
    [
        ("accuracy", "classification", True, "always predicting the most frequent class (75.0)"),
        ("log_loss", "classification", False, "always predicting each class's share (0.562)"),
        ("roc_auc", "classification", True, "always predicting each class's share (50.0)"),
        ("average_precision", "classification", True, "always predicting each class's share (25.0)"),
        ("mae", "regression", False, "always predicting the median (0.25)"),
        ("rmse", "regression", False, "always predicting the mean (0.433)"),
        ("spearman", "regression", True, "always predicting the mean (0.0)"),
    ],
)
def test_the_constant_prediction_is_the_one_with_the_best_score(metric, kind, greater, words):
    assert guess_of(described(metric, kind, greater), LABELS)[1] == words


@pytest.mark.parametrize(("metric", "greater"), [("accuracy", True), ("mae", False)])
def test_the_lead_over_a_constant_is_paired_over_examples_and_positive_when_better(metric, greater):
    labels = [0.0, 1.0] * 50
    runs = {seed: Run(f"a{seed}", 1.0 if greater else 0.0, labels) for seed in (0, 1)}
    comparison = Comparison([Finalist("a", "a", False, {}, 1, 1.0, 0.9, runs)], labels, metric)
    guess = guess_of(described(metric, "classification" if greater else "regression", greater), labels)
    lead = comparison.lead_over_constant("a", guess[0])
    assert lead.value == pytest.approx(0.5)
    assert 0.3 < lead.interval[0] <= 0.5 <= lead.interval[1] < 0.7


def with_skill(events, skill):
    """The same selection, whose finalists are right on this share of the report examples, which are half of each class."""
    [opened] = of_kind(events, ReportOpened)
    labels = [float(i % 2) for i in range(opened.examples)]
    found = []
    for number, event in enumerate(events):
        if isinstance(event, ReportOpened):
            found.append(replace(event, outputs=Outputs().put(labels)))
        elif isinstance(event, FinalistScored):
            shift = 7 * number % 97
            right = [(i * 61 + shift) % 100 < 100 * skill for i in range(len(labels))]
            predictions = [label if ok else 1 - label for label, ok in zip(labels, right, strict=True)]
            found.append(replace(event, outputs=Outputs().put(predictions), report_score=sum(right) / len(labels)))
        elif not isinstance(event, VerdictReached):
            found.append(event)
    return found


@pytest.mark.parametrize(
    ("skill", "outcome", "begins", "lacks"),
    [
        (0.80, "recommended", ("Recommended: ", "The published default"), "What could help"),
        (0.51, "tentative", ("Tentative: ",), "Recommended"),
        (0.42, "nothing-learned", ("Nothing was learned: ",), "Recommended"),
    ],
)
def test_the_first_sentence_follows_the_outcome(events, tmp_path, skill, outcome, begins, lacks):
    told = with_skill(events, skill)
    verdict = decide(History.of(told), 1.0, "params")
    assert verdict.outcome == outcome
    assert verdict.statement.startswith(begins)
    assert lacks not in verdict.statement
    assert ("always predicting the most frequent class (50.0)" in verdict.statement) is (outcome != "recommended")
    assert ("What could help: more labeled examples (K was 100) or another model." in verdict.statement) is (outcome != "recommended")
    assert summarize(History.of([*told, verdict]), tmp_path).recommendation.outcome == outcome


def on_one_seed(events):
    return [e for e in events if not (isinstance(e, FinalistScored) and e.seed_index) and not isinstance(e, VerdictReached)]


def test_no_probability_is_told_on_one_seed(events, tmp_path):
    told = on_one_seed(events)
    verdict = decide(History.of(told), 1.0, "params")
    assert verdict.p_best is None
    assert verdict.statement.startswith("Best so far: ")
    assert "%" not in verdict.statement.replace("95 % interval", "")
    summary = summarize(History.of([*told, verdict]), tmp_path)
    assert (summary.chance, summary.recommendation.so_far) == ("\N{EN DASH}", True)
    assert summary.headline == f"best so far: {summary.name}"


def test_two_finalists_are_said_to_be_two_without_a_large_probability(events):
    two = {"lora-0003", "head-0002"}
    told = [e for e in events if not isinstance(e, VerdictReached) and not (isinstance(e, FinalistScored) and e.candidate not in two)]
    verdict = decide(History.of(told), 1.0, "params")
    assert "Only two finalists were compared." in verdict.statement
    assert "100 %" not in verdict.statement
    assert summarize(History.of([*told, verdict]), Path()).chance == "\N{EN DASH}"


def test_methods_without_a_score_are_named_with_the_seconds_that_would_do(events):
    cut = {"full", "prefix"}

    def short_of_time(event):
        if isinstance(event, TrialEnded) and event.method in cut:
            return replace(event, select_score=None, curve=[], steps=0, state="stopped", cause="time limit")
        if isinstance(event, SelectionStarted):
            return replace(event, settings=event.settings | {"search": event.settings["search"] | {"seconds": 120}})
        return replace(event, seconds_enough=341.0) if isinstance(event, Planned) else event

    untrained = [e for e in events if not isinstance(e, VerdictReached) and not (isinstance(e, FinalistScored) and e.method in cut)]
    told = [short_of_time(event) for event in untrained]
    verdict = decide(History.of(told), 1.0, "params")
    assert never_compared(History.of(told)) == ["full", "prefix"]
    assert "Never compared, for lack of time: full and prefix. About 6 min 0 s would do (--seconds 360)." in verdict.statement
    summary = summarize(History.of([*told, verdict]), Path())
    assert cut.isdisjoint(summary.methods), "what took no step isn't counted as a training"
    one = [e for e in told if not isinstance(e, FinalistScored) or e.candidate == "lora-0003"]
    statement = decide(History.of(one), 1.0, "params").statement
    assert statement.endswith("There was no time to confirm a second contender.")
    assert statement.count("(--seconds 360)") == 1, "said once for both"


def test_a_table_never_shows_a_certainty():
    from pelt_automl.verdict.wording import chance

    row = Standing("a-0", "a", False, {}, 1, 1.0, 0.9, (0.8, 0.95), [0.9, 0.9], 0.9, 1.0, 0.0, (0.0, 0.0), True, False)
    assert chance(row, "recommended") == ">99 %"
    assert chance(row, "tentative") == "\N{EN DASH}"
    assert chance(row, "nothing-learned") == "\N{EN DASH}"
    assert chance(replace(row, seed_scores=[0.9]), "recommended") == "\N{EN DASH}"


def test_a_resume_with_other_versions_is_told(events):
    [started] = of_kind(events, SelectionStarted)

    def under(torch, commit):
        return replace(started, environment={"versions": {"torch": torch, "optuna": "5.0"}, "git_commit": commit})

    def warnings(*starts):
        return decide(
            History.of([*starts, *(e for e in events if not isinstance(e, SelectionStarted | VerdictReached))]), 1.0, "params"
        ).warnings

    same = warnings(under("2.13.0", "a" * 40), under("2.13.0", "a" * 40))
    assert not [warning for warning in same if "several versions" in warning]
    told = [warning for warning in warnings(under("2.11.0", "a" * 40), under("2.13.0", "b" * 40)) if "several versions" in warning]
    versions = "torch 2.11.0 and 2.13.0; commit aaaaaaaaaa and bbbbbbbbbb"
    assert told == [f"Trained by several versions of the program: {versions}. Scores may differ for that reason."]


def test_a_method_of_which_every_training_failed_is_named_with_the_error(events):
    def failing(event):
        if isinstance(event, TrialEnded) and event.method == "full":
            return replace(event, state="failed", select_score=None, curve=[], cause="OutOfMemoryError: tried to allocate 2 GB")
        return event

    untrained = [e for e in events if not isinstance(e, VerdictReached) and not (isinstance(e, FinalistScored) and e.method == "full")]
    statement = decide(History.of([failing(event) for event in untrained]), 1.0, "params").statement
    assert "Not compared, because every training failed: full (OutOfMemoryError)." in statement
    assert "because every training failed" not in decide(History.of(untrained), 1.0, "params").statement


def test_where_texts_are_cut_longer_texts_are_what_helps_first(events):
    cut = {"train": {"texts": 100, "cut": 90, "tokens": 40_000, "lost": 25_000}}

    def lengthy(event):
        length = {"most": 128, "model": 512, "needed": 480}
        return replace(event, cut=cut, text_length=length) if isinstance(event, DataDescribed) else event

    told = [lengthy(event) for event in with_skill(events, 0.42)]
    assert (
        "What could help: longer texts (--max-length 480), more labeled examples (K was 100) or another model."
        in decide(History.of(told), 1.0, "params").statement
    )
