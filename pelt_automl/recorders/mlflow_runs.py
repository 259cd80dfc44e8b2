"""MLflow runs that are found again by their own key, so that nothing is recorded twice.

Everything goes through `MlflowClient` with explicit run ids: no active run, no state shared between threads or processes.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from pelt_automl.recorders.run_tree import RunContent, RunTree

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

KEY = "pelt.key"
"""Tag with the key by which a run is found again: the selection's, or ``<selection's>/<trial>``."""
STARTED = "pelt.started"
"""Tag of a parent run: when its selection first started, in seconds since the epoch. Tells two selections of one key apart."""
SENT = "pelt.sent"
"""Tag of a run that holds everything, once it has ended: the digest of its content. It comes with the last piece."""
MOST_METRICS, MOST_PARAMS_OR_TAGS = 800, 99
"""What one `log_batch` takes with the others, `SENT` included: 100 tags, and 1,000 of all kinds together."""
LONGEST_DIGEST = 36
"""Characters of a data set's digest."""


def milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return int(seconds * 1000)


class Runs:
    """The runs of one experiment."""

    def __init__(self, client: "MlflowClient", experiment: str, artifact_location: str | None, alive: Callable[[], None]) -> None:
        """Finds the experiment, or makes it with its artifacts at `artifact_location` (None: the server decides).

        `alive` is called after each answer of the server.
        """
        self._client, self._alive = client, alive
        self.experiment_id = _experiment(client, experiment, artifact_location)
        alive()

    def send(self, tree: RunTree) -> str:
        """The selection's run and those of its trainings, as `tree` has them; returns the id of the first.

        What is there already stays, and is ended: no run of a selection counts as running after this. The selection's own run counts as
        killed until `finish`.
        """
        parent_id = self._parent(tree)
        known = {run.data.tags.get(KEY, "").partition("/")[2]: run for run in self._search(f"tags.`mlflow.parentRunId` = '{parent_id}'")}
        data_sets = _data_sets(tree)
        for trial, content in tree.children.items():
            run = known.get(trial)
            if run and run.data.tags.get(SENT) == content.digest and run.info.status == content.status:
                continue
            tags = {KEY: f"{tree.selection.key}/{trial}", "mlflow.parentRunId": parent_id, "mlflow.source.name": "pelt-automl"}
            self._fill(run or self._create(content, tags), content, data_sets)
        for trial, run in known.items():
            if trial not in tree.children and run.info.status not in ("FINISHED", "FAILED", "KILLED"):
                self._end(run.info.run_id, "KILLED", tree.parent.ended)
        return parent_id

    def finish(self, run_id: str, content: RunContent) -> None:
        """The selection's run has everything."""
        self._end(run_id, content.status, content.ended)

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Sets one tag."""
        self._client.set_tag(run_id, key, value)
        self._alive()

    def tags(self, run_id: str) -> dict[str, str]:
        """All tags of a run."""
        return dict(self._client.get_run(run_id).data.tags)

    def _parent(self, tree: RunTree) -> str:
        """The selection's run, found by its key and start, or made; with its content, and as killed."""
        key = tree.selection.key
        found = [run for run in self._search(f"tags.`{KEY}` = '{key}'") if run.data.tags.get(STARTED) in tree.starts]
        if found and found[0].data.tags.get(SENT) == tree.parent.digest and found[0].info.status == tree.parent.status:
            return str(found[0].info.run_id)
        tags = {KEY: key, STARTED: repr(tree.selection.time), "mlflow.source.name": "pelt-automl"}
        run = found[0] if found else self._create(tree.parent, tags)
        self._end(run.info.run_id, "KILLED", tree.parent.ended)
        self._fill(run, tree.parent, _data_sets(tree), end=False)
        return str(run.info.run_id)

    def _create(self, content: RunContent, tags: dict[str, str]) -> "Run":
        run = self._client.create_run(self.experiment_id, milliseconds(content.started), tags, content.name)
        self._alive()
        return run

    def _fill(self, run: "Run", content: RunContent, data_sets: "list[DatasetInput]", *, end: bool = True) -> None:
        """Adds metrics, parameters, tags and data sets; at last that it has everything. Sending the same again changes nothing."""
        from mlflow.entities import Metric, Param, RunTag

        run_id = run.info.run_id
        metrics = [Metric(point.name, point.value, milliseconds(point.time), point.step) for point in content.points]
        # A parameter can't be changed, only added.
        params = [Param(name, value) for name, value in content.params.items() if name not in run.data.params]
        tags = [RunTag(name, value) for name, value in content.tags.items()]
        if data_sets:
            self._client.log_inputs(run_id, data_sets)
            self._alive()
        while metrics or params or tags:
            some = metrics[:MOST_METRICS], params[:MOST_PARAMS_OR_TAGS], tags[:MOST_PARAMS_OR_TAGS]
            del metrics[:MOST_METRICS], params[:MOST_PARAMS_OR_TAGS], tags[:MOST_PARAMS_OR_TAGS]
            if not (metrics or params or tags):
                some[2].append(RunTag(SENT, content.digest))
            self._client.log_batch(run_id, *some)
            self._alive()
        if end:
            self._end(run_id, content.status, content.ended)

    def _end(self, run_id: str, status: str, time: float) -> None:
        self._client.set_terminated(run_id, status, milliseconds(time))
        self._alive()

    def _search(self, condition: str) -> "list[Run]":
        """Newest first."""
        runs: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self.experiment_id], condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token or None
            )
            self._alive()
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


def _data_sets(tree: RunTree) -> "list[DatasetInput]":
    """The task's data by name, hash, sizes and columns, never its texts: what MLflow shows in its column "Dataset"."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = tree.data
    if data is None or not data.hashes.get("data"):
        return []
    settings = tree.selection.settings.get("task") or {}
    texts = settings.get("text_columns") or ["text"]
    columns = [{"name": str(name), "type": "string", "required": True} for name in texts]
    label = {"name": str(settings.get("label_column") or "label"), "type": "string" if data.labels else "double", "required": True}
    profile = {"num_rows": sum(data.sizes.values()), "classes": len(data.labels)} | {
        f"{name}_rows": size for name, size in data.sizes.items()
    }
    entity = Dataset(
        name=data.task,
        digest=data.hashes["data"][:LONGEST_DIGEST],
        source_type="pelt_automl",
        source=json.dumps({"task": data.task, "sha256": data.hashes["data"]}),
        schema=json.dumps({"mlflow_colspec": [*columns, label]}),
        profile=json.dumps(profile),
    )
    return [DatasetInput(entity, [InputTag("mlflow.data.context", "selection")])]
