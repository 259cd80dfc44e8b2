"""Flow "reevaluate-tasks": the schedule's flow. Starts ``select-pelt`` for each task file that is new or whose data changed.

It waits for none of the runs that it starts, so that it can share one worker with them.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.deployments import run_deployment
from prefect.states import Failed

from flows.clear_failures import clear_failure
from flows.task_files import Due, TaskFile, due_files

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

DEPLOYMENT = "select-pelt/default"
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")


@flow(name="reevaluate-tasks", flow_run_name="reevaluate-{folder}")
@clear_failure
def reevaluate(folder: str = "tasks.d", dry_run: bool = False) -> Any:  # a flow's parameter
    """Start a selection for each task that is new or whose data changed since its last verdict.

    Args:
        folder: Folder of task files (``*.yaml`` or ``*.yml``), inside the worker's working directory or its data folders.
        dry_run: Only say what would be started.

    Returns:
        A row a file: ``name``, ``what`` and ``outcome``. The flow fails, after everything else, when a file is wrong.
    """
    files = due_files(folder)
    rows = [{"name": due.name, "what": due.what, "outcome": outcome(due, dry_run=dry_run)} for due in files]
    create_markdown_artifact(summary(rows), key="reevaluated-tasks", description=f"Task files in {folder}")
    for row in rows:
        get_run_logger().info("%(name)s: %(what)s, %(outcome)s", row)
    problems = [due.why for due in files if due.what == "problem"]
    return Failed(message="\n".join(problems)) if problems else rows


def outcome(due: Due, *, dry_run: bool) -> str:
    """Start what is due; in words, what came of it."""
    if due.file is None or due.what == "up to date":
        return due.why
    tag = question(due.file)
    if is_under_way(tag):
        return "a selection of it is under way"
    if dry_run:
        return f"would be started: {due.why}"
    started = run_deployment(
        DEPLOYMENT,
        parameters=due.file.parameters,
        timeout=0,
        as_subflow=False,
        tags=["reevaluate-tasks", tag],
        # With the day: a run that failed is tried again the next night, and never twice in one.
        idempotency_key=f"{tag}-{datetime.now(UTC):%Y-%m-%d}",
    )
    run = cast("FlowRun", started)  # a coroutine only where an event loop runs
    return f"started as {run.name}: {due.why}"


def question(file: TaskFile) -> str:
    """A tag for runs that would answer the same question: the same parameters on the same data."""
    text = json.dumps([file.parameters, file.data_hash], sort_keys=True, default=str)
    return "question:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def is_under_way(tag: str) -> bool:
    """Whether a flow run with this tag has neither ended nor failed."""
    unfinished = FlowRunFilter.model_validate({"tags": {"all_": [tag]}, "state": {"type": {"any_": list(UNFINISHED)}}})
    with get_client(sync_client=True) as client:
        return bool(client.read_flow_runs(flow_run_filter=unfinished, limit=1))


def summary(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return "The folder holds no task file (`*.yaml` or `*.yml`)."
    cells = [[row["name"], row["what"], " ".join(row["outcome"].split()).replace("|", "\\|")] for row in rows]
    return "\n".join(["| task file | state | outcome |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in cells)]) + "\n"
