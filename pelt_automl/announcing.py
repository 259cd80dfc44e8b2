"""``pelt-automl tasks announce FILE``: a task file is told to Prefect's server, whose deployments start its selection if that is due.

An event with the file's content, sent as plain HTTP: Prefect itself is needed only where flows run.
"""

import base64
import json
import os
import re
import tomllib
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pelt_automl.errors import PeltError, SettingsError, all_problems
from pelt_automl.printable import printable_uri

EVENT = "pelt-automl.task.announced"
"""The deployment trigger of prefect.yaml waits for it."""
NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}", re.ASCII)
"""A task file's, without its ending: it names folders and runs."""
SECONDS = 15.0
"""That the server may take."""


class ServerError(PeltError, ConnectionError):
    """Prefect's server isn't known, can't be reached, or refuses."""


class Tasks(TyperGroup):
    """``tasks`` and ``tasks NAME`` show tasks, as ``tasks show`` does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is no command of this group is for the one that shows."""
        known = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if known else ["show", *args])


tasks_app = typer.Typer(cls=Tasks, help="List the tasks with a name, show one, or announce a task file to Prefect's server.")


@tasks_app.command()
def announce(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A task file: lines 'option: value', as in tasks.d.")],
) -> None:
    """Tell Prefect's server of a task: its selection starts at once if it is new, has changed, or has an old verdict.

    The server is $PREFECT_API_URL, else the one in ./prefect.toml, which `make up` writes.
    """
    fields = read_task(file)
    server = api_url()
    send(server, file.stem, fields)
    print(f"Announced {file.stem} to {printable_uri(server)}; the run of reevaluate-tasks/announced says what is started.")


def read_task(file: Path) -> dict[str, Any]:
    """The options that a task file has. Raises `SettingsError` with everything that is wrong with it."""
    import yaml

    from pelt_automl.options import settings_from

    if not NAME.fullmatch(file.stem):
        raise SettingsError(
            f"{file}: a task is named as its file, and {file.stem!r} is no name; use letters, digits, '.', '_' and '-', 100 at most"
        )
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise SettingsError(f"{file} can't be read as YAML: {why}") from error
    if not isinstance(fields, dict) or not fields or not all(isinstance(name, str) for name in fields):
        raise SettingsError(f"{file} must hold lines 'name: value' (task, model, k, seconds, ...); it holds {type(fields).__name__}")
    try:
        settings_from(**fields)
    except SettingsError as error:
        raise SettingsError(all_problems(str(file), error.problems), error.problems) from error
    return fields


def api_url() -> str:
    """Where Prefect's API is. Raises `ServerError` when nothing says it."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    try:
        url = tomllib.loads(Path("prefect.toml").read_text(encoding="utf-8"))["api"]["url"]
    except (OSError, ValueError, KeyError, TypeError):
        url = None
    if not isinstance(url, str):
        raise ServerError("no Prefect server is known: type this where `make up` was typed, or set PREFECT_API_URL to its API's address")
    return url


def send(url: str, name: str, fields: dict[str, Any]) -> None:
    """Emit the event. Raises `ServerError` when no server answers there, or when it refuses."""
    event = {
        "id": str(uuid.uuid4()),
        "event": EVENT,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"pelt-automl.task.{name}", "prefect.resource.name": name},
        "payload": {"name": name, "fields": fields},
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif password := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(password.encode()).decode()}"
    shown = printable_uri(url)
    no_address = ServerError(f"{shown!r} is no address of a server; PREFECT_API_URL has to be http://HOST:PORT/api, or https://...")
    if not url.startswith(("http://", "https://")):
        raise no_address
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/events", json.dumps([event], default=str).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        raise ServerError(f"the server at {shown} refuses the event ({error.code} {error.reason}); is it Prefect's API?") from error
    except OSError as error:
        why = getattr(error, "reason", error)
        raise ServerError(f"no server answers at {shown} ({why}); start one with make up, or set PREFECT_API_URL") from error
    except (ValueError, InvalidURL):
        raise no_address from None
    except HTTPException as error:
        raise ServerError(f"what answers at {shown} doesn't speak HTTP; is it Prefect's API?") from error
