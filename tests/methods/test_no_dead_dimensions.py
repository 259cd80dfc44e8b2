"""Every searched hyper-parameter of every shipped space of our own changes the output or the number of trained parameters.

Those of peft's methods have the same test in test_bridged.py. The learning rate is left out: it changes the training.
"""

import functools

import pytest
import torch

from pelt_automl.design_space import count_all
from pelt_automl.methods import LEARNING_RATE, METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.search.parameters import Parameter
from pelt_automl.search.spaces import load_spaces
from tests.probing import a_batch, lively_backbone, moved

SPACES = load_spaces(None, tuple(name for name in METHODS if not name.startswith("peft-")))
SEARCHED = [
    pytest.param(space, parameter, id=f"{space.method}-{parameter.name}")
    for space in SPACES.values()
    for parameter in space.parameters
    if parameter.name != LEARNING_RATE
]
CONDITIONAL = [case for case in SEARCHED if case.values[1].only_if]

backbone = functools.cache(lambda: lively_backbone("bert", num_hidden_layers=4))
"""A quarter, a half and three quarters of its layers are different ones."""


def outcome(space, drawn):
    """The number of trained parameters, and the logits with weights that are off their neutral start."""
    modifications = METHODS[space.method].modifications(space.configuration(drawn))
    with torch.no_grad():
        return count_all(modifications, backbone().shape), moved(Pack(backbone(), [PackTrial(modifications, seed=3)], outputs=3))(
            *a_batch(1)
        )


def same(one, other):
    return one[0] == other[0] and torch.allclose(one[1].logits, other[1].logits, rtol=1e-5, atol=1e-6)


def nearest(space, wanted):
    """Of the combinations that make sense and are `wanted`, the one with the fewest changes to the configuration tried first."""
    first = space.default().items()
    found = (drawn for drawn in space.combinations() if wanted(drawn))
    for drawn in sorted(found, key=lambda drawn: len(drawn.items() ^ first)):
        if space.refusal(drawn) is None:
            return drawn
    pytest.fail(f"{space.method} has no such configuration")


def values_of(parameter: Parameter, drawn):
    """All choices; of a range its lowest value and the one tried first."""
    return parameter.choices or (parameter.low if parameter.low != drawn[parameter.name] else parameter.high, drawn[parameter.name])


@pytest.mark.parametrize(("space", "parameter"), SEARCHED)
def test_no_two_values_of_a_searched_hyper_parameter_come_to_the_same(space, parameter):
    base = nearest(space, lambda drawn: parameter.name in drawn)
    outcomes = {}
    for value in values_of(parameter, base):
        if parameter.choices:
            outcomes[value] = outcome(space, nearest(space, lambda drawn, value=value: drawn.get(parameter.name) == value))
        else:
            outcomes[value] = outcome(space, {**base, parameter.name: value})
    assert len(outcomes) > 1
    alike = [(a, b) for a in outcomes for b in outcomes if str(a) < str(b) and same(outcomes[a], outcomes[b])]
    assert alike == []


@pytest.mark.parametrize(("space", "parameter"), CONDITIONAL)
def test_a_hyper_parameter_is_left_out_only_where_it_would_change_nothing(space, parameter):
    base = nearest(space, lambda drawn: parameter.name not in drawn)
    without = outcome(space, base)
    for value in values_of(parameter, {parameter.name: METHODS[space.method].defaults[parameter.name]}):
        idle = {**base, parameter.name: value}
        assert space.refusal(idle) is not None or same(outcome(space, idle), without), value


def test_the_comparison_sees_a_dead_dimension_and_a_living_one():
    space = SPACES["design-space"]
    point = {LEARNING_RATE: 1e-3, "form": "softmax", "site": "heads", "insertion": "parallel", "size": 3}
    assert same(*(outcome(space, {**point, "scale": scale}) for scale in (1.0, 4.0)))
    point |= {"form": "relu"}
    assert not same(*(outcome(space, {**point, "scale": scale}) for scale in (1.0, 4.0)))


def test_every_method_of_our_own_is_searched_and_conditions_are_among_them():
    assert len(SPACES) >= 18
    assert {case.values[0].method for case in CONDITIONAL} == {"unipelt", "design-space", "top-layers"}
