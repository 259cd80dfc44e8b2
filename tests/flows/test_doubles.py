"""The doubles of the flow tests have the shape of what they stand in for, so that a test can't agree with an interface that isn't there."""

import inspect

import pytest

from pelt_automl.curve import CurveRun
from pelt_automl.log.events import VerdictReached
from pelt_automl.selection import Selection
from tests.flows import curve_double, selection_double

DOUBLES = [(selection_double.Selection, Selection), (curve_double.CurveRun, CurveRun)]


def parameters(method):
    return [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("double", "real"), DOUBLES, ids=lambda one: one.__module__)
def test_what_a_flow_calls_of_the_double_can_be_called_of_the_real_one(double, real):
    methods = [name for name, value in vars(double).items() if callable(getattr(double, name)) and not name.startswith("_")]
    assert "open" in methods
    for name in methods:
        known = parameters(getattr(real, name))
        assert set(parameters(getattr(double, name))) <= set(known), name


def test_the_verdict_of_the_double_is_one():
    assert isinstance(selection_double.verdict(), VerdictReached)
