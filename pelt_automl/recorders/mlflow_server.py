"""Where MLflow's records are kept, and a client for it that is quiet. MLflow is imported when it is first used."""

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pelt_automl.durable import creating
from pelt_automl.home import home

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOISY_LOGGERS = ("alembic", "mlflow.store", "mlflow.tracking", "urllib3.connectionpool")


def default_tracking_uri() -> str:
    """``$MLFLOW_TRACKING_URI``, else a SQLite file in `pelt_automl.home.home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """The database file of a ``sqlite:///`` URI; None for any other."""
    found = re.fullmatch(r"sqlite:///([^?]+)(\?.*)?", uri)
    return Path(found[1]).absolute() if found else None


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where a new experiment's artifacts go: beside the SQLite file; None lets a server decide."""
    file = sqlite_file(uri)
    return (file.parent / "mlartifacts" / slug(experiment)).as_uri() if file else None


def slug(name: str) -> str:
    """`name` with nothing but letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "task"


def make_client(uri: str) -> "MlflowClient":
    """A client without global state. Creates the SQLite file and its tables where there are none (1 to 2 seconds)."""
    from mlflow import MlflowClient

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    file = sqlite_file(uri)
    if file and not file.exists():
        _make_database(file)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database(file: Path) -> None:
    """Make the tables under another name: a kill in the middle would leave half of them, which MLflow never mends."""
    from mlflow import MlflowClient

    with suppress(FileExistsError), creating(file) as draft:  # another process was first: its file stays
        other = f"sqlite:///{draft}"
        MlflowClient(tracking_uri=other, registry_uri=other).search_experiments(max_results=1)
