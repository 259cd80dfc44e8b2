"""A flow or a step that can't be carried out fails with the clear message alone, not with a wall of traceback."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FailedRun
from prefect.states import Failed

from flows.wording import in_a_flow
from pelt_automl.durable import full_disk
from pelt_automl.errors import PeltError

P = ParamSpec("P")
R = TypeVar("R")


def clear_failure(work: Callable[P, Any]) -> Callable[P, Any]:
    """Turns a `PeltError`, a full disk, or a step's failure, into Prefect's Failed state with the message, in a flow's words.

    Whatever else goes wrong keeps its traceback: it is a defect.
    """

    @wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            told = str(error) if isinstance(error, PeltError | FailedRun) else full_disk(error)
            if told is None:
                raise
            logging.getLogger("prefect.flow_runs").addFilter(_is_news)
            return Failed(message=in_a_flow(told))

    return wrapped


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log record is more than the traceback of a failure whose message stands in the run's state already."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def step(work: Callable[P, R]) -> Callable[P, R]:
    """A Prefect task with the function's name, never cached. What `clear_failure` turns is Prefect's `FailedRun` to its flow."""
    steps_task = Task(clear_failure(work), name=work.__name__, cache_policy=NO_CACHE, persist_result=False)

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # A task that returns a Failed state doesn't raise by itself; asking that state for its result does.
        state: Any = steps_task(*args, return_state=True, **kwargs)
        result: R = state.result(raise_on_failure=True)
        return result

    return run
