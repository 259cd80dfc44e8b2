import pytest

from pelt_automl.log.events import KnockedOut
from pelt_automl.verdict.knockouts import submodule_losses


def off(submodule, score, without, seed=0, candidate="apl"):
    return KnockedOut(f"{candidate}-seed{seed}", candidate, seed, submodule, score, without)


def test_the_loss_is_the_mean_over_seeds_and_the_greatest_comes_first():
    events = [off("prefix", 0.8, 0.79), off("lora", 0.8, 0.7), off("lora", 0.9, 0.7, 1), off("lora", 0.8, 0.0, candidate="other")]
    lora, prefix = submodule_losses(events, "apl")
    assert (lora.submodule, prefix.submodule) == ("lora", "prefix")
    assert lora.loss == pytest.approx(0.15)
    assert lora.by_seed == pytest.approx({0: 0.1, 1: 0.2})
    assert (lora.score, lora.score_without) == pytest.approx((0.85, 0.7))
    assert prefix.seed_spread == 0.0


def test_for_an_error_a_greater_one_without_the_submodule_is_the_loss():
    (row,) = submodule_losses([off("lora", 0.5, 0.8)], "apl", greater_is_better=False)
    assert row.loss == pytest.approx(0.3)


def test_a_submodule_that_harms_has_a_negative_loss():
    (row,) = submodule_losses([off("lora", 0.7, 0.75)], "apl")
    assert row.loss == pytest.approx(-0.05)
