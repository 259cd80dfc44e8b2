"""What a time limit allows."""

import math
from itertools import pairwise

import pytest

from pelt_automl.settings import SearchSettings, TrainingSettings
from pelt_automl.timing.costs import Costs, Plan, Sizes, Speed, of_use_to_finals
from pelt_automl.timing.plan import choose, everything, in_words, ladder, seconds_enough
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


NINE = (*METHODS, "unipelt-apl")
OLD_AND_NEW = {
    # methods, wanted steps, select, report, speed, settings; then, by the seconds left: steps of the search and of the finals, finalists,
    # seeds, as planned by the two ladders of before (190fd78). A second row is what is planned now, where that is something else.
    "three methods": (("head", "bitfit", "lora"), 280, 90, 1000, Speed(0.06, 0.002), {}, {
        5: [(40, 40, 2, 2)], 30: [(40, 40, 2, 2)], 60: [(64, 64, 2, 2), (64, 72, 2, 2)], 90: [(96, 120, 2, 2), (96, 128, 2, 2)],
        120: [(128, 184, 2, 2), (128, 192, 2, 2)], 180: [(208, 280, 2, 2)], 300: [(224, 224, 3, 3)], 600: [(280, 280, 4, 3)],
    }),
    "nine methods, a slow machine": (NINE, 280, 90, 1000, Speed(0.5, 0.02), {}, {
        60: [(40, 40, 2, 2)], 300: [(40, 40, 2, 2)], 600: [(40, 88, 2, 2)], 1200: [(80, 240, 2, 2)], 3600: [(144, 280, 3, 3)],
    }),
    "one method": (("lora",), 140, 30, 200, Speed(0.1, 0.004), {}, {
        60: [(40, 40, 2, 2)], 90: [(80, 80, 2, 2)], 120: [(112, 112, 2, 2), (120, 120, 2, 2)], 180: [(120, 120, 2, 3)],
        300: [(144, 144, 2, 3)], 3600: [(144, 144, 2, 3)],
    }),
    "long trainings": (("lora", "adapter", "prefix"), 2000, 1000, 5000, Speed(0.02, 0.001), {}, {
        20: [(40, 40, 2, 2)], 30: [(40, 40, 2, 2), (48, 56, 2, 2)], 60: [(176, 192, 2, 2), (176, 208, 2, 2)],
        120: [(336, 464, 2, 2), (336, 480, 2, 2)], 300: [(816, 1368, 2, 2), (816, 1400, 2, 2)], 600: [(1864, 2000, 2, 3)],
        1200: [(2000, 2000, 4, 3)], 3600: [(2000, 2000, 5, 3)],
    }),
    "short trainings": (("head", "lora", "adapter", "prefix", "unipelt-apl"), 40, 20, 60, Speed(0.1, 0.001), {}, {
        5: [(40, 40, 2, 2)], 60: [(40, 40, 2, 3)], 90: [(40, 40, 3, 3)], 120: [(40, 40, 4, 3)], 180: [(40, 40, 6, 3)],
        300: [(40, 40, 8, 3)],
    }),
    "more for the finals": (("head", "lora", "adapter"), 200, 60, 500, Speed(0.1, 0.002), {"finalist_share": 0.8, "finalist_seeds": 5}, {
        30: [(40, 40, 2, 2)], 60: [(40, 80, 2, 2), (40, 88, 2, 2)], 90: [(48, 144, 2, 2)], 120: [(64, 200, 2, 2)], 180: [(96, 200, 2, 2)],
        300: [(104, 200, 2, 5)], 600: [(168, 200, 4, 5)], 1200: [(200, 200, 5, 5)],
    }),
}  # fmt: skip


@pytest.mark.parametrize("world", OLD_AND_NEW)
def test_the_one_ladder_plans_what_two_have_planned_but_keeps_no_time_for_evidence_where_no_method_has_a_gate(world):
    """The old ladders kept time for taking unions apart in every selection. Where there are none to take apart, the finals have it."""
    methods, wanted, select, report, speed, search, plans = OLD_AND_NEW[world]
    examples = Sizes(16 * wanted, select, report, 0, 0)
    model = Costs(methods, methods, SearchSettings(**search), TrainingSettings(epochs=1), examples)
    for left, rows in plans.items():
        plan = choose(model, float(left), speed)
        assert (plan.steps, plan.final_steps, plan.finalists, plan.seeds) == rows[-1], left
        assert len(rows) == 1 or not any(method.startswith("unipelt") for method in methods)
        assert all(new >= old for new, old in zip(rows[-1], rows[0], strict=True)), "nobody has less"


def test_the_ladder_goes_from_everything_to_the_least_and_with_the_same_finals_from_more_search_to_less():
    model = costs()
    plans = list(ladder(model))
    assert plans[0] == Plan(200, 3, 200, 10, 3)
    assert plans[-1] == Plan(20, 1, 20, 2, 2)
    for higher, lower in pairwise(plans):
        same = higher.final_steps, higher.finalists, higher.seeds
        if same == (lower.final_steps, lower.finalists, lower.seeds) and lower.steps < lower.final_steps:
            assert lower.steps < higher.steps or lower.trials < higher.trials
            assert model.full(lower.steps, SPEED) <= model.full(higher.steps, SPEED)


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


@pytest.mark.parametrize("left", [100.0, 150.0, 300.0, 600.0, 1200.0, 2000.0])
def test_what_is_allowed_fits_into_the_time(left):
    given = allowed(left)
    search, finalists = planned_seconds(given)
    assert search <= 0.8 * (left * 0.5 + POLICY.writing)
    assert finalists <= left * 0.5
    assert given.steps <= given.final_steps <= 200


def test_less_time_never_allows_more_of_the_search_nor_of_the_finals():
    given = [planned_seconds(allowed(left)) for left in (2000.0, 1000.0, 500.0, 250.0, 120.0)]
    for more, less in pairwise(given):
        assert more[0] >= less[0]
        assert more[1] >= less[1]
    assert "instead of 200 steps" in in_words(allowed(120.0), costs(), 120.0)


def test_what_finals_are_spared_first_and_what_last():
    plans = [allowed(float(left)) for left in range(3000, 30, -2)]
    ways = list(dict.fromkeys((given.finalists, given.seeds) for given in plans))
    assert ways == [*((count, 3) for count in range(10, 1, -1)), (2, 2)]
    steps = {way: [given.final_steps for given in plans if (given.finalists, given.seeds) == way] for way in ways}
    assert all(set(steps[count, 3]) == {200} for count in range(4, 11)), "finalists are left out before trainings are shortened"
    assert (max(steps[3, 3]), min(steps[3, 3])) == (200, 152)
    assert min(steps[2, 3]) == 152, "three quarters before seeds are left out"
    assert (max(steps[2, 2]), min(steps[2, 2])) == (200, 20), "then as short as they have to be"


def test_the_search_has_three_trials_a_method_at_half_the_finalists_length_before_it_has_fewer():
    plans = [allowed(float(left)) for left in range(3000, 30, -10)]
    long = [given for given in plans if given.final_steps == 200 and given.seeds == 3]
    assert {given.steps for given in long} >= {200, 152, 104}
    assert min(given.steps for given in long) == 104, "the shortest of at least a half that eight evaluations divide"
    assert {given.trials for given in long if given.steps > 104} == {3}
    assert allowed(120.0, methods=METHODS).steps < allowed(120.0, methods=METHODS[:2]).steps


def test_the_message_says_what_is_shorter_for_whom():
    given = allowed(400.0)
    assert (given.steps, given.final_steps, given.finalists) == (104, 200, 3), "what the next line is about"
    trainings = "trainings of 104 instead of 200 steps in the search, all 200 for the finalists"
    assert in_words(given, costs(), 400.0) == f"the time limit allows {trainings}, about 3 instead of 10 finalists"


def test_as_many_finalists_as_methods_and_their_fixed_defaults():
    assert everything(costs(methods=("lora", "adapter", "unipelt-apl"))).finalists == 6
    assert everything(costs(methods=("adapter", "head"))).finalists == 3


def test_the_seconds_that_would_do_grow_with_methods_and_steps():
    def enough(steps=80, methods=METHODS[:3], used=10.0):
        return seconds_enough(costs(methods=methods, wanted=steps, select=18, report=60), used, SPEED)

    assert enough() > 10 + 3 * 80 * 0.1 + 6 * 80 * 0.1
    assert enough(steps=160) > 1.7 * enough() - 20
    assert enough(methods=METHODS[:6]) > enough() + 3 * 80 * 0.1
    assert enough(used=20.0) == pytest.approx(enough() + 10)


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
