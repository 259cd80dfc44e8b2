import dataclasses

import pytest

from pelt_automl.recorders.champion import Claim, claim_from, rule

HOLDER = Claim("3", "recommended", "data", "report", "accuracy", True, 0.812, 100)


def new(**changes):
    return dataclasses.replace(HOLDER, version="4", **changes)


@pytest.mark.parametrize(
    ("changes", "moves", "said"),
    [
        ({"score": 0.83}, True, "version 4 is the champion now (accuracy 83.0): better than version 3 (81.2)"),
        ({"score": 0.80}, False, "champion stays with version 3 (accuracy 81.2), which is better than version 4 (80.0)"),
        ({"score": 0.812}, False, "champion stays with version 3 (accuracy 81.2), which is as good as version 4 (81.2)"),
        ({"score": 0.83, "outcome": "tentative"}, True, "version 4 is the champion now (accuracy 83.0): better than version 3 (81.2)"),
        ({"score": 0.83, "outcome": "nothing-learned"}, False, "champion stays with version 3 (accuracy 81.2): version 4 learned nothing"),
        (
            {"score": 0.83, "k": 50},
            False,
            "champion stays with version 3 (accuracy 81.2), which had more labeled examples than version 4 (accuracy 83.0 with 50)",
        ),
        ({"score": 0.83, "k": None}, True, "version 4 is the champion now (accuracy 83.0): better than version 3 (81.2)"),
        ({"score": 0.80, "k": None}, False, "champion stays with version 3 (accuracy 81.2), which is better than version 4 (80.0)"),
        ({"score": 0.50, "data": "other"}, True, "version 4 is the champion now (accuracy 50.0): the data have changed"),
        (
            {"score": 0.83, "data": "other", "outcome": "nothing-learned"},
            False,
            "champion stays with version 3 (accuracy 81.2): version 4 learned nothing",
        ),
        (
            {"score": 0.83, "report": "other"},
            False,
            "champion stays with version 3 (accuracy 81.2), which was measured on other examples than version 4 (accuracy 83.0)",
        ),
        (
            {"score": 0.83, "metric": "macro_f1"},
            False,
            "champion stays with version 3 (accuracy 81.2), which was chosen by another metric than version 4 (macro f1 83.0)",
        ),
        ({"score": None}, False, "champion stays with version 3 (accuracy 81.2): version 4 has no score on the report split"),
    ],
)
def test_the_champion_moves_only_to_what_is_better_or_when_the_data_have_changed(changes, moves, said):
    assert rule(new(**changes), HOLDER) == (moves, said)


def test_of_errors_the_smaller_is_better():
    holder = dataclasses.replace(HOLDER, metric="rmse", greater_is_better=False, score=0.4567)
    better, worse = (dataclasses.replace(holder, version="4", score=score) for score in (0.4, 0.5))
    assert rule(better, holder)[0]
    assert rule(worse, holder) == (False, "champion stays with version 3 (rmse 0.457), which is better than version 4 (0.5)")


def test_the_first_is_the_champion_unless_it_learned_nothing():
    assert rule(new(), None) == (True, "version 4 is the champion (accuracy 81.2)")
    assert rule(new(outcome="nothing-learned"), None) == (False, "there is still no champion: version 4 learned nothing")


@pytest.mark.parametrize("claim", [HOLDER, dataclasses.replace(HOLDER, k=None, score=None, greater_is_better=False)])
def test_a_claim_survives_its_tags(claim):
    assert claim_from("3", claim.tags() | {"method": "lora"}) == claim


@pytest.mark.parametrize("tags", [{}, {"method": "lora"}, HOLDER.tags() | {"pelt.score": "high"}])
def test_a_version_that_says_too_little_makes_no_claim(tags):
    assert claim_from("3", tags) is None
