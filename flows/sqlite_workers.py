"""Several workers on Prefect's SQLite file lock each other out for up to a minute, which a selection's time limit counts."""

import os
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import WorkerFilter
from prefect.settings import get_current_settings

from flows.not_found import as_not_found

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POSTGRESQL = "FORCE=1 PELT_AUTOML_DATABASE=postgresql://USER:PASSWORD@HOST/DATABASE"


def warning_of_workers(client: "SyncPrefectClient") -> str:
    """What to do about several workers on one SQLite file; empty where there is no need."""
    online = workers_at_work(client)
    if len(online) < 2 or not is_sqlite():
        return ""
    return (
        f"{len(online)} workers ({', '.join(sorted(online))}) share Prefect's SQLite file and hold each other up, for a minute at a time, "
        f"which time limits count. Stop all but one, or give the server PostgreSQL: make down; {POSTGRESQL} make up"
    )


def workers_at_work(client: "SyncPrefectClient") -> list[str]:
    """Names of the workers of all pools that sent a heartbeat in the last one and a half minutes."""
    return [name for pool in client.read_work_pools() for name in workers_of(client, pool.name)]


def workers_of(client: "SyncPrefectClient", pool: str) -> list[str]:
    """Those of one pool. Raises `ObjectNotFound` when there is no such pool."""
    with as_not_found():
        workers = client.read_workers_for_work_pool(pool, WorkerFilter.model_validate({}))
    return [worker.name for worker in workers if worker.status == "ONLINE"]


def is_sqlite() -> bool:
    """Whether the server has no other database: `make up` tells its workers; elsewhere, by Prefect's own setting."""
    if told := os.environ.get("PELT_AUTOML_SERVER_DATABASE"):
        return told == "sqlite"
    url = get_current_settings().server.database.connection_url
    return url is None or url.get_secret_value().startswith("sqlite")
