"""Which layers a modification changes, and which is the lowest that a trial changes."""

import pytest

from pelt_automl.backbones import SHAPES
from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site, changed_layers, count_all, lowest_layer
from pelt_automl.methods import METHODS

MINILM, BERT, T5 = SHAPES["minilm"], SHAPES["bert-base"], SHAPES["t5-base"]


def adapter(**options):
    return Modification("adapter", Site.FFN, Form.RELU, Insertion.SEQUENTIAL, size=4, **options)


def lora(**options):
    return Modification("lora", Site.ATTENTION_QUERY, Form.LINEAR, size=4, **options)


@pytest.mark.parametrize(
    ("modification", "shape", "layers"),
    [
        (adapter(), MINILM, (0, 1, 2, 3, 4, 5)),
        (adapter(layers=(1, 4)), MINILM, (1, 4)),
        (adapter(layers=(1, 4), top_share=0.5), MINILM, (1, 4)),
        (adapter(top_share=0.25), MINILM, (4, 5)),  # one and a half, rounded up
        (adapter(top_share=0.5), MINILM, (3, 4, 5)),
        (adapter(top_share=0.01), MINILM, (5,)),
        (adapter(top_share=0.25), BERT, (9, 10, 11)),
        (adapter(top_share=0.7 / 7), SHAPES["bert-base"], (10, 11)),
        (adapter(top_share=0.25), T5, (9, 10, 11, 21, 22, 23)),  # encoder 0 to 11, decoder 12 to 23
        (lora(top_share=0.25), T5, (9, 10, 11, 21, 22, 23, 33, 34, 35)),  # and the cross-attentions 24 to 35
        (lora(), T5, tuple(range(36))),
        (adapter(), T5, tuple(range(24))),
    ],
)
def test_a_share_of_the_layers_is_counted_from_the_top(modification, shape, layers):
    assert changed_layers(modification, shape) == layers


def test_three_tenths_of_ten_layers_are_three_although_the_product_is_a_little_more():
    assert 0.1 * 3 * 10 > 3
    ten = SHAPES["bert-base"].__class__(**{**SHAPES["bert-base"].__dict__, "layers": 10})
    assert changed_layers(adapter(top_share=0.1 * 3), ten) == (7, 8, 9)


def test_a_count_has_the_upper_layers_alone():
    assert count_all([adapter(top_share=0.5)], BERT).pelt == 6 * (2 * 4 * 768 + 4 + 768)


PAPER = Gate(token_mean="paper")


@pytest.mark.parametrize(
    ("modifications", "lowest"),
    [
        ((), 6),
        ((adapter(layers=(4, 2)),), 2),
        ((adapter(layers=(4,)), lora(layers=(3, 5))), 3),
        ((adapter(top_share=0.5),), 3),
        ((adapter(layers=(4,), gate=Gate()),), 4),
        ((adapter(layers=(4,), gate=Gate(group="g")), lora(layers=(5,), gate=Gate(group="g"))), 4),
        ((adapter(layers=(4,), gate=PAPER),), 0),  # its mean runs over padding
        ((adapter(),), 0),
        ((Modification("prefix", Site.HEADS, Form.SOFTMAX, size=3, layers=(5,)),), 5),
        ((adapter(layers=(4,)), Modification("prompt", Site.EMBEDDINGS, Form.PROMPT, size=3)), 0),
        ((Modification("bitfit", Site.BIASES, Form.BIAS),), 0),
        ((Modification("full", Site.EVERYTHING, Form.FULL),), 0),
        ((Modification("dora", Site.EVERYTHING, Form.PEFT, peft='{"peft_type": "LORA"}'),), 0),
    ],
)
def test_the_lowest_layer_that_a_trial_changes(modifications, lowest):
    assert lowest_layer(modifications, MINILM) == lowest


def test_an_encoder_decoder_has_no_lower_layers():
    assert lowest_layer((), T5) == 0
    assert lowest_layer((adapter(layers=(23,)),), T5) == 0


def test_of_the_standard_methods_the_head_alone_leaves_every_layer_as_it_is():
    found = {name: lowest_layer(METHODS[name].build(), MINILM) for name in ("head", "lora", "prefix", "unipelt-apl", "full", "top-layers")}
    assert found == {"head": 6, "lora": 0, "prefix": 0, "unipelt-apl": 0, "full": 0, "top-layers": 3}
