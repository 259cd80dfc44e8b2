"""What ``scripts/stack.py`` leaves to Prefect: deployments, runs under way, runs that were killed. Answers in JSON, a line a fact.

python -m flows.stack_side missing FILE | recover [POOL...] | running | close | status
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_arguments_from_entrypoint, load_flow_from_entrypoint

from flows.dead_runs import POOLS, RESUMABLE, at_work, close_dead, close_run, is_dead, start_again
from flows.life_signs import is_alive, process_of
from flows.sqlite_workers import warning_of_workers

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

Facts = list[dict[str, Any]]
PATIENCE = 15.0
"""Seconds that a flow run may take to end when it is asked to, before it is killed."""


def missing(client: "SyncPrefectClient", file: str) -> Facts:
    """Write the deployments of prefect.yaml that the server hasn't to `file`, for ``prefect deploy``, and say which pools are missing.

    Those that are there stay as they are: schedules, limits and default parameters are the operator's. Only what belongs to the code
    follows it: where it lies, and which parameters a flow takes.
    """
    wanted = yaml.safe_load(Path("prefect.yaml").read_text(encoding="utf-8"))
    absent: Facts = []
    facts: Facts = [{"missing_pool": pool} for pool in POOLS if not _pool(client, pool)]
    for entry in wanted["deployments"]:
        name = f"{load_flow_arguments_from_entrypoint(entry['entrypoint'])['name']}/{entry['name']}"
        try:
            _follow_code(client, client.read_deployment_by_name(name), entry["entrypoint"])
        except ObjectNotFound:
            absent.append(entry)
        facts.append({"deployment": name, "there": entry not in absent})
    Path(file).write_text(yaml.safe_dump(wanted | {"deployments": absent}, sort_keys=False), encoding="utf-8")
    return facts + _stale(client, {fact["deployment"] for fact in facts if "deployment" in fact})


def _pool(client: "SyncPrefectClient", name: str) -> Facts:
    """The fact about it; none when there isn't one."""
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        return []
    return [{"pool": pool.name, "paused": pool.is_paused, "limit": pool.concurrency_limit}]


def _follow_code(client: "SyncPrefectClient", there: "DeploymentResponse", entrypoint: str) -> None:
    # Loaded, since its source alone doesn't show the parameters that are made from the settings.
    schema = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False).parameters.model_dump_for_openapi()
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": os.environ["PELT_AUTOML_ROOT"]}}]
    known = (there.entrypoint, there.parameter_openapi_schema, there.pull_steps)
    if known != (entrypoint, schema, pull):
        client.update_deployment(there.id, DeploymentUpdate(entrypoint=entrypoint, parameter_openapi_schema=schema, pull_steps=pull))


def _stale(client: "SyncPrefectClient", names: set[str]) -> Facts:
    ours = DeploymentFilter.model_validate({"tags": {"all_": ["pelt-automl"]}})
    flows = {flow.id: flow.name for flow in client.read_flows(deployment_filter=ours)}
    found = [f"{flows.get(one.flow_id)}/{one.name}" for one in client.read_deployments(deployment_filter=ours)]
    return [{"stale": name} for name in sorted(found) if name not in names]


def recover(client: "SyncPrefectClient", *no_worker: str) -> Facts:
    """Close the runs whose process is gone, and start them again. `no_worker`: pools for which no worker of `make up`'s runs."""
    dead = close_dead(client, no_worker=no_worker)
    closed = [{"closed": run.name, "was": run.state_name} for run in dead]
    return closed + [{"again": str(again)} for again in start_again(client)]


def close(client: "SyncPrefectClient") -> Facts:
    """Close the runs that `make down` ends; `recover` starts them again. Ends those that have outlived the worker, first."""
    outlived = [run for run in at_work(client) if run.infrastructure_pid and is_alive(str(run.id))]
    _end([pid for run in outlived if (pid := process_of(str(run.id))) is not None])
    # Another worker may have reported their end already, as a crash.
    closed = {run.id: run for run in [*outlived, *close_dead(client, stopped=True, no_worker=POOLS)]}
    for run in outlived:
        if (state := client.read_flow_run(run.id).state) and state.is_completed():
            continue
        close_run(client, run, stopped=True, force=True)
    return [
        {"closed": run.name, "was": run.state_name, "resumed": client.read_flow(run.flow_id).name in RESUMABLE} for run in closed.values()
    ]


def running(client: "SyncPrefectClient") -> Facts:
    """The runs that somebody works on."""
    return [
        {"run": run.name, "state": run.state_name, "since": str(run.start_time or "")}
        for run in at_work(client)
        if not is_dead(client, run)
    ]


def _end(pids: list[int]) -> None:
    """End processes: asked first, then killed."""
    for wanted, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, wanted)
        deadline = time.monotonic() + patience
        while any(map(_exists, pids)) and time.monotonic() < deadline:
            time.sleep(0.1)
        pids = [pid for pid in pids if _exists(pid)]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def status(client: "SyncPrefectClient") -> Facts:
    """Runs under way, dead runs, what waits, schedules, the pools, and what isn't as it should be."""
    facts = running(client)
    facts += [{"dead": run.name, "state": run.state_name} for run in at_work(client) if is_dead(client, run)]
    waiting = FlowRunFilter.model_validate({"state": {"name": {"any_": ["Late", "AwaitingConcurrencySlot", "Pending"]}}})
    facts += [{"waits": run.name} for run in client.read_flow_runs(flow_run_filter=waiting)]
    for deployment in client.read_deployments(deployment_filter=DeploymentFilter.model_validate({"tags": {"all_": ["pelt-automl"]}})):
        facts += [
            {"schedule": schedule.slug, "active": schedule.active and not deployment.paused, "cron": getattr(schedule.schedule, "cron", "")}
            for schedule in deployment.schedules
        ]
    return (
        facts
        + [fact for pool in POOLS for fact in _pool(client, pool)]
        + [{"warning": text} for text in [warning_of_workers(client)] if text]
    )


COMMANDS: dict[str, Callable[..., Facts]] = {own.__name__: own for own in (missing, recover, close, running, status)}


def main() -> None:
    """One command; its facts are printed."""
    with get_client(sync_client=True) as client:
        for fact in COMMANDS[sys.argv[1]](client, *sys.argv[2:]):
            print(json.dumps(fact))


if __name__ == "__main__":
    main()
