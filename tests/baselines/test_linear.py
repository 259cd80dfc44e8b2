"""The regularized linear map: its strength, what it says of classes that are rare or missing, and that it is in fact regularized."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pelt_automl.baselines import fit_linear
from pelt_automl.baselines.cross_validation import FEWEST_OF_A_CLASS, MOST_VALIDATED, choose
from pelt_automl.baselines.linear import FIXED_STRENGTH, STRENGTHS
from pelt_automl.training.tokens import drawn


def two_clouds(count: int, apart: float, features: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return generator.normal(size=(count, features)) + apart * (labels[:, None] - 0.5), labels.astype(np.float64)


def test_it_is_scikit_learns_logistic_regression_on_centered_and_scaled_features() -> None:
    x, y = two_clouds(40, 0.6)
    found = fit_linear(x, y, 2, range(40), strength=0.1)
    inputs = (x - x.mean(0)) / np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())
    theirs = LogisticRegression(C=10.0, max_iter=1000).fit(inputs, y)
    logits = found.outputs(x)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], theirs.decision_function(inputs), atol=2e-3)


@pytest.mark.parametrize("classes", [2, 3, 1])
def test_fewer_examples_than_features_give_the_same_map(classes: int) -> None:
    """The directions that no example has get no weight, with a penalty on all of them."""
    generator = np.random.default_rng(0)
    y = generator.normal(size=12) if classes == 1 else np.arange(12.0) % classes
    narrow = generator.normal(size=(12, 8)) + y[:, None]
    wide = np.concatenate([narrow, np.zeros((12, 30))], axis=1)
    one, other = fit_linear(narrow, y, classes, range(12), strength=0.3), fit_linear(wide, y, classes, range(12), strength=0.3)
    np.testing.assert_allclose(one.outputs(narrow), other.outputs(wide), atol=2e-3)
    np.testing.assert_allclose(other.weight[:, 8:], 0, atol=1e-9)


def test_noise_calls_for_the_strongest_penalty_and_isnt_above_chance() -> None:
    found = [fit_linear(*two_clouds(80, 0.0, seed=seed), 2, range(80)) for seed in range(10)]
    assert sum(one.validation.above_chance for one in found) <= 1
    assert np.median([one.strength for one in found]) == STRENGTHS[0]


def test_classes_that_lie_apart_call_for_a_weak_penalty_and_are_above_chance() -> None:
    found = fit_linear(*two_clouds(80, 3.0), 2, range(80))
    assert found.validation.above_chance
    assert found.validation.score > 0.95
    assert {type(figure) for figure in vars(found.validation).values()} == {float}  # the log takes no others
    assert found.validation.chance_score <= 0.6
    assert found.strength <= 0.1


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        # The last is the best; of 100 examples it gains on 4 and loses on 2 against the first: no more than one standard error.
        ([50, 0, 0, 52], 0),
        # It gains on 4 and loses on none: two standard errors.
        ([50, 0, 0, 54], 3),
        # It gains on 20 examples against the first two, and on none against the third.
        ([30, 30, 50, 50], 2),
        ([30, 50, 30, 50], 1),
        ([50, 30, 30, 30], 0),
    ],
)
def test_of_settings_that_are_about_as_good_as_the_best_the_first_is_taken(right: list[int], chosen: int) -> None:
    """Each setting gives the right class 0.9 for so many examples and 0.1 for the others."""
    labels = np.arange(100) % 2

    def outputs(number: int) -> np.ndarray:
        told = np.full(100, 0.1)
        told[:number] = 0.9
        if number == 52:
            told[[0, 1]], told[52:54] = 0.1, 0.9  # 50 to 54 are gained, 0 and 1 are lost
        return np.stack([np.where(labels == 0, told, 1 - told), np.where(labels == 1, told, 1 - told)], axis=1)

    folds = [(np.arange(50, 100), np.arange(50)), (np.arange(50), np.arange(50, 100))]
    assert choose([outputs(number) for number in right], labels.astype(float), 2, folds).index == chosen


def test_equal_texts_are_in_one_fold() -> None:
    """Each text twice, labels at random: a copy in another fold would give the label away."""
    generator = np.random.default_rng(0)
    x, y = np.repeat(generator.normal(size=(40, 60)), 2, axis=0), np.repeat(generator.integers(2, size=40).astype(float), 2)
    apart = fit_linear(x, y, 2, range(80)).validation
    together = fit_linear(x, y, 2, np.repeat(np.arange(40), 2)).validation
    assert apart.score > 0.9
    assert together.score < 0.7
    assert not together.above_chance


def test_a_class_with_two_examples_gets_the_fixed_strength() -> None:
    x, y = two_clouds(40, 3.0)
    y[:2] = 2
    found = fit_linear(x, y, 3, range(40))
    assert found.strength == FIXED_STRENGTH
    assert found.validation.above_chance  # told by the fixed strength alone


def test_a_class_with_enough_examples_may_be_rare_among_those_that_the_strength_is_chosen_on() -> None:
    """Of 3,000 examples 1,000 are drawn: of the 6 of the third class 2, which isn't enough for a choice of its own."""
    x, y = two_clouds(3000, 0.0)
    y[:6] = 2
    drawn_of_it = np.isin(drawn(3000, MOST_VALIDATED, 0), range(6)).sum()
    assert 0 < drawn_of_it < FEWEST_OF_A_CLASS
    assert fit_linear(x, y, 3, range(3000)).strength == STRENGTHS[0]


def test_a_class_without_an_example_is_improbable_but_not_impossible() -> None:
    x, y = two_clouds(40, 1.0)
    logits = fit_linear(x, y, 5, range(40), strength=1.0).outputs(x)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert set(logits.argmax(1)) <= {0, 1}
    assert (probabilities[:, 2:] < 0.05).all()
    assert (probabilities[:, 2:] > 0).all()


def test_one_class_alone_is_always_predicted() -> None:
    found = fit_linear(np.ones((10, 4)), np.ones(10), 3, range(10))
    assert found.outputs(np.zeros((2, 4))).argmax(1).tolist() == [1, 1]
    assert found.validation is None


def test_numbers_get_a_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 6))
    y = x @ np.array([1.0, -2, 0, 0, 0, 0]) + 0.1 * generator.normal(size=100)
    found = fit_linear(x, y, 1, range(100))
    assert found.validation.above_chance
    assert found.validation.score > 0.95
    assert {type(figure) for figure in vars(found.validation).values()} == {float}  # the log takes no others
    assert np.corrcoef(found.outputs(x)[:, 0], y)[0, 1] > 0.99


def test_without_a_bias_the_map_goes_through_the_origin() -> None:
    x, y = two_clouds(40, 2.0)
    found = fit_linear(x, y, 2, range(40), bias=False)
    assert found.bias is None
    np.testing.assert_allclose(found.outputs(np.zeros((1, 20))), 0)
    assert (found.outputs(x).argmax(1) == y).mean() > 0.9


def test_equal_features_everywhere_are_no_error() -> None:
    found = fit_linear(np.ones((20, 4)), np.arange(20.0) % 2, 2, range(20))
    assert np.isfinite(found.outputs(np.ones((1, 4)))).all()
    assert not found.validation.above_chance
