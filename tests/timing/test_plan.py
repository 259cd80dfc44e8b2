"""What a time limit allows."""

import math

import pytest

from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.timing.costs import Costs, Sizes, Speed, of_use_to_finals
from pelt_automl.timing.plan import choose, everything, in_words, seconds_enough
from pelt_automl.timing.policy import POLICY
from pelt_automl.timing.schedule import make_plan

METHODS = ("full", "head", "bitfit", "lora", "adapter", "prefix", "mam", "unipelt-ap")
"""Eight, of which two have a fixed default that is a finalist of its own."""
SPEED = Speed(step=0.1, example=0.001)


def costs(methods=METHODS, wanted=200, select=30, report=1000, **search):
    """Of a selection whose unshortened trainings have so many steps."""
    training, examples = TrainingSettings(epochs=1, batch_size=10, min_steps=20), Sizes(10 * wanted, select, report, 0, 0)
    return Costs(methods, methods, SearchSettings(**search), training, examples)


def allowed(left, **changes):
    return choose(costs(**changes), left, SPEED)


def test_of_the_finals_first_finalists_are_left_out_then_seeds_then_they_are_not_on_fresh_seeds():
    plans = [allowed(float(left)) for left in range(3000, 30, -2)]
    ways = list(dict.fromkeys((given.finalists, given.seeds) for given in plans))
    assert ways == [*((count, 3) for count in range(10, 1, -1)), (2, 2), (2, 0)]
    assert all(given.final_steps == 200 for given in plans if given.seeds), "a finalist's training is never shortened"


def test_trainings_are_shortened_only_where_the_first_two_methods_have_no_time_for_a_full_one():
    plans = {left: allowed(float(left)) for left in range(3000, 6, -2)}
    short = {left: given for left, given in plans.items() if given.steps < 200}
    assert short
    assert all(given.seeds == 0 and given.steps == given.final_steps for given in short.values())
    longest, full = max(short), costs().full(200, SPEED)
    scoring = 2 * 500 * SPEED.example + POLICY.writing
    assert 2 * full <= 0.8 * (longest + 2 - scoring), "two more seconds would do"
    assert 2 * full > 0.8 * (longest - scoring)
    assert allowed(7.0).steps == 20, "the shortest that there is"
    steps = [given.steps for given in plans.values()]
    assert steps == sorted(steps, reverse=True), "less time never allows longer trainings"
    assert allowed(45.0, methods=("lora",)).steps == 200 > allowed(45.0).steps, "one method alone has nothing to be compared with"


def test_a_share_for_the_finals_of_ones_own_is_kept():
    assert allowed(200.0).seeds == 2
    assert allowed(200.0, finalist_share=0.2).seeds == 0
    assert (allowed(200.0, finalist_share=0.8).finalists, allowed(200.0, finalist_share=0.8).seeds) == (2, 3)
    assert allowed(120.0, finalist_seeds=1).seeds == 1


@pytest.mark.parametrize("left", [math.inf, 10_000.0])
def test_without_a_limit_or_with_plenty_of_time_nothing_is_shortened(left):
    given = allowed(left)
    assert (given.steps, given.final_steps, given.finalists, given.seeds) == (200, 200, 10, 3)
    assert in_words(given, costs(), left) == ("no time limit" if math.isinf(left) else "the time limit allows everything")


def planned_seconds(given, methods=8):
    """What the plan costs, reckoned again: each method's default, and all finalists on their seeds with their scoring."""
    search, final = (costs().full(steps, SPEED) for steps in (given.steps, given.final_steps))
    return methods * search, given.finalists * given.seeds * (final + 500 * SPEED.example)


def test_a_full_training_costs_its_steps_and_its_evaluations():
    assert costs().full(200, SPEED) == pytest.approx(200 * 0.1 + 8 * 30 * 0.001)
    plan = make_plan(200, (0.25, 0.5), 700, TrainingSettings(batch_size=10))
    assert (len(plan.evaluate_at), plan.select_most) == (4, 75)
    assert costs(select=700).full(200, SPEED) == pytest.approx(200 * 0.1 + (4 * 75 + 700) * 0.001), "the last one looks at all of select"


@pytest.mark.parametrize("left", [120.0, 150.0, 300.0, 600.0, 1200.0, 2000.0])
def test_what_is_allowed_to_the_finals_fits_into_their_share(left):
    given = allowed(left)
    _, finalists = planned_seconds(given)
    assert finalists <= left * 0.5 - POLICY.writing


def test_less_time_never_allows_more_of_the_finals():
    given = [planned_seconds(allowed(left))[1] for left in (2000.0, 1000.0, 500.0, 250.0, 120.0)]
    assert given == sorted(given, reverse=True)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (600.0, "the time limit allows about 4 instead of 10 finalists"),
        (200.0, "the time limit allows about 2 instead of 10 finalists, 2 instead of 3 seeds for each"),
        (100.0, "the time limit allows no finalist on fresh seeds (the best trainings of the search are scored as they are)"),
        (30.0, "the time limit allows trainings of 96 instead of 200 steps, no finalist on fresh seeds (the best trainings of the search"),
    ],
)
def test_the_message_says_what_there_is_less_of(left, said):
    assert in_words(allowed(left), costs(), left).startswith(said)


def test_as_many_finalists_as_methods_and_their_fixed_defaults():
    assert everything(costs(methods=("lora", "adapter", "unipelt-apl"))).finalists == 6
    assert everything(costs(methods=("adapter", "head"))).finalists == 3


def test_the_seconds_that_would_do_grow_with_methods_and_steps():
    def enough(steps=80, methods=METHODS[:3], used=10.0):
        return seconds_enough(costs(methods=methods, wanted=steps, select=18, report=60), used, SPEED)

    assert enough() > 10 + 3 * 80 * 0.1 + 6 * 80 * 0.1
    assert enough(steps=160) > 1.7 * enough() - 20
    assert enough(methods=METHODS[:6]) > 10 + 2 * 6 * 80 * 0.1 > 10 + 2 * 3 * 80 * 0.1
    assert enough(used=20.0) == pytest.approx(enough() + 10)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 8])
def test_with_the_seconds_that_would_do_finalists_are_trained_on_fresh_seeds(count, share):
    model = costs(methods=METHODS[:count], finalist_share=share)
    given = choose(model, seconds_enough(model, 0.0, SPEED), SPEED)
    assert given.seeds >= 2
    assert given.steps == 200


@pytest.mark.parametrize(
    ("share", "kept"),
    [
        (44.0, 28.0),  # two finalists on one seed take 8 + 2 * 10, on two 48: what is left is too short for the second seed
        (48.0, 48.0),
        (67.9, 48.0),
        (70.0, 68.0),  # on three seeds
        (100.0, 98.0),  # three finalists on three seeds
        (20.0, 20.0),  # a seed of two finalists is trained anyhow
        (118.0, 118.0),  # three on three, and a fourth for the best and its challenger
        (10_000.0, 328.0),  # six on three, two of them on ten
    ],
)
def test_the_finals_keep_of_their_share_they_can_fill(share, kept):
    assert of_use_to_finals(share, one_run=10.0, closing=8.0, finalists=6, search=SearchSettings()) == kept
