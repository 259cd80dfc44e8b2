"""Which parameter-efficient tuning method should I use for this text task, with this much data, and with which settings?

``select(task=..., ...)`` answers with a `Recommendation`, ``k_curve(task=..., k=[50, 100, 200], ...)`` with the method to use from which
number of labeled examples on; ``load(path)`` gives a trained winner, ready to predict.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pelt_automl.errors import PeltError

if TYPE_CHECKING:
    from pelt_automl.curve import KCurve, k_curve
    from pelt_automl.report import Recommendation
    from pelt_automl.selection import Selection, select
    from pelt_automl.training.predicting import Predictor

__version__ = "0.1.0"

BEHAVIOUR = 11
"""Version of what the program decides and how it trains. Raise it with every change of an algorithm: records of another version are
not continued, and their answers don't count as up to date. `tests/golden` fails when decisions change and this number doesn't."""

__all__ = ["KCurve", "PeltError", "Predictor", "Recommendation", "Selection", "k_curve", "load", "select"]

_LAZY = {
    "KCurve": "pelt_automl.curve",
    "Predictor": "pelt_automl.training.predicting",
    "Recommendation": "pelt_automl.report",
    "Selection": "pelt_automl.selection",
    "k_curve": "pelt_automl.curve",
    "select": "pelt_automl.selection",
}
"""Where the public names live: torch and its like are imported when one of them is used, not before."""


def load(path: Any, *, model: Any = None) -> "Predictor":
    """The trained winner of a selection, from the selection's folder or its ``winner`` folder.

    `model` says where its pretrained model is now, when that isn't where it was in training: a folder, a Hub name or ``minilm``.
    A bag of words has none, and loads none.
    Raises `SelectionError` when there is no winner, `BackboneError` when its pretrained model can't be had or has other weights.
    """
    from pathlib import Path

    from pelt_automl.training.predicting import winner_of

    found: Predictor = import_module("pelt_automl.baselines").load_winner(winner_of(Path(path)), model=model)
    return found


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pelt_automl' has no attribute {name!r}")
