"""What all tests share."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # it is read when the library is imported

import pytest
import torch

from tests.tiny_world import finished, without_mlflow, world

__all__ = ["finished", "without_mlflow", "world"]

torch.set_num_threads(1)  # tiny tensors: a second thread only costs


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's state, or looks for a hub."""
    monkeypatch.setenv("PELT_AUTOML_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("PELT_AUTOML_DATA_DIR", raising=False)
