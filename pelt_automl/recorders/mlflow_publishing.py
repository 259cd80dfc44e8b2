"""What goes to MLflow once a selection has ended: its output folder, and the winner in the model registry."""

from pathlib import Path
from typing import TYPE_CHECKING

from pelt_automl.recorders.mlflow_server import slug
from pelt_automl.records import SelectionStarted, VerdictReached

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FILES = ("report.md", "report.html", "recommendation.json", "records.jsonl")
WINNER = "winner"
ALIAS = "champion"
REGISTRATION_PATIENCE = 20
"""Seconds that a server may take to register a version."""


def upload(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """The folder's files as the run's artifacts. Those that aren't there are left out; those sent before are replaced."""
    for name in FILES:
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    if (folder / WINNER).is_dir():
        client.log_artifacts(run_id, str(folder / WINNER), WINNER)


def register_winner(client: "MlflowClient", run_id: str, selection: SelectionStarted, verdict: VerdictReached) -> str:
    """The run's winner as a version of the registered model ``pelt-<task>`` with the alias ``champion``; returns the version.

    Once a run: publishing it again only sets the alias. The weights load with `pelt_automl.load` from the folder that
    ``mlflow.artifacts.download_artifacts("models:/pelt-<task>@champion")`` returns.
    """
    name = f"pelt-{slug(selection.task)}"
    _ensure_registered_model(client, name, selection.task)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = versions[0] if versions else _create_version(client, name, run_id, selection, verdict)
    client.set_registered_model_alias(name, ALIAS, version.version)
    return str(version.version)


def _ensure_registered_model(client: "MlflowClient", name: str, task: str) -> None:
    from mlflow.exceptions import MlflowException

    if client.search_registered_models(f"name = '{name}'"):
        return
    try:
        client.create_registered_model(name, description=f"What pelt_automl recommended for the text task {task}, with its weights.")
    except MlflowException:
        # Another process may have been first; if not, the error is a real one.
        if not client.search_registered_models(f"name = '{name}'"):
            raise


def _create_version(client: "MlflowClient", name: str, run_id: str, selection: SelectionStarted, verdict: VerdictReached) -> "ModelVersion":
    source = f"{client.get_run(run_id).info.artifact_uri}/{WINNER}"
    score = "" if verdict.report_score is None else str(verdict.report_score)
    tags = {"method": verdict.method, "candidate": verdict.candidate, "model": selection.model, "report_metric": verdict.report_metric}
    return client.create_model_version(
        name, source, run_id, tags | {"report_score": score}, description=verdict.statement, await_creation_for=REGISTRATION_PATIENCE
    )
