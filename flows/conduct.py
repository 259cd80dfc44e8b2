"""How every flow of the program behaves as a run: it shows that it lives, its log has the program's warnings, its message is the cause."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeAlias

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.clear_failures import clear_failure
from flows.life_signs import alive
from flows.sqlite_workers import warning_of_workers
from flows.wording import first_sentence, in_a_flow

P = ParamSpec("P")
Log: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]


def conducted(work: Callable[P, Any]) -> Callable[P, Any]:
    """To be put under ``@flow``. See `clear_failure` for what it makes of errors."""
    cleared = clear_failure(work)

    @wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        with alive(flow_run.id, flow_run.name or "", run_log()), warnings_in_log(run_log()):
            warn_of_workers()
            return cleared(*args, **kwargs)

    return wrapped


def warn_of_workers() -> None:
    """Say in the log when several workers share a SQLite file."""
    if flow_run.id is None:
        return
    with suppress(Exception), get_client(sync_client=True) as client:  # whatever keeps it from being said is no reason not to work
        if warning := warning_of_workers(client):
            run_log().warning("%s", warning)


def concluded(verdict: str, statement: str, answer: dict[str, Any]) -> State[dict[str, Any]]:
    """How a flow ends that has an answer: the verdict is the last that it says, and its first sentence is the run's message."""
    run_log().info("%s", in_a_flow(verdict))
    # Sent before the run's end is: whoever watches has the verdict before that.
    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()
    return Completed(message=first_sentence(in_a_flow(statement)), data=answer)


def run_log() -> Log:
    """The flow run's log; outside one, where a test or another program calls the flow's function, Python's own."""
    return get_run_logger() if FlowRunContext.get() else logging.getLogger(__name__)


@contextmanager
def warnings_in_log(log: Log) -> Iterator[None]:
    """Inside, what the program warns of (MLflow away, ...) stands in the flow run's log, too; its threads' warnings as well."""
    program, handler = logging.getLogger("pelt_automl"), _PassOn(log)
    program.addHandler(handler)
    try:
        yield
    finally:
        program.removeHandler(handler)


class _PassOn(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, "%s", record.getMessage())
