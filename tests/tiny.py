"""Tiny random encoders and examples, one architecture family each: no download, milliseconds to build."""

from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, ElectraConfig, ElectraModel, RobertaConfig, RobertaModel

from pelt_automl.backbones.loading import Backbone, wrap
from pelt_automl.records import Seeds
from pelt_automl.training.evaluation import LabelScale
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun

FAMILIES = ("bert", "roberta", "electra", "distilbert")
VOCABULARY = 60

_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


class FakeTokenizer:
    """All that the training asks of a tokenizer."""

    pad_token_id = 0


def tiny_model(family: str) -> Any:
    """A base model of the family with random weights, always the same."""
    torch.manual_seed(0)
    if family == "bert":
        return BertModel(BertConfig(**_SIZES))
    if family == "roberta":
        return RobertaModel(RobertaConfig(**_SIZES, pad_token_id=0), add_pooling_layer=False)
    if family == "electra":
        return ElectraModel(ElectraConfig(**_SIZES, embedding_size=12))
    return DistilBertModel(
        DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=16,
            n_layers=2,
            n_heads=4,
            hidden_dim=24,
            max_position_embeddings=40,
            dropout=0.0,
            attention_dropout=0.0,
        )
    )


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
