"""Decision rules, by tables checked by hand."""

import pytest

from pelt_automl.records import Seeds, TrialEnded
from pelt_automl.search.finalists import choose_finalists, wanted_finalists
from pelt_automl.search.promotion import promoted

TABLE = [
    # new scores, earlier scores, share, always, greater is better, who goes on
    ({"a": 0.9, "b": 0.5, "c": 0.1}, [], 0.34, set(), True, {"a"}),
    ({"a": 0.9, "b": 0.5, "c": 0.1}, [], 0.34, set(), False, {"c"}),
    ({"a": 0.9, "b": 0.5, "c": 0.1}, [], 0.34, {"c"}, True, {"a", "c"}),  # the default goes on whatever it scores
    ({"a": 0.9, "b": 0.5, "c": 0.1, "d": 0.7, "e": 0.6}, [], 0.34, set(), True, {"a", "d"}),  # 1.7 places are two
    ({"a": 0.9, "b": 0.5, "c": 0.1, "d": 0.7}, [], 0.34, set(), True, {"a"}),  # 1.36 are one
    ({"d": 0.4}, [0.9], 0.34, set(), True, set()),  # the one place is taken by an earlier, better trial
    ({"d": 0.4}, [0.9, 0.8], 0.67, set(), True, set()),
    ({"d": 0.85}, [0.9, 0.8], 0.67, set(), True, {"d"}),
    ({"a": 0.5, "b": 0.5}, [], 0.5, set(), True, {"a"}),  # a tie: as many as there are places, in order
    ({"a": 0.5}, [], 0.1, set(), True, {"a"}),  # at least one of a first round
    ({}, [], 0.5, {"x"}, True, set()),
]


@pytest.mark.parametrize(("new", "earlier", "share", "always", "greater", "expected"), TABLE)
def test_promotion(new, earlier, share, always, greater, expected):
    assert promoted(new, earlier, share, always=frozenset(always), greater_is_better=greater) == expected


def a_trial(name, score, *, state="completed", default=False):
    method = name.rsplit("-", 1)[0]
    return TrialEnded(
        name, name, method, "search", int(name[-1]), state, default, {}, Seeds(0, 0, 0), {}, [], score, 10, 1.0
    )  # fmt: skip


TRIALS = [
    a_trial("lora-0", 0.70, default=True),
    a_trial("lora-1", 0.80),
    a_trial("adapter-0", 0.60, default=True),
    a_trial("adapter-1", 0.90, state="stopped"),
    a_trial("unipelt-apl-0", 0.50, default=True),
    a_trial("head-0", None, state="failed", default=True),
]


def names(trials):
    return [trial.trial for trial in trials]


def test_finalists_are_the_best_of_each_method_and_the_fixed_defaults():
    found = choose_finalists(TRIALS, most=10, greater_is_better=True)
    # adapter-1 scored higher but wasn't trained in full; head failed; lora's default is fixed, adapter's is its best as well
    assert names(found.chosen) == ["lora-1", "lora-0", "adapter-0", "unipelt-apl-0"]
    reasons = {decision.subject: decision.why for decision in found.decisions}
    assert reasons["lora-0"] == "fixed default"
    assert reasons["adapter-0"] == "fixed default and best of adapter on select"
    assert reasons["unipelt-apl-0"] == "fixed default and best of unipelt-apl on select"


def test_with_room_for_three_the_leader_a_fixed_default_and_the_runner_up_stay():
    found = choose_finalists(TRIALS, most=3, greater_is_better=True)
    assert names(found.chosen) == ["lora-1", "lora-0", "adapter-0"]
    assert [(d.what, d.subject) for d in found.decisions if d.what == "left out"] == [("left out", "unipelt-apl-0")]


EVERY = ["lora-1", "lora-0", "adapter-0", "unipelt-apl-0"]


def test_a_method_that_has_left_the_race_has_no_finalist_but_the_fixed_default():
    assert names(choose_finalists(TRIALS, most=10, out={"unipelt-apl"}, greater_is_better=True).chosen) == EVERY
    assert names(choose_finalists(TRIALS, most=10, out={"lora"}, greater_is_better=True).chosen) == ["lora-0", "adapter-0", "unipelt-apl-0"]


def test_where_smaller_is_better_the_smallest_score_leads():
    found = choose_finalists(TRIALS, most=1, greater_is_better=False)
    assert names(found.chosen) == ["unipelt-apl-0"]


def test_a_stopped_trial_stands_in_for_a_method_without_a_completed_one():
    found = choose_finalists([a_trial("prefix-0", 0.6, state="stopped")], most=5, greater_is_better=True)
    assert names(found.chosen) == ["prefix-0"]


def test_as_many_finalists_as_methods_and_their_fixed_defaults():
    assert wanted_finalists(["lora", "adapter", "unipelt-apl"]) == 6
    assert wanted_finalists(["adapter", "head"]) == 3
