"""What the rungs saved and whether they were right, by hand."""

from dataclasses import replace

import pytest

from pelt_automl.log.codec import from_json, to_json
from pelt_automl.log.events import Because, CurvePoint, DataDescribed, Decision, Planned, Seeds, SelectionStarted, TrialEnded
from pelt_automl.log.history import History
from pelt_automl.verdict.savings import (
    padding_share,
    rank_correlation,
    rung_agreements,
    savings,
    score_by,
)

STEPS = 100


def trial(name, *scores, steps=None, state="completed", cause="", stage="search", tokens=None):
    """`scores` after every 25 steps."""
    curve = [CurvePoint(25 * (i + 1), 0.5, score, 1e-3, 1.0) for i, score in enumerate(scores)]
    return TrialEnded(
        name, name, name.split("-")[0], stage, 0, state, False, {}, Seeds(0, 0, 0), {}, curve, max(scores, default=None),
        25 * len(scores) if steps is None else steps, 1.0, cause=cause, tokens=tokens or {},
    )  # fmt: skip


def selection(*trials, rungs=(25, 50), batch=16, greater=True):
    return [
        SelectionStarted("s", "k", "t", "m", ["lora"], {"training": {"batch_size": batch}}, {}),
        DataDescribed("t", "classification", "accuracy", greater, [], 100, "strict", {}, {}),
        Planned(STEPS, 25, 4, 9.0, "", {}, list(rungs)),
        *trials,
    ]


def test_examples_trained_stand_against_the_same_trials_in_full():
    found = savings(
        History.of(
            selection(
                trial("lora-0", 0.5, 0.6, 0.7, 0.8),  # 100 of 100 steps
                trial("lora-1", 0.5, 0.6, 0.6, cause="no new best"),  # 75: patience, 25 saved
                trial("lora-2", 0.4, state="stopped", cause="not among the best at its rung"),  # 25: 75 saved
                trial("lora-3", 0.4, 0.5, state="stopped", cause=Because.METHOD_OUT),  # 50: 50 saved by the race
                trial("lora-4", 0.4, state="stopped", cause=Because.TIME),  # 25, cut off: nothing saved
                trial("lora-5", steps=10, state="failed", cause="loss is not finite"),  # 10, nothing saved
                trial("final-lora-0", 0.5, 0.6, 0.7, 0.8, stage="finalist"),  # no part of the search
            )
        )
    )
    assert found.trained == 16 * 285
    assert (found.by_rungs, found.by_race, found.by_patience) == (16 * 75, 16 * 50, 16 * 25)
    assert found.in_full == 16 * 435
    assert found.share == pytest.approx(285 / 435)


def test_trials_that_a_method_never_began_are_not_saved_since_others_got_them():
    trials = [trial("lora-0", 0.5, 0.6, 0.7, 0.8), trial("prompt-0", 0.5, 0.5, 0.5, 0.5)]
    started, *others = selection(*trials)
    started = replace(started, settings=started.settings | {"search": {"trials": 6}})
    found = savings(History.of([started, *others, Decision("left the race", "prompt", "its best trial can't reach lora-0")]))
    assert (found.in_full, found.by_race) == (16 * 200, 0)


def test_a_trial_that_was_recorded_twice_counts_as_it_ended_last():
    twice = [trial("lora-0", 0.5, state="stopped", cause="rung"), trial("lora-0", 0.5, 0.6, 0.7, 0.8)]
    found = savings(History.of(selection(*twice)))
    assert (found.trained, found.in_full) == (1600, 1600)


def test_padding_is_the_share_of_the_tokens_computed_that_are_no_text():
    counted = [trial("lora-0", 0.5, tokens={"computed": 800, "text": 700}), trial("lora-1", 0.5, tokens={"computed": 200, "text": 200})]
    assert padding_share(counted) == pytest.approx(0.1)
    assert padding_share([*counted, trial("lora-2", 0.5)]) == pytest.approx(0.1)  # from an old record
    assert padding_share([trial("lora-2", 0.5)]) is None


def test_each_rung_of_each_method_has_its_agreement_over_the_trials_trained_in_full():
    trials = [
        trial("lora-0", 0.50, 0.60, 0.70, 0.80),  # ranks: 1 at step 25, 2 at step 50, 3 at the end
        trial("lora-1", 0.55, 0.52, 0.60, 0.70),  # 2, 1 (its best so far is 0.55), 2
        trial("lora-2", 0.60, 0.65, 0.62, 0.60),  # 3, 3, 1 (its best is 0.65)
        trial("lora-3", 0.90, state="stopped", cause="rung"),
        trial("prompt-0", 0.5, 0.5, 0.5, 0.5),
    ]
    # Spearman's without ties is 1 - 6 sum d^2 / (n (n^2 - 1)): ranks 1,2,3 and 3,2,1 give -1; 2,1,3 and 3,2,1 give 1 - 6 * 6 / 24 = -0.5.
    assert savings(History.of(selection(*trials))).agreements == {
        "lora": [(25, pytest.approx(-1.0), 3), (50, pytest.approx(-0.5), 3)],
        "prompt": [(25, None, 1), (50, None, 1)],
    }


def test_a_trial_that_ended_at_the_rung_says_nothing_about_it():
    trials = [trial(f"lora-{i}", 0.5 + i / 10, 0.5 + i / 10) for i in range(3)]
    assert [trials for _, _, trials in rung_agreements(trials, (25, 50), greater_is_better=True)] == [3, 0]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(1, 10), (2, 20), (3, 30)], 1.0),
        ([(1, 30), (2, 20), (3, 10)], -1.0),
        ([(1, 1), (2, 2)], None),
        ([(0.5, 1), (0.5, 2), (0.5, 3)], None),
        ([(1, 0.5), (2, 0.5), (3, 0.5)], None),
        # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5, over their root 4.7434.
        ([(1, 1), (2, 2), (2, 3), (3, 4)], 4.5 / 22.5**0.5),
    ],
)
def test_a_rank_correlation_needs_three_pairs_and_a_spread_on_both_sides(pairs, expected):
    assert rank_correlation(pairs) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("step", "greater", "score"), [(24, True, None), (25, True, 0.5), (75, True, 0.8), (75, False, 0.5)])
def test_the_score_by_a_step_is_the_best_so_far(step, greater, score):
    curve = trial("lora-0", 0.5, float("nan"), 0.8, 0.9).curve
    assert score_by(curve, step, greater) == score
    untouched = CurvePoint(0, None, 1e6 if greater else -1e6, 0.0, 0.0)
    assert score_by([untouched, *curve], step, greater) == score


def test_old_records_without_a_list_of_rungs_had_one():
    found = savings(History.of(selection(*(trial(f"lora-{i}", 0.5 + i / 10, 0.6 + i / 10) for i in range(3)), rungs=())))
    assert [(rung, trials) for rung, _, trials in found.agreements["lora"]] == [(25, 3)]


def test_a_plan_without_rungs_has_no_agreements():
    started, described, plan, *trials = selection(trial("lora-0", 0.5, 0.6, 0.7, 0.8), rungs=())
    assert savings(History.of([started, described, replace(plan, rung_steps=STEPS), *trials])).agreements == {}


def test_for_an_error_the_smallest_score_is_the_best():
    curves = [(0.9, 0.5, 0.4), (0.8, 0.6, 0.5), (0.7, 0.65, 0.6)]  # the greatest by step 50 say the opposite of the smallest
    trials = [replace(trial(f"lora-{i}", *curve), select_score=min(curve)) for i, curve in enumerate(curves)]
    events = selection(*trials, greater=False, rungs=(50,))
    assert savings(History.of(events)).agreements["lora"] == [(50, pytest.approx(1.0), 3)]


def test_records_without_a_plan_or_a_batch_size_say_nothing_and_without_trials_there_is_no_share():
    events = selection(trial("lora-0", 0.5))
    assert savings(History.of([event for event in events if not isinstance(event, Planned)])) is None
    assert savings(History.of([event for event in events if not isinstance(event, SelectionStarted)])) is None
    assert savings(History.of(selection())).share is None


def test_tokens_and_rungs_are_kept_in_the_records_and_old_lines_have_none():
    event = trial("lora-0", 0.5, tokens={"computed": 3, "text": 2})
    assert from_json(to_json(event)) == event
    old = '{"event": "Planned", "steps": 1, "rung_steps": 1, "evaluations": 1, "seconds_a_training": 1.0, "message": "", "numbers": {}}'
    assert from_json(old).rungs == []
