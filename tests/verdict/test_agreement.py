import pytest

from pelt_automl.verdict.agreement import rank_agreement


def of(*values):
    return dict(zip("abc", values, strict=False))


@pytest.mark.parametrize(
    ("one", "other", "tau"),
    [
        (of(1, 2, 3), of(10, 20, 30), 1),
        (of(1, 2, 3), of(3, 2, 1), -1),
        (of(1, 2, 3), of(1, 3, 2), 1 / 3),  # of three pairs two in the same order, one in the opposite one
        (of(1, 2, 3), of(2, 1, 3), 1 / 3),
        (of(1, 2, 3), of(5, 5, 9), 2 / 3),  # a tied pair counts 0
        (of(7, 7, 7), of(1, 2, 3), 0),
        (of(2, 2, 1), of(2, 2, 1), 2 / 3),
        (of(1, 2), of(2, 1), -1),
        (of(1, 2), of(2, 3, 1), 1),  # c is in one of them only
        (of(1), of(1, 2, 3), None),
        ({}, {}, None),
    ],
)
def test_agreement_by_hand(one, other, tau):
    assert rank_agreement(one, other) == (None if tau is None else pytest.approx(tau))
    assert rank_agreement(other, one) == rank_agreement(one, other)
