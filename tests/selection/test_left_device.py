"""Where the selection's own model is while a worker has the device. No GPU: a model that says where it was sent."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pelt_automl.selection.machine import Machine

GPU, PROCESSOR = torch.device("cuda", 0), torch.device("cpu")


class Model:
    def __init__(self):
        self.device, self.cleared = GPU, 0
        self.model = self

    def to(self, device):
        self.device = device

    def clear(self):
        self.cleared += 1


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def machine(model):
    nothing = SimpleNamespace()
    return Machine(model, nothing, nothing, nothing, nothing, Path(), model, nothing, nothing)


def test_the_model_is_on_the_processor_while_a_worker_trains_and_on_the_device_for_what_is_computed_here(machine, model):
    machine.leave()
    assert model.device == PROCESSOR
    with machine.at_work():
        assert model.device == GPU
        with machine.at_work():
            assert model.device == GPU
        assert model.device == GPU
    assert model.device == PROCESSOR
    assert model.cleared >= 3, "what was kept on the other device"
    machine.come_back()
    assert model.device == GPU


def test_it_leaves_the_device_after_an_error_too(machine, model):
    machine.leave()
    with pytest.raises(OSError, match="no"), machine.at_work():
        raise OSError("no")
    assert model.device == PROCESSOR


def test_without_workers_it_is_never_moved(machine, model):
    with machine.at_work():
        assert model.device == GPU
    machine.come_back()
    assert (model.device, model.cleared) == (GPU, 0)
