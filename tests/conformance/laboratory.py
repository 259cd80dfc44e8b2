"""Every method on one family, trained for a few steps beside the others and alone: what the conformance tests look at."""

import functools
import json
import logging
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pelt_automl.backbones.loading import Backbone
from pelt_automl.backbones.sources import sha256_of
from pelt_automl.design_space import Form, Modification
from pelt_automl.errors import BackboneError
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial, check_supported, needs_own_pack, without_reparameterization
from pelt_automl.settings import TrainingSettings
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.timing.schedule import make_plan
from pelt_automl.training import packing
from pelt_automl.training.checkpoints import TrainedConfig, save_progress, save_trained
from pelt_automl.training.evaluation import evaluate
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work
from tests.conformance.no_pickling import no_pickling
from tests.probing import lively_backbone, lively_model
from tests.tiny import FAMILIES, a_run, learnable_tokens
from tests.tiny_world import word_tokenizer

SELECT = learnable_tokens(16, seed=2)
"""The examples on which `a_run` selects."""

LARGEST = {"size": 4, "reparameterization": 6, "num_virtual_tokens": 4, "encoder_hidden_size": 6}
"""Published sizes are cut to these, so that everything stays tiny: of a Modification, and of peft's prompts."""


def modifications_of(method: str, size: int | None = None) -> tuple[Modification, ...]:
    """A method's published default with small sizes: at most `size`, or 2 to 4 by its name, and the others of `LARGEST`."""
    most = LARGEST | {"size": size or LARGEST["size"] - _number(method) % 3}
    return tuple(
        replace(m, **_cut({"size": m.size, "reparameterization": m.reparameterization}, most), peft=m.peft and _cut_json(m.peft, most))
        for m in METHODS[method].modifications({})
    )


def _number(method: str) -> int:
    """From the name alone, so that a new method changes no other's training."""
    return zlib.crc32(method.encode()) % 1000


def _cut_json(text: str, most: dict[str, int]) -> str:
    return json.dumps(_cut(json.loads(text), most))


def _cut(fields: dict[str, Any], most: dict[str, int]) -> dict[str, Any]:
    return {name: min(value, most[name]) if name in most else value for name, value in fields.items()}


@functools.cache
def backbone_of(family: str) -> Backbone:
    """A frozen backbone with attention that isn't uniform."""
    return lively_backbone(family)


@functools.cache
def methods_on(family: str) -> tuple[str, ...]:
    """The methods that the family doesn't refuse; those of peft in turn if not all are asked for: each on every fifth, all on BERT."""
    return tuple(method for method in METHODS if _has_its_turn(method, family) and not _refusal(method, family))


def _has_its_turn(method: str, family: str) -> bool:
    if family == "bert" or os.environ.get("PELT_CONFORMANCE") == "all" or not method.startswith("peft-"):
        return True
    return (list(METHODS).index(method) + FAMILIES.index(family)) % 5 == 0


def _refusal(method: str, family: str) -> str:
    backbone = backbone_of(family)
    try:
        check_supported(modifications_of(method), backbone.architecture, backbone.shape)
    except BackboneError as error:
        return str(error)
    return ""


def packable_on(family: str) -> tuple[str, ...]:
    """Those that share a forward pass with others there."""
    return tuple(method for method in methods_on(family) if not needs_own_pack(modifications_of(method), backbone_of(family).architecture))


def pack_of(family: str, *methods: str, size: int | None = None) -> Pack:
    """Untrained trials in one pack."""
    return Pack(backbone_of(family), [PackTrial(modifications_of(method, size), seed=3) for method in methods], outputs=2)


@dataclass(frozen=True)
class Laboratory:
    """What came out of one family's trainings, paused at step 3 of 6."""

    family: str
    together: dict[str, TrialRun]
    """By method: trained beside all others that can share a pack."""
    alone: dict[str, TrialRun]
    """By method, those that can share a pack: the same training alone."""
    changed: list[str]
    """Weights of the backbone that aren't what they were, bit by bit."""
    warnings: list[str]
    """What the training loop complained of."""

    def weights(self, method: str) -> dict[str, torch.Tensor]:
        """What is trained, at step 3."""
        return {name: own for name, own in self.continuation(method).items() if not name.startswith(("exp_avg", "state/"))}

    def continuation(self, method: str) -> dict[str, torch.Tensor]:
        """All that is needed to go on, at step 3."""
        return self.together[method].progress.continuation

    def logits(self, method: str) -> np.ndarray:
        """What the trained weights say in this process, on the select examples."""
        pack = pack_of(self.family, method)
        pack.load_weights(0, self.weights(method))
        return evaluate(pack, [SELECT])[0].logits

    def write(self, folder: Path) -> None:
        """Everything as a selection keeps it: the backbone, each winner, each paused training."""
        lively_model(self.family).save_pretrained(folder / "backbone")
        word_tokenizer().save_pretrained(folder / "backbone")
        sha256 = sha256_of(folder / "backbone" / "model.safetensors")
        with no_pickling():
            for method, run in self.together.items():
                config = config_of(method, {"name": self.family, "location": str(folder / "backbone"), "sha256": sha256})
                save_trained(folder / "winners" / method, config, run.progress.best_weights, word_tokenizer())
                save_progress(folder / "paused" / f"{method}.safetensors", run.progress)


def config_of(method: str, backbone: dict[str, str]) -> TrainedConfig:
    """What is written beside a winner's weights."""
    kept = without_reparameterization(modifications_of(method))
    hyper_parameters = METHODS[method].defaults
    return TrainedConfig(
        method, hyper_parameters, kept, "classification", ["no", "yes"], ["text"], LabelScale(0.5, 2.0), 32, "fp32", backbone, "toy"
    )  # fmt: skip


@functools.cache
def laboratory(family: str) -> Laboratory:
    """Train every method that the family doesn't refuse."""
    backbone, complaints = backbone_of(family), _Complaints()
    frozen = {name: own.clone() for name, own in backbone.model.state_dict().items()}
    work = Work(backbone, _plan(), METRICS["accuracy"], outputs=2)
    together = {method: _run(method) for method in methods_on(family)}
    alone = {method: _run(method) for method in packable_on(family)}
    with no_pickling(), complaints:
        packing.train(work, list(together.values()), until=3)
        for run in alone.values():
            packing.train(work, [run], until=3)
    changed = [name for name, own in backbone.model.state_dict().items() if not torch.equal(own, frozen[name])]
    return Laboratory(family, together, alone, changed, complaints.found)


def _plan():
    return make_plan(6, (0.5,), len(SELECT), TrainingSettings(batch_size=8, min_steps=1, patience=50))


def _run(method: str) -> TrialRun:
    """Trials of a pack differ in size, learning rate and seed."""
    modifications, number = modifications_of(method), _number(method)
    whole = any(m.form is Form.FULL for m in modifications)
    return a_run(method, modifications, rate=1e-3 * (1 if whole else 1 + number % 4), seed=number)


class _Complaints(logging.Handler):
    """Collects what the training loop warns of: a pack that fails is tried again in halves, which would hide it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())

    def __enter__(self) -> None:
        logging.getLogger("pelt_automl.training").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("pelt_automl.training").removeHandler(self)
