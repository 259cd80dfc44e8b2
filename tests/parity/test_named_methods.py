"""The named methods are made of the changes that test_adapters.py and test_peft.py compare: parity holds for them, not only beside them."""

from dataclasses import replace

import pytest

from pelt_automl.design_space import Modification
from pelt_automl.methods import METHODS
from tests.parity import test_adapters, test_peft

SIZES = {"bottleneck": 4, "prefix_length": 3, "rank": 3, "token_mean": "paper"}

CASES = (
    ("lora", {"rank": 3, "alpha": 6.0}, test_adapters.METHODS["lora"]),
    ("adapter", {"bottleneck": 4}, test_adapters.METHODS["pfeiffer"]),
    ("houlsby", {"bottleneck": 4}, test_adapters.METHODS["houlsby"]),
    ("parallel-adapter", {"bottleneck": 8}, test_adapters.METHODS["parallel-adapter"]),
    ("scaled-parallel-adapter", {"bottleneck": 8, "scale": 4.0}, test_adapters.METHODS["scaled-parallel-adapter"]),
    ("prefix", {"prefix_length": 3}, test_adapters.METHODS["prefix"]),
    ("mam", {"prefix_length": 3, "bottleneck": 8, "scale": 4.0}, test_adapters.METHODS["mam"]),
    ("unipelt-ap", {"bottleneck": 4, "prefix_length": 3, "token_mean": "paper"}, test_adapters.METHODS["unipelt-ap"]),
    ("unipelt-apl", SIZES, test_adapters.METHODS["unipelt-apl"]),
    ("unipelt", {**SIZES, "prefix_gate": "split"}, test_adapters.METHODS["unipelt-apl-split"]),
    ("ia3", {}, test_peft.IA3),
    ("prompt", {"prompt_length": 3}, test_peft.PROMPT),
)


def _change(modification: Modification) -> Modification:
    """Without what names it and how it starts, and without the scale that a gate takes the place of."""
    scale = 1.0 if modification.gate else modification.scale
    return replace(modification, name="", scale=scale, activation="relu", initialization="paper", reparameterization=0)


@pytest.mark.parametrize(("name", "values", "compared"), CASES, ids=[name for name, *_ in CASES])
def test_a_named_method_makes_the_changes_that_are_compared(name, values, compared):
    assert {_change(m) for m in METHODS[name].modifications(values)} == {_change(m) for m in compared}
