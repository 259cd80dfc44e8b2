import pytest

from pelt_automl.verdict.knockouts import SubmoduleLoss
from pelt_automl.verdict.pruning import dispensable


def losses(**by_name):
    return [SubmoduleLoss(name, loss, 0.0, {0: loss}, 0.8, 0.8 - loss) for name, loss in by_name.items()]


@pytest.mark.parametrize(
    ("by_name", "region", "expected"),
    [
        ({"adapter": 0.05, "lora": 0.02, "prefix": 0.009}, 0.01, ["prefix"]),
        ({"adapter": 0.05, "lora": 0.02, "prefix": 0.01}, 0.01, []),  # costs the region, not less
        ({"adapter": 0.05, "lora": 0.0, "prefix": -0.02}, 0.01, ["lora", "prefix"]),  # what harms goes, too
        ({"adapter": 0.009, "lora": 0.001, "prefix": 0.002}, 0.01, ["prefix", "lora"]),  # all would go: the dearest stays
        ({"prefix": 0.0, "adapter": 0.0}, 0.01, ["prefix"]),  # of equals the first by name stays
        ({"adapter": 0.0}, 0.01, []),
        ({"adapter": 0.05, "lora": 0.02, "prefix": 0.0}, 0.0, []),  # without a region only what harms
        ({"adapter": 0.05, "lora": -0.001}, 0.0, ["lora"]),
        ({}, 0.01, []),
    ],
)
def test_what_can_be_done_without_by_hand(by_name, region, expected):
    assert [row.submodule for row in dispensable(losses(**by_name), region)] == expected
