"""The cost model: what is measured of a tiny backbone, and the arithmetic."""

import json

import pytest

from pelt_automl.errors import SelectionError
from studies.table_costs import MethodCosts, fitted, load_costs, measure
from studies.table_grid import Configuration
from tests.tiny import tiny_backbone


def test_steps_and_tokens_are_told_apart_by_two_lengths():
    """A step of 16 texts: 0.1 s, and 1 ms a token; an example: 2 ms, and 0.5 ms a token."""
    rounds = {
        length: [(0.5, 0.1 + 0.001 * 16 * length, 32 * (0.002 + 0.0005 * length)), (9.0, 9.0, 9.0), (0.0, 0.0, 0.0)] for length in (8, 32)
    }
    found = fitted(rounds)
    assert (found.fixed, found.step, found.token) == pytest.approx((0.5, 0.1, 0.001))
    assert (found.example, found.evaluated_token) == pytest.approx((0.002, 0.0005))


def test_noise_gives_no_negative_costs():
    found = fitted({8: [(0.1, 0.5, 0.5)], 32: [(0.1, 0.4, 5.0)]})
    assert (found.step, found.token) == (0.4, 0.0), "the longer was the faster"
    assert found.example == 0.0, "more than in proportion"
    assert found.evaluated_token == pytest.approx(5.0 / 32 / 32)


def test_what_is_measured_is_written_and_read_and_adds_up(tmp_path):
    path, said = tmp_path / "costs.json", []
    few = [
        Configuration("lora", "default", {"learning_rate": 1e-3, "rank": 2}),
        Configuration("lora", "known-1", {"learning_rate": 1e-2, "rank": 2}),
        Configuration("head", "default", {"learning_rate": 1e-3}),
        Configuration("probe", "default", {}),
    ]
    costs = measure(tiny_backbone(), few, 1e-9, path, said.append)
    assert load_costs(path) == costs
    assert (list(costs.methods), costs.rounds, len(said)) == (["lora", "head"], 1, 1)
    own = costs.methods["lora"]
    assert own.step + own.token > 0
    assert costs.probe > 0
    made = MethodCosts(1.0, 0.1, 0.01, 0.2, 0.02)
    assert type(costs)("", "", "", "", 1, 0.0, {"lora": made}).seconds(
        "lora", steps=10, tokens=100, examples=5, evaluated_tokens=50
    ) == pytest.approx(1 + 1 + 1 + 1 + 1)


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"machine": 1}), None])
def test_costs_that_cannot_be_read_are_said_with_what_to_do(tmp_path, content):
    path = tmp_path / "costs.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SelectionError, match=r"measure on a quiet machine: python -m studies\.table costs"):
        load_costs(path)
