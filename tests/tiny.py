"""Tiny random models and examples, one architecture family each: no download, milliseconds to build."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pelt_automl.backbones import architecture_of
from pelt_automl.backbones.loading import Backbone, wrap
from pelt_automl.log.events import Seeds
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun

VOCABULARY = 60

_BERT = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0,
}  # fmt: skip
_ALBERT = _BERT | {"num_hidden_layers": 4, "embedding_size": 12}
_DEBERTA = _BERT | {
    "relative_attention": True, "position_buckets": 4, "max_relative_positions": 40, "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm", "position_biased_input": False,
}  # fmt: skip
_DECODER = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
_OPT = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24,
    "max_position_embeddings": 40, "dropout": 0.0, "pad_token_id": 1,
}  # fmt: skip
_BART = {
    "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40, "dropout": 0.0,
    "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_T5 = {
    "vocab_size": VOCABULARY, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0,
    "eos_token_id": 2, "decoder_start_token_id": 0,
}  # fmt: skip

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", _BERT),
    "roberta": ("roberta", _BERT),
    "xlm-roberta": ("xlm-roberta", _BERT),
    "electra": ("electra", _BERT | {"embedding_size": 12}),
    "distilbert": (
        "distilbert",
        {
            "vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 40,
            "dropout": 0.0, "attention_dropout": 0.0,
        },
    ),
    "albert": ("albert", _ALBERT),
    "albert-two-groups": ("albert", _ALBERT | {"num_hidden_groups": 2}),
    "deberta-v3": ("deberta-v2", _DEBERTA | {"share_att_key": True}),
    "deberta-v2-conv": ("deberta-v2", _DEBERTA | {"share_att_key": False, "conv_kernel_size": 3, "type_vocab_size": 2}),
    "modernbert": (
        "modernbert",
        _BERT | {"num_hidden_layers": 4, "local_attention": 6, "cls_token_id": 3, "sep_token_id": 2, "bos_token_id": 3, "eos_token_id": 2},
    ),
    "mpnet": ("mpnet", _BERT | {"pad_token_id": 1}),
    "gpt2": (
        "gpt2",
        {
            "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 40, "bos_token_id": 2, "eos_token_id": 2,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        },
    ),
    "opt": ("opt", _OPT),
    "opt-norm-last": ("opt", _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 12}),
    "llama": ("llama", _DECODER),
    "mistral": ("mistral", _DECODER | {"sliding_window": 5}),
    "qwen2": ("qwen2", _DECODER),
    "qwen3": ("qwen3", _DECODER | {"head_dim": 6}),
    "gemma": ("gemma", _DECODER | {"head_dim": 6}),
    "gemma2": ("gemma2", _DECODER | {"head_dim": 6, "query_pre_attn_scalar": 6, "attn_logit_softcapping": 0.5, "sliding_window": 5}),
    "gemma3": ("gemma3_text", _DECODER | {"head_dim": 6, "query_pre_attn_scalar": 6, "sliding_window": 5, "num_hidden_layers": 6}),
    "t5": ("t5", _T5),
    "flan-t5": ("t5", _T5 | {"feed_forward_proj": "gated-gelu"}),
    "mt5": ("mt5", _T5),
    "umt5": ("umt5", _T5),
    "bart": ("bart", _BART),
    "mbart": ("mbart", _BART | {"scale_embedding": True}),
}  # fmt: skip
"""Tiny configurations by family or a variant of one: `model_type`, and what differs from its defaults."""


FAMILIES = tuple(CONFIGS)

STRUCTURES = {
    "bert": "encoder, norm last",
    "modernbert": "encoder, norm first",
    "qwen3": "rotary positions, normed queries and keys",
    "gemma2": "norms before and after each sublayer",
    "t5": "encoder and decoder",
    "llama": "decoder, query heads that share keys",
}
"""The family that stands for each structure in `make test`; the others of `FAMILIES` are of the slow tier."""


def by_structure(families: Iterable[str] = FAMILIES) -> list[Any]:
    """Families as a test's parameters; those that repeat a structure are marked slow."""
    return [family if family in STRUCTURES else pytest.param(family, marks=pytest.mark.slow) for family in families]


class FakeTokenizer:
    """All that the training asks of a tokenizer."""

    pad_token_id = 0


def tiny_config(family: str, **changes: Any) -> Any:
    """The configuration of the family's tiny model."""
    model_type, entries = CONFIGS[family]
    return transformers.AutoConfig.for_model(model_type, **(entries | changes))


def tiny_model(family: str, **changes: Any) -> Any:
    """A base model of the family with random weights, always the same."""
    config = tiny_config(family, **changes)
    table = architecture_of(config)
    options = {"add_pooling_layer": table.pooling == "pooler"} if table.pooling_layer_option else {}
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config, **options)


def tiny_backbone(family: str = "bert", **options: Any) -> Backbone:
    """A frozen tiny model in fp32."""
    return wrap(tiny_model(family), FakeTokenizer(), name=f"tiny-{family}", **options)


def scattered(model: Any) -> Any:
    """The model with every parameter moved by N(0, 0.3): no norm is neutral, no attention even."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@functools.cache
def shared_backbone(family: str = "bert") -> Backbone:
    """The same, built once, for tests that don't change it."""
    return tiny_backbone(family)


def random_ids(*shape: int, seed: int = 0) -> torch.Tensor:
    """Token ids without padding."""
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def learnable_tokens(count: int, seed: int = 0) -> Tokens:
    """Two classes that the first token decides; lengths from 4 to 12."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.float64) % 2
    ids = [[5 + int(label), *random.integers(10, VOCABULARY, random.integers(3, 12)).tolist()] for label in labels]
    return Tokens(ids, None, labels)


def a_run(name: str, modifications: Any, *, rate: float = 1e-2, seed: int = 0, count: int = 24) -> TrialRun:
    """A training on learnable tokens."""
    train, select = learnable_tokens(count, seed=1), learnable_tokens(16, seed=2)
    order = BatchOrder(train.lengths, 8, seed)
    return TrialRun(name, modifications, rate, Seeds(0, seed, seed), train, select, LabelScale(), order)
