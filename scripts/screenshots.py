"""Pictures of Prefect's pages for docs/workers.md: a selection with three workers, one of which was killed and replaced.

    python -m scripts.screenshots [FOLDER]

Starts a stack of its own, kills a worker's process of a small selection, and has Chromium look at the pages. FOLDER: else docs/images.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chaos.driver import processes
from chaos.stack import ROOT, Stack, end, until

WORKERS = 3
ASKED = {
    "task": "pydoc-topic", "model": "minilm", "k": 200, "workers": WORKERS, "methods": ["lora", "bitfit", "adapter"], "trials": 20,
    "baselines": ["none"], "precision": "fp32", "pack_size": 2, "experience": False, "seconds": None,
}  # fmt: skip
FLAGS = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --virtual-time-budget=20000"
PATIENCE = 1200.0
"""Seconds for anything: a busy machine takes minutes for the start of a flow."""


def shoot(stack: Stack, page: str, file: Path, height: int) -> None:
    """Chromium's picture of a page of Prefect's."""
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--user-data-dir={profile}", f"--window-size=1280,{height}", f"--screenshot={file}"]
        where = stack.api.removesuffix("/api") + page
        subprocess.run([str(shutil.which("chromium")), *FLAGS.split(), *size, where], check=True, capture_output=True, timeout=PATIENCE)
    stack.say(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def ask(stack: Stack, path: str, **body: Any) -> Any:
    """Prefect's server, which may take long on a busy machine."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return stack.ask(path, **body)
        except OSError:
            if time.monotonic() > deadline:
                raise


def table(stack: Stack) -> Any:
    """The selection's page of its workers: an artifact; None before it is there."""
    found = ask(stack, "artifacts/filter", artifacts={"key": {"like_": "workers-"}}, sort="CREATED_DESC")
    return found[0] if found else None


def at_work(stack: Stack) -> list[str]:
    """The workers that train, by name."""
    page = table(stack)
    return [row["worker"] for row in json.loads(page["data"]) if "step" in row["at"]] if page else []


def wait(stack: Stack, *workers: str) -> None:
    """Until they all train."""
    if not until(lambda: set(workers) <= set(at_work(stack)), PATIENCE):
        raise SystemExit(f"{at_work(stack)} train after {PATIENCE:.0f} s, and {', '.join(workers)} should; see {stack.folder}")
    stack.say(f"{', '.join(at_work(stack))} train")


def take(stack: Stack, images: Path) -> None:
    """Start a selection, kill a worker's process, and take the pictures while the others train."""
    made = stack.make("up")
    if made.returncode:
        raise SystemExit(made.stdout + made.stderr)
    deployment = ask(stack, "deployments/name/select-pelt/default")
    ask(stack, f"deployments/{deployment['id']}/create_flow_run", parameters=ASKED, idempotency_key="pictures")
    wait(stack, *(f"worker-{number}" for number in range(1, WORKERS + 1)))
    there = {one.pid: one for one in processes()}

    def is_second(run: str) -> bool:
        return bool(run) and ask(stack, f"flow_runs/{run}")["name"].startswith("worker-2 ")

    children = [one for one in there.values() if "execution.worker" in one.command and one.parent in there]
    trains = next(one.pid for one in children if is_second(stack.flow_run(there[one.parent])))
    os.kill(trains, signal.SIGKILL)
    stack.say("worker-2 was killed")
    wait(stack, "worker-1", "worker-2.2", "worker-3")
    images.mkdir(exist_ok=True)
    flow = ask(stack, "flows/name/pelt-worker")["id"]
    shoot(stack, f"/flows/flow/{flow}", images / "prefect-workers.png", 900)
    shoot(stack, f"/artifacts/artifact/{table(stack)['id']}", images / "prefect-table.png", 600)


def main() -> int:
    """The program; returns its exit code."""
    if shutil.which("chromium") is None:
        print("chromium isn't installed: apt-get install chromium", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pelt-pictures-", dir="/tmp"))
    folder.chmod(0o711)  # for PostgreSQL's account
    stack = Stack(folder, WORKERS)
    try:
        take(stack, Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "images").absolute())
    finally:
        end(stack)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
