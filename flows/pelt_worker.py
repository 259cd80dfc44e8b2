"""Flow "pelt-worker": one place of the pool ``gpu``, a device, and the process that trains there for a selection until that has ended.

Selections start it; nobody else needs to. The work is a child process: a training that doesn't stop, or is killed for want of memory,
leaves a flow run that still can say so.
"""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from flows.conduct import Log, conducted, run_log
from flows.dead_runs import WORKERS_OF
from flows.not_found import as_not_found
from pelt_automl.errors import SelectionError
from pelt_automl.execution import leashed
from pelt_automl.execution.certificates import Certificates
from pelt_automl.execution.worker import STOPPED, differences, identity

LOOKS = 2.0
"""Seconds between two updates of the run's page."""
ASKS = 10.0
"""Seconds after which the run looks whether it was cancelled: its Prefect worker tells it, unless that is dead."""
LINES = 30.0
"""Seconds between two lines of the log on what is trained."""
PATIENCE = 5.0
"""Seconds that the page may take at the end."""


@flow(name="pelt-worker")
@conducted
def pelt_worker(address: str, worker: str, versions: dict[str, str]) -> Any:  # a state
    """Train for the selection that listens at `address` until it has ended.

    Args:
        address: ``tls://HOST:PORT``. Who may connect is settled by certificates, which parameters don't have: $PELT_AUTOML_CERTIFICATES.
        worker: What the selection calls this worker.
        versions: What has to be the same in the selection's program and in this one.
    """
    if differs := differences(identity(), versions):
        raise SelectionError(
            f"this worker can't be used: {differs}. Update the program here, then start this machine's Prefect workers again"
        )
    if over := nobody_waits():
        return over
    with tempfile.TemporaryFile() as errors:
        child = leashed.start(address, worker, Certificates.of(None), errors, tells=True)
        page = Page(worker, child.kill, run_log(), UUID(flow_run.id) if flow_run.id else None)
        page.start()
        try:
            assert child.stdout is not None
            for line in child.stdout:  # ends with the child
                page.tell(line)
            child.wait()
            why = leashed.said_at_its_end(child, errors)
        finally:
            leashed.end(child)  # a cancelled run comes here by an exception
        if page.end():
            return Cancelled(message="the selection was cancelled, or this worker")
    if child.returncode == STOPPED:
        return Cancelled(message=why)
    if child.returncode:
        raise SelectionError(f"{worker} has ended: {why}")
    return Completed(message="the selection has ended")


def nobody_waits() -> State | None:
    """How this run ends whose selection has ended while it waited for a place; None where somebody may wait for it."""
    parents = [tag.removeprefix(WORKERS_OF) for tag in flow_run.tags if tag.startswith(WORKERS_OF)]
    if not parents:
        return None
    try:
        with get_client(sync_client=True) as client, as_not_found():
            ended = [state for own in parents if (state := client.read_flow_run(UUID(own)).state) and state.is_final()]
    except ObjectNotFound:
        return Cancelled(message="the flow run of its selection was deleted before this worker had a place")
    except Exception as error:  # noqa: BLE001 whatever it is, the selection itself can be asked
        run_log().info("Prefect's server can't be asked whether the selection has ended (%r)", error)
        return None
    if not ended:
        return None
    message = f"the selection's flow run had ended ({ended[0].name}) before this worker had a place"
    return Completed(message=message) if ended[0].is_completed() else Cancelled(message=message)


class Page(threading.Thread):
    """What the run shows: its device, what it trains, how far. A thread, so that the work goes on while Prefect's server is away."""

    def __init__(self, worker: str, kill: Callable[[], object], log: Log, run_id: UUID | None) -> None:
        """`kill`: ends the child; `run_id`: None where no flow runs, and nothing is shown."""
        super().__init__(name="page", daemon=True)
        self.worker, self.kill, self.log, self.run_id = worker, kill, log, run_id
        self.now: dict[str, Any] = {}
        self.cancelled = False
        self._bar: UUID | None = None
        self._over = threading.Event()
        self._shown: dict[str, Any] = {}
        self._asked = time.monotonic()
        self._said = ("", 0.0)

    def tell(self, line: bytes) -> None:
        """What the child says; the latest counts."""
        try:
            self.now = dict(json.loads(line))
        except (ValueError, TypeError):  # a library's own words
            self.log.info("%s", line.decode(errors="replace").strip())

    def end(self) -> bool:
        """Whether the run is to end as cancelled."""
        self._over.set()
        self.join(PATIENCE)
        return self.cancelled

    def run(self) -> None:
        """Until `end`, then once more."""
        with get_client(sync_client=True) as client:
            over = False
            while not over:
                over = self._over.wait(LOOKS)
                try:
                    self._say()
                    if over or time.monotonic() - self._asked > ASKS:
                        self._asked = time.monotonic()
                        self._ask(client)
                    self._show(client)
                except Exception as error:  # noqa: BLE001 whatever it is, it is no reason not to work
                    logging.getLogger(__name__).debug("the page of %s isn't up to date: %r", self.worker, error)

    def _say(self) -> None:
        device, doing = self.now.get("device", ""), self.now.get("doing", "")
        if device and device != self._shown.get("device"):
            self.log.info("%s works on: %s", self.worker, device)
        what, since = doing.partition(",")[0], time.monotonic()
        if device and what != self._said[0] and since - self._said[1] > LINES:
            self._said = what, since
            self.log.info("%s", doing)

    def _show(self, client: Any) -> None:
        now = self.now
        if self.run_id is None or (now == self._shown and self._bar):
            return
        percent, device = 100 * float(now.get("done", 0.0)), now.get("device") or "loads the model"
        text = f"{self.worker} ({device}): {now.get('doing', 'waits for the selection')}"
        if self._bar is None:
            made = ArtifactCreate(type="progress", description=text, data=percent, flow_run_id=self.run_id)
            self._bar = client.create_artifact(made).id
        else:
            client.update_artifact(self._bar, ArtifactUpdate(description=text, data=percent))
        self._shown = now

    def _ask(self, client: Any) -> None:
        state = client.read_flow_run(self.run_id).state if self.run_id else None
        if state is not None and state.type == StateType.CANCELLING:
            self.cancelled = True
            self.kill()
