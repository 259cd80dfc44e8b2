"""Small sets of texts of each kind, and an encoder of them that has learned the signal words."""

import functools

import numpy as np

from pelt_automl.backbones.loading import Backbone, wrap
from pelt_automl.baselines import Encoder
from pelt_automl.tasks import Examples
from pelt_automl.training.features import FrozenFeatures
from pelt_automl.training.tokens import tokenize
from tests.tiny import tiny_model
from tests.tiny_world import FILLERS, SIGNALS, pretrained_model, sentences, word_tokenizer

KINDS = {"classes": 2, "three classes": 3, "numbers": 1, "pairs": 2, "pairs with numbers": 1, "labels": 3}
"""Outputs by kind of task."""


def examples_of(kind: str, count: int = 60, seed: int = 0) -> Examples:
    """Learnable by the signal words; of a pair, whether both have the same one."""
    if kind.startswith("pairs"):
        own, random = sentences(2 * count, 2, seed), np.random.default_rng(seed)
        other = random.permutation(count)
        texts = tuple((own[2 * i][0] if i % 2 else own[2 * i + 1][0], own[2 * j + (j + i) % 2][0]) for i, j in enumerate(other))
        labels = [sum((SIGNALS[0] in text.split()) for text in pair) % 2 for pair in texts]
        return Examples(texts, tuple(labels) if kind == "pairs" else tuple(100 + 10.0 * label for label in labels))
    if kind == "labels":
        words = [SIGNALS[i] for i in range(3)]
        texts = [f"{text} {words[(number // 3) % 3]}" for number, (text, _) in enumerate(sentences(count, 3, seed))]
        return Examples(tuple((text,) for text in texts), tuple(tuple(int(word in text.split()) for word in words) for text in texts))
    own = sentences(count, 3 if kind == "three classes" else 2, seed)
    labels = tuple(label for _, label in own)
    return Examples(tuple((text,) for text, _ in own), tuple(100 + 10.0 * n for n in labels) if kind == "numbers" else labels)


def words_alone(count: int, seed: int = 0) -> Examples:
    """Labels at random."""
    random = np.random.default_rng(seed)
    texts = tuple((" ".join(random.choice(FILLERS, 6)),) for _ in range(count))
    return Examples(texts, tuple(random.integers(2, size=count).tolist()))


@functools.cache
def backbone_of(family: str = "bert", *, sentences: bool = False) -> Backbone:
    """BERT has learned the signal words, the others nothing."""
    model = pretrained_model() if family == "bert" else tiny_model(family)
    return wrap(model, word_tokenizer(), name=f"tiny-{family}", sentences=sentences)


def encoder_of(backbone: Backbone) -> Encoder:
    return Encoder(FrozenFeatures(backbone), lambda examples: tokenize(examples, backbone.tokenizer, 32))
