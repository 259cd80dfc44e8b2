"""Flow "reevaluate-tasks": starts ``select-pelt`` for each task file that is new, has changed, data included, or has an old verdict.

By the schedule for all of a folder, and for one task when an event announces it (`pelt-automl tasks announce`). First it closes the runs
whose process was killed, and starts their selections again. It waits for none of the runs that it starts, so that it can share one worker
with them.
"""

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled

from flows.conduct import conducted, run_log
from flows.dead_runs import is_dead
from flows.not_found import as_not_found, refused
from flows.resume_killed import recover
from flows.run_page import name_for, not_in_the_way
from flows.task_files import Due, TaskFile, due_announced, due_files, last_verdicts
from flows.verdict_changes import change_to, changes_table, in_words, send
from pelt_automl.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

DEPLOYMENT = "select-pelt/default"
NEVER = datetime.max.replace(tzinfo=UTC)
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")


@flow(name="reevaluate-tasks", flow_run_name="reevaluate-{folder}")
@conducted
def reevaluate(
    folder: str = "tasks.d",
    dry_run: bool = False,  # a flow's parameter
    max_age: float | None = None,
    announced: dict[str, Any] | None = None,
) -> Any:
    """Start a selection for each task that is new, whose file or data changed since its last verdict, or whose verdict is old.

    Args:
        folder: Folder of task files (``*.yaml`` or ``*.yml``), inside the worker's working directory or its data folders.
        dry_run: Only say what would be started.
        max_age: Days after which a verdict is old, and its selection is run again in another folder; never, where it isn't given.
        announced: One task in place of the folder's: its ``name``, and its ``fields`` as a task file has them.

    Returns:
        A row a task: ``name``, ``what`` and ``outcome``. The flow fails, after everything else, when a file is wrong.
    """
    if not dry_run:
        recover()
    files = due_files(folder, max_age) if announced is None else [due_announced(announced, max_age)]
    rows = [row(due, dry_run=dry_run) for due in files]
    create_markdown_artifact(
        summary(rows), key="reevaluated-tasks", description=f"Task files in {folder}" if announced is None else "Announced"
    )
    for each in rows:
        run_log().log(logging.ERROR if each["what"] == "problem" else logging.INFO, "%(name)s: %(what)s, %(outcome)s", one_line(each))
    tell_changes(files, dry_run=dry_run)
    if problems := [each["outcome"] for each in rows if each["what"] == "problem"]:
        raise SettingsError("\n".join(problems))
    return rows


@not_in_the_way
def tell_changes(files: list[Due], *, dry_run: bool) -> None:
    """Of the tasks that are up to date: which verdicts flipped, against those before, and by how much. As an artifact and in MLflow."""
    verdicts = list(last_verdicts())
    changes = [change for due in files if due.last and (change := change_to(due.last, verdicts))]
    create_markdown_artifact(
        changes_table(changes), key="changed-verdicts", description="The last verdict on each task, against the one before"
    )
    for change in changes:
        if change.flipped:
            run_log().info("Verdict on %s %s", change.task, in_words(change))
    if not dry_run:
        send(changes)


def row(due: Due, *, dry_run: bool) -> dict[str, str]:
    """Start what is due; what came of it. One that the server doesn't start is a problem of its own, and the others go on."""
    try:
        return {"name": due.name, "what": due.what, "outcome": outcome(due, dry_run=dry_run)}
    except SettingsError as error:
        return {"name": due.name, "what": "problem", "outcome": str(error)}


def outcome(due: Due, *, dry_run: bool) -> str:
    """Start what is due; in words, what came of it. Raises `SettingsError` where Prefect's server refuses it."""
    if due.file is None or due.what == "up to date":
        return due.why
    tag = asked_tag(due.file)
    running, newest = under_way(tag, file_tag(due.name))
    if running is not None:
        return f"a selection of it is under way: {running.name}, {running.state_name}"
    if dry_run:
        return f"would be started: {due.why}"
    parameters = due.file.parameters | ({"output": another_folder(due.file)} if due.what == "old" else {})
    try:
        with as_not_found():
            started = run_deployment(
                DEPLOYMENT,
                parameters=parameters,
                flow_run_name=name_for(parameters),
                timeout=0,
                as_subflow=False,
                tags=["reevaluate-tasks", tag, file_tag(due.name)],
                # Two that look at the same time, or one that is run again after a kill, start one run: both have seen the same newest one.
                idempotency_key=f"{tag}-after-{newest}",
            )
    except ObjectNotFound:
        raise SettingsError(f"{due.name} isn't started: {DEPLOYMENT} isn't deployed; `make up` deploys it") from None
    except PrefectHTTPStatusError as error:
        if not (said := refused(error)):
            raise
        raise SettingsError(f"{due.name} isn't started, since Prefect's server refuses it: {said}") from None
    run = cast("FlowRun", started)  # a coroutine only where an event loop runs
    if run.state and run.state.is_final():
        return f"{run.name} was started for it just now, by another run, and ended as {run.state_name}; the next run starts it again"
    if first := given_way(run, tag, file_tag(due.name)):
        return f"a selection of it was started at the same time, by another run: {first.name}"
    return f"started as {run.name}: {due.why}"


def another_folder(file: TaskFile) -> str:
    """For a selection that is run again: the same command would find its verdict in the folder that it has."""
    task = re.sub(r"[^A-Za-z0-9.-]+", "-", file.asked.task).strip("-.") or "task"
    return f"{task}-{file.asked.question[:8]}-{datetime.now(UTC):%Y%m%d-%H%M}"


def file_tag(name: str) -> str:
    """A tag for all runs that a task's file, or its announcement, has led to."""
    return f"task-file:{name}"


def asked_tag(file: TaskFile) -> str:
    """A tag for runs that would answer the same question with the same effort."""
    return f"asked:{file.asked.question}-{file.asked.effort}"


def under_way(asked: str, file: str) -> "tuple[FlowRun | None, str]":
    """The oldest of `unfinished`; and the id of the newest run with the first tag."""
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"tags": {"all_": [asked]}}),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=1,
        )
        return next(unfinished(client, asked, file), None), str(newest[0].id) if newest else "none"


def given_way(run: "FlowRun", asked: str, file: str) -> "FlowRun | None":
    """The older one, where another run has started a selection of the same task at the same time; `run` is then cancelled."""
    with get_client(sync_client=True) as client:
        first = next(unfinished(client, asked, file), run)
        if first.id == run.id:
            return None
        client.set_flow_run_state(run.id, Cancelled(message=f"{first.name} had been started for the same task just before"))
        return first


def unfinished(client: "SyncPrefectClient", asked: str, file: str) -> "Iterator[FlowRun]":
    """The flow runs with one of these tags that have neither ended nor been killed, oldest first."""
    states = {"type": {"any_": list(UNFINISHED)}}
    found = {
        run.id: run
        for tag in (asked, file)
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"tags": {"all_": [tag]}, "state": states}))
    }
    return (run for run in sorted(found.values(), key=lambda run: (run.created or NEVER, run.id)) if not is_dead(client, run))


def one_line(cells: dict[str, str]) -> dict[str, str]:
    """A row with its line breaks taken out."""
    return {name: " ".join(value.split()) for name, value in cells.items()}


def summary(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return "The folder holds no task file (`*.yaml` or `*.yml`)."
    cells = [[each["name"], each["what"], each["outcome"].replace("|", "\\|")] for each in map(one_line, rows)]
    return "\n".join(["| task file | state | outcome |", "|---|---|---|", *(f"| {' | '.join(each)} |" for each in cells)]) + "\n"
