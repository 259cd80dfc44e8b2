"""Flow "resume-killed": closes the flow runs whose process was killed, and starts their selections again, without a person.

Two automations of prefect.yaml start it: when a worker reports that a selection's process has crashed, and when a run's heartbeats stop.
What is dead, this flow finds out itself, so that a false alarm changes nothing.
"""

from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client

from flows.conduct import conducted, run_log
from flows.dead_runs import close_dead, start_again


@flow(name="resume-killed")
@conducted
def resume_killed(reported: str | None = None) -> Any:
    """Close what was killed, and start its selections again: each run three times at most, and never one that was cancelled.

    Args:
        reported: A flow run that has been reported as crashed, as Prefect's events name it: ``prefect.flow-run.ID``.
    """
    recover(reported)


def recover(reported: str | None = None) -> None:
    """Close what was killed, and start its selections again; the log says so. `reported`: see `resume_killed`."""
    with get_client(sync_client=True) as client:
        for run in close_dead(client, reported=(reported or "").rpartition(".")[2]):
            run_log().warning("%s was still %s, but its process is gone; closed", run.name, run.state_name)
        for again in start_again(client):
            run_log().warning("%s", again)
