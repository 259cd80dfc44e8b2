"""A worker process on a leash: it ends when its starter does, however that is. What it was told, and how it ended. No Dask."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from pelt_automl.execution.certificates import Certificates

PROGRAM = "from pelt_automl.execution.worker import main; main()"
TAIL = 65_536
"""Bytes at the end of what a worker has printed that hold its last line."""


def start(
    address: str,
    name: str,
    certificates: Certificates,
    errors: IO[bytes],
    environment: Mapping[str, str] | None = None,
    *,
    tells: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start a worker for the selection that listens at `address`, in a session of its own.

    `errors`: an empty file for what it prints, best one without a name: it is gone however this process ends. `environment`: what it has
    beyond this process' own. `tells`: its standard output is a pipe with a line of JSON whenever it has advanced, about every second: see
    `pelt_automl.execution.worker.main`.
    """
    process = subprocess.Popen(  # noqa: S603 this program itself
        [sys.executable, "-P", "-c", PROGRAM], env={**os.environ, **(environment or {})}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if tells else errors, stderr=errors, start_new_session=True,
    )  # fmt: skip
    given = [certificates.authority, certificates.certificate, certificates.key]
    line = {"address": address, "name": name, "certificates": given, "tells": tells}
    assert process.stdin is not None
    with suppress(OSError):  # it is gone already
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
    return process


def said_at_its_end(process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> str:
    """``it was killed by SIGKILL, as a system short of memory does``, or what it said last in `errors`."""
    code = process.poll()
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"it was killed by {name}" + (", as a system short of memory does" if name == "SIGKILL" else "")
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - TAIL))
    said = errors.read().decode(errors="replace").strip().splitlines()
    return said[-1].removeprefix("error: ") if said else f"it ended with code {code}"


def end(process: "subprocess.Popen[bytes] | None", patience: float = 0.0) -> None:
    """However it is: waited for so many seconds, then killed."""
    if process is None:
        return
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with suppress(OSError):
            pipe.close()
