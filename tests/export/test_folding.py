"""Folding: on numbers that are worked out by hand, and on every architecture against the forward pass with hooks."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pelt_automl.backbones.architectures import Part, Stack
from pelt_automl.backbones.linear_maps import linear_map
from pelt_automl.backbones.loading import Layer
from pelt_automl.design_space import PROJECTIONS, SUBLAYERS, Form, Insertion, Modification, Site
from pelt_automl.export.folding import FOLDS, fold
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.modifications.merging import FOLDABLE, why_not_folded
from pelt_automl.modifications.stacked import Member
from tests.export.winners import backbone_of, our_logits, trained_pack_of
from tests.tiny import by_structure

MAPS = {
    "lora": (Form.LINEAR, Insertion.PARALLEL),
    "sequence": (Form.LINEAR, Insertion.SEQUENTIAL),
    "ia3": (Form.SCALE, Insertion.SEQUENTIAL),
}


def at(sites, name, layers=None):
    form, insertion = MAPS[name]
    size = 0 if form is Form.SCALE else 3
    return tuple(Modification(name, site, form, insertion, size=size, scale=1.5, layers=layers) for site in sites)


def changes_of(family):
    """By name: what can be folded on this architecture."""
    table = backbone_of(family).architecture
    maps = [site for site in PROJECTIONS if site in table.sites]
    wholes = [site for site in SUBLAYERS if not any(site in stack.writes for stack in table.stacks)]
    # One on top of the other, in the order of their names: what is read is what the others have left.
    union = at(maps, "ia3") + at(maps, "lora") + at(maps, "sequence", layers=(0,))
    return {"maps": union, "sublayers": at(wholes, "ia3") + at(maps[:1], "sequence")}


def folded(pack):
    """The pack's head on a copy of its backbone into which its modifications are folded."""
    target = replace(pack.backbone, model=copy.deepcopy(pack.backbone.model))
    fold(pack, target)
    plain = Pack(target, [PackTrial((), seed=0)], outputs=3).eval()
    plain.load_weights(0, pack.kept_weights(0))
    return plain


def assert_folds(family, modifications):
    backbone = backbone_of(family)
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    pack = trained_pack_of(backbone, modifications)
    plain = folded(pack)
    config = backbone.model.config
    torch.testing.assert_close(our_logits(plain, config), our_logits(pack, config), rtol=0, atol=1e-5)
    head = Pack(backbone, [PackTrial((), seed=0)], outputs=3).eval()
    head.load_weights(0, pack.kept_weights(0))
    assert (our_logits(head, config) - our_logits(pack, config)).abs().max() > 1e-3, "there was something to fold"
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.model.state_dict().items()), "the backbone stays"


@pytest.mark.parametrize("family", by_structure())
@pytest.mark.parametrize("change", ["maps", "sublayers"])
def test_folded_weights_give_the_outputs_of_the_trained_method(family, change):
    assert_folds(family, changes_of(family)[change])


@pytest.mark.parametrize("family", by_structure())
def test_biases_and_whole_models_fold(family):
    if backbone_of(family).shape.biases:
        assert_folds(family, (Modification("bitfit", Site.BIASES, Form.BIAS), *changes_of(family)["sublayers"]))
    assert_folds(family, (Modification("full", Site.EVERYTHING, Form.FULL),))


WIDENED = {
    **dict.fromkeys(("bert", "roberta", "electra", "distilbert", "mpnet", "deberta-v3", "bart", "mbart"), "gelu"),
    **dict.fromkeys(("opt", "opt-norm-last"), "relu"),
}
"""Families whose feed-forward network can take up a parallel adapter, with its non-linearity."""


def adapters(activation):
    """Of different widths, one of them in one layer alone, beside LoRA at both maps."""
    wide = Modification("adapter", Site.FFN, Form.RELU, size=3, scale=4.0, activation=activation)
    narrow = Modification("more", Site.FFN, Form.RELU, size=2, layers=(1,), activation=activation)
    return (wide, narrow, *at((Site.FFN_UP, Site.FFN_DOWN), "lora"), *at((Site.FFN_DOWN,), "ia3"))


@pytest.mark.parametrize("family", WIDENED)
def test_a_parallel_adapter_becomes_units_of_a_feed_forward_network_with_its_non_linearity(family):
    modifications = adapters(WIDENED[family])
    assert [why_not_folded(m, backbone_of(family)) for m in modifications] == [None] * 5
    assert_folds(family, modifications)


def test_an_adapters_units_stand_behind_the_networks_own():
    """By hand: r = 1, s = 4, W_down = 1, b_down = 2, W_up = 0.5, b_up = 3."""
    pack = trained_pack_of(backbone_of("opt"), (Modification("a", Site.FFN, Form.RELU, size=1, scale=4.0),))
    values = {"a.ffn.down": 1.0, "a.ffn.down_bias": 2.0, "a.ffn.up": 0.5, "a.ffn.up_bias": 3.0}
    pack.load_weights(0, {name: torch.full_like(own, values.get(name, 0.0)) for name, own in pack.trained_weights(0).items()})
    before, after = (model.decoder.layers[1] for model in (pack.backbone.model, folded(pack).backbone.model))
    assert (after.fc1.out_features, after.fc2.in_features) == (25, 25)
    assert after.fc1.weight[24].tolist() == [1.0] * 16
    assert after.fc1.bias[24].item() == 2.0
    assert after.fc2.weight[:, 24].tolist() == [2.0] * 16
    torch.testing.assert_close(after.fc2.bias, before.fc2.bias + 12.0)
    torch.testing.assert_close(after.fc1.weight[:24], before.fc1.weight)


def test_shared_layers_fold_once():
    pack = trained_pack_of(backbone_of("albert"), at((Site.ATTENTION_QUERY,), "lora"))
    before = pack.backbone.model.encoder.albert_layer_groups[0].albert_layers[0].attention.query.weight
    after = folded(pack).backbone.model.encoder.albert_layer_groups[0].albert_layers[0].attention.query.weight
    own = pack.kept_weights(0)
    assert own["lora.attention.query.up"].shape[0] == 1, "four layers with the weights of one"
    product = own["lora.attention.query.up"][0] @ own["lora.attention.query.down"][0]
    torch.testing.assert_close(after - before, 1.5 * product)


def test_tied_embeddings_stay_tied():
    for family in ("bart", "t5"):
        model = folded(trained_pack_of(backbone_of(family), (Modification("full", Site.EVERYTHING, Form.FULL),))).backbone.model
        assert model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight


# ---------------------------------------------------------------- by hand


class Fused(nn.Module):
    """Query, key and value of width 1 in one map of two inputs, stored as GPT-2 does."""

    def __init__(self):
        super().__init__()
        self.c_attn = Conv1D(3, 2)
        self.c_attn.weight.data = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        self.c_attn.bias.data = torch.tensor([7.0, 8.0, 9.0])


STACK = Stack("layers", {Site.ATTENTION_KEY: Part("c_attn", 1, 3)})


def test_a_part_of_a_fused_map_is_its_own_rows_and_writing_changes_the_model():
    layer = Layer(Fused(), STACK)
    place = linear_map(layer, Site.ATTENTION_KEY)
    assert place.weight.tolist() == [[2.0, 5.0]]
    assert place.bias.tolist() == [8.0]
    assert (place.rows, place.outputs) == (slice(1, 2), 3)
    place.weight.add_(10.0)
    place.bias.mul_(2.0)
    assert layer.module.c_attn.weight.tolist() == [[1.0, 12.0, 3.0], [4.0, 15.0, 6.0]]
    assert layer.module.c_attn.bias.tolist() == [7.0, 16.0, 9.0]


@pytest.mark.parametrize(
    ("form", "insertion", "tensors", "weight", "bias"),
    [
        # W = [2 5], b = 8. W + 2 * 3 [1 -1]
        (Form.LINEAR, Insertion.PARALLEL, {"down": [[[1.0, -1.0]]], "up": [[[3.0]]]}, [8.0, -1.0], 8.0),
        # (1 + 2 * 3 * 0.5) [2 5], (1 + 3) 8
        (Form.LINEAR, Insertion.SEQUENTIAL, {"down": [[[0.5]]], "up": [[[3.0]]]}, [8.0, 20.0], 32.0),
        # (1 + 2 * 0.25) [2 5], 1.5 * 8
        (Form.SCALE, Insertion.SEQUENTIAL, {"factor": [[0.25]]}, [3.0, 7.5], 12.0),
    ],
)
def test_the_key_of_a_fused_map_is_folded_as_worked_out_by_hand(form, insertion, tensors, weight, bias):
    layer = Layer(Fused(), STACK)
    m = Modification("x", Site.ATTENTION_KEY, form, insertion, size=1, scale=2.0, layers=(0,))

    class Target:
        shape = None

        @staticmethod
        def layers():
            return [layer]

    class Trained:
        members = (Member(0, m, seed=0),)

        @staticmethod
        def kept(row):
            return {name: torch.tensor(values) for name, values in tensors.items()}

    FOLDS[form](Trained(), Target())
    assert layer.module.c_attn.weight[:, 1].tolist() == weight
    assert layer.module.c_attn.bias.tolist() == [7.0, bias, 9.0]
    assert layer.module.c_attn.weight[:, [0, 2]].tolist() == [[1.0, 3.0], [4.0, 6.0]], "query and value stay"


def test_what_scales_a_maps_input_also_scales_what_lora_reads_there():
    """ffn.down: W (l x) + B A (l x), whichever of the two has the earlier name."""
    for first, second in (("a", "b"), ("b", "a")):
        assert_folds(
            "bert",
            (
                Modification(first, Site.FFN_DOWN, Form.SCALE, Insertion.SEQUENTIAL),
                Modification(second, Site.FFN_DOWN, Form.LINEAR, size=2),
            ),
        )


def test_every_form_is_folded_or_refused():
    assert set(FOLDS) == FOLDABLE
    backbone = backbone_of("opt")
    for form in set(Form) - {Form.PEFT}:
        site = {Form.PROMPT: Site.EMBEDDINGS, Form.SOFTMAX: Site.HEADS, Form.RELU: Site.FFN}.get(form, Site.ATTENTION_QUERY)
        assert (why_not_folded(Modification("x", site, form), backbone) is None) == (form in FOLDS)
