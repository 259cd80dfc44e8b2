"""Writes a finished selection's folder again, a line of its log at a time, and goes on where a kill has left it: a selection in a second.

``python -m tests.chaos.replay FROM TO [FAULT]``. FAULT: ``doubles`` (each later start writes the last end of a training again), ``leaves``
(each start leaves two processes running), ``fails``.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

LEASH = "import sys; sys.stdin.read()"
"""Ends when the process that has started it does."""
SECONDS = 0.004
"""A line."""


def main(source: Path, folder: Path, fault: str = "") -> None:
    if fault == "fails":
        sys.exit("error: it can't be done")
    lines = (source / "records.jsonl").read_text().splitlines()
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=lambda *_: ["records.jsonl", "mlflow.json"])
    log = folder / "records.jsonl"
    written = log.read_bytes().rpartition(b"\n")[0].decode().splitlines() if log.exists() else []
    log.write_text("".join(f"{line}\n" for line in written))
    mine = [line for line in written if '"resumed": true' not in line and '"openings": ' not in line]
    todo = lines[len(mine) + any('"openings": ' in line for line in written) :]
    if written and todo and '"SelectionEnded"' not in log.read_text():  # then only what hands it on is missing, which is no new start
        opened = [json.loads(line) for line in written if '"openings": ' in line]
        again = [json.dumps(json.loads(lines[0]) | {"resumed": True})]
        again += [json.dumps(opened[-1] | {"openings": len(opened) + 1})] if opened else []
        again += (
            [next(line for line in reversed(written) if '"TrialEnded"' in line)]
            if fault == "doubles" and "TrialEnded" in log.read_text()
            else []
        )
        todo = again + todo
    held = subprocess.Popen([sys.executable, "-c", LEASH], stdin=subprocess.PIPE)
    for _ in range(2 if fault == "leaves" else 0):  # one of them may be what is killed
        subprocess.Popen(["sleep", "100"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with log.open("a") as file:
        for line in todo:
            file.write(line[: len(line) // 2])
            file.flush()
            time.sleep(SECONDS)
            file.write(f"{line[len(line) // 2 :]}\n")
            file.flush()
            os.fsync(file.fileno())
    held.communicate()
    time.sleep(0.5 if fault == "leaves" else 0.0)  # so that it is seen


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
