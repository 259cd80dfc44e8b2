"""The design space as a method: what it leaves out is what `nonsense` says, no more and no less."""

from itertools import product

import pytest

from pelt_automl.design_space import Form, Insertion, Modification, Site, nonsense
from pelt_automl.errors import SettingsError
from pelt_automl.methods import METHODS
from pelt_automl.search.spaces import load_spaces

POINT = METHODS["design-space"]
LAYER_FORMS = (Form.LINEAR, Form.RELU, Form.SOFTMAX, Form.SCALE)


@pytest.mark.parametrize(("form", "site", "insertion"), list(product(LAYER_FORMS, Site, Insertion)))
def test_a_point_is_refused_exactly_where_the_rule_says_so_with_its_reason(form, site, insertion):
    reason = POINT.refusal({"form": str(form), "site": str(site), "insertion": str(insertion)})
    why = nonsense(form, site, insertion)
    assert reason == (None if why is None else f"{form} at {site}, {insertion}: {why}")


def test_the_shipped_space_leaves_out_what_the_rule_refuses_over_its_whole_product():
    space = load_spaces(None, ("design-space",))["design-space"]
    choices = {parameter.name: parameter.choices for parameter in space.parameters}
    points = list(product(choices["form"], choices["site"], choices["insertion"]))
    refused = {f"{f} at {s}, {i}": nonsense(Form(f), Site(s), Insertion(i)) for f, s, i in points}
    expected = {what: why for what, why in refused.items() if why}
    assert {what: why for why, whats in space.excluded().items() for what in whats} == expected
    assert (len(points), len(expected)) == (72, 29)


def test_the_published_point_is_the_scaled_parallel_adapter():
    scaled = Modification("point", Site.FFN, Form.RELU, size=512, scale=4.0, initialization="identity")
    assert POINT.build() == (scaled,)


def test_what_says_nothing_of_a_form_leaves_no_trace_in_its_modification():
    prefix = POINT.modifications({"form": "softmax", "site": "heads", "size": 5})
    assert prefix == (Modification("point", Site.HEADS, Form.SOFTMAX, size=5),)
    factors = POINT.modifications({"form": "scale", "site": "ffn.down", "insertion": "sequential", "scale": 2.0})
    assert factors == (Modification("point", Site.FFN_DOWN, Form.SCALE, Insertion.SEQUENTIAL, scale=2.0),)


def test_forms_of_the_whole_model_are_no_points():
    with pytest.raises(SettingsError, match="form is 'bias'; there are linear, relu, softmax, scale"):
        POINT.modifications({"form": "bias"})
