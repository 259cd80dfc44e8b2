import pytest

from pelt_automl.log.events import ContributionMeasured, GateMeasured, KnockedOut
from pelt_automl.verdict.contributions import submodule_contributions
from pelt_automl.verdict.unions import PlaceRow, place_rows, union_candidates


def share(submodule, layer, mean, seed=0, site="ffn", candidate="apl"):
    return ContributionMeasured(f"{candidate}-seed{seed}", candidate, seed, submodule, site, layer, mean, 0.01)


def test_a_submodules_contribution_is_the_mean_over_its_layers_sites_and_seeds():
    events = [
        share("lora", 0, 0.1, site="attention.query"),
        share("lora", 0, 0.3, site="attention.value"),
        share("lora", 0, 0.2, 1, "attention.query"),
        share("lora", 0, 0.6, 1, "attention.value"),
        share("adapter", 0, 0.4),
        share("adapter", 0, 9.0, candidate="other"),
    ]
    adapter, lora = submodule_contributions(events, "apl")
    assert (adapter.submodule, adapter.mean, adapter.seed_spread) == ("adapter", 0.4, 0.0)
    assert lora.mean == pytest.approx((0.2 + 0.4) / 2)
    assert lora.by_seed == pytest.approx({0: 0.2, 1: 0.4})
    assert lora.seed_spread == pytest.approx(0.02**0.5)  # (0.1^2 + 0.1^2) / 1
    assert lora.by_place == pytest.approx({("attention.query", 0): 0.15, ("attention.value", 0): 0.45})


def test_a_contribution_measured_again_after_a_restart_counts_once():
    (row,) = submodule_contributions([share("lora", 0, 0.9), share("lora", 0, 0.1)], "apl")
    assert (row.mean, row.by_place) == (0.1, {("ffn", 0): 0.1})


def test_gates_and_contributions_meet_at_their_place():
    gate = GateMeasured("apl-seed0", "apl", 0, "prefix", "heads.key", 0, 0.6, 0.1, 0.5)
    events = [gate, share("prefix", 0, 0.2, site="heads"), share("adapter", 1, 0.3)]
    adapter, prefix, keys = place_rows(events, "apl")
    assert adapter == PlaceRow("adapter", "ffn", 1, None, 0.3)
    assert prefix == PlaceRow("prefix", "heads", 0, None, 0.2)
    assert (keys.site, keys.gate.mean, keys.contribution) == ("heads.key", 0.6, None)


def test_unions_are_those_of_which_anything_was_measured():
    events = [share("lora", 0, 0.1), KnockedOut("x-seed0", "x", 0, "lora", 0.9, 0.8), share("lora", 0, 0.1, 1)]
    assert union_candidates(events) == ["apl", "x"]
