"""The front as a table of small selections whose answer is written out by hand."""

import pytest

from pelt_automl.log.events import Standing
from pelt_automl.verdict.pareto import dominates, front_in_words, with_front
from pelt_automl.verdict.wording import Unit


def standing(name, difference, parameters, latency=None, distinguishable=False):
    score = 0.9 - difference
    return Standing(
        name, name.rsplit("-", 1)[0], False, {}, parameters, 1.0, score, (score - 0.02, score + 0.02), [score], 0.8, 0.5, difference,
        (0.0, 0.0), True, distinguishable, served_latency_ms=latency,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ((0, 5), (1, 5), True),  # better in one, equal in the other
        ((1, 5), (0, 5), False),
        ((0, 5), (0, 5), False),  # equals don't dominate each other
        ((0, 5), (1, 4), False),  # better in one, worse in the other
        ((0, 5, 9.0), (1, 6, 9.0), True),
        ((0, 5, 9.1), (1, 6, 9.0), False),
    ],
)
def test_a_point_dominates_where_it_is_nowhere_worse_and_somewhere_better(one, other, answer):
    assert dominates(one, other) is answer


@pytest.mark.parametrize(
    ("rows", "front"),
    [
        # score and parameters alone, where no latency was measured
        ([("a", 0.0, 900), ("b", 0.05, 10)], ["a", "b"]),
        ([("a", 0.0, 10), ("b", 0.05, 900)], ["a"]),
        ([("a", 0.0, 900), ("b", 0.05, 10), ("c", 0.06, 11)], ["a", "b"]),
        ([("a", 0.0, 10), ("b", 0.0, 10)], ["a", "b"]),
        ([("a", 0.0, 10), ("b", 1e-12, 10)], ["a", "b"]),  # equal but for rounding
        # latency keeps one on the front that costs more parameters for a worse score
        ([("a", 0.0, 10, 9.0), ("b", 0.05, 900, 5.0)], ["a", "b"]),
        ([("a", 0.0, 10, 9.0), ("b", 0.05, 900, 9.0)], ["a"]),
        # the third digit of a latency is noise, and only what was measured for all takes part
        ([("a", 0.0, 10, 9.01), ("b", 0.05, 900, 8.99)], ["a"]),
        ([("a", 0.0, 10, 9.0), ("b", 0.05, 900, 5.0), ("c", 0.06, 901)], ["a"]),
        ([("a", 0.0, 10)], ["a"]),
    ],
)
def test_on_the_front_is_who_nobody_dominates(rows, front):
    marked = with_front([standing(*row) for row in rows])
    assert [row.candidate for row in marked if row.pareto] == front


def test_the_front_is_told_from_the_fewest_parameters_on_with_what_may_be_luck():
    rows = with_front([standing("lora-0002", 0.0, 900, 9.0), standing("head-0001", 0.01, 10, 5.04), standing("full-0000", 0.02, 9999, 5.0)])
    assert front_in_words(rows, Unit("accuracy")) == (
        "Not dominated in mean score, trainable parameters and latency: head #1 (89.0, 10, 5.04 ms) and lora #2 (90.0, 900, 9 ms). "
        "There is no evidence for a difference in score between lora #2 and head #1, which cost less in something."
    )


def test_without_latencies_the_words_say_so_and_a_clear_difference_needs_no_doubt():
    rows = with_front([standing("lora-0002", 0.0, 900), standing("head-0001", 0.1, 10, distinguishable=True)])
    assert front_in_words(rows, Unit("accuracy")) == (
        "Not dominated in mean score, trainable parameters (latencies were not measured): head #1 (80.0, 10) and lora #2 (90.0, 900)."
    )
    assert front_in_words(rows[:1], Unit("accuracy")) == ""
