"""Tiny random encoders and examples, one architecture family each: no download, milliseconds to build."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from pelt_automl.backbones.loading import Backbone, wrap
from pelt_automl.records import Seeds
from pelt_automl.training.evaluation import LabelScale
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun

VOCABULARY = 60

_BERT = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0,
}  # fmt: skip
_DECODER = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
_BART = {
    "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40, "dropout": 0.0,
    "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_T5 = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}

MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**_BERT)),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**_BERT), add_pooling_layer=False),
    "electra": lambda: transformers.ElectraModel(transformers.ElectraConfig(**_BERT, embedding_size=12)),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=16,
            n_layers=2,
            n_heads=4,
            hidden_dim=24,
            max_position_embeddings=40,
            dropout=0.0,
            attention_dropout=0.0,
        )
    ),
    "gpt2": lambda: transformers.GPT2Model(
        transformers.GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=16,
            n_layer=2,
            n_head=4,
            n_inner=24,
            n_positions=40,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    ),
    "llama": lambda: transformers.LlamaModel(transformers.LlamaConfig(**_DECODER)),
    "bart": lambda: transformers.BartModel(transformers.BartConfig(**_BART)),
    "t5": lambda: transformers.T5Model(transformers.T5Config(**_T5)),
    "flan-t5": lambda: transformers.T5Model(transformers.T5Config(**_T5, feed_forward_proj="gated-gelu")),
}
"""Base models with random weights, by family or a variant of one."""

FAMILIES = tuple(MODELS)


class FakeTokenizer:
    """All that the training asks of a tokenizer."""

    pad_token_id = 0


def tiny_model(family: str) -> Any:
    """A base model of the family with random weights, always the same."""
    torch.manual_seed(0)
    return MODELS[family]()


def tiny_backbone(family: str = "bert", **options: Any) -> Backbone:
    """A frozen tiny encoder in fp32."""
    return wrap(tiny_model(family), FakeTokenizer(), name=f"tiny-{family}", **options)


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
