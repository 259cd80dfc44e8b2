import pytest

from pelt_automl.log.events import GateMeasured
from pelt_automl.verdict.gates import layer_gates, submodule_gates


def gate(submodule, layer, mean, seed=0, spread=0.1, start=0.5, candidate="apl"):
    return GateMeasured(f"{candidate}-seed{seed}", candidate, seed, submodule, "ffn", layer, mean, spread, start)


def test_a_layers_gate_is_its_mean_over_seeds_with_spreads_and_drift():
    (row,) = layer_gates([gate("lora", 0, 0.6, 0, 0.1, 0.5), gate("lora", 0, 0.8, 1, 0.3, 0.4)], "apl")
    assert row.mean == pytest.approx(0.7)
    assert row.spread == pytest.approx(0.2)
    assert row.drift == pytest.approx((0.1 + 0.4) / 2)
    assert row.seed_spread == pytest.approx(0.02**0.5)  # (0.1^2 + 0.1^2) / 1
    assert row.seeds == 2


def test_layers_that_move_in_opposite_directions_have_moved_without_a_drift():
    events = [gate("lora", 0, 0.7), gate("lora", 1, 0.3), gate("prefix", 0, 0.5), gate("prefix", 1, 0.5)]
    lora, prefix = sorted(submodule_gates(events, "apl"), key=lambda row: row.submodule)
    assert (lora.mean, lora.drift, lora.moved) == pytest.approx((0.5, 0.0, 0.2))
    assert (prefix.drift, prefix.moved) == (0.0, 0.0)


def test_submodules_come_most_open_first_with_a_mean_for_each_seed():
    events = [gate("prefix", 0, 0.2), gate("lora", 0, 0.6), gate("lora", 1, 0.8), gate("lora", 0, 0.7, 1), gate("lora", 1, 0.9, 1)]
    first, second = submodule_gates(events, "apl")
    assert (first.submodule, second.submodule) == ("lora", "prefix")
    assert first.by_seed == pytest.approx({0: 0.7, 1: 0.8})
    assert second.seed_spread == 0.0


def test_a_gate_measured_again_after_a_restart_counts_once():
    (row,) = layer_gates([gate("lora", 0, 0.1), gate("lora", 0, 0.6)], "apl")
    assert (row.mean, row.seeds) == (0.6, 1)


def test_candidates_are_kept_apart():
    events = [gate("lora", 0, 0.6), gate("lora", 0, 0.9, candidate="ap")]
    assert [row.mean for row in layer_gates(events, "ap")] == [0.9]
    assert submodule_gates(events, "none") == []
