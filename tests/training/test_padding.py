"""A batch in several passes: where it is cut, and that nothing else comes of it."""

import numpy as np
import pytest
import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.training import packing, padding
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.padding import by_length, passes
from pelt_automl.training.tokens import Tokens
from tests.tiny import learnable_tokens, tiny_backbone
from tests.training.test_packing import assert_close, final_weights, mixed_runs, work


def texts(*lengths: int) -> Tokens:
    return Tokens([[7] * length for length in lengths], None, np.zeros(len(lengths)))


def cuts(parts: list[Tokens], most: int) -> list[tuple[int, int]]:
    return [(one.start, one.stop) for one in passes(parts, "cpu", most)]


@pytest.mark.parametrize(
    ("parts", "most", "pass_cost", "expected"),
    [
        ([texts(5, 5, 5, 5)], 4, 1, [(0, 4)]),  # nothing to gain: 20 + 1
        ([texts(2, 2, 9)], 4, 4, [(0, 2), (2, 3)]),  # 4 + 9 + 2 * 4 = 21 against 27 + 4 = 31
        ([texts(2, 2, 9)], 4, 20, [(0, 3)]),  # 27 + 20 = 47 against 13 + 40 = 53
        ([texts(2, 2, 9), texts(2, 2, 9)], 4, 20, [(0, 2), (2, 3)]),  # two trials: 26 + 40 = 66 against 54 + 20 = 74
        ([texts(2, 9, 9), texts(2, 2, 9)], 4, 1, [(0, 1), (1, 3)]),  # the longer text of a position counts
        ([texts(3, 3, 3, 3, 3)], 2, 100, [(0, 1), (1, 3), (3, 5)]),  # never more than `most`
        ([texts(4, 4), texts(4)], 4, 1, [(0, 2)]),  # a trial with fewer examples
    ],
)
def test_a_batch_is_cut_where_padding_and_passes_cost_least(monkeypatch, parts, most, pass_cost, expected) -> None:
    monkeypatch.setitem(padding.PASS_COST, "cpu", pass_cost)
    assert cuts(parts, most) == expected


def test_the_shortest_examples_come_first_with_their_labels() -> None:
    ordered = by_length(Tokens([[1, 1, 1], [2], [3, 3]], None, np.array([0.0, 1.0, 2.0])))
    assert ordered.input_ids == [[2], [3, 3], [1, 1, 1]]
    assert ordered.labels.tolist() == [1.0, 2.0, 0.0]


def test_a_step_in_many_passes_ends_with_the_weights_of_a_step_in_one(monkeypatch) -> None:
    in_one, in_many, shared = mixed_runs(), mixed_runs(), work()
    packing.train(shared, in_one, until=8)
    counted = []
    monkeypatch.setitem(padding.PASS_COST, "cpu", 1)
    monkeypatch.setattr(Pack, "penalty", lambda self: counted.append(self) or 0.0)
    forward, seen = Pack.forward, []

    def watched(self, *inputs, **named):
        seen.append(torch.is_grad_enabled())
        return forward(self, *inputs, **named)

    monkeypatch.setattr(Pack, "forward", watched)
    packing.train(shared, in_many, until=8)
    assert len(counted) == 8
    assert sum(seen) > 2 * 8  # more than two passes a step
    for one, many in zip(in_one, in_many, strict=True):
        assert_close(final_weights(many), final_weights(one))
        assert [p.train_loss for p in many.progress.curve] == pytest.approx([p.train_loss for p in one.progress.curve], rel=1e-5)


def test_an_evaluation_in_many_passes_gives_every_example_its_own_output(monkeypatch) -> None:
    pack = Pack(tiny_backbone(), [PackTrial(METHODS["unipelt-apl"].build(), seed) for seed in (1, 2)], outputs=2)
    sets = [learnable_tokens(16, seed=1), learnable_tokens(11, seed=2)]
    whole = evaluate(pack, sets)
    monkeypatch.setitem(padding.PASS_COST, "cpu", 1)
    cut = evaluate(pack, sets)
    for one, other, tokens in zip(whole, cut, sets, strict=True):
        assert one.logits.shape == (len(tokens), 2)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-6)
        assert [g.mean for g in one.gates] == pytest.approx([g.mean for g in other.gates], abs=1e-6)
