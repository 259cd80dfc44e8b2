"""Pictures of Prefect's pages for docs/workers.md: a selection with three workers, one of which was killed and replaced.

    python -m scripts.screenshots [FOLDER]

Starts a stack of its own, kills one worker of a small selection, and lets Chromium look at both pages. FOLDER: docs/pictures by default.
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

from chaos.stack import ASKED, ROOT, Stack, end, until

WORKERS = 3
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --hide-scrollbars --virtual-time-budget=20000"
)
PATIENCE = 300.0
"""Seconds for anything: a busy machine takes a minute for the start of a flow."""


def shoot(stack: Stack, page: str, file: Path, height: int) -> None:
    """Chromium's picture of a page of Prefect's."""
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--user-data-dir={profile}", f"--window-size=1280,{height}", f"--screenshot={file}"]
        where = stack.api.removesuffix("/api") + page
        subprocess.run([str(shutil.which("chromium")), *FLAGS.split(), *size, where], check=True, capture_output=True, timeout=PATIENCE)
    stack.say(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def take(stack: Stack, pictures: Path) -> None:
    """Start a selection, kill a worker, and take the pictures while the others train."""
    made = stack.make("up")
    if made.returncode:
        raise SystemExit(made.stdout + made.stderr)
    deployment = stack.ask("deployments/name/select-pelt/default")
    asked = ASKED | {"workers": WORKERS, "trials": 20, "epochs": 30, "k": 200, "methods": ["head", "bitfit", "lora", "adapter"]}
    selection = stack.ask(f"deployments/{deployment['id']}/create_flow_run", parameters=asked)["id"]

    def at_work() -> list[str]:
        tables = stack.ask("artifacts/filter", artifacts={"key": {"like_": "workers-"}}, sort="CREATED_DESC")
        rows = json.loads(tables[0]["data"]) if tables else []
        return [row["worker"] for row in rows if "step" in row["at"]]

    if not until(lambda: len(at_work()) == WORKERS, PATIENCE):
        raise SystemExit(f"{at_work()} are at work, and {WORKERS} should be; see {stack.folder}")
    victim = next(pid for pid, _, own in stack.flow_runs() if stack.ask(f"flow_runs/{own}")["name"].startswith("worker-2 "))
    os.kill(victim, signal.SIGKILL)
    stack.say("worker-2 was killed")
    if not until(lambda: "worker-2.2" in at_work(), PATIENCE):
        raise SystemExit(f"worker-2 isn't replaced: {at_work()}; see {stack.folder}")
    time.sleep(5)
    pictures.mkdir(exist_ok=True)
    shoot(stack, f"/runs/flow-run/{selection}", pictures / "prefect-selection.png", 1000)
    flow = stack.runs("pelt-worker")[0]["flow_id"]
    shoot(stack, f"/flows/flow/{flow}", pictures / "prefect-workers.png", 900)


def main() -> int:
    """The program; returns its exit code."""
    if shutil.which("chromium") is None:
        print("chromium isn't installed: apt-get install chromium", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pelt-pictures-", dir="/tmp"))
    folder.chmod(0o711)  # for PostgreSQL's account
    stack = Stack(folder, WORKERS)
    try:
        take(stack, Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures").absolute())
    finally:
        end(stack)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
