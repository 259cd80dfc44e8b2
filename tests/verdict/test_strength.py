import pytest

from pelt_automl.log.events import ContributionMeasured, GateMeasured, KnockedOut, Standing
from pelt_automl.verdict.contributions import SubmoduleContribution
from pelt_automl.verdict.gates import SubmoduleGate
from pelt_automl.verdict.knockouts import SubmoduleLoss
from pelt_automl.verdict.strength import gate_evidence, strength


def gate(name, *means, moved=0.2):
    return SubmoduleGate(name, sum(means) / len(means), moved, moved, 0.0, dict(enumerate(means)))


def share(name, *means):
    return SubmoduleContribution(name, sum(means) / len(means), 0.0, dict(enumerate(means)), {})


def loss(name, *losses):
    return SubmoduleLoss(name, sum(losses) / len(losses), 0.0, dict(enumerate(losses)), 0.8, 0.8 - sum(losses) / len(losses))


GATES = [gate("lora", 0.7, 0.8), gate("adapter", 0.5, 0.6)]
SHARES = [share("lora", 0.4, 0.3), share("adapter", 0.1, 0.2)]
LOSSES = [loss("lora", 0.10, 0.08), loss("adapter", 0.02, 0.03)]
OWN = {"lora": 0.81, "adapter": 0.79}


@pytest.mark.parametrize(
    ("changed", "expected", "reason"),
    [
        ({}, "strong", "agree on lora > adapter"),
        ({"gates": []}, "none", "has no gates"),
        ({"gates": GATES[:1]}, "none", "only gated submodule"),
        ({"gates": [gate("lora", 0.54, moved=0.049), gate("adapter", 0.5, moved=0.0)]}, "none", "hardly left their start"),
        ({"gates": [GATES[0], gate("adapter", 0.5, 0.5, moved=0.049)]}, "weak", "gates of adapter hardly left"),
        ({"gates": [gate("lora", 0.7), gate("adapter", 0.5)]}, "weak", "gates were measured on one seed only"),
        ({"gates": [gate("lora", 0.9, 0.5), gate("adapter", 0.5, 0.6)]}, "weak", "order by gate changes with the seed"),
        ({"contributions": []}, "weak", "no contribution of lora, adapter"),  # records of earlier versions
        ({"contributions": [share("lora", 0.1, 0.1), SHARES[1]]}, "weak", "contributions say adapter > lora, gates say lora > adapter"),
        ({"contributions": [share("lora", 0.4, 0.1), SHARES[1]]}, "weak", "order by contribution changes with the seed"),
        ({"contributions": [share("lora", 0.4), share("adapter", 0.1)]}, "weak", "measured on one seed only"),
        ({"losses": []}, "weak", "no knock-out of lora, adapter"),
        ({"losses": LOSSES[:1]}, "weak", "no knock-out of adapter"),
        ({"losses": [loss("lora", 0.01, 0.02), LOSSES[1]]}, "weak", "knock-outs say adapter > lora, gates say lora > adapter"),
        ({"losses": [loss("lora", 0.10, 0.02), LOSSES[1]]}, "weak", "order by knock-out changes with the seed"),
        ({"losses": [loss("lora", 0.10), loss("adapter", 0.02)]}, "weak", "switched off on one seed only"),
        ({"own_scores": {"lora": 0.81}}, "weak", "adapter alone is not among the finalists"),
        ({"own_scores": {"adapter": 0.82, "lora": 0.81}}, "weak", "own scores say adapter > lora"),
        ({"losses": [], "own_scores": {"lora": 0.81}}, "weak", "no knock-out of lora, adapter; adapter alone"),
    ],
)
def test_the_strength_of_the_evidence_by_hand(changed, expected, reason):
    everything = {"gates": GATES, "contributions": SHARES, "losses": LOSSES, "own_scores": OWN}
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


def test_own_scores_are_those_of_each_methods_best_finalist_best_first():
    rows = [standing("lora", 0.2), standing("unipelt-apl", 0.25), standing("adapter", 0.3), standing("lora", 0.9, 1)]
    evidence = gate_evidence([*measured(0), *measured(1)], "x", rows, greater_is_better=False)
    assert list(evidence.own_scores.items()) == [("lora", 0.2), ("adapter", 0.3)]
    assert evidence.strength == "strong"
    assert [row.loss for row in evidence.losses] == pytest.approx([0.2, 0.1])
    assert [row.mean for row in evidence.contributions] == [0.4, 0.15]
    assert evidence.agreement == {"gates": 1.0, "contributions": 1.0, "knock-outs": 1.0}, "a smaller error is a better score"


def test_a_union_without_gates_has_rows_all_the_same_and_no_evidence_by_gates():
    events = [event for event in (*measured(0), *measured(1)) if not isinstance(event, GateMeasured)]
    evidence = gate_evidence(events, "x", [standing("adapter", 0.9), standing("lora", 0.8)])
    assert (evidence.strength, evidence.gates) == ("none", [])
    assert [(row.submodule, row.gate, row.own_score) for row in evidence.submodules] == [("lora", None, 0.8), ("adapter", None, 0.9)]
    # At a metric whose greater values are better, a score that rises without a submodule is a negative loss: adapter loses more.
    assert [row.loss.loss for row in evidence.submodules] == pytest.approx([-0.2, -0.1])
    assert evidence.agreement == {"contributions": -1.0, "knock-outs": 1.0}


def test_submodules_stand_side_by_side_the_most_open_first():
    evidence = gate_evidence([*measured(0)], "x", [])
    assert [(row.submodule, row.gate.mean, row.contribution.mean) for row in evidence.submodules] == [
        ("lora", 0.8, 0.4),
        ("adapter", 0.3, 0.15),
    ]
    assert evidence.agreement == {}
