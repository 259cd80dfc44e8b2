import pytest

from pelt_automl.log.events import ContributionMeasured, DataDescribed, GateMeasured, KnockedOut, Standing
from pelt_automl.log.history import History
from pelt_automl.verdict.strength import gate_evidence, strength
from pelt_automl.verdict.submodules import Measure


def row(name, *by_seed):
    return Measure(name, {seed: {("", 0): value} for seed, value in enumerate(by_seed)})


GATES = [row("lora", 0.7, 0.8), row("adapter", 0.5, 0.6)]
MOVED = {"lora": 0.2, "adapter": 0.2}
SHARES = [row("lora", 0.4, 0.3), row("adapter", 0.1, 0.2)]
LOSSES = [row("lora", 0.10, 0.08), row("adapter", 0.02, 0.03)]
OWN = {"lora": 0.81, "adapter": 0.79}


@pytest.mark.parametrize(
    ("changed", "expected", "reason"),
    [
        ({}, "strong", "agree on lora > adapter"),
        ({"gates": []}, "none", "has no gates"),
        ({"gates": GATES[:1]}, "none", "only gated submodule"),
        ({"moved": {"lora": 0.049, "adapter": 0.0}}, "none", "hardly left their start"),
        ({"moved": {"lora": 0.2, "adapter": 0.049}}, "weak", "gates of adapter hardly left"),
        ({"gates": [row("lora", 0.7), row("adapter", 0.5)]}, "weak", "gates were measured on one seed only"),
        ({"gates": [row("lora", 0.9, 0.5), row("adapter", 0.5, 0.6)]}, "weak", "order by gate changes with the seed"),
        ({"contributions": []}, "weak", "no contribution of lora, adapter"),  # records of earlier versions
        ({"contributions": [SHARES[1], row("lora", 0.1, 0.1)]}, "weak", "contributions say adapter > lora, gates say lora > adapter"),
        ({"contributions": [row("lora", 0.4, 0.1), SHARES[1]]}, "weak", "order by contribution changes with the seed"),
        ({"contributions": [row("lora", 0.4), row("adapter", 0.1)]}, "weak", "measured on one seed only"),
        ({"losses": []}, "weak", "no knock-out of lora, adapter"),
        ({"losses": LOSSES[:1]}, "weak", "no knock-out of adapter"),
        ({"losses": [LOSSES[1], row("lora", 0.01, 0.02)]}, "weak", "knock-outs say adapter > lora, gates say lora > adapter"),
        ({"losses": [row("lora", 0.10, 0.02), LOSSES[1]]}, "weak", "order by knock-out changes with the seed"),
        ({"losses": [row("lora", 0.10), row("adapter", 0.02)]}, "weak", "switched off on one seed only"),
        ({"own_scores": {"lora": 0.81}}, "weak", "adapter alone is not among the finalists"),
        ({"own_scores": {"adapter": 0.82, "lora": 0.81}}, "weak", "own scores say adapter > lora"),
        ({"losses": [], "own_scores": {"lora": 0.81}}, "weak", "no knock-out of lora, adapter; adapter alone"),
    ],
)
def test_the_strength_of_the_evidence_by_hand(changed, expected, reason):
    everything = {"gates": GATES, "moved": MOVED, "contributions": SHARES, "losses": LOSSES, "own_scores": OWN}
    found, why = strength(**everything | changed)
    assert found == expected
    assert reason in why


def standing(method, score, number=0):
    return Standing(f"{method}-{number}", method, False, {}, 1, 1.0, score, (0, 1), [score], score, 0.5, 0.0, (0, 0), True, False)


def measured(seed):
    for submodule, mean, lost in (("lora", 0.8, 0.2), ("adapter", 0.3, 0.1)):
        yield GateMeasured(f"x-seed{seed}", "x", seed, submodule, "ffn", 0, mean, 0.1, 0.5)
        yield ContributionMeasured(f"x-seed{seed}", "x", seed, submodule, "ffn", 0, mean / 2, 0.1)
        yield KnockedOut(f"x-seed{seed}", "x", seed, submodule, 1.0, 1.0 + lost)


def evidence_of(*events, standings=(), metric="accuracy", greater=True):
    return gate_evidence(History.of([DataDescribed("t", "", metric, greater, [], 100, "strict", {}, {}), *events]), "x", standings)


def test_own_scores_are_those_of_each_methods_best_finalist_best_first():
    rows = [standing("lora", 0.2), standing("unipelt-apl", 0.25), standing("adapter", 0.3), standing("lora", 0.9, 1)]
    evidence = evidence_of(*measured(0), *measured(1), standings=rows, metric="mae", greater=False)
    assert list(evidence.own_scores.items()) == [("lora", 0.2), ("adapter", 0.3)]
    assert evidence.strength == "strong"
    assert [row["knock-out"].mean for row in evidence.submodules.values()] == pytest.approx([0.2, 0.1])
    assert [row["contribution"].mean for row in evidence.submodules.values()] == [0.4, 0.15]
    assert evidence.agreement == {"gates": 1.0, "contributions": 1.0, "knock-outs": 1.0}, "a smaller error is a better score"


def test_a_union_without_gates_has_rows_all_the_same_and_no_evidence_by_gates():
    events = [event for event in (*measured(0), *measured(1)) if not isinstance(event, GateMeasured)]
    evidence = evidence_of(*events, standings=[standing("adapter", 0.9), standing("lora", 0.8)])
    assert (evidence.strength, evidence.moved) == ("none", {})
    assert [(name, "gate" in row) for name, row in evidence.submodules.items()] == [("lora", False), ("adapter", False)]
    assert evidence.own_scores == {"adapter": 0.9, "lora": 0.8}
    # At a metric whose greater values are better, a score that rises without a submodule is a negative loss: adapter loses more.
    assert [row["knock-out"].mean for row in evidence.submodules.values()] == pytest.approx([-0.2, -0.1])
    assert evidence.agreement == {"contributions": -1.0, "knock-outs": 1.0}


def test_submodules_stand_side_by_side_the_most_open_first():
    evidence = evidence_of(*measured(0))
    rows = [(name, row["gate"].mean, row["contribution"].mean) for name, row in evidence.submodules.items()]
    assert rows == [("lora", 0.8, 0.4), ("adapter", 0.3, 0.15)]
    assert evidence.agreement == {}


def test_layers_that_move_in_opposite_directions_have_moved_without_a_drift():
    events = [GateMeasured("x-seed0", "x", 0, *one, 0.1, 0.5) for one in (
        ("lora", "ffn", 0, 0.7), ("lora", "ffn", 1, 0.3), ("prefix", "ffn", 0, 0.5), ("prefix", "ffn", 1, 0.5),
    )]  # fmt: skip
    evidence = evidence_of(*events)
    assert {name: row["drift"].mean for name, row in evidence.submodules.items()} == pytest.approx({"lora": 0.0, "prefix": 0.0})
    assert evidence.moved == pytest.approx({"lora": 0.2, "prefix": 0.0})
