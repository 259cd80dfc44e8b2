"""Flow "reevaluate-tasks": the schedule's flow. Starts ``select-pelt`` for each task file that is new or has changed, data included.

First it closes the runs whose process was killed, and starts their selections again. It waits for none of the runs that it starts, so
that it can share one worker with them.
"""

import logging
from typing import TYPE_CHECKING, Any, cast

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

from flows.conduct import conducted, run_log
from flows.dead_runs import close_dead, is_dead, start_again
from flows.run_page import name_for
from flows.task_files import Due, TaskFile, due_files
from pelt_automl.errors import SettingsError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

DEPLOYMENT = "select-pelt/default"
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")


@flow(name="reevaluate-tasks", flow_run_name="reevaluate-{folder}")
@conducted
def reevaluate(folder: str = "tasks.d", dry_run: bool = False) -> Any:  # a flow's parameter
    """Start a selection for each task that is new, or whose file or data changed since its last verdict.

    Args:
        folder: Folder of task files (``*.yaml`` or ``*.yml``), inside the worker's working directory or its data folders.
        dry_run: Only say what would be started.

    Returns:
        A row a file: ``name``, ``what`` and ``outcome``. The flow fails, after everything else, when a file is wrong.
    """
    if not dry_run:
        recover()
    files = due_files(folder)
    rows = [{"name": due.name, "what": due.what, "outcome": outcome(due, dry_run=dry_run)} for due in files]
    create_markdown_artifact(summary(rows), key="reevaluated-tasks", description=f"Task files in {folder}")
    for row in rows:
        run_log().log(logging.ERROR if row["what"] == "problem" else logging.INFO, "%(name)s: %(what)s, %(outcome)s", one_line(row))
    problems = [due.why for due in files if due.what == "problem"]
    if problems:
        raise SettingsError("\n".join(problems))
    return rows


def recover() -> None:
    """Close what was killed, and start its selections again."""
    with get_client(sync_client=True) as client:
        for run in close_dead(client):
            run_log().warning("%s was still %s, but its process is gone; closed", run.name, run.state_name)
        for again in start_again(client):
            run_log().warning("%s", again)


def outcome(due: Due, *, dry_run: bool) -> str:
    """Start what is due; in words, what came of it."""
    if due.file is None or due.what == "up to date":
        return due.why
    tag = asked_tag(due.file)
    if (running := under_way(tag)) is not None:
        return f"a selection of it is under way: {running.name}, {running.state_name}"
    if dry_run:
        return f"would be started: {due.why}"
    started = run_deployment(
        DEPLOYMENT,
        parameters=due.file.parameters,
        flow_run_name=name_for(due.file.parameters),
        timeout=0,
        as_subflow=False,
        tags=["reevaluate-tasks", tag],
        # This flow may be run again after a kill: what it has started then isn't started twice.
        idempotency_key=f"{tag}-{flow_run.id}",
    )
    run = cast("FlowRun", started)  # a coroutine only where an event loop runs
    if run.state and run.state.is_final():
        return f"{run.name} was started for it before, by this run, and ended as {run.state_name}; the next run starts it again"
    return f"started as {run.name}: {due.why}"


def asked_tag(file: TaskFile) -> str:
    """A tag for runs that would answer the same question with the same effort."""
    return f"asked:{file.asked.question}-{file.asked.effort}"


def under_way(tag: str) -> "FlowRun | None":
    """A flow run with this tag that has neither ended nor been killed."""
    unfinished = FlowRunFilter.model_validate({"tags": {"all_": [tag]}, "state": {"type": {"any_": list(UNFINISHED)}}})
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=unfinished)
        return next((run for run in found if not is_dead(client, run)), None)


def one_line(row: dict[str, str]) -> dict[str, str]:
    """The row with its line breaks taken out."""
    return {name: " ".join(value.split()) for name, value in row.items()}


def summary(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return "The folder holds no task file (`*.yaml` or `*.yml`)."
    cells = [[row["name"], row["what"], row["outcome"].replace("|", "\\|")] for row in map(one_line, rows)]
    return "\n".join(["| task file | state | outcome |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in cells)]) + "\n"
