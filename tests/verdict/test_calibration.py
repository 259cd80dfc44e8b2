"""The verdict's statements about made-up finals are true as often as they say. Seeded, so that it gives the same answer each time.

The bands are what the statements promise, widened by 3 standard errors of a share of so many finals: what is right passes, what is off by a
few points fails. ``studies/calibration.py`` does the same over more kinds of luck and with more finals.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from studies.calibration import World, for_all, held, reliability, simulated, stopped

pytestmark = pytest.mark.statistical

REPEATS = 120
MANY = World(8, 5, examples=150)


def within(low, high, repeats=REPEATS):
    """The band widened by 3 standard errors of a share of 95 %."""
    error = 3 * math.sqrt(0.95 * 0.05 / repeats)
    return pytest.approx((low + high) / 2, abs=(high - low) / 2 + error)


@cache
def judged(world):
    return simulated(world, REPEATS, resamples=400)


@pytest.mark.parametrize(
    "world",
    [
        World(2, 5, examples=150),
        MANY,
        World(3, 5, metric="macro_f1", examples=150),
        World(4, 3, metric="mae", examples=150),
        World(4, 6, examples=150, runs=(6, 6, 3, 3)),
        World(4, 5, examples=150, failing=0.2),
    ],
    ids=lambda world: f"{world.metric}-{world.finalists}-finalists-{world.seeds}-seeds-{world.runs}-{world.failing}",
)
def test_intervals_hold_the_truth_and_equal_finalists_are_rarely_called_different(world):
    said = judged(world)
    assert said["pair"].mean() == within(0.93, 0.97)
    assert said["mean"].mean() == within(0.93, 0.97)
    assert said["different"].mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert said["together"].mean() >= 0.93 - 3 * math.sqrt(0.05 * 0.95 / REPEATS)


def test_taken_one_by_one_the_intervals_would_call_equal_finalists_different_in_every_third_selection():
    assert judged(MANY)["different_singly"].mean() > 0.25


def test_the_probability_of_being_the_best_is_true_as_often_as_it_says():
    """Over finals whose finalists differ truly by almost nothing and by a lot: from the scores one can't know which it is."""
    said = pd.concat(simulated(World(4, 3, spread=spread), 80, resamples=400, seed=int(10 * spread)) for spread in (0.5, 1, 2, 4, 8))
    claimed = said["said"].mean()
    assert said["true"].mean() == pytest.approx(claimed, abs=3 * math.sqrt(0.25 / len(said)))
    bins = reliability(said, (0.0, 0.4, 0.6, 0.8, 1.01))
    assert [own["finals"] >= 40 for own in bins] == [True] * 4
    for own in bins:
        in_bin, true, finals = own["said"], own["true"], own["finals"]
        # 3 standard errors of a share, and 5 points that it may be off in a bin
        assert true == pytest.approx(in_bin, abs=3 * math.sqrt(in_bin * (1 - in_bin) / finals) + 0.05)
    assert said["brier"].mean() < said["plain_brier"].mean()  # the plain share of the draws is surer than it is right


def test_intervals_hold_the_truth_where_seeds_are_for_the_best_and_its_challenger():
    """By the program's rule: fewer trainings than all finalists would have had on the seeds of the best."""
    said = stopped(World(4, 6, examples=150, spread=2.0), 60, resamples=400)
    assert said["runs"].between(12, 24).all()
    assert said["runs"].mean() < (4 * said["seeds"]).mean() - 2
    for what in ("leaders_mean", "together", "leaders_differences"):
        assert said[what].mean() >= 0.93 - 3 * math.sqrt(0.05 * 0.95 / 60)
    assert said["home"].mean() < 0.1


def test_the_shaky_starts_of_the_trained_make_no_fitted_finalist_unsure_nor_is_the_trained_made_sure_by_it():
    world = World(3, 3, examples=400, own=5, common=0.5, fitted=2)
    now, alike = (held(world, REPEATS, resamples=300, alike=alike) for alike in (False, True))
    assert now["coverage"].to_dict() == dict.fromkeys(now.index, within(0.93, 0.97))
    assert now.loc["fitted", "width"] < 0.9 * alike.loc["fitted", "width"]
    assert now.loc["trained", "width"] > 1.3 * alike.loc["trained", "width"]


def test_the_rule_before_gave_a_seed_more_to_all_until_nothing_was_open():
    rng = np.random.default_rng(0)
    shaky = World(3, 5, examples=100, own=5, common=0).finals(rng)
    assert for_all(shaky, 3)[0] == 15
    level = replace(shaky, predictions=np.repeat(shaky.predictions[:1], 3, axis=0), truth=np.full(3, 0.8))
    assert for_all(level, 3) == (9, True)
    far = replace(shaky, predictions=np.stack([np.zeros((5, 100)), np.ones((5, 100)), np.ones((5, 100))]), truth=np.array([1.0, 0.0, 0.0]))
    assert for_all(far, 3) == (9, True)
