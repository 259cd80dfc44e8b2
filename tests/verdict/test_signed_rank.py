"""Against values that can be worked out, and against baycomp 1.0.3 (`SignedRankTest.probs`, 50,000 draws, random_state 1)."""

import pytest

from pelt_automl.verdict.signed_rank import Opinion, signed_rank


@pytest.mark.parametrize(
    ("differences", "region", "baycomp"),
    [
        ([0.02, 0.03, 0.04], 0.01, (0.9820, 0.0180, 0.0)),
        ([0.012], 0.01, (0.5392, 0.4608, 0.0)),
        ([0.024, 0.021], 0.01, (0.9652, 0.0348, 0.0)),
        ([0.025, 0.021, 0.012, -0.013, 0.031], 0.01, (0.7814, 0.2117, 0.0069)),
        ([-0.053, 0.012, -0.024, -0.031, 0.004, -0.042, -0.065], 0.01, (0.0020, 0.0324, 0.9656)),
        ([0.005, -0.003, 0.001, 0.002], 0.01, (0.0, 1.0, 0.0)),
    ],
)
def test_it_gives_the_numbers_of_baycomp(differences, region, baycomp):
    found = signed_rank(differences, region)
    assert (found.better, found.equivalent, found.worse) == pytest.approx(baycomp, abs=0.01)


def test_one_difference_by_hand():
    # Weights 1 - w and w of 0 and 0.03. Pairs: (0.03, 0.03) and the mixed ones, mean 0.015, lie above the region of 0.01; the rest,
    # (1 - w)^2, inside. It is better where w (2 - w) > 1/2, w > 0.2929. w is Beta(1, 1/2): P = (1 - 0.2929)^(1/2) = 0.8409
    assert signed_rank([0.03], 0.01).better == pytest.approx(0.8409, abs=0.006)


def test_without_a_region_it_is_the_sign_of_the_mean_of_two():
    # All positive: no pair lies below, and the pair (0, 0) counts half to either side.
    assert signed_rank([0.02, 0.03, 0.04], 0.0) == Opinion(1.0, 0.0, 0.0)


def test_turned_around_it_says_the_opposite():
    one, other = signed_rank([0.02, 0.031, -0.012], 0.01), signed_rank([-0.02, -0.031, 0.012], 0.01)
    assert (one.better, one.equivalent, one.worse) == (other.worse, other.equivalent, other.better)


def test_a_mean_on_the_edge_of_the_region_counts_half_whatever_the_rounding():
    assert signed_rank([0.3 - 0.29], 0.005) == signed_rank([0.01], 0.005)
