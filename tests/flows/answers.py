"""What Prefect's client raises of its server's answers."""

import httpx
from prefect.exceptions import PrefectHTTPStatusError


def answer(status, text="no"):
    """For most of what the server refuses, a 404 too."""
    request = httpx.Request("POST", "http://127.0.0.1/api")
    error = httpx.HTTPStatusError("", request=request, response=httpx.Response(status, text=text, request=request))
    return PrefectHTTPStatusError.from_httpx_error(error)
