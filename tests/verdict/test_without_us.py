"""What one would have got without the selection: said first where a published default would have done."""

import pytest

from pelt_automl.log.codec import from_json, to_json
from pelt_automl.log.events import VerdictReached
from pelt_automl.log.history import History
from pelt_automl.verdict.decision import decide
from tests.verdict.test_decision import finalist, selection

UNSTEADY = [81, 85, 83]
"""A mean of 83 that three seeds don't tell from 80 or 81.3."""


@pytest.mark.parametrize(
    ("finalists", "beginning"),
    [
        # a fixed default wins, alone, or as the cheapest of the tied; as the only finalist it is compared with nothing
        ([("lora-0000", [85] * 3, 5), ("adapter-0002", [80] * 3, 5)], "The published default is enough: lora (default)"),
        ([("adapter-0000", [80] * 3, 5), ("lora-0002", [80.5] * 3, 9)], "The published default is enough: adapter (default)"),
        ([("unipelt-apl-0000", [80] * 3, 5)], "Recommended: unipelt-apl (default)"),
        # tied with the winner: as cheap, dearer, both
        (
            [("lora-0003", [80.5] * 3, 5), ("lora-0000", [80] * 3, 5)],
            "The published default would do: lora (default) is tied and costs the same. Recommended: lora #3",
        ),
        (
            [("head-0003", [80] * 3, 1), ("unipelt-apl-0000", [80.5] * 3, 9)],
            "The published default would do, at a higher cost: unipelt-apl (default) is tied. Recommended: head #3",
        ),
        (
            [("lora-0003", [80.5] * 3, 5), ("lora-0000", [80] * 3, 5), ("adapter-0000", [80] * 3, 9)],
            "The published default would do: lora (default) is tied and costs the same. So would adapter (default), at a higher cost.",
        ),
        (
            [("lora-0003", [80.5] * 3, 5), ("lora-0000", [80] * 3, 5), ("adapter-0000", [80] * 3, 5)],
            "The published default would do: adapter (default) and lora (default) are tied and costs the same.",
        ),
        # not tied, but not told apart
        (
            [("lora-0003", UNSTEADY, 5), ("lora-0000", [83, 80, 81], 5)],
            "No evidence for a difference from what you would have without a search, lora (default). Recommended: lora #3",
        ),
        # clearly better than every fixed default; another method's default isn't a fixed one
        ([("lora-0003", [90] * 3, 5), ("lora-0000", [70] * 3, 5)], "Recommended: lora #3"),
        ([("lora-0003", UNSTEADY, 5), ("prefix-0000", [83, 80, 81], 5)], "Recommended: lora #3"),
    ],
)
def test_the_statement_begins_with_what_a_published_default_would_have_done(finalists, beginning):
    verdict = decide(History.of(selection(*(finalist(name, points, kept) for name, points, kept in finalists))), 1.0, "params")
    assert verdict.statement.startswith(beginning)


def against(*finalists):
    verdict = decide(History.of(selection(*(finalist(name, points, kept) for name, points, kept in finalists))), 1.0, "params")
    return verdict, [(row.candidate, row.role) for row in verdict.against]


def test_the_winner_is_set_against_every_fixed_default_and_the_runner_up():
    others = ("prefix-0001", [85] * 3, 5), ("unipelt-apl-0000", [70] * 3, 5), ("adapter-0000", [60] * 3, 5), ("lora-0000", [50] * 3, 5)
    verdict, rows = against(("lora-0003", [90] * 3, 5), *others)
    assert rows == [("lora-0000", "default"), ("adapter-0000", "default"), ("unipelt-apl-0000", "default"), ("prefix-0001", "runner-up")]
    assert [row.lead for row in verdict.against] == pytest.approx([0.4, 0.3, 0.2, 0.05])
    assert verdict.margins == {"lora-0000": pytest.approx(0.4), "adapter-0000": pytest.approx(0.3), "unipelt-apl-0000": pytest.approx(0.2)}


def test_a_default_that_is_the_runner_up_stands_there_once_and_the_winner_never():
    assert against(("lora-0003", [90] * 3, 5), ("lora-0000", [85] * 3, 5))[1] == [("lora-0000", "default")]
    assert against(("lora-0000", [90] * 3, 5), ("adapter-0000", [85] * 3, 5))[1] == [("adapter-0000", "default")]
    assert against(("lora-0000", [90] * 3, 5))[1] == []


def test_the_second_opinion_counts_seeds_that_differ_by_more_than_the_region():
    # Three seeds, each better by 5 points: every mean of two lies above the region but that of the pseudo-difference of 0 with itself.
    # Its weight w is Beta(1/2, 3), and P(w^2 < 1/2) = P(w < 0.7071) = 0.991 by quadrature of w^(-1/2) (1 - w)^2.
    (row,) = against(("lora-0003", [85, 86, 87], 5), ("lora-0000", [80, 81, 82], 5))[0].against
    assert (row.better, row.equivalent, row.worse) == pytest.approx((0.991, 0.009, 0.0), abs=0.003)


def test_with_two_seeds_there_is_no_second_opinion():
    (row,) = against(("lora-0003", [85, 86], 5), ("lora-0000", [80, 81], 5))[0].against
    assert (row.better, row.equivalent, row.worse) == (None, None, None)


def test_it_is_kept_in_the_records_and_records_without_it_are_read():
    verdict, _ = against(("lora-0003", UNSTEADY, 5), ("lora-0000", [83, 80, 81], 5))
    assert from_json(to_json(verdict)) == verdict
    line = to_json(verdict).replace('"against": ', '"of a later version": ').replace('"worst_seed": ', '"of another": ')
    old = from_json(line)
    assert isinstance(old, VerdictReached)
    assert (old.against, {row.worst_seed for row in old.standings}) == ([], {None})
