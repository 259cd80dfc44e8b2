"""Flow runs whose process was killed: they are closed, with their steps, and their selections started again.

``make up``, ``make down``, an automation and the nightly flow call this. A selection that is started again is resumed: the same parameters
are the same folder.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import State, StateType
from prefect.events.filters import EventFilter
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.life_signs import forget, is_alive, left
from flows.not_found import as_not_found, refused
from flows.sqlite_workers import workers_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

POOLS = ("pelt", "gpu")
"""Where selections run, and where their workers do."""
RESUMABLE = ("select-pelt", "reproduce-unipelt")
"""Flows that go on where they stood; the others are started by their schedule."""
INTERRUPTED, STOPPED = "Interrupted", "Stopped"
"""Names of the Crashed state of a run that is to be started again: it was killed, or `make down` stopped it."""
STARTED_AGAIN = "Started again"
"""Name of its state afterwards. No event of the name ``Crashed``: that would ask for it to be started again."""
AGAIN = "started-again:"
"""Tag that counts how often a run was started again after a kill."""
WORKERS_OF = "workers-of:"
"""Tag of the runs of a selection's workers, with the id of the flow run that has asked for them."""
MOST_AGAIN = 3
"""A run that takes its machine down each time isn't started for ever."""
SILENCE = timedelta(minutes=5)
"""A run of another machine is dead after so long without a heartbeat. Prefect's come every 30 seconds, and a busy machine's are late."""
SETTLING = timedelta(minutes=1)
"""Prefect writes a step's end down some seconds after it."""
MOST = 200
"""What Prefect's server returns at once."""
_TOLD = "started again"
"""In the message of a run for which that has been decided."""
_UNFINISHED_STEPS = TaskRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}})


@dataclass(frozen=True)
class Again:
    """What came of a run that was interrupted."""

    run: "FlowRun"
    started: "FlowRun | None"
    why_not: str = ""

    def __str__(self) -> str:
        what = "was stopped" if self.run.state_name == STOPPED else "was killed"
        if self.started:
            return f"{self.run.name} {what}; started again as {self.started.name}"
        return f"{self.run.name} {what}; it isn't started again: {self.why_not}"


def at_work(client: "SyncPrefectClient") -> "list[FlowRun]":
    """The flow runs that say that a process works on them, oldest first."""
    states = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
    return _all(lambda offset: client.read_flow_runs(flow_run_filter=states, limit=MOST, offset=offset))


def close_dead(
    client: "SyncPrefectClient", *, stopped: bool = False, no_worker: Collection[str] = (), reported: str = ""
) -> "list[FlowRun]":
    """Close the flow runs whose process is gone, and the steps that dead runs left; returns those runs.

    `stopped`: `make down` has ended them. `no_worker`: pools that no worker of `make up`'s works on, so that a run which a worker had
    only taken is dead, too. `reported`: a run that its worker has closed as crashed.
    """
    nobody = {pool for pool in no_worker if not other_workers(client, pool)}
    dead = [run for run in at_work(client) if is_dead(client, run, taken_is_dead=run.work_pool_name in nobody)]
    for run in dead:
        close_run(client, run, stopped=stopped)
    crashed = _crashed(client, reported)
    for run in crashed:
        close_run(client, run, stopped=False, force=True)
    _close_steps(client)
    return dead + crashed


def _crashed(client: "SyncPrefectClient", reported: str) -> "list[FlowRun]":
    """The runs to be started again that a worker has closed by itself: it saw their process end. Others' locks are taken away."""
    found = []
    for run_id in {*left(), *([reported] if reported else [])}:
        try:
            run = client.read_flow_run(UUID(run_id))
        except (ObjectNotFound, ValueError):
            continue
        if run.state_type == StateType.CRASHED and run.state_name == "Crashed" and _TOLD not in str(run.state and run.state.message):
            found += [run] if client.read_flow(run.flow_id).name in RESUMABLE else []
        if run.state and run.state.is_final() and run not in found:
            forget(run_id)
    return found


def start_again(client: "SyncPrefectClient") -> list[Again]:
    """Start what was interrupted again, each run once."""
    interrupted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["CRASHED"]}, "name": {"any_": [INTERRUPTED, STOPPED]}}})
    runs = _all(lambda offset: client.read_flow_runs(flow_run_filter=interrupted, limit=MOST, offset=offset))
    return [_start_again(client, run) for run in runs]


def other_workers(client: "SyncPrefectClient", pool: str) -> list[str]:
    """The workers of the pool that are at work, but for `make up`'s, which are called ``gpu-1`` and so on."""
    try:
        return [name for name in workers_of(client, pool) if not re.fullmatch(rf"{pool}-\d+", name)]
    except ObjectNotFound:
        return []


def _all(page: "Callable[[int], list[FlowRun]]") -> "list[FlowRun]":
    runs: list[FlowRun] = []
    while found := page(len(runs)):
        runs += found
    return sorted(runs, key=lambda run: run.created or datetime.max.replace(tzinfo=UTC))


def is_dead(client: "SyncPrefectClient", run: "FlowRun", *, taken_is_dead: bool = False) -> bool:
    """Whether the run's process is gone though the run says that it works. `taken_is_dead`: so is what a worker had only taken."""
    if run.state_type not in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING):
        return False
    alive = is_alive(str(run.id))
    if alive is not None:
        return not alive
    if taken_is_dead and run.state_type == StateType.PENDING:
        return True
    return _last_sign(client, run) < datetime.now(UTC) - SILENCE


def _last_sign(client: "SyncPrefectClient", run: "FlowRun") -> datetime:
    events = client.read_events(
        EventFilter.model_validate(
            {
                "event": {"name": ["prefect.flow-run.heartbeat"]},
                "resource": {"id": [f"prefect.flow-run.{run.id}"]},
                "occurred": {"since": datetime.now(UTC) - 2 * SILENCE},
            }
        ),
        limit=1,
    ).events
    signs = [event.occurred for event in events] + ([run.state.timestamp] if run.state else [])
    return max(signs, default=datetime.min.replace(tzinfo=UTC))


def close_run(client: "SyncPrefectClient", run: "FlowRun", *, stopped: bool, force: bool = False) -> None:
    """Close one run with its steps. Forced, whatever state it is in; else by Prefect's rules, which give back the slots that it held."""
    why = "stopped by make down" if stopped else "its process was killed"
    if run.state_type == StateType.CANCELLING:
        state: State[None] = State(type=StateType.CANCELLED, name="Cancelled", message=why)
    else:
        to_be_continued = STOPPED if stopped else INTERRUPTED
        state = State(
            type=StateType.CRASHED, name=to_be_continued if client.read_flow(run.flow_id).name in RESUMABLE else "Crashed", message=why
        )
    client.set_flow_run_state(run.id, state, force=force)
    for step in client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run.id]}}), task_run_filter=_UNFINISHED_STEPS, limit=MOST
    ):
        client.set_task_run_state(step.id, State(type=StateType.CRASHED, message=why), force=True)
    forget(str(run.id))
    _cancel_workers(client, run, why)


def workers_tag(run_id: str) -> str:
    """By which the runs of a selection's workers are found: see `WORKERS_OF`."""
    return f"{WORKERS_OF}{run_id}"


def _cancel_workers(client: "SyncPrefectClient", run: "FlowRun", why: str) -> None:
    """Those that haven't begun. The others have lost their selection, and end by themselves."""
    waiting = {"tags": {"all_": [workers_tag(str(run.id))]}, "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}
    for own in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(waiting), limit=MOST):
        client.set_flow_run_state(own.id, State(type=StateType.CANCELLING, message=f"the flow run of its selection was closed: {why}"))


def _close_steps(client: "SyncPrefectClient") -> None:
    """Steps of runs that have ended otherwise: cancelled by a person, or reported as crashed by their worker."""
    ended = FlowRunFilter.model_validate(
        {
            "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}},
            "end_time": {"before_": datetime.now(UTC) - SETTLING},
        }
    )
    while steps := client.read_task_runs(flow_run_filter=ended, task_run_filter=_UNFINISHED_STEPS, limit=MOST):
        for step in steps:
            client.set_task_run_state(step.id, State(type=StateType.CRASHED, message="its flow run has ended without it"), force=True)


def _start_again(client: "SyncPrefectClient", run: "FlowRun") -> Again:
    times = max((int(tag.removeprefix(AGAIN)) for tag in run.tags if tag.removeprefix(AGAIN).isdecimal()), default=0)
    times += run.state_name == INTERRUPTED
    again = Again(run, None, f"it was killed {times} times" if times > MOST_AGAIN else "")
    if not again.why_not:
        again = _new_run(client, run, times)
    message = f"{run.state.message if run.state else ''}; {str(again).partition('; ')[2]}"
    name = STARTED_AGAIN if again.started else "Crashed"
    client.set_flow_run_state(run.id, State(type=StateType.CRASHED, name=name, message=message), force=True)
    return again


def _new_run(client: "SyncPrefectClient", run: "FlowRun", times: int) -> Again:
    if run.deployment_id is None:
        return Again(run, None, "no deployment started it; run the same call again")
    try:
        with as_not_found():
            started = client.create_flow_run_from_deployment(
                run.deployment_id,
                parameters=run.parameters,
                name=run.name,
                tags=sorted({tag for tag in run.tags if not tag.startswith(AGAIN)} | ({f"{AGAIN}{times}"} if times else set())),
                # A kill after this line, and the next call finds the same run.
                idempotency_key=f"again-{run.id}",
                work_queue_name=run.work_queue_name,
                job_variables=run.job_variables,
            )
    except ObjectNotFound:
        return Again(run, None, "its deployment is gone")
    except PrefectHTTPStatusError as error:  # such as parameters that the deployment, which follows the code, hasn't any more
        if not (said := refused(error)):
            raise
        return Again(run, None, f"Prefect's server refuses it: {said}")
    return Again(run, started)
