"""MLflow runs that are found again by their own key, so that nothing is recorded twice.

Everything goes through `MlflowClient` with explicit run ids: no active run, no state shared between threads or processes.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

T = TypeVar("T")

KEY = "pelt.key"
"""Tag with the key by which a run is found again: the selection's, or ``<selection's>/<trial>``."""
STARTED = "pelt.started"
"""Tag of a parent run: when its selection first started, in seconds since the epoch. Tells two selections of one key apart."""
RECORDED = "pelt.recorded"
"""Tag of a child run: the time of the `TrialEnded` event that it holds whole."""
MOST_METRICS = 1000
MOST_PARAMS_OR_TAGS = 100
"""What one `log_batch` may hold."""
LONGEST_VALUE = 5000
"""Characters of a tag or parameter that are kept (MLflow's limits are 8,000 and 6,000)."""


def milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return int(seconds * 1000)


def metrics_at(time: float, values: Mapping[str, float | None], step: int = 0) -> "list[Metric]":
    """Metrics of one moment and step. Values that are missing or not finite are left out."""
    from mlflow.entities import Metric

    return [
        Metric(_name(key), float(value), milliseconds(time), step)
        for key, value in values.items()
        if value is not None and math.isfinite(value)
    ]


class Runs:
    """The runs of one experiment."""

    def __init__(self, client: "MlflowClient", experiment: str, artifact_location: str | None) -> None:
        """Finds the experiment, or makes it with its artifacts at `artifact_location` (None: the server decides)."""
        self._client = client
        self.experiment_id = _experiment(client, experiment, artifact_location)

    def find_parents(self, key: str) -> "list[Run]":
        """The parent runs of selections with this key, newest first."""
        return self._search(f"tags.`{KEY}` = '{key}'")

    def children(self, parent_id: str) -> "list[Run]":
        """The runs of a selection's trials and finalists."""
        return self._search(f"tags.`mlflow.parentRunId` = '{parent_id}'")

    def create(self, name: str, tags: Mapping[str, object], started: float) -> str:
        """A new run, which counts as running; returns its id."""
        run = self._client.create_run(self.experiment_id, milliseconds(started), _texts(tags), name)
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        metrics: "Sequence[Metric]" = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Adds metrics, parameters and tags. Sending the same again changes nothing."""
        from mlflow.entities import Param, RunTag

        for some_metrics in _batches(metrics, MOST_METRICS):
            self._client.log_batch(run_id, metrics=some_metrics)
        for some_params in _batches(_texts(params or {}).items(), MOST_PARAMS_OR_TAGS):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in some_params])
        for some_tags in _batches(_texts(tags or {}).items(), MOST_PARAMS_OR_TAGS):
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in some_tags])

    def reopen(self, run_id: str) -> None:
        """The run counts as running again."""
        self._client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, status: str, time: float) -> None:
        """`status` is MLflow's: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._client.set_terminated(run_id, status, milliseconds(time))

    def _search(self, condition: str) -> "list[Run]":
        runs: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self.experiment_id], condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token or None
            )
            runs += page
            token = page.token or None
        return runs


def _experiment(client: "MlflowClient", name: str, artifact_location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location))
        except MlflowException:
            # Another process may have been first; if not, the error is a real one.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _name(key: str) -> str:
    """`key` with the characters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "_", key)[:250]


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {_name(key): str(value)[:LONGEST_VALUE] for key, value in values.items() if value is not None}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dots in the names."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result
