"""`prefect worker`, which doesn't give up while Prefect's server, or its database, is away.

Prefect's own ends after twelve requests in vain, and ends its flow runs with it: selections that could have gone on. After three, none of
them can be cancelled any more.

python -m flows.patient_worker start --pool POOL ...
"""

import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from prefect._internal import observers
from prefect.cli import app
from prefect.utilities.services import critical_service_loop
from prefect.workers import base

P = ParamSpec("P")
GIVES_UP = "Service exceeded error threshold."
"""What the loop says that asks the server for work."""


def patient(loop: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """The loop, begun again where it gives up. What the server refuses ends it as before."""

    @wraps(loop)
    async def again(*args: P.args, **kwargs: P.kwargs) -> None:
        while True:
            try:
                return await loop(*args, **kwargs)
            except RuntimeError as error:
                if str(error) != GIVES_UP:
                    raise

    return again


def main() -> None:
    """The command's arguments are those of `prefect worker`."""
    for module in (base, observers):  # who asks for flow runs, and who asks which of them were cancelled
        vars(module)["critical_service_loop"] = patient(critical_service_loop)
    sys.argv[1:1] = ["worker"]
    app()


if __name__ == "__main__":
    main()
