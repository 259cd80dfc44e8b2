"""Where MLflow's records are kept, and a client for it that is quiet. MLflow is imported when it is first used."""

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

from pelt_automl.durable import creating
from pelt_automl.home import home

NOISY_LOGGERS = ("alembic", "mlflow.store", "mlflow.tracking", "urllib3.connectionpool")

Client: TypeAlias = Any
"""An `MlflowClient`, or one that says after each answer that the server is alive."""


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


def make_client(uri: str, alive: Callable[[], None] | None = None) -> Client:
    """A client without global state. Creates the SQLite file and its tables where there are none (1 to 2 seconds).

    `alive` is called after each answer of the server.
    """
    from mlflow import MlflowClient

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    file = sqlite_file(uri)
    if file and not file.exists():
        # Under another name: a kill in the middle would leave half of the tables, which MLflow never mends.
        with suppress(FileExistsError), creating(file) as draft:  # another process was first: its file stays
            other = f"sqlite:///{draft}"
            MlflowClient(tracking_uri=other, registry_uri=other).search_experiments(max_results=1)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    if alive is None:
        return client
    alive()
    return _Heard(client, alive)


class _Heard:
    """A client that calls `alive` after each answer."""

    def __init__(self, client: Client, alive: Callable[[], None]) -> None:
        self._client, self._alive = client, alive

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)

        @wraps(call)
        def heard(*args: Any, **kwargs: Any) -> Any:
            found = call(*args, **kwargs)
            self._alive()
            return found

        return heard


def found_or_made(find: Callable[[], Any], make: Callable[[], Any]) -> Any:
    """What `find` finds, else what `make` makes, unless another process was first."""
    from mlflow.exceptions import MlflowException

    if found := find():
        return found
    try:
        return make()
    except MlflowException:
        if found := find():
            return found
        raise
