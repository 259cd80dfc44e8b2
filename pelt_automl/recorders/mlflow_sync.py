"""A selection's folder in MLflow: one experiment a text task, one run a selection, one child run a training, the winner in the registry.

`send` is idempotent: each run, file and version is found by its own tag before it is made. So it may be called again after it was
killed or the server was away, and completes what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.log.codec import read
from pelt_automl.log.folder import RECORDS, WINNER
from pelt_automl.recorders.mlflow_registry import FILES_SENT, Registered, files_digest, register_winner, upload_files
from pelt_automl.recorders.mlflow_runs import Runs
from pelt_automl.recorders.mlflow_server import artifact_location, make_client
from pelt_automl.recorders.run_tree import run_tree


@dataclass(frozen=True)
class Receipt:
    """What MLflow has now."""

    experiment: str
    run: str
    """Ids of the experiment and of the selection's run."""
    trainings: int
    complete: bool
    """Whether the selection has ended."""
    registered: Registered | None
    """None where there is no winner."""


def _nothing(_: float = 0) -> None:
    pass


def send(folder: Path, uri: str, alive: Callable[[], None] = _nothing, sending: Callable[[float], None] = _nothing) -> Receipt:
    """Bring MLflow at `uri` up to date with a selection's folder.

    `alive` is called whenever the server has answered, `sending` with a number of bytes before they are sent. Raises `SelectionError`
    for a folder without records, and whatever MLflow raises when it is away.
    """
    tree = run_tree(list(read(folder / RECORDS)))
    client = make_client(uri)
    alive()
    runs = Runs(client, tree.selection.task, artifact_location(uri, tree.selection.task), alive)
    run_id = runs.send(tree)
    digest = files_digest(folder)
    if runs.tags(run_id).get(FILES_SENT) != digest:
        upload_files(client, run_id, folder, sending)
        runs.tag(run_id, FILES_SENT, digest)
    registered = None
    if tree.ended and tree.verdict and (folder / WINNER).is_dir():
        registered = register_winner(client, run_id, folder, tree, sending)
    runs.finish(run_id, tree.parent)
    return Receipt(str(runs.experiment_id), run_id, len(tree.children), tree.ended, registered)
