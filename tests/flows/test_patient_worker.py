import asyncio
import subprocess
import sys

import httpx
import pytest
from prefect._internal import observers
from prefect.utilities.services import critical_service_loop
from prefect.workers import base

from flows import patient_worker
from flows.patient_worker import GIVES_UP, main, patient

REQUEST = httpx.Request("POST", "http://127.0.0.1/api")


class EndError(Exception):
    """The server answers again."""


def away(times, error):
    """Work of a Prefect worker, whose server answers after so many requests."""
    asked = []

    async def work():
        asked.append(1)
        if len(asked) > times:
            raise EndError
        raise error

    return work


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(500, request=REQUEST))]
)
def test_a_worker_asks_again_however_long_its_server_is_away(error):
    async def asks(loop):
        await loop(away(40, error), interval=0.0, backoff=4, printer=lambda *_: None)

    with pytest.raises(RuntimeError, match=GIVES_UP):
        asyncio.run(asks(critical_service_loop))
    with pytest.raises(EndError):
        asyncio.run(asks(patient(critical_service_loop)))


def test_what_the_server_refuses_ends_it_as_before():
    refusal = httpx.HTTPStatusError("no such pool", request=REQUEST, response=httpx.Response(404, request=REQUEST))

    async def asks():
        await patient(critical_service_loop)(away(40, refusal), interval=0.0)

    with pytest.raises(httpx.HTTPStatusError, match="no such pool"):
        asyncio.run(asks())


def test_who_asks_for_flow_runs_and_who_asks_for_cancelled_ones_are_patient(monkeypatch):
    for module in (base, observers):
        monkeypatch.setattr(module, "critical_service_loop", critical_service_loop)
    monkeypatch.setattr(patient_worker, "app", lambda: None)
    monkeypatch.setattr(sys, "argv", ["patient_worker", "start"])
    main()
    assert sys.argv == ["patient_worker", "worker", "start"]

    async def asks(module):
        await module.critical_service_loop(away(10, httpx.ConnectError("refused")), interval=0.0, printer=lambda *_: None)

    for module in (base, observers):
        with pytest.raises(EndError):
            asyncio.run(asks(module))


@pytest.mark.slow
def test_it_takes_the_arguments_of_prefects_own():
    command = [sys.executable, "-m", "flows.patient_worker", "start", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--pool" in told.stdout
