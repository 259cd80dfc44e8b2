"""What every fitted contender offers, and its two files: safetensors and JSON."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelt_automl.baselines.cross_validation import CrossValidation
from pelt_automl.durable import write_text
from pelt_automl.errors import SelectionError
from pelt_automl.log.codec import checked
from pelt_automl.tasks import Examples
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.training.checkpoints import WEIGHTS, load_tensors, save_tensors

FACTS = "baseline.json"
FORMAT = 1

Form = Literal["head", "apart", "words", "neighbors"]
"""What is kept: a head's last map, a map of two texts' own features, weights of words, or examples."""


@dataclass(frozen=True)
class Facts:
    """A contender's JSON file: all but its numbers."""

    name: str
    """In `BASELINES`."""
    form: Form
    outputs: int
    """Number of classes or labels, 1 for regression."""
    settings: dict[str, float]
    """What was chosen by cross-validation: ``strength``, or the number of ``neighbors``."""
    scale: LabelScale = field(default_factory=LabelScale)
    """Of a head's numbers; the others give them in the labels' unit."""
    validation: CrossValidation | None = None
    several: bool = False
    """Whether an example has any number of labels, so that the outputs are a logit for each; of `neighbors` alone."""
    format: int = FORMAT


class Fitted(ABC):
    """A contender that has seen its examples. It doesn't change any more."""

    def __init__(self, facts: Facts) -> None:
        """Subclasses add their numbers."""
        self.facts = facts

    @property
    def settings(self) -> Mapping[str, float]:
        """What was chosen by cross-validation: ``strength``, or the number of ``neighbors``."""
        return self.facts.settings

    @property
    def validation(self) -> CrossValidation | None:
        """Of the cross-validation inside train; None where it has too few examples, or too similar ones, for folds."""
        return self.facts.validation

    @property
    def parameters(self) -> int:
        """Numbers that are kept."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The numbers, by name."""

    @abstractmethod
    def outputs(self, examples: Examples) -> NDArray[np.float64]:
        """``(n, C)``, logits or log probabilities; for numbers ``(n, 1)``, in the labels' unit. Labels of `examples` aren't looked at."""

    def head(self) -> Mapping[str, Tensor] | None:
        """``weight`` ``(C, H)`` and, where the family's head has one, ``bias`` ``(C,)``; None where it is no head.

        For numbers in units of the labels' deviation (see `Facts.scale`). Of a family with a hidden layer in its head: behind that layer at
        its initialization by the seed `HIDDEN_LAYER_SEED`.
        """
        return None

    def save(self, folder: Path) -> None:
        """Write `FACTS` and the weights into `folder`, which is made if need be; what is there of that name is replaced."""
        save_tensors(folder / WEIGHTS, self.tensors())
        write_text(folder / FACTS, json.dumps(asdict(self.facts), indent=2) + "\n")


def read_facts(folder: Path) -> Facts:
    """Raises `SelectionError` when the file can't be read, or isn't one that this version has written."""
    path = folder / FACTS
    try:
        facts = read_json(path, Facts)
    except OSError as error:
        raise SelectionError(f"{folder} holds no fitted baseline: {FACTS} can't be read ({error.strerror})") from error
    if facts.format != FORMAT:
        raise SelectionError(f"{path} has the format {facts.format}; this version reads {FORMAT}")
    if facts.outputs < 1:
        raise SelectionError(f"{path} isn't a file that this version has written: outputs is {facts.outputs}")
    return facts


T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """A file's content as a `kind`. Raises `OSError`, and `SelectionError` when it is something else."""
    try:
        return checked(kind, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise SelectionError(f"{path} isn't a file that this version has written: {error}") from error


def read_numbers(folder: Path, **shapes: tuple[int | None, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of a contender by name, each with this shape (None: any length).

    Raises `SelectionError` for a file that is damaged, or has others.
    """
    path = folder / WEIGHTS
    tensors, _ = load_tensors(path)
    fits = set(tensors) == set(shapes) and all(
        len(tensors[name].shape) == len(shape)
        and all(wanted in (None, own) for own, wanted in zip(tensors[name].shape, shape, strict=True))
        for name, shape in shapes.items()
    )
    if not fits or not all(tensor.is_floating_point() and bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
        wanted = ", ".join(f"{name} ({', '.join('any' if n is None else str(n) for n in shape)})" for name, shape in sorted(shapes.items()))
        raise SelectionError(f"{path} doesn't fit its configuration: finite numbers {wanted} are expected, {found or 'nothing'} is there")
    return {name: tensor.numpy() for name, tensor in tensors.items()}
