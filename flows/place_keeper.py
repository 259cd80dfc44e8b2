"""Keeps so many flow runs of ``pelt-worker`` at work for a selection, by who is there.

Who is there, Dask says; Prefect is only asked for places and told what is over. A thread of its own does that, so that a selection never
waits for a server that is away.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed

from flows.dead_runs import MOST, workers_tag
from flows.not_found import as_not_found, refused
from flows.run_page import artifact_key, selection_tag
from flows.sqlite_workers import workers_of
from pelt_automl.errors import SettingsError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from pelt_automl.execution.workers import Workers

DEPLOYMENT = "pelt-worker/default"
ROUND = 1.0
"""Seconds between two looks."""
STARTS = 3
"""So many starts for each place may fail in a row; then no more are asked for."""
PAUSE = 5.0
"""Seconds after a start that failed until the next, so many times as starts have failed in a row: what is wrong may pass."""
WAITS, SAYS_AGAIN = 10.0, 300.0
"""Seconds without any worker after which that is said, and said again."""
TO_LEAVE, TO_END = 10.0, 120.0
"""Seconds in which a run whose worker has left ends by itself, then when cancelled; after that it is closed by force."""
TO_JOIN = 180.0
"""Seconds in which a run that was begun has to join; then its process is gone, or hangs."""
PAGE = 5.0
"""Seconds between two pictures of the workers on the selection's page."""
PATIENCE = 8.0
"""Seconds for the last words to Prefect's server: all of a cancelled run's end has 30."""
ADVICE = "`GPU_WORKERS=2 make up` starts two here; docs/servers.md says how another machine's GPUs join"


def deployed(client: "SyncPrefectClient") -> tuple[str, UUID]:
    """The pool of the workers' deployment, and its id. Raises `SettingsError` where it isn't there."""
    try:
        found = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        raise SettingsError(f"{DEPLOYMENT} isn't deployed, so that no worker can be started; `make up` deploys it") from None
    if not found.work_pool_name:
        raise SettingsError(f"{DEPLOYMENT} has no work pool; delete it with `prefect deployment delete {DEPLOYMENT}`, then `make up`")
    return found.work_pool_name, found.id


def shut(client: "SyncPrefectClient", name: str) -> str:
    """Why nothing that waits for the pool is started, and what to do; empty where it is open."""
    pool = client.read_work_pool(name)
    if pool.is_paused:
        return f"the pool {name!r} is paused; `prefect work-pool resume {name}`"
    if pool.concurrency_limit == 0:
        return f"the limit of the pool {name!r} is 0; `prefect work-pool clear-concurrency-limit {name}`"
    return ""


@dataclass(eq=False)
class _Place:
    """One of those that were asked for, with the run that has it."""

    number: int
    starts: int = 0
    run: UUID | None = None
    name: str = ""
    """Of its worker."""
    seen: bool = False
    """Whether that has been there."""
    begun: float | None = None
    """When its run had a place."""


@dataclass(eq=False)
class _Gone:
    """A run whose worker has left."""

    since: float
    asked: bool = False


@dataclass(eq=False)
class Keeper(threading.Thread):
    """Keeps so many flow runs at work, by who is there. Tells the selection when nobody else will come."""

    workers: "Workers"
    count: int
    key: str
    task: str
    epoch: int
    log: "logging.Logger | logging.LoggerAdapter[Any]"
    parent: str
    """The flow run's id."""
    parent_name: str
    places: list[_Place] = field(default_factory=list)
    gone: dict[UUID, _Gone] = field(default_factory=dict)
    vain: int = 0
    """Starts in a row after which nobody was ready."""
    later: float = 0.0
    """When the next may be asked for."""
    last: UUID | None = None
    """The run that ended last."""
    deployment: tuple[str, UUID] | None = None
    away: bool = False
    """Whether Prefect's server doesn't answer."""
    mistakes: set[str] = field(default_factory=set)
    """Exceptions that were told."""
    alone: float = field(default_factory=time.monotonic)
    """Since when nobody is there."""
    said: float = 0.0
    page: UUID | None = None
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the table on the selection's page, by worker."""
    shown: str = ""
    shown_at: float = 0.0

    def __post_init__(self) -> None:
        """One that ends with the process, whatever it waits for."""
        super().__init__(name="places", daemon=True)
        self.places = [_Place(number) for number in range(1, self.count + 1)]
        self._over = threading.Event()

    def run(self) -> None:
        """Round after round, until `end`."""
        with get_client(sync_client=True) as client:
            while not self._over.wait(ROUND):
                self._guarded(self.round, client)
            self._guarded(self.finish, client)

    def end(self) -> None:
        """Ask for no more, and give back what is held. Returns within some seconds even if Prefect's server is away."""
        self._over.set()
        self.join(PATIENCE)

    def _guarded(self, step: "Callable[[SyncPrefectClient], None]", client: "SyncPrefectClient") -> None:
        try:
            step(client)
            self.away = False
        except SettingsError as error:  # the deployment was deleted
            self.workers.hopeless(str(error))
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            if not self.away:
                self.log.warning("Prefect's server can't be asked for workers now (%r); those that are there go on.", error)
            self.away = True
        except Exception as error:  # a mistake of ours is no reason not to go on
            if repr(error) not in self.mistakes:
                self.log.exception("workers can't be cared for")
            self.mistakes.add(repr(error))

    # ---------------------------------------------------------------- a round

    def round(self, client: "SyncPrefectClient") -> None:
        """Look who is there, ask for those that are missing, and take care of the runs of those that have left."""
        here = self.workers.present()
        states = self._states(client, here)
        for place in self.places:
            self._look(place, here, states)
        if self.vain >= STARTS * self.count:
            if not here and all(place.run is None for place in self.places):
                self._give_up(client)
        elif time.monotonic() >= self.later:
            for place in self.places:
                if place.run is None:
                    self._ask(client, place)
        self._close(client, states)
        self._say(client, here, states)
        self._show(client)

    def _states(self, client: "SyncPrefectClient", here: set[str]) -> "dict[UUID, FlowRun]":
        """The runs of which Prefect has to say how they are: those whose worker isn't there."""
        wanted = [place.run for place in self.places if place.run and place.name not in here] + list(self.gone)
        found: dict[UUID, FlowRun] = {}
        for start in range(0, len(wanted), MOST):
            asked = FlowRunFilter.model_validate({"id": {"any_": wanted[start : start + MOST]}})
            found |= {run.id: run for run in client.read_flow_runs(flow_run_filter=asked, limit=MOST)}
        return found

    def _look(self, place: _Place, here: set[str], states: "dict[UUID, FlowRun]") -> None:
        if place.run is None:
            return
        if place.name in here:
            place.seen = True
            return
        known = states.get(place.run)
        ended = known is None or (known.state is not None and known.state.is_final())  # None: somebody has deleted it
        if known is not None and known.state is not None and not known.state.is_scheduled() and place.begun is None:
            place.begun = time.monotonic()
        late = place.begun is not None and time.monotonic() - place.begun > TO_JOIN
        if not place.seen and not ended and not late:
            return  # it is on its way
        self.vain = 0 if place.name in self.workers.proven else self.vain + 1
        self.later = time.monotonic() + PAUSE * self.vain
        self.last = place.run
        if not ended:
            self.gone[place.run] = _Gone(time.monotonic())
        place.run = None

    def _ask(self, client: "SyncPrefectClient", place: _Place) -> None:
        from pelt_automl.execution.worker import identity  # Dask

        if self._over.is_set():
            return
        if self.deployment is None:
            self.deployment = deployed(client)
            self.log.info("workers asked for from the pool %r: %d", self.deployment[0], self.count)
        place.starts += 1
        place.name = f"worker-{place.number}" + (f".{place.starts}" if place.starts > 1 else "")
        try:
            with as_not_found():
                run = client.create_flow_run_from_deployment(
                    self.deployment[1],
                    parameters={"address": self.workers.address, "worker": place.name, "versions": identity()},
                    name=f"{place.name} of {self.parent_name}",
                    tags=[selection_tag(self.key), workers_tag(self.parent)],
                    idempotency_key=f"{self.parent}-{self.key[:16]}-{self.epoch}-{place.name}",
                )
        except Exception as error:
            place.starts -= 1  # the same key again: it may have been heard
            if isinstance(error, ObjectNotFound):
                self.deployment = None  # it may be deployed again, under another id
                raise SettingsError(f"{DEPLOYMENT} was deleted, so that no worker can be started; `make up` deploys it") from None
            if said := refused(error):
                raise SettingsError(f"Prefect's server starts no worker: {said}") from None
            raise
        place.run, place.seen, place.begun = run.id, False, None

    def _close(self, client: "SyncPrefectClient", states: "dict[UUID, FlowRun]") -> None:
        """First a run may say itself why its worker has left; then it is cancelled, at last closed, so that its place is free."""
        for id_, own in list(self.gone.items()):
            known, waited = states.get(id_), time.monotonic() - own.since
            if known is None or (known.state and known.state.is_final()):
                del self.gone[id_]
            elif waited > TO_END:
                self._set(client, id_, Crashed(message="its worker has left, and its process doesn't end"), force=True)
            elif waited > TO_LEAVE and not own.asked:
                own.asked = self._set(client, id_, Cancelling(message="its worker has left the selection"))

    def _set(self, client: "SyncPrefectClient", run: UUID, state: "State", *, force: bool = False) -> bool:
        """Whether that was possible: one run that can't be changed is no reason to leave the others."""
        try:
            client.set_flow_run_state(run, state, force=force)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:
            self.log.warning("the flow run %s can't be set to %s (%r)", run, state.name, error)
            return False
        return True

    def _give_up(self, client: "SyncPrefectClient") -> None:
        ended = client.read_flow_run(self.last).state if self.last else None
        why = ended.message if ended and ended.message else "they don't say why"
        told = f"no worker can be started: the last {self.vain} ended before they could work ({why}). The log of their flow runs says more"
        self.workers.hopeless(f"{told}; without the parameter workers, the selection trains where its own flow runs")

    # ---------------------------------------------------------------- what is seen

    def _say(self, client: "SyncPrefectClient", here: set[str], states: "dict[UUID, FlowRun]") -> None:
        """In the log, when nobody is there for some time."""
        now = time.monotonic()
        if here:
            self.alone, self.said = now, 0.0
        elif now - self.alone > WAITS and (not self.said or now - self.said > SAYS_AGAIN) and self.deployment:
            self.said = now
            pool = self.deployment[0]
            closed = shut(client, pool)
            if closed:
                self.log.warning("It waits for a worker: %s", closed)
            elif not workers_of(client, pool):
                self.log.warning("It waits for a worker: nobody works on the pool %r. %s", pool, ADVICE)
            elif states and all(run.state and run.state.is_scheduled() for run in states.values()):
                self.log.info("It waits for a worker: the pool %r has no free place", pool)
            else:
                self.said = 0.0  # the first is being started

    def _show(self, client: "SyncPrefectClient", *, ended: bool = False) -> None:
        """On the selection's page, a table of who is there and what each is at, and who has been."""
        self.rows = {name: row | {"at": "has left"} for name, row in self.rows.items()}
        for name, device, at in self.workers.at_work():
            self.rows[name] = {"worker": name, "device": device, "at": "has left" if ended else at}
        now, text = time.monotonic(), json.dumps(list(self.rows.values()))
        if not self.rows or text == self.shown or (now - self.shown_at < PAGE and not ended):
            return
        if self.page is None:
            key = f"workers-{artifact_key(self.task)}"
            what = ArtifactCreate(key=key, type="table", description="Who trains", data=text, flow_run_id=UUID(self.parent))
            self.page = client.create_artifact(what).id
        else:
            client.update_artifact(self.page, ArtifactUpdate(data=text))
        self.shown, self.shown_at = text, now

    # ---------------------------------------------------------------- the end

    def finish(self, client: "SyncPrefectClient") -> None:
        """Runs whose worker never came, or has left, are cancelled; those of broken-off work, too. Others end by themselves."""
        here, why = set[str](), "the selection was broken off"
        if self.workers.over:
            here, why = self.workers.present(), "the selection has ended"
        for run in [place.run for place in self.places if place.run and place.name not in here] + list(self.gone):
            with suppress(ObjectNotFound):
                known = client.read_flow_run(run).state
                if known and not known.is_final():
                    self._set(client, run, Cancelling(message=why))
        self._show(client, ended=True)
