"""The rule as a table of tiny selections whose answer is written out by hand."""

import math

import pytest

from pelt_automl.errors import NoTrialCompletedError, SelectionError
from pelt_automl.log.codec import to_json
from pelt_automl.log.events import CurvePoint, DataDescribed, FinalistScored, ReportOpened, Seeds, TrialEnded, UnionPruned
from pelt_automl.log.history import History
from pelt_automl.log.outputs import Outputs
from pelt_automl.verdict.decision import decide
from pelt_automl.verdict.statistics import point

N = 1000
LABELS = [float(i % 2) for i in range(N)]


def data(metric="accuracy", greater=True):
    kind = "classification" if greater else "regression"
    return DataDescribed("t", kind, metric, greater, ["no", "yes"], 100, "strict", {"train": 70}, {"data": "x"})


def trial(name, candidate, stage="finalist", state="completed", kept=100, seconds=1.0, select=0.8, constant=False, cause=""):
    method = candidate.rsplit("-", 1)[0]
    curve = [CurvePoint(1, 0.5, select or 0.0, 1e-4, 1.0)]
    return TrialEnded(
        name, candidate, method, stage, 0, state, candidate.endswith("-0000"), {"learning_rate": 5e-4}, Seeds(0, 0, 0), {"kept": kept},
        curve, select, 10, seconds, constant, cause,
    )  # fmt: skip


def opened(labels=None):
    return ReportOpened(1, N, N, Outputs().put(labels or LABELS))


def finalist(candidate, points, kept=100, seconds=1.0, select=0.8):
    """Runs with an accuracy of so many points each: the classes take turns, and the first examples are wrong."""
    for seed, score in enumerate(points):
        if score is None:
            yield trial(f"final-{candidate}-seed{seed}", candidate, state="failed", kept=kept, cause="loss is not finite")
            continue
        right = round(score / 100 * N)
        name = f"final-{candidate}-seed{seed}"
        yield trial(name, candidate, kept=kept, seconds=seconds, select=select)
        yield FinalistScored(
            name,
            candidate,
            candidate.rsplit("-", 1)[0],
            seed,
            right / N,
            Outputs().put([1 - x for x in LABELS[: N - right]] + LABELS[N - right :]),
        )


def selection(*finalists):
    return [data(), opened(), *(event for one in finalists for event in one)]


@pytest.mark.parametrize(
    ("finalists", "equivalence", "prefer", "winner", "tied"),
    [
        # the best mean wins when nobody is near, however expensive
        ([("a-0001", [90], 900), ("b-0001", [80], 1)], 1.0, "params", "a-0001", ["a-0001"]),
        # within a point the cheaper wins
        ([("a-0001", [90], 900), ("b-0001", [89.5], 1)], 1.0, "params", "b-0001", ["a-0001", "b-0001"]),
        # exactly a point is still tied, a little more isn't
        ([("a-0001", [90], 900), ("b-0001", [89], 1)], 1.0, "params", "b-0001", ["a-0001", "b-0001"]),
        ([("a-0001", [90], 900), ("b-0001", [88.9], 1)], 1.0, "params", "a-0001", ["a-0001"]),
        # the region is around the best, not around the next
        ([("a-0001", [90], 9), ("b-0001", [89.2], 5), ("c-0001", [88.5], 1)], 1.0, "params", "b-0001", ["a-0001", "b-0001"]),
        # no region: the best, of equals the cheaper
        ([("a-0001", [90], 900), ("b-0001", [89.9], 1)], 0.0, "params", "a-0001", ["a-0001"]),
        ([("a-0001", [90], 900), ("b-0001", [90], 1)], 0.0, "params", "b-0001", ["b-0001", "a-0001"]),
        # equally cheap: the better
        ([("b-0001", [89.5], 5), ("a-0001", [90], 5)], 1.0, "params", "a-0001", ["a-0001", "b-0001"]),
        # means over seeds count, not the best seed
        ([("a-0001", [95, 80, 80], 5), ("b-0001", [90, 90, 90], 9)], 1.0, "params", "b-0001", ["b-0001"]),
    ],
)
def test_the_cheapest_of_the_tied_wins(finalists, equivalence, prefer, winner, tied):
    events = selection(*(finalist(name, points, kept) for name, points, kept in finalists))
    verdict = decide(History.of(events), equivalence, prefer)
    assert verdict.candidate == winner
    assert [row.candidate for row in verdict.standings if row.tied] == tied


def test_cheap_is_what_the_user_says():
    events = selection(finalist("a-0001", [90], kept=1, seconds=50.0), finalist("b-0001", [90], kept=900, seconds=2.0))
    assert decide(History.of(events), 1.0, "params").candidate == "a-0001"
    assert decide(History.of(events), 1.0, "time").candidate == "b-0001"


def errors(candidate, error, kept):
    """Half of the examples are predicted too high by `error`, half too low: mae = rmse = error."""
    name = f"final-{candidate}"
    predictions = [label + (error if i % 4 < 2 else -error) for i, label in enumerate(ERROR_LABELS)]
    outputs = Outputs().put(predictions)
    return [trial(name, candidate, kept=kept, select=0.3), FinalistScored(name, candidate, candidate[0], 0, error, outputs)]


ERROR_LABELS = [float(2 * (i % 2)) for i in range(N)]
"""0 and 2: a standard deviation of 1."""


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_of_errors_the_smallest_is_best_and_a_point_is_a_percent_of_the_labels_spread(metric):
    events = [data(metric, greater=False), opened(ERROR_LABELS), *errors("a-0001", 0.30, 900), *errors("b-0001", 0.309, 1)]
    events += errors("c-0001", 0.32, 0)
    verdict = decide(History.of(events), 1.0, "params")
    assert verdict.candidate == "b-0001"
    assert [(row.candidate, row.tied) for row in verdict.standings] == [("a-0001", True), ("b-0001", True), ("c-0001", False)]
    assert [row.difference for row in verdict.standings] == pytest.approx([0.0, 0.009, 0.02])
    assert verdict.report_score == 0.309
    assert "within 1 % of the labels' standard deviation of the best" in verdict.statement


def test_a_point_by_hand():
    assert point("accuracy", [0.0, 1.0]) == pytest.approx(0.01)
    assert point("rmse", [0.0, 10.0, 0.0, 10.0]) == pytest.approx(0.05)


def test_a_difference_that_may_be_0_is_not_distinguishable_and_the_statement_says_so():
    events = selection(
        finalist("lora-0001", [81, 85, 83]), finalist("lora-0000", [83, 80, 81]), finalist("head-0000", [50, 51, 50], kept=1)
    )
    verdict = decide(History.of(events), 1.0, "params")
    best, default, head = verdict.standings
    assert (best.candidate, best.difference, best.difference_interval, best.distinguishable) == ("lora-0001", 0.0, (0.0, 0.0), False)
    assert not default.distinguishable
    assert default.difference_interval[0] < 0 < default.difference_interval[1]
    assert head.distinguishable
    assert head.difference_interval[0] > 0.25
    assert "Against lora (default) it is 1.7 points better (no evidence for a difference" in verdict.statement
    assert verdict.margins == {"lora-0000": pytest.approx(0.05 / 3)}


def test_the_statement_says_first_that_a_default_is_enough():
    events = selection(finalist("unipelt-apl-0000", [80, 80], kept=50), finalist("lora-0002", [80.4, 80.4], kept=90))
    verdict = decide(History.of(events), 1.0, "params")
    assert verdict.statement.startswith("The published default is enough: unipelt-apl (default) (learning rate 5e-4); ")
    assert "Tied with it, within 1 point of the best: lora #2; the best mean is 80.4 (lora #2)." in verdict.statement
    assert verdict.margins == {}


def test_the_statement_says_first_that_a_default_would_do_as_well():
    events = selection(finalist("lora-0003", [80.5, 80.5], kept=50), finalist("lora-0000", [80, 80], kept=50))
    verdict = decide(History.of(events), 1.0, "params")
    assert verdict.candidate == "lora-0003"
    assert verdict.statement.startswith("The published default would do: lora (default) is tied and costs the same. Recommended: lora #3")


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ((80, 80), "with 40 % of the parameters, it is the recommended one."),
        ((82, 82), "with 40 % of the parameters, it is the recommended one."),
        ((78, 78), None),  # it lost too much
    ],
)
def test_the_statement_says_when_a_pruned_union_wins(points, words):
    name = "unipelt-apl-0003-without-lora-without-prefix"
    pruned = UnionPruned(name, "unipelt-apl-0003", "unipelt", {}, {"lora": 0.004, "prefix": -0.012}, 0.01)
    runs = [*finalist("unipelt-apl-0003", (80, 80), kept=100), *finalist(name, points, kept=40)]
    verdict = decide(History.of([data(), *runs, opened(), pruned]), 1.0, "params")
    said = "Switched off, lora (+0.4) and prefix (-1.2) cost unipelt-apl #3 less than 1.0 points each; trained again without, "
    assert (said in verdict.statement) is (words is not None)
    assert (words or "Recommended: unipelt-apl #3 ") in verdict.statement


def test_the_statement_says_when_a_pruned_union_ties():
    name = "unipelt-apl-0003-without-prefix"
    pruned = UnionPruned(name, "unipelt-apl-0003", "unipelt", {}, {"prefix": 0.0}, 0.01)
    runs = [*finalist("unipelt-apl-0003", (80, 80)), *finalist(name, (80, 80), kept=60), *finalist("lora-0002", (80, 80), kept=30)]
    verdict = decide(History.of([data(), *runs, opened(), pruned]), 1.0, "params")
    assert "with 60 % of the parameters, it is tied." in verdict.statement
    assert "unipelt-apl #3 without prefix" in verdict.statement


def test_the_statement_names_score_ties_cost_defaults_and_the_gap():
    events = selection(
        finalist("lora-0003", [90, 90, 90], kept=20, select=0.93), finalist("adapter-0001", [90.5, 90.5, 90.5], kept=1000),
        finalist("lora-0000", [70, 70, 70], kept=20),
    )  # fmt: skip
    verdict = decide(History.of(events), 1.0, "params")
    for words in (
        "Recommended: lora #3 (learning rate 5e-4): accuracy 90.0 on 1,000 report examples (95 % interval 8",
        ", 3 seeds), with 20 trainable parameters.",
        "Tied with it, within 1 point of the best: adapter #1; the best mean is 90.5 (adapter #1). Of these it has the fewest trainable",
        "Against lora (default) it is 20.0 points better (95 % interval +1",
        "Its select score was 93.0, 3.0 points better than its report score.",
    ):
        assert words in verdict.statement


def test_every_number_of_a_verdict_is_finite_and_probabilities_sum_to_1():
    events = selection(finalist("a-0001", [100, 100]), finalist("b-0001", [0, 0]), finalist("c-0001", [50, 50]))
    verdict = decide(History.of(events), 1.0, "params")
    assert math.fsum(row.p_best for row in verdict.standings) == pytest.approx(1)
    assert "NaN" not in to_json(verdict)
    assert "Infinity" not in to_json(verdict)
    assert all(0 <= bound <= 1 for row in verdict.standings for bound in row.report_interval)


def test_a_lone_finalist_has_no_probability_of_being_the_best_and_says_that_it_is_alone():
    verdict = decide(History.of(selection(finalist("a-0001", [90, 91]))), 1.0, "params")
    assert (verdict.candidate, verdict.p_best) == ("a-0001", None)
    assert "only finalist" in verdict.statement


def test_finalists_with_different_seeds_are_compared_on_all_of_their_runs():
    # The third seed was hard for all that had it: by the plain means c would lead by 6 points.
    events = selection(finalist("a-0001", [82, 83, 62]), finalist("b-0001", [79, 80, 60]), finalist("c-0001", [80, 81, None]))
    verdict = decide(History.of(events), 0.0, "params")
    assert verdict.candidate == "a-0001"
    assert {row.candidate: len(row.seed_scores) for row in verdict.standings} == {"a-0001": 3, "b-0001": 3, "c-0001": 2}
    assert sum(row.p_best for row in verdict.standings) == pytest.approx(1)
    (c,) = (row for row in verdict.standings if row.candidate == "c-0001")
    assert c.report_score < 0.78 < (0.80 + 0.81) / 2
    assert "1 finalist run of c #1 failed: loss is not finite." in verdict.warnings
    assert any(warning.startswith("Finalists lack seeds, because not all runs were scored") for warning in verdict.warnings)


def test_a_finalist_with_a_single_run_is_compared_with_those_that_have_many():
    events = selection(finalist("a-0001", [80, 81, 79]), finalist("b-0001", [79, 82, 80]), finalist("c-0001", [81, None, None]))
    rows = {row.candidate: row for row in decide(History.of(events), 0.0, "params").standings}
    assert all(row.p_best > 0.05 for row in rows.values())
    ends = {name: row.report_interval for name, row in rows.items()}
    assert ends["c-0001"][1] - ends["c-0001"][0] > ends["a-0001"][1] - ends["a-0001"][0]


def test_a_recommended_finalist_with_a_single_run_is_the_best_so_far_and_says_that_it_has_one_seed():
    verdict = decide(History.of(selection(finalist("a-0001", [90, None]), finalist("b-0001", [70, 71]))), 0.0, "params")
    assert (verdict.candidate, verdict.p_best, verdict.so_far) == ("a-0001", None, True)
    assert "It was scored on one seed only" in verdict.statement


def test_a_failed_run_of_a_hopeless_finalist_costs_the_others_no_seed():
    events = selection(finalist("a-0001", [80, 81, 82]), finalist("b-0001", [79, 80, 81]), finalist("c-0001", [20, None, 21]))
    a, b, c = decide(History.of(events), 0.0, "params").standings
    assert (len(a.seed_scores), len(b.seed_scores), len(c.seed_scores)) == (3, 3, 2)
    assert (c.candidate, c.tied, c.distinguishable) == ("c-0001", False, True)
    assert c.p_best < 0.01
    assert c.difference == pytest.approx((0.80 + 0.82) / 2 - (0.20 + 0.21) / 2, abs=0.01)


@pytest.mark.parametrize(("points", "warning"), [([90], "One seed only"), ([90, 91], "2 seeds only")])
def test_few_seeds_are_warned_of(points, warning):
    assert any(text.startswith(warning) for text in decide(History.of(selection(finalist("a-0001", points))), 1.0, "params").warnings)


@pytest.mark.parametrize(
    ("others", "warning"),
    [
        (
            ([90, None], [None, 89]),
            "One seed for each trained finalist: intervals and probabilities cover the report examples, not the luck",
        ),
        (([90, 91, 92], [89, None, None]), "One seed only for b #1: "),
        (([90, 91, 92], [89, 90, None]), "2 seeds only for b #1: "),
    ],
)
def test_the_fewest_seeds_of_those_that_are_still_in_are_warned_of(others, warning):
    a, b = (finalist(name, points) for name, points in zip(("a-0001", "b-0001"), others, strict=True))
    warnings = decide(History.of(selection(a, b, finalist("probe-0000", [80, 81, 80][: len(others[0])]))), 1.0, "params").warnings
    assert [text.startswith(warning) for text in warnings if "seed only" in text or "seeds only" in text or "One seed" in text] == [True]


def test_the_gap_is_that_of_the_same_runs():
    verdict = decide(History.of(selection(finalist("a-0001", [82, 83, None]), finalist("b-0001", [79, 80, 60]))), 0.0, "params")
    assert (verdict.candidate, verdict.report_score < 0.80) == ("a-0001", True)
    assert "Its select score was 80.0, 2.5 points worse than its report score of these runs." in verdict.statement


def test_with_three_seeds_and_a_thousand_examples_there_is_nothing_to_warn_of():
    assert decide(History.of(selection(finalist("a-0001", [90, 91, 92]))), 1.0, "params").warnings == []


def test_constant_predictions_and_a_partly_scored_report_split_are_warned_of():
    events = [data(), ReportOpened(2, 4, 9, Outputs().put([0.0, 1.0, 1.0, 1.0])), trial("x", "a-0001")]
    events.append(FinalistScored("x", "a-0001", "a", 0, 0.75, Outputs().put([1.0] * 4)))
    warnings = " ".join(decide(History.of(events), 1.0, "params").warnings)
    for words in (
        "Constant predictions",
        "in at least one run of a #1",
        "opened 2 times",
        "Only 4 of the 9",
        "Only 4 report examples scored",
    ):
        assert words in warnings


def search(name, select, state="completed", constant=False, kept=100):
    return trial(name, name, "search", state, select=select, constant=constant, kept=kept)


@pytest.mark.parametrize(
    ("trials", "winner"),
    [
        ([search("a-0000", 0.7), search("b-0001", 0.8)], "b-0001"),
        # the better score counts, also of one that was stopped at a rung
        ([search("a-0000", 0.7), search("b-0001", 0.8, "stopped")], "b-0001"),
        ([search("b-0001", 0.8, "stopped"), search("c-0001", 0.9, "failed")], "b-0001"),
        ([search("a-0000", 0.7), search("b-0001", 0.8, constant=True)], "a-0000"),
        ([search("a-0000", 0.7), search("b-0001", float("nan"))], "a-0000"),
        ([search("a-0000", 0.7, kept=9), search("b-0001", 0.7, kept=5)], "b-0001"),
    ],
)
def test_without_a_scored_finalist_the_best_select_score_is_recommended_with_a_warning(trials, winner):
    verdict = decide(History.of([data(), *trials]), 1.0, "params")
    assert (verdict.candidate, verdict.p_best, verdict.report_score, verdict.standings) == (winner, None, None, [])
    assert verdict.statement.startswith("Not confirmed")
    assert verdict.warnings[0].startswith("No finalist was scored")


def test_of_errors_the_smallest_select_score_is_taken():
    events = [data("mae", greater=False), search("a-0000", 0.7), search("b-0001", 0.8)]
    assert decide(History.of(events), 1.0, "params").candidate == "a-0000"


def test_without_any_score_there_is_nothing_to_recommend():
    events = [data(), trial("a-0000", "a-0000", "search", "failed", select=None, cause="OutOfMemoryError: 3 GB")]
    with pytest.raises(NoTrialCompletedError, match=r"none of 1 trials .* a-0000: OutOfMemoryError: 3 GB"):
        decide(History.of(events), 1.0, "params")
    with pytest.raises(NoTrialCompletedError, match="more time"):
        decide(History.of([data()]), 1.0, "params")


def test_records_without_data_are_an_error():
    with pytest.raises(SelectionError, match="lack the description of the data"):
        decide(History.of([]), 1.0, "params")


def test_the_same_records_give_the_same_verdict():
    events = selection(finalist("a-0001", [90, 88, 91]), finalist("b-0001", [89, 90, 88]))
    first, second = decide(History.of(events), 1.0, "params"), decide(History.of(events), 1.0, "params")
    assert (first.standings, first.statement) == (second.standings, second.statement)
