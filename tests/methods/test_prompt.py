"""Where a prompt starts; what it computes has a test in tests/modifications."""

import torch

from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from tests.tiny import tiny_backbone


def start(**hyper_parameters):
    backbone = tiny_backbone()
    pack = Pack(backbone, [PackTrial(METHODS["prompt"].modifications({"prompt_length": 6, **hyper_parameters}), seed=3)], outputs=2)
    return pack.trained_weights(0)["prompt.embeddings.prompt"], backbone.embeddings().weight


def test_a_prompt_starts_at_words_of_the_vocabulary():
    prompt, words = start()
    assert prompt.shape == (6, 16)
    assert all((words == row).all(dim=1).any() for row in prompt)
    assert len(torch.unique(prompt, dim=0)) > 1


def test_or_at_small_random_numbers():
    prompt, words = start(initialization="normal")
    assert not any((words == row).all(dim=1).any() for row in prompt)
    assert 0.01 < prompt.std() < 0.03
