"""What was measured of a union's submodules, by hand."""

import pytest

from pelt_automl.log.events import ContributionMeasured, GateMeasured, KnockedOut
from pelt_automl.log.history import History
from pelt_automl.verdict.submodules import Measure, dispensable, measured, place_rows, union_candidates


def gate(submodule, layer, mean, seed=0, spread=0.1, start=0.5, candidate="apl", site="ffn"):
    return GateMeasured(f"{candidate}-seed{seed}", candidate, seed, submodule, site, layer, mean, spread, start)


def share(submodule, layer, mean, seed=0, site="ffn", candidate="apl"):
    return ContributionMeasured(f"{candidate}-seed{seed}", candidate, seed, submodule, site, layer, mean, 0.01)


def off(submodule, score, without, seed=0, candidate="apl"):
    return KnockedOut(f"{candidate}-seed{seed}", candidate, seed, submodule, score, without)


def rows(what, *events, candidate="apl", sign=1):
    return measured(History.of(events), what, candidate, sign)


def places(*events):
    return place_rows(History.of(events), "apl")


def test_a_layers_gate_is_its_mean_over_seeds_with_spreads_and_drift():
    row = places(gate("lora", 0, 0.6, 0, 0.1, 0.5), gate("lora", 0, 0.8, 1, 0.3, 0.4))["lora", "ffn", 0]
    assert row == pytest.approx({"gate": 0.7, "spread": 0.2, "drift": (0.1 + 0.4) / 2, "seeds": 0.02**0.5})  # (0.1^2 + 0.1^2) / 1


def test_submodules_come_most_open_first_with_a_mean_for_each_seed():
    events = [gate("prefix", 0, 0.2), gate("lora", 0, 0.6), gate("lora", 1, 0.8), gate("lora", 0, 0.7, 1), gate("lora", 1, 0.9, 1)]
    first, second = rows("gate", *events)
    assert (first.submodule, second.submodule) == ("lora", "prefix")
    assert first.by_seed == pytest.approx({0: 0.7, 1: 0.8})
    assert second.seed_spread == 0.0


def test_a_gate_measured_again_after_a_restart_counts_once():
    (row,) = rows("gate", gate("lora", 0, 0.1), gate("lora", 0, 0.6))
    assert (row.mean, row.by_place) == (0.6, {("ffn", 0): [0.6]})


def test_candidates_are_kept_apart():
    events = [gate("lora", 0, 0.6), gate("lora", 0, 0.9, candidate="ap")]
    assert [row.mean for row in rows("gate", *events, candidate="ap")] == [0.9]
    assert rows("gate", *events, candidate="none") == []


def test_a_submodules_contribution_is_the_mean_over_its_layers_sites_and_seeds():
    events = [
        share("lora", 0, 0.1, site="attention.query"),
        share("lora", 0, 0.3, site="attention.value"),
        share("lora", 0, 0.2, 1, "attention.query"),
        share("lora", 0, 0.6, 1, "attention.value"),
        share("adapter", 0, 0.4),
        share("adapter", 0, 9.0, candidate="other"),
    ]
    adapter, lora = rows("contribution", *events)
    assert (adapter.submodule, adapter.mean, adapter.seed_spread) == ("adapter", 0.4, 0.0)
    assert lora.mean == pytest.approx((0.2 + 0.4) / 2)
    assert lora.by_seed == pytest.approx({0: 0.2, 1: 0.4})
    assert lora.seed_spread == pytest.approx(0.02**0.5)  # (0.1^2 + 0.1^2) / 1
    assert lora.by_place == {("attention.query", 0): [0.1, 0.2], ("attention.value", 0): [0.3, 0.6]}


def test_gates_and_contributions_meet_at_their_place():
    keys = gate("prefix", 0, 0.6, site="heads.key")
    found = places(keys, share("prefix", 0, 0.2, site="heads"), share("adapter", 1, 0.3))
    assert list(found) == [("adapter", "ffn", 1), ("prefix", "heads", 0), ("prefix", "heads.key", 0)]
    assert found["adapter", "ffn", 1] == {"contribution": 0.3}
    assert found["prefix", "heads.key", 0] == {"gate": 0.6, "spread": 0.1, "drift": pytest.approx(0.1), "seeds": 0.0}


def test_unions_are_those_of_which_anything_was_measured_those_with_gates_first():
    events = [share("lora", 0, 0.1), off("lora", 0.9, 0.8, candidate="x"), share("lora", 0, 0.1, 1), gate("lora", 0, 0.5, candidate="y")]
    assert union_candidates(History.of(events)) == ["y", "apl", "x"]


def test_the_loss_is_the_mean_over_seeds_and_the_greatest_comes_first():
    events = [off("prefix", 0.8, 0.79), off("lora", 0.8, 0.7), off("lora", 0.9, 0.7, 1), off("lora", 0.8, 0.0, candidate="other")]
    lora, prefix = rows("knock-out", *events)
    assert (lora.submodule, prefix.submodule) == ("lora", "prefix")
    assert lora.mean == pytest.approx(0.15)
    assert lora.by_seed == pytest.approx({0: 0.1, 1: 0.2})
    assert prefix.seed_spread == 0.0


@pytest.mark.parametrize(("score", "without", "sign", "loss"), [(0.5, 0.8, -1, 0.3), (0.7, 0.75, 1, -0.05)])
def test_a_greater_error_without_the_submodule_is_a_loss_and_one_that_harms_has_a_negative_loss(score, without, sign, loss):
    assert [row.mean for row in rows("knock-out", off("lora", score, without), sign=sign)] == pytest.approx([loss])


def losses(**by_name):
    return [Measure(name, {0: {("", 0): loss}}) for name, loss in by_name.items()]


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
