"""What Prefect's server doesn't have: its client says so by one of two exceptions, depending on the call."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

MISSING = 404


@contextmanager
def as_not_found() -> Iterator[None]:
    """Raises `ObjectNotFound` also where the client raises `PrefectHTTPStatusError` for what isn't there."""
    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code != MISSING:
            raise
        raise ObjectNotFound(error) from error


def refused(error: Exception) -> str:
    """What the server says of a request that it will never accept; empty for what may pass."""
    if not isinstance(error, PrefectHTTPStatusError) or not 400 <= error.response.status_code < 500:
        return ""
    if error.response.status_code in (408, 429):
        return ""
    return " ".join(error.response.text.split())[:300] or f"status {error.response.status_code}"
