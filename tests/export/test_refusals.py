"""What can't be exported, and the reason that is given."""

import pytest

from pelt_automl.design_space import Form, Gate, Insertion, Modification, Site
from pelt_automl.export.merged import why_not_merged
from pelt_automl.export.peft_folder import why_not_peft
from pelt_automl.methods import METHODS
from pelt_automl.modifications import without_reparameterization
from pelt_automl.tasks.kinds import LabelScale
from tests.export.winners import trained_config
from tests.tiny import tiny_backbone


def one(site, form, insertion=Insertion.PARALLEL, **other):
    return (Modification("x", site, form, insertion, size=2, **other),)


LORA = one(Site.ATTENTION_QUERY, Form.LINEAR)
IA3 = one(Site.ATTENTION_KEY, Form.SCALE, Insertion.SEQUENTIAL)
GATED = one(Site.ATTENTION_QUERY, Form.LINEAR, gate=Gate())
PROMPT = one(Site.EMBEDDINGS, Form.PROMPT)
PREFIX = one(Site.HEADS, Form.SOFTMAX)

MERGED = [
    ("bert", GATED, "x at attention.query: its gate opens differently for each example, and a weight is the same for all"),
    ("bert", one(Site.FFN, Form.RELU, Insertion.SEQUENTIAL), "a non-linearity stands between its two maps, so that they aren't one matrix"),
    ("bert", one(Site.FFN, Form.RELU), "its non-linearity is relu and that of the feed-forward network of bert is gelu, so that it can't"),
    (
        "gpt2",
        one(Site.FFN, Form.RELU, activation="gelu"),
        "its non-linearity is gelu and that of the feed-forward network of gpt2 is gelu_new",
    ),
    ("llama", one(Site.FFN, Form.RELU, activation="silu"), "of llama isn't two maps with a non-linearity between them"),
    ("t5", one(Site.FFN, Form.RELU), "the feed-forward network of t5 has no biases, the adapter has"),
    ("opt", one(Site.ATTENTION, Form.RELU), "a non-linearity stands between its two maps, so that they aren't one matrix"),
    (
        "opt",
        (*one(Site.FFN, Form.RELU), Modification("y", Site.FFN, Form.SCALE, Insertion.SEQUENTIAL)),
        "x at ffn: y changes what the network puts out that the adapter would become a part of",
    ),
    ("bert", one(Site.ATTENTION_QUERY, Form.RELU), "a non-linearity stands between its two maps, so that they aren't one matrix"),
    ("bert", one(Site.FFN, Form.LINEAR), "its change runs beside or behind a whole sublayer"),
    ("llama", one(Site.ATTENTION, Form.LINEAR, Insertion.SEQUENTIAL), "its change runs beside or behind a whole sublayer"),
    ("bert", PREFIX, "attention over trained keys and values is no change of a weight"),
    ("bert", one(Site.HEADS, Form.RELU), "a non-linearity stands between its two maps"),
    ("bert", one(Site.HEADS, Form.LINEAR), "past the attention to the output; there is no weight on that way"),
    ("bert", METHODS["reft"].build(), "it changes the hidden states of some tokens alone, and a weight acts on all"),
    ("bert", PROMPT, "trained embeddings in front of the text are no weights of the model"),
    (
        "gemma2",
        one(Site.FFN, Form.SCALE, Insertion.SEQUENTIAL),
        "what the ffn sublayer of gemma2 puts out isn't the output of a linear map",
    ),
    ("modernbert", LORA, "transformers' classification model of modernbert has another kind of head than the one that was trained"),
]

PEFT = [
    ("bert", GATED, "x at attention.query: peft has no gates"),
    ("bert", (), "only the head was trained, and peft has no method without a change in the backbone"),
    ("bert", one(Site.BIASES, Form.BIAS), "peft has no method that trains biases alone"),
    ("bert", one(Site.EVERYTHING, Form.FULL), "every weight was trained, which leaves nothing to peft"),
    ("bert", one(Site.FFN, Form.RELU), "peft has no adapters with a non-linearity"),
    ("bert", one(Site.FFN, Form.LINEAR), "peft's LoRA stands at a linear map"),
    ("bert", one(Site.HEADS, Form.LINEAR), "peft's LoRA stands at a linear map"),
    ("bert", one(Site.FFN_UP, Form.LINEAR, Insertion.SEQUENTIAL), "reads the input of a linear map, this one its output"),
    (
        "gemma2",
        one(Site.FFN, Form.SCALE, Insertion.SEQUENTIAL),
        "what the ffn sublayer of gemma2 puts out isn't the output of a linear map",
    ),
    ("bert", LORA + IA3, "a folder of peft holds one method, and this is a union: x"),
    ("bert", (*PROMPT, Modification("y", Site.EMBEDDINGS, Form.PROMPT, size=2)), "one method, and this is a union: x, y"),
    (
        "bert",
        one(Site.FFN, Form.SCALE, Insertion.SEQUENTIAL) + one(Site.FFN_DOWN, Form.SCALE, Insertion.SEQUENTIAL),
        "one vector a linear map: on the inputs (ffn.down) or on the outputs (ffn), not both",
    ),
    ("roberta", PROMPT, "with peft the head of roberta reads the prompt's first token, and not, as it was trained, the text's"),
    ("bert", PROMPT, "with peft the head of bert reads the prompt's first token, and not, as it was trained, the text's"),
    ("t5", PROMPT, "transformers' classification model of t5 takes no embeddings"),
    ("bert", PREFIX, "peft counts a prefix as text that came before, so that the text's positions move"),
    ("gpt2", PREFIX, "peft counts a prefix as text that came before, so that the text's positions move"),
    ("bart", PREFIX, "peft counts a prefix as text that came before, so that the text's positions move"),
    ("mistral", PREFIX, "peft's prefix moves out of a sliding window of attention"),
    ("gemma3", PREFIX, "peft's prefix moves out of a sliding window of attention"),
    ("llama", one(Site.HEADS, Form.SOFTMAX, composition="add"), "its softmax is its own"),
    ("llama", one(Site.HEADS, Form.SOFTMAX, layers=(0,)), "a prefix of peft stands in every layer"),
    ("modernbert", LORA, "transformers' classification model of modernbert has another kind of head than the one that was trained"),
]


@pytest.mark.parametrize(("family", "modifications", "reason"), MERGED)
def test_what_does_not_fold_is_refused_with_the_reason(family, modifications, reason):
    [found] = why_not_merged(trained_config(modifications), tiny_backbone(family))
    assert reason in found


@pytest.mark.parametrize(("family", "modifications", "reason"), PEFT)
def test_what_peft_does_not_have_is_refused_with_the_reason(family, modifications, reason):
    found = why_not_peft(trained_config(modifications), tiny_backbone(family))
    assert [reason in problem for problem in found].count(True) == 1, found


@pytest.mark.parametrize("why_not", [why_not_merged, why_not_peft])
@pytest.mark.parametrize(
    ("family", "pooling", "read", "wanted"),
    [
        ("bert", "mean", "the mean over the tokens", "the first token through the pretrained pooler"),
        ("bert", "cls", "the first token", "the first token through the pretrained pooler"),
        ("roberta", "mean", "the mean over the tokens", "the first token"),
    ],
)
def test_a_head_that_reads_something_else_is_refused(why_not, family, pooling, read, wanted):
    [found] = why_not(trained_config(LORA), tiny_backbone(family, pooling=pooling))
    assert found == f"the trained head reads {read}; transformers' classification model of {family} reads {wanted}"


@pytest.mark.parametrize("why_not", [why_not_merged, why_not_peft])
@pytest.mark.parametrize(
    ("family", "mean", "refused"), [("llama", 3.5, True), ("gpt2", -1.0, True), ("llama", 0.0, False), ("bert", 3.5, False)]
)
def test_a_head_without_a_bias_has_no_place_for_the_labels_mean(why_not, family, mean, refused):
    found = why_not(trained_config(LORA, kind="regression", labels=[], scale=LabelScale(mean, 2.0)), tiny_backbone(family))
    assert found == [
        f"regression trains on standardized labels, and the head of {family} has no bias that could hold their mean ({mean:g})"
    ] * refused  # fmt: skip


def test_everything_that_is_wrong_is_said():
    modifications = without_reparameterization(METHODS["unipelt-apl"].modifications({}))
    found = why_not_merged(trained_config(modifications), tiny_backbone("bert", pooling="mean"))
    assert len(found) == 5, "an adapter, a prefix, LoRA at two places, and the head"


@pytest.mark.parametrize(
    ("method", "merged", "peft"),
    [
        ("full", True, False),
        ("head", True, False),
        ("bitfit", True, False),
        ("lora", True, True),
        ("adapter", False, False),
        ("prefix", False, False),
        ("unipelt-ap", False, False),
        ("unipelt-apl", False, False),
    ],
)
def test_of_the_methods_by_name_these_can_be_exported_from_bert(method, merged, peft):
    trained, backbone = trained_config(without_reparameterization(METHODS[method].modifications({}))), tiny_backbone()
    assert (why_not_merged(trained, backbone) == []) == merged
    assert (why_not_peft(trained, backbone) == []) == peft
