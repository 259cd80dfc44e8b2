"""Decision rules, by tables checked by hand."""

import pytest

from pelt_automl.log.events import Seeds, TrialEnded
from pelt_automl.search.finalists import choose_finalists
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


def a_trial(name, score, *, state="completed", default=False, constant=False):
    method = name.rsplit("-", 1)[0]
    return TrialEnded(
        name, name, method, "search", int(name[-1]), state, default, {}, Seeds(0, 0, 0), {}, [], score, 10, 1.0, constant
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


def chosen(trials=TRIALS, most=10, out=(), far=0.5, greater=True):
    return choose_finalists(trials, lambda _: most, out=out, far=far, greater_is_better=greater)


def test_finalists_are_the_best_of_each_method_whatever_their_state_and_the_fixed_defaults():
    found = chosen()
    assert names(found.chosen) == ["adapter-1", "lora-1", "lora-0", "adapter-0", "unipelt-apl-0"]
    reasons = {found.decision(trial).subject: found.decision(trial).why for trial in found.chosen}
    assert reasons["adapter-1"] == "best of adapter on select"
    assert reasons["lora-0"] == "fixed default"
    assert reasons["unipelt-apl-0"] == "fixed default and best of unipelt-apl on select"


def test_what_was_cut_off_with_the_best_score_leads_when_there_is_room_for_few():
    """(IA)3 stood at 63.2 when the time was up; two defaults had completed far below it."""
    trials = [
        a_trial("lora-0", 0.467, default=True),
        a_trial("bitfit-0", 0.389, default=True),
        a_trial("ia3-0", 0.632, state="stopped", default=True),
    ]
    assert names(chosen(trials, most=1, far=0.05).chosen) == ["ia3-0"]
    assert names(chosen(trials, most=2, far=0.05).chosen) == ["ia3-0", "lora-0"]


@pytest.mark.parametrize(("far", "second"), [(0.5, "lora-0"), (0.05, "head-1")])
def test_a_default_far_below_the_leader_gives_its_place_to_the_runner_up(far, second):
    trials = [a_trial("lora-0", 0.50, default=True), a_trial("bitfit-1", 0.80), a_trial("head-1", 0.75)]
    assert names(chosen(trials, most=2, far=far).chosen) == ["bitfit-1", second]
    assert names(chosen(trials, most=3, far=far).chosen) == ["bitfit-1", "head-1", "lora-0"], "with time for all it is a finalist"


def test_a_constant_prediction_leads_nobody():
    trials = [a_trial("head-0", 0.55, constant=True), a_trial("lora-0", 0.53, default=True)]
    assert names(chosen(trials, most=1).chosen) == ["lora-0"]


def test_with_room_for_three_the_leader_a_fixed_default_and_the_runner_up_stay():
    found = chosen(most=3)
    assert names(found.chosen) == ["adapter-1", "lora-1", "lora-0"]
    assert names(found.no_time_for) == ["adapter-0", "unipelt-apl-0"]
    left = found.left_out(found.no_time_for[0])
    assert (left.what, left.subject) == ("no time for a finalist", "adapter-0")


def test_how_many_there_is_time_for_is_asked_in_the_order_in_which_they_are_wanted():
    asked = []
    choose_finalists(TRIALS, lambda wanted: asked.append(names(wanted)) or 2, far=0.5, greater_is_better=True)
    assert asked == [["adapter-1", "lora-0", "lora-1", "adapter-0", "unipelt-apl-0"]]


def test_a_method_that_has_left_the_race_has_no_finalist_but_the_fixed_default():
    assert names(chosen(out={"unipelt-apl"}).chosen) == ["adapter-1", "lora-1", "lora-0", "adapter-0", "unipelt-apl-0"]
    assert names(chosen(out={"lora"}).chosen) == ["adapter-1", "lora-0", "adapter-0", "unipelt-apl-0"]


def test_where_smaller_is_better_the_smallest_score_leads():
    assert names(chosen(most=1, greater=False).chosen) == ["unipelt-apl-0"]


def test_a_default_with_constant_predictions_has_no_place_of_its_own():
    trials = [a_trial("bitfit-1", 0.62), a_trial("lora-0", 0.60, default=True, constant=True), a_trial("head-1", 0.50)]
    assert names(chosen(trials, most=2).chosen) == ["bitfit-1", "head-1"]
