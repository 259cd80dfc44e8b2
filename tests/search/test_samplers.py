"""Samplers by name, and what is tried before they are asked."""

import pytest

from pelt_automl.log.events import State
from pelt_automl.methods import METHODS
from pelt_automl.search.samplers import portfolio_length
from pelt_automl.search.spaces import load_spaces
from pelt_automl.settings import options
from tests.search.playing import Play


@pytest.mark.parametrize("sampler", options()["sampler"].choices)
@pytest.mark.parametrize("method", ["lora", "design-space", "bitfit"])
def test_every_sampler_searches_numbers_choices_and_conditions_and_takes_up_a_search(sampler, method):
    play, seen = Play(method, {"sampler": sampler}), []
    for number in range(7):
        play.restart()
        asked = play.release()
        seen.append(asked.hyper_parameters)
        if number == 2:
            play.end(asked, 0.1, State.STOPPED, steps=5)
        else:
            play.end(asked, -abs(asked.hyper_parameters["learning_rate"] - 2e-3))
    assert len({str(configuration) for configuration in seen}) == 7
    assert all(METHODS[method].refusal(configuration) is None for configuration in seen)


def test_what_is_known_comes_after_the_default_and_before_the_sampler():
    space = load_spaces(None, ("lora",))["lora"]
    play = Play("lora", {"first": {"lora": [space.default(), *space.good()[:2]]}})
    asked = [play.release() for _ in range(4)]
    assert [one.is_default for one in asked] == [True, False, False, False]
    assert [(one.hyper_parameters["learning_rate"], one.hyper_parameters["targets"]) for one in asked[:3]] == [
        (5e-4, "query-value"), (2e-3, "query-value"), (1e-3, "all-linear"),
    ]  # fmt: skip
    assert asked[3].hyper_parameters["learning_rate"] not in (5e-4, 2e-3, 1e-3, 5e-3)


def test_a_refused_default_costs_no_place_of_what_is_known():
    good = load_spaces(None, ("lora",))["lora"].good()[:1]
    play = Play(
        "lora",
        {"first": {"lora": good}, "refusal": lambda _method, values: "too much" if values["learning_rate"] == 5e-4 else None},
    )
    asked = play.release()
    assert (asked.hyper_parameters["learning_rate"], asked.is_default, asked.number) == (2e-3, False, 1)


@pytest.mark.parametrize(("trials", "length"), [(1, 0), (2, 1), (7, 6), (8, 3), (50, 3)])
def test_few_trials_are_all_the_portfolios_and_many_begin_with_it(trials, length):
    assert portfolio_length(trials) == length


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_has_good_configurations_that_lie_in_its_space_and_differ(method):
    space = load_spaces(None, (method,))[method]
    good = space.good()
    assert len(good) >= 2
    assert len({str(one) for one in [space.default(), *good]}) == len(good) + 1
    assert all(parameter.holds(one[parameter.name]) for one in good for parameter in space.parameters if parameter.name in one)
    assert [one for one in good if space.refusal(one)] == []


def test_without_a_portfolio_the_learning_rate_goes_up_and_down_a_ladder():
    assert [one["learning_rate"] for one in load_spaces(None, ("bitfit",))["bitfit"].good()] == [3.2e-4, 1e-3, 3.2e-3, 5.6e-4, 1.8e-4, 1e-2]
