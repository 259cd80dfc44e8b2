import pytest

from pelt_automl.evidence.gates import SubmoduleGate
from pelt_automl.evidence.knockouts import SubmoduleLoss
from pelt_automl.evidence.strength import gate_evidence, strength
from pelt_automl.records import GateMeasured, KnockedOut, Standing


def gate(name, *means, moved=0.2):
    return SubmoduleGate(name, sum(means) / len(means), moved, moved, 0.0, dict(enumerate(means)))


def loss(name, *losses):
    return SubmoduleLoss(name, sum(losses) / len(losses), 0.0, dict(enumerate(losses)), 0.8, 0.8 - sum(losses) / len(losses))


GATES = [gate("lora", 0.7, 0.8), gate("adapter", 0.5, 0.6)]
LOSSES = [loss("lora", 0.10, 0.08), loss("adapter", 0.02, 0.03)]
OWN = {"lora": 0.81, "adapter": 0.79}


@pytest.mark.parametrize(
    ("gates", "losses", "own", "expected", "reason"),
    [
        (GATES, LOSSES, OWN, "strong", "agree on lora > adapter"),
        ([], LOSSES, OWN, "none", "no gate was measured"),
        (GATES[:1], LOSSES, OWN, "none", "only gated submodule"),
        ([gate("lora", 0.54, moved=0.049), gate("adapter", 0.5, moved=0.0)], LOSSES, OWN, "none", "hardly left their start"),
        ([GATES[0], gate("adapter", 0.5, 0.5, moved=0.049)], LOSSES, OWN, "weak", "gates of adapter hardly left"),
        ([gate("lora", 0.7), gate("adapter", 0.5)], LOSSES, OWN, "weak", "gates were measured on one seed only"),
        ([gate("lora", 0.9, 0.5), gate("adapter", 0.5, 0.6)], LOSSES, OWN, "weak", "order by gate changes with the seed"),
        (GATES, [], OWN, "weak", "lora, adapter was not switched off"),
        (GATES, LOSSES[:1], OWN, "weak", "adapter was not switched off"),
        (GATES, [loss("lora", 0.01, 0.02), LOSSES[1]], OWN, "weak", "knock-outs say adapter > lora, gates say lora > adapter"),
        (GATES, [loss("lora", 0.10, 0.02), LOSSES[1]], OWN, "weak", "order by knock-out changes with the seed"),
        (GATES, [loss("lora", 0.10), loss("adapter", 0.02)], OWN, "weak", "switched off on one seed only"),
        (GATES, LOSSES, {"lora": 0.81}, "weak", "adapter alone is not among the finalists"),
        (GATES, LOSSES, {"adapter": 0.82, "lora": 0.81}, "weak", "own scores say adapter > lora"),
    ],
)
def test_the_strength_of_the_evidence_by_hand(gates, losses, own, expected, reason):
    found, why = strength(gates, losses, own)
    assert found == expected
    assert reason in why


def standing(method, score, number=0):
    return Standing(f"{method}-{number}", method, False, {}, 1, 1.0, score, (0, 1), [score], score, 0.5, 0.0, (0, 0), True, False)


def measured(seed):
    for submodule, mean, lost in (("lora", 0.8, 0.2), ("adapter", 0.3, 0.1)):
        yield GateMeasured(f"x-seed{seed}", "x", seed, submodule, "ffn", 0, mean, 0.1, 0.5)
        yield KnockedOut(f"x-seed{seed}", "x", seed, submodule, 1.0, 1.0 + lost)


def test_own_scores_are_those_of_each_methods_best_finalist_best_first():
    rows = [standing("lora", 0.2), standing("unipelt-apl", 0.25), standing("adapter", 0.3), standing("lora", 0.9, 1)]
    evidence = gate_evidence([*measured(0), *measured(1)], "x", rows, greater_is_better=False)
    assert list(evidence.own_scores.items()) == [("lora", 0.2), ("adapter", 0.3)]
    assert evidence.strength == "strong"
    assert [row.loss for row in evidence.losses] == pytest.approx([0.2, 0.1])
