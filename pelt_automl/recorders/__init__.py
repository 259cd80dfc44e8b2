"""Where a selection's events go: a JSON lines file, which is the truth, and from there to MLflow. MLflow is imported only here."""

from collections.abc import Callable
from pathlib import Path

from pelt_automl.log.events import Recorder
from pelt_automl.log.folder import RECORDS, JsonlRecorder
from pelt_automl.recorders.mlflow_server import default_tracking_uri
from pelt_automl.recorders.sending import MlflowRecorder, Sent, is_sent, send_folder, sent_of

RECORDERS: dict[str, Callable[[Path], Recorder]] = {
    "jsonl": lambda folder: JsonlRecorder(folder / RECORDS),
    "mlflow": lambda _folder: MlflowRecorder(),
}
"""By name, what makes the recorder of a selection with this output folder. ``jsonl`` may raise; the others report and go on."""

__all__ = [
    "RECORDERS",
    "JsonlRecorder",
    "MlflowRecorder",
    "Sent",
    "default_tracking_uri",
    "is_sent",
    "send_folder",
    "sent_of",
]
