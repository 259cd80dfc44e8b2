"""A selection's workers as flow runs: whether it asks for any, where they find it, and whether anybody can start them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run

from flows.conduct import Log, run_log
from flows.not_found import refused
from flows.place_keeper import ADVICE, ROUND, Keeper, deployed
from flows.sqlite_workers import workers_of
from pelt_automl.errors import SettingsError
from pelt_automl.execution.certificates import VARIABLE, Certificates, check_findable
from pelt_automl.settings import TrainingSettings

if TYPE_CHECKING:
    from pelt_automl.execution.workers import Workers

LISTEN = "PELT_AUTOML_LISTEN"
"""Of the environment: where workers find selections of this machine; any port of the loopback device if it isn't set."""
LOOPBACK = "tls://127.0.0.1:0"

FOUND = 90.0
"""Seconds in which a pool's worker has to tell Prefect's server that it is there: every half minute, later when that was away."""


def places_of(training: TrainingSettings) -> "Places | None":
    """The places that the settings ask for; None: the selection trains where its flow runs. Raises `SettingsError` without certificates."""
    if not training.workers:
        return None
    if not (training.certificates or os.environ.get(VARIABLE)):
        raise SettingsError(
            f"workers need certificates, since whoever reaches a selection's port could run anything, and {VARIABLE} isn't set where this "
            f"flow runs. `make up` sets it; elsewhere: `pelt-automl certificates DIR`, then {VARIABLE}=DIR for all Prefect workers"
        )
    where = training.listen or os.environ.get(LISTEN) or LOOPBACK
    check_findable(where)
    return Places(where, Certificates.of(training.certificates), run_log(), str(flow_run.id), flow_run.name or "select")


@dataclass
class Places:
    """A `pelt_automl.selection.hiring.Provider`."""

    listen: str
    certificates: Certificates
    log: Log
    parent: str
    """The selection's flow run: its id."""
    parent_name: str

    def check(self) -> None:
        """Raises `SettingsError` where there is no deployment, no pool, or nobody who works on the pool. A server may be away."""
        try:
            self._check()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:  # the latter, too, while the server's database is away
            if said := refused(error):
                raise SettingsError(f"Prefect's server can't be asked for workers: {said}") from None
            self.log.warning("Prefect's server can't be asked for workers now (%r); it is asked again.", error)

    def _check(self) -> None:
        with get_client(sync_client=True) as client:
            pool, _ = deployed(client)
            deadline = time.monotonic() + FOUND
            while True:
                try:
                    if workers_of(client, pool):
                        return
                except ObjectNotFound:
                    raise SettingsError(f"there is no work pool {pool!r} for workers; `GPU_WORKERS=2 make up` makes it") from None
                if time.monotonic() > deadline:
                    raise SettingsError(f"nobody works on the pool {pool!r}, so that no worker can be started. {ADVICE}")
                time.sleep(ROUND)

    @contextmanager
    def bring(self, workers: "Workers", count: int, key: str, task: str, epoch: int) -> Iterator[None]:
        """See `pelt_automl.selection.hiring.Provider`."""
        keeper = Keeper(workers, count, key, task, epoch, self.log, self.parent, self.parent_name)
        keeper.start()
        try:
            yield
        finally:
            keeper.end()
