"""When the finalists get another seed, by hand: predictions are made so that scores and their spread are known."""

from dataclasses import replace

import numpy as np
import pytest

from pelt_automl.log.events import Outcome
from pelt_automl.verdict.another_seed import CERTAIN, narrowed_by, outlook
from pelt_automl.verdict.finalists import Finalist, Run
from pelt_automl.verdict.outcome import outcome_of
from pelt_automl.verdict.standings import Comparison

EXAMPLES = 400
LABELS = [0.0] * EXAMPLES


def finalist(name, *right, first=0, method=""):
    """One run a seed with so many right predictions, those from the example `first` on."""
    runs = {}
    for seed, count in enumerate(right):
        predictions = np.ones(EXAMPLES)
        predictions[np.arange(first, first + count) % EXAMPLES] = 0
        runs[seed] = Run(f"{name}-seed{seed}", count / EXAMPLES, predictions)
    return Finalist(name, method or name, False, {}, 100, 1.0, 0.8, runs)


def compared(*finalists, out=()):
    return Comparison(finalists, LABELS, "accuracy", out=out)


def test_an_interval_never_leaves_the_metrics_range():
    low, high = compared(finalist("a", 399, 390, 380)).interval("a")
    assert low < high == 1.0
    assert compared(finalist("a", 1, 10, 20)).interval("a")[0] == 0.0


WITHIN = "with a probability above 90% no other is better than the best by more than the region of practical equivalence"


@pytest.mark.parametrize(
    ("a", "b", "region"),
    [
        pytest.param((360, 362, 361), (330, 331, 332), 0.2, id="surely the best"),
        pytest.param((360, 362, 361), (361, 360, 361), 0.05, id="equal"),
        pytest.param((360, 362, 361), (365, 356, 361), 0.05, id="not to be told from each other, but within the region"),
    ],
)
def test_the_best_that_is_practically_as_good_as_any_ends_it(a, b, region):
    found = outlook(compared(finalist("a", *a), finalist("b", *b, first=5)), region)
    assert (found.stop, found.behind) == (WITHIN, ())
    assert found.numbers["p_within_the_region"] > CERTAIN
    assert "narrowing" not in found.numbers


def test_within_the_region_counts_for_errors_as_well():
    """Of 400 labels of 0 and 1, `a` is off by 0.10 on average and `b` by 0.13: a difference of 6 points, the region being 1."""
    labels = [0.0, 1.0] * 200
    said = {"a": 0.10, "b": 0.13}
    rows = [
        Finalist(name, name, False, {}, 100, 1.0, 0.8, {
            seed: Run(f"{name}-{seed}", off, np.asarray(labels) + off + np.linspace(-0.01, 0.01, 400)) for seed in range(3)
        })
        for name, off in said.items()
    ]  # fmt: skip
    comparison = Comparison(rows, labels, "mae")
    assert comparison.best() == "a"
    assert (comparison.p_within(0.005), outlook(comparison, 0.005).behind) == (1.0, ("b",))


@pytest.mark.parametrize(
    ("others", "pair"),
    [
        pytest.param({"b": (352, 372, 345), "c": (330, 352, 341)}, ("a", "b"), id="the most probable other"),
        pytest.param({"b": (330, 352, 341), "c": (352, 372, 345)}, ("a", "c"), id="whatever its place"),
        pytest.param({"b": (352, 372, 345), "c": (200, 204, 202)}, ("a", "b"), id="one is behind"),
    ],
)
def test_the_next_seed_is_for_the_best_and_its_challenger(others, pair):
    found = outlook(compared(finalist("a", 370, 366, 347), *[finalist(name, *right, first=5) for name, right in others.items()]), 0.01)
    assert (found.stop, found.pair) == ("", pair)


def test_one_of_the_pair_is_trained():
    """A fitted best and a fitted second: more seeds of theirs are no training, and tell nothing of those that are trained."""
    fitted = finalist("p", 370, 366, 347, method="probe"), finalist("n", 368, 352, 362, first=5, method="neighbors")
    found = outlook(compared(*fitted, finalist("a", 352, 372, 345, first=9)), 0.01)
    assert (found.stop, found.pair) == ("", ("p", "a"))
    assert (
        outlook(compared(*fitted, finalist("a", 100, 102, 101)), 0.001).stop
        == "no trained finalist can still catch up, and the fitted ones need no further seeds"
    )
    trained = outlook(compared(finalist("a", 370, 366, 347), fitted[1]), 0.01)
    assert trained.pair == ("a", "n"), "a trained best may have a fitted challenger"


def test_who_is_behind_by_more_than_the_region_with_all_of_its_interval_needs_no_further_seed():
    others = finalist("b", 345, 361, 375, first=5), finalist("c", 200, 204, 202)
    found = outlook(compared(finalist("a", 370, 366, 347), *others), region=0.01)
    assert found.behind == ("c",)
    assert found.stop == ""


def test_who_is_surely_worse_but_within_the_region_stays_since_it_can_be_tied_and_cheaper():
    found = outlook(compared(finalist("a", 380, 380, 380), finalist("b", 370, 370, 370)), region=0.10)
    assert found.behind == ()


def test_when_all_others_are_behind_there_is_nothing_left_to_decide():
    found = outlook(compared(finalist("a", 380, 381, 379), finalist("b", 100, 101, 99)), region=0.01)
    assert (found.stop, found.behind) == ("all others are behind the best", ("b",))


def test_means_within_the_region_are_not_enough_for_equivalence():
    found = outlook(compared(finalist("a", 330, 370, 350), finalist("b", 372, 331, 346)), region=0.01)
    assert found.stop == ""


def test_where_the_examples_are_what_is_missing_more_seeds_are_not_the_answer():
    # the same on every seed, right on different examples: all of the doubt is about examples
    found = outlook(compared(finalist("a", 300, 300, 300), finalist("b", 298, 298, 298, first=100)), region=0.001)
    assert found.stop == "another seed would narrow the interval between the best and any other by less than 2.5%"


def test_a_lone_finalist_has_nothing_to_be_compared_with():
    assert outlook(compared(finalist("a", 300, 301)), region=0.01).stop == "there is nothing to compare"


def test_one_seed_says_nothing_about_seeds_so_another_is_worth_it():
    found = outlook(compared(finalist("a", 300), finalist("b", 298, first=100)), region=0.001)
    assert (found.stop, found.pair) == ("", ("a", "b"))


@pytest.mark.parametrize("right", [pytest.param((380, 100), id="far apart"), pytest.param((360, 360), id="equal")])
def test_on_one_seed_nobody_goes_home_and_nothing_ends_while_more_are_allowed(right):
    both = compared(*[finalist(name, count) for name, count in zip("ab", right, strict=True)])
    found = outlook(both, region=0.05)
    assert (found.stop, found.behind, found.pair) == ("", (), ("a", "b"))
    assert outlook(both, 0.05, full={"a", "b"}).stop


A_AND_B = finalist("a", *[352] * 6), finalist("b", *[350] * 6, first=100)


@pytest.mark.parametrize("full", [(), ("a", "b")])
def test_the_challenger_is_one_whose_seeds_can_still_tell(full):
    """Of the more probable one all doubt is about examples; of the other, on three seeds, it is about seeds."""
    everyone = compared(*A_AND_B, finalist("c", 320, 372, 344, first=200))
    p_best = everyone.p_best()
    assert p_best["b"] > p_best["c"]
    found = outlook(everyone, region=0.001, full=full)
    assert (found.stop, found.pair) == ("", ("a", "c"))
    assert outlook(compared(*A_AND_B), region=0.001).stop.startswith("another seed would narrow")


def test_who_has_all_seeds_gets_no_other():
    both = compared(finalist("a", 370, 366, 347), finalist("b", 352, 372, 345, first=5))
    assert "narrowing" in outlook(both, 0.01, full=["a"]).numbers, "the other one may have another"
    found = outlook(both, 0.01, full=["a", "b"])
    assert (found.stop, found.pair) == ("", ("a", "b"))
    assert "narrowing" not in found.numbers


@pytest.mark.parametrize(
    ("by_examples", "expected"),
    [
        (1.0, 0.0986),  # by seeds: var(0, 3, 6) / 3 = 3, of which 3/4 are left: 1 - sqrt((1 + 2.25) / 4)
        (0.0, 0.1340),  # all of it: 1 - sqrt(3/4)
        (27.0, 0.0126),  # little of it: 1 - sqrt(29.25 / 30)
    ],
)
def test_one_seed_more_narrows_what_seeds_leave_open(by_examples, expected, monkeypatch):
    table = compared(finalist("a", 300, 303, 306), finalist("b", 300, 300, 300))
    monkeypatch.setattr(Comparison, "seed_differences", lambda self, first, second: [0.0, 3.0, 6.0])
    monkeypatch.setattr(Comparison, "variance_by_examples", lambda self, first, second: by_examples)
    assert narrowed_by(table, "a", "b") == pytest.approx(expected, abs=1e-4)


def test_those_that_left_the_finals_keep_their_seeds_and_do_not_cost_the_others_theirs():
    rows = compared(finalist("a", 360, 362, 361, 364), finalist("b", 361, 360, 361, 362), finalist("c", 300, 301, 302), out={"c"})
    standings = {row.candidate: row for row in rows.standings(region=0.01)}
    assert {name: len(row.seed_scores) for name, row in standings.items()} == {"a": 4, "b": 4, "c": 3}
    assert (standings["c"].p_best, standings["c"].tied) == (0.0, False)
    assert standings["c"].difference == pytest.approx((361 - 301) / EXAMPLES, abs=2e-3)


def test_the_interval_of_one_that_left_is_about_its_printed_mean():
    a, d = finalist("a", 360, 362, 361, 364, 363), finalist("d", 361, 360, 361, first=5)
    rows = compared(a, d, finalist("c", 320, 322, 321, 250, 252), out={"c"})
    c = rows.standings(region=0.01)[-1]
    low, high = c.report_interval
    assert low < c.report_score < high
    assert c.report_score == pytest.approx(0.7325, abs=0.01)
    assert c.difference_interval[0] < c.difference < c.difference_interval[1]
    without = compared(a, d)
    assert [rows.interval(name) for name in "ad"] == [without.interval(name) for name in "ad"]


@pytest.mark.parametrize("right", [pytest.param({3: 300, 4: 301}, id="other seeds"), pytest.param({0: 300}, id="one run")])
def test_who_left_is_held_against_the_others_by_all_runs(right):
    c = finalist("c", *right.values())
    c = replace(c, runs=dict(zip(right, c.runs.values(), strict=True)))
    rows = compared(finalist("a", 360, 362, 361), finalist("b", 361, 360, 361, first=5), c, out={"c"})
    found = rows.difference("a", "c")
    assert found.together[0] < found.value < found.together[1]
    assert found.value == pytest.approx((361 - 300) / EXAMPLES, abs=0.01)


def test_a_lucky_single_run_is_no_lead_over_a_constant():
    """The seeds that it lacks were bad for the others: by its own score it would lead by 12 points."""
    labels = np.arange(EXAMPLES) % 10 < 4  # always 0: 60 %

    def made(name, *shares):
        wrong = [(np.arange(EXAMPLES) * 61 + 7) % EXAMPLES >= share * EXAMPLES for share in shares]
        return Finalist(
            name,
            name,
            False,
            {},
            100,
            1.0,
            0.8,
            {seed: Run(f"{name}-{seed}", float(1 - off.mean()), labels ^ off) for seed, off in enumerate(wrong)},
        )

    rows = Comparison([made("a", 0.70, 0.52, 0.53, 0.52), made("b", 0.69, 0.50, 0.52, 0.51), made("c", 0.72)], list(labels), "accuracy")
    assert rows.best() == "c"
    lead = rows.lead_over_constant("c", 0.0)
    assert lead.value == pytest.approx(rows.mean("c") - 0.6)
    assert outcome_of(lead, 0.01) == Outcome.TENTATIVE


@pytest.mark.parametrize("method", ["probe", "bag-of-words", "neighbors"])
def test_a_baselines_interval_is_its_own_and_changes_no_others(method):
    trained = finalist("a", 340, 370, 355), finalist("b", 320, 352, 380), finalist("c", 350, 320, 335)
    baseline = finalist("p", 330, 331, 332, first=50, method=method)
    alone, everyone = compared(baseline), compared(*trained, baseline)
    assert everyone.interval("p") == pytest.approx(alone.interval("p"))
    without = compared(*trained)
    assert [everyone.interval(name) for name in "abc"] == [pytest.approx(without.interval(name)) for name in "abc"]
    # The same predictions of a trained method: three shaky ones have made it unsure.
    low, high = compared(*trained, finalist("p", 330, 331, 332, first=50)).interval("p")
    assert high - low > 1.1 * np.subtract(*alone.interval("p")[::-1])
