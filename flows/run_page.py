"""What a selection leaves on its flow run's page in Prefect's UI: tags, report, leaderboard and a link."""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from pelt_automl.config import SearchSettings, SelectionSettings, TaskSettings
from pelt_automl.recorders import printable_uri
from pelt_automl.records import Standing, VerdictReached, of_kind, read

logger = logging.getLogger("pelt_automl.flows")
P = ParamSpec("P")


def task_name(task: TaskSettings) -> str:
    """How a task is called in names and tags; the train file's name for data of one's own."""
    return task.task or (task.train.stem if task.train else "task")


def select_name() -> str:
    """Name of the ``select-pelt`` run that is beginning. Prefect asks for it before the parameters are checked."""
    return name_for(flow_run.parameters)


def name_for(parameters: Mapping[str, Any]) -> str:
    """Name of a ``select-pelt`` run with these parameters: ``select-qnli-k100-seed0``."""
    ks = parameters.get("k")
    k = ",".join(map(str, ks)) if isinstance(ks, list) else ks or "full"
    return f"select-{_asked_task(parameters)}-k{k}-seed{parameters.get('seed', SearchSettings.seed)}"


def reproduction_name() -> str:
    """Name of a ``reproduce-unipelt`` run: ``reproduce-unipelt-minilm``."""
    return "-".join(["reproduce-unipelt", *filter(None, [flow_run.parameters.get("model")])])


def _asked_task(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("task") or Path(str(parameters.get("train") or "task")).stem)


def run_tags(settings: SelectionSettings) -> list[str]:
    """What one filters runs by in Prefect's UI."""
    k = "full" if settings.task.k is None else settings.task.k
    return [f"task:{task_name(settings.task)}", f"model:{settings.model}", f"k:{k}"]


def not_in_the_way(show: Callable[P, Any]) -> Callable[P, None]:
    """What is only for the eyes doesn't fail a run whose work is done: what keeps it from being shown is warned of."""

    @wraps(show)
    def shown(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is
            logger.warning("The run's page in Prefect's UI is incomplete (%s: %s). Nothing else is.", type(error).__name__, error)

    return shown


@not_in_the_way
def tag_this_run(names: Sequence[str]) -> None:
    """Add tags to the flow run that is running; outside one nothing happens."""
    if flow_run.id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, *names}))


@not_in_the_way
def leave_artifacts(folder: Path, task: str) -> None:
    """The report as Markdown, the leaderboard as a table, and links to this selection in MLflow, or to its folder."""
    key = _key(task)
    create_markdown_artifact((folder / "report.md").read_text(encoding="utf-8"), key=f"report-{key}", description=f"Selection for {task}")
    if rows := leaderboard(folder):
        create_table_artifact(rows, key=f"leaderboard-{key}", description="Finalists, best report score first")
    link, text = place(folder)
    create_link_artifact(link, text, key=f"records-{key}", description=f"Everything of this selection: {folder}")


@not_in_the_way
def leave_curve_artifacts(folder: Path, task: str) -> None:
    """A curve's report as Markdown, and a link to MLflow or to the folder."""
    page = (folder / "k-curve.md").read_text(encoding="utf-8")
    create_markdown_artifact(page, key=f"k-curve-{_key(task)}", description=f"Which method from which K on, for {task}")
    link, text = place(folder)
    create_link_artifact(link, text, key=f"records-{_key(task)}", description=f"Everything of this curve: {folder}")


def _key(task: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")


def leaderboard(folder: Path) -> list[dict[str, Any]]:
    """The verdict's finalists as table rows; empty where there is no verdict."""
    verdicts = of_kind(read(folder / "records.jsonl"), VerdictReached)
    return [_row(standing, verdicts[-1].report_metric) for standing in verdicts[-1].standings] if verdicts else []


def _row(standing: Standing, metric: str) -> dict[str, Any]:
    low, high = standing.report_interval
    return {
        "method": standing.method + (" (default)" if standing.is_default else ""),
        metric: f"{standing.report_score:.4f}",
        "95 %": f"{low:.4f} to {high:.4f}",
        "P(best)": f"{standing.p_best:.2f}",
        "tied": "yes" if standing.tied else "",
        "parameters": f"{standing.parameters:,}",
        "latency ms": _measured(standing.served_latency_ms),
        "memory GB": _measured(standing.memory_gb),
        "seconds": f"{standing.training_seconds:.1f}",
        "candidate": standing.candidate,
    }


def _measured(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def place(folder: Path) -> tuple[str, str]:
    """Link and text: MLflow's UI when its server is used, else the folder."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return (printable_uri(uri), "MLflow") if uri.startswith(("http://", "https://")) else (folder.as_uri(), str(folder))
