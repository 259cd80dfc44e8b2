"""Where a selection's events go: a JSON lines file, which is the truth, and MLflow beside it. MLflow is imported only here."""

from collections.abc import Callable
from pathlib import Path

from pelt_automl.recorders.background import BackgroundRecorder
from pelt_automl.recorders.jsonl import JsonlRecorder
from pelt_automl.recorders.mlflow_recorder import MlflowRecorder
from pelt_automl.recorders.mlflow_server import default_tracking_uri, printable_uri
from pelt_automl.recorders.safe import SafeRecorder
from pelt_automl.records import Planned, Recorder, TrialEnded


def _mlflow(_folder: Path) -> Recorder:
    safe = SafeRecorder(f"MLflow at {printable_uri(default_tracking_uri())}", MlflowRecorder)
    return BackgroundRecorder(safe, begins_with=(Planned, TrialEnded))


RECORDERS: dict[str, Callable[[Path], Recorder]] = {
    "jsonl": lambda folder: JsonlRecorder(folder / "records.jsonl"),
    "mlflow": _mlflow,
}
"""By name, what makes the recorder of a selection with this output folder. ``jsonl`` may raise; the others report and go on."""

__all__ = [
    "RECORDERS",
    "BackgroundRecorder",
    "JsonlRecorder",
    "MlflowRecorder",
    "SafeRecorder",
    "default_tracking_uri",
    "printable_uri",
]
