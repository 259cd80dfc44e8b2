"""A selection's folder in MLflow: one experiment a text task, one run a selection, one child run a training, the winner in the registry.

`sync` is idempotent: each run, file and version is found by its own tag before it is made. So it may be called again after it was
killed or the server was away, and completes what is missing. Everything goes through `MlflowClient` with explicit run ids: no active run,
no state shared between threads or processes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl.log.files import is_reference
from pelt_automl.log.folder import OUTPUTS, PAGE, RECOMMENDATION, RECORDS, REPORT, WINNER, history_of
from pelt_automl.recorders.mlflow_registry import register_winner
from pelt_automl.recorders.mlflow_server import Client, artifact_location, found_or_made, make_client
from pelt_automl.recorders.run_tree import RunContent, RunTree, run_tree
from pelt_automl.recorders.sending import Sent
from pelt_automl.tasks.kinds import KINDS

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

FILES = (REPORT, PAGE, RECOMMENDATION, RECORDS)
FILES_SENT = "pelt.files"
"""Tag of a run: the digest of the files that it has."""
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


def sync(folder: Path, uri: str, alive: Callable[[], None] = lambda: None, sending: Callable[[float], None] = lambda _: None) -> Sent:
    """Bring MLflow at `uri` up to date with a selection's folder, ended or not, and say what MLflow has now.

    No run of a selection counts as running after this; the selection's own counts as killed until it has everything. `alive` is called
    whenever the server has answered, `sending` with a number of bytes before they are sent. Raises `SelectionError` for a folder without
    records, and whatever MLflow raises when it is away.
    """
    tree = run_tree(history_of(folder))
    client, task = make_client(uri, alive), tree.selection.task
    experiment = _experiment(client, task, artifact_location(uri, task))
    run_id, data_sets = _parent(client, experiment, tree), _data_sets(tree)
    children = _search(client, experiment, f"tags.`mlflow.parentRunId` = '{run_id}'")
    known = {run.data.tags.get(KEY, "").partition("/")[2]: run for run in children}
    for trial, content in tree.children.items():
        run = known.pop(trial, None)
        if run and run.data.tags.get(SENT) == content.digest and run.info.status == content.status:
            continue
        tags = {KEY: f"{tree.selection.key}/{trial}", "mlflow.parentRunId": run_id}
        _fill(client, run or _create(client, experiment, content, tags), content, data_sets)
    for run in known.values():
        if run.info.status not in ("FINISHED", "FAILED", "KILLED"):
            client.set_terminated(run.info.run_id, "KILLED", _milliseconds(tree.parent.ended))
    digest = _digest(folder)
    if client.get_run(run_id).data.tags.get(FILES_SENT) != digest:
        for path in [folder / name for name in FILES if (folder / name).is_file()]:
            sending(path.stat().st_size)
            client.log_artifact(run_id, str(path))
        for path in _outputs(folder):
            sending(path.stat().st_size)
            client.log_artifact(run_id, str(path), OUTPUTS)
        client.set_tag(run_id, FILES_SENT, digest)
    ended = tree.history.end is not None
    winner = ended and tree.history.verdict and (folder / WINNER).is_dir()
    model, version, said = register_winner(client, run_id, folder, tree, sending) if winner else ("", "", "")
    _end(client, run_id, tree.parent)
    return Sent("", "", ended, experiment, run_id, len(tree.children), model, version, said)


def _experiment(client: Client, name: str, artifacts: str | None) -> str:
    """Its id. It is made with its artifacts at `artifacts` (None: the server decides), or taken out of the trash."""
    found = found_or_made(
        lambda: client.get_experiment_by_name(name), lambda: client.get_experiment(client.create_experiment(name, artifacts))
    )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _parent(client: Client, experiment: str, tree: RunTree) -> str:
    """The id of the selection's run, found by its key and start, or made; with its content, and as killed."""
    key, starts = tree.selection.key, {repr(start.time) for start in tree.starts}
    found = [run for run in _search(client, experiment, f"tags.`{KEY}` = '{key}'") if run.data.tags.get(STARTED) in starts]
    if found and found[0].data.tags.get(SENT) == tree.parent.digest and found[0].info.status == tree.parent.status:
        return str(found[0].info.run_id)
    run = found[0] if found else _create(client, experiment, tree.parent, {KEY: key, STARTED: repr(tree.selection.time)})
    client.set_terminated(run.info.run_id, "KILLED", _milliseconds(tree.parent.ended))
    _fill(client, run, tree.parent, _data_sets(tree), end=False)
    return str(run.info.run_id)


def _create(client: Client, experiment: str, content: RunContent, tags: Mapping[str, str]) -> "Run":
    tags = {**tags, "mlflow.source.name": "pelt-automl"}
    run: Run = client.create_run(experiment, _milliseconds(content.started), tags, content.name)
    return run


def _fill(client: Client, run: "Run", content: RunContent, data_sets: "list[DatasetInput]", *, end: bool = True) -> None:
    """Adds metrics, parameters, tags and data sets; at last that it has everything. Sending the same again changes nothing."""
    from mlflow.entities import Metric, Param, RunTag

    run_id = run.info.run_id
    metrics = [Metric(point.name, point.value, _milliseconds(point.time), point.step) for point in content.points]
    # A parameter can't be changed, only added.
    params = [Param(name, value) for name, value in content.params.items() if name not in run.data.params]
    tags = [RunTag(name, value) for name, value in content.tags.items()]
    if data_sets:
        client.log_inputs(run_id, data_sets)
    while metrics or params or tags:
        some = metrics[:MOST_METRICS], params[:MOST_PARAMS_OR_TAGS], tags[:MOST_PARAMS_OR_TAGS]
        del metrics[:MOST_METRICS], params[:MOST_PARAMS_OR_TAGS], tags[:MOST_PARAMS_OR_TAGS]
        if not (metrics or params or tags):
            some[2].append(RunTag(SENT, content.digest))
        client.log_batch(run_id, *some)
    if end:
        _end(client, run_id, content)


def _end(client: Client, run_id: str, content: RunContent) -> None:
    client.set_terminated(run_id, content.status, _milliseconds(content.ended))


def _search(client: Client, experiment: str, condition: str) -> "list[Run]":
    """Newest first."""
    runs: list[Run] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            [experiment], condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token or None
        )
        runs += page
        token = page.token or None
    return runs


def _milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return int(seconds * 1000)


def _outputs(folder: Path) -> list[Path]:
    """The files of outputs; no draft of a killed process, and nothing that somebody else has put or linked there."""
    return sorted(path for path in (folder / OUTPUTS).glob("*") if is_reference(path.name) and path.is_file() and not path.is_symlink())


def _digest(folder: Path) -> str:
    """The same for the same files, outputs by their names, which are hashes of what is in them: 16 hex digits."""
    whole = hashlib.sha256("".join(path.name for path in _outputs(folder)).encode())
    for path in [folder / name for name in FILES if (folder / name).is_file()]:
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _data_sets(tree: RunTree) -> "list[DatasetInput]":
    """The task's data by name, hash, sizes and columns, never its texts: what MLflow shows in its column "Dataset"."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = tree.data
    if data is None or not data.hashes.get("data"):
        return []
    settings = tree.selection.settings.get("task") or {}
    columns = [{"name": str(name), "type": "string", "required": True} for name in settings.get("text_columns") or ["text"]]
    label = {
        "name": str(settings.get("label_column") or "label"),
        "type": "double" if isinstance(KINDS[data.kind].example, float) else "string",
        "required": True,
    }
    profile: dict[str, Any] = {"num_rows": sum(data.sizes.values()), "classes": len(data.labels)}
    entity = Dataset(
        name=data.task,
        digest=data.hashes["data"][:LONGEST_DIGEST],
        source_type="pelt_automl",
        source=json.dumps({"task": data.task, "sha256": data.hashes["data"]}),
        schema=json.dumps({"mlflow_colspec": [*columns, label]}),
        profile=json.dumps(profile | {f"{name}_rows": size for name, size in data.sizes.items()}),
    )
    return [DatasetInput(entity, [InputTag("mlflow.data.context", "selection")])]
