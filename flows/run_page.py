"""What a selection leaves on its flow run's page in Prefect's UI: tags, report, leaderboard and links."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from uuid import UUID

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from pelt_automl.log.folder import REPORT, history_of
from pelt_automl.recorders import sent_of
from pelt_automl.settings import SearchSettings, SelectionSettings, TaskSettings

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
    task = parameters.get("task") or Path(str(parameters.get("train") or "task")).stem
    return f"select-{task}-k{k}-seed{parameters.get('seed', SearchSettings.seed)}"


def reproduction_name() -> str:
    """Name of a ``reproduce-unipelt`` run: ``reproduce-unipelt-minilm``."""
    return "-".join(["reproduce-unipelt", *filter(None, [flow_run.parameters.get("model")])])


def run_tags(settings: SelectionSettings) -> list[str]:
    """What one filters runs by in Prefect's UI."""
    k = "full" if settings.task.k is None else settings.task.k
    return [f"task:{task_name(settings.task)}", f"model:{settings.model}", f"k:{k}"]


def selection_tag(key: str) -> str:
    """By which all flow runs of one selection are found, whoever has started them: its key, as the records have it."""
    return f"selection:{key}"


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
            there = client.read_flow_run(UUID(flow_run.id)).tags
            client.update_flow_run(UUID(flow_run.id), tags=sorted({*there, *names}))


@not_in_the_way
def leave_artifacts(folder: Path, task: str) -> None:
    """The report as Markdown, the leaderboard as a table, and links to its folder and to this selection in MLflow."""
    key = artifact_key(task)
    create_markdown_artifact((folder / REPORT).read_text(encoding="utf-8"), key=f"report-{key}", description=f"Selection for {task}")
    if rows := leaderboard(folder):
        create_table_artifact(rows, key=f"leaderboard-{key}", description="Finalists, best report score first")
    leave_links(folder, key)


@not_in_the_way
def leave_curve_artifacts(folder: Path, task: str) -> None:
    """A curve's report as Markdown, and links."""
    page = (folder / "k-curve.md").read_text(encoding="utf-8")
    create_markdown_artifact(page, key=f"k-curve-{artifact_key(task)}", description=f"Which method from which K on, for {task}")
    leave_links(folder, artifact_key(task))


def leave_links(folder: Path, key: str) -> None:
    """Links to the folder and, where an MLflow server has them, to its runs, reports and registered versions."""
    create_link_artifact(folder.as_uri(), str(folder), key=f"records-{key}", description=f"Everything that was written: {folder}")
    for what, (address, text) in mlflow_links(folder).items():
        create_link_artifact(address, text, key=artifact_key(f"mlflow-{what}-{key}"), description=text)


def artifact_key(task: str) -> str:
    """A name as Prefect wants it of an artifact: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")


def leaderboard(folder: Path) -> list[dict[str, Any]]:
    """The verdict's finalists as table rows; empty where there is no verdict."""
    if (verdict := history_of(folder).verdict) is None:
        return []
    return [
        {
            "method": row.method + (" (default)" if row.is_default else ""),
            verdict.report_metric: f"{row.report_score:.4f}",
            "95 %": f"{row.report_interval[0]:.4f} to {row.report_interval[1]:.4f}",
            "P(best)": f"{row.p_best:.2f}",
            "tied": "yes" if row.tied else "",
            "parameters": f"{row.parameters:,}",
            "latency ms": "" if row.served_latency_ms is None else f"{row.served_latency_ms:.2f}",
            "memory GB": "" if row.memory_gb is None else f"{row.memory_gb:.2f}",
            "seconds": f"{row.training_seconds:.1f}",
            "candidate": row.candidate,
        }
        for row in verdict.standings
    ]


def mlflow_links(folder: Path) -> dict[str, tuple[str, str]]:
    """Where MLflow's server has this selection, or each selection of this curve: address and text, by what they show (``run``, ``report``,
    ``version``; of a curve with its folder: ``run-k-50``). Empty where it hasn't, or where there is only a file.
    """
    links = {}
    for place in [folder, *sorted(path.parent for path in folder.glob("*/mlflow.json"))]:
        sent, inside = sent_of(place), "" if place == folder else f"-{place.name}"
        if sent is None or not sent.run_page:
            continue
        links[f"run{inside}"] = sent.run_page, f"{place.name}: its run in MLflow"
        links[f"report{inside}"] = f"{sent.run_page}/artifacts/report.html", f"{place.name}: its report in MLflow"
        if sent.version_page:
            links[f"version{inside}"] = sent.version_page, f"{place.name}: its winner, {sent.model} version {sent.version}"
    return links


def where(folder: Path, report: str) -> str:
    """The last lines of a run's log: where everything is."""
    return "\n".join([f"Report: {folder / report}", *(f"{text}: {address}" for address, text in mlflow_links(folder).values())])
