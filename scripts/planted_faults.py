"""Plants the faults of tests/faults.toml one at a time in a copy of the repository, and says which of `make test`'s tests catches each.

    .venv/bin/python scripts/planted_faults.py             all of them
    .venv/bin/python scripts/planted_faults.py race leak   those with one of these words in their names

Exit code 1 when a fault is missed, 2 when one can't be planted.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """A change of the program that some test has to notice."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]
    """Where it should be caught."""

    def plant(self, root: Path) -> None:
        """Put it into the program below `root`. Raises `SystemExit` when its text doesn't stand there exactly once."""
        path = root / self.file
        text = path.read_text() if path.is_file() else ""
        if text.count(self.old) != 1:
            print(f"tests/faults.toml: {self.name}: {text.count(self.old)} places in {self.file} read {self.old!r}, not one; adapt it")
            raise SystemExit(2)
        path.write_text(text.replace(self.old, self.new))


def tier(root: Path) -> list[str]:
    """The options by which `make test` leaves tests out."""
    found = re.search(r'^QUICK := (-m ".*")$', (root / "Makefile").read_text(), re.MULTILINE)
    return ["-m", found[1][4:-1]] if found else []


def failed(root: Path, tests: list[str], workers: str) -> str:
    """The first test below `root` that fails; empty if all pass."""
    found = [test for test in tests if (root / test.partition("::")[0]).exists()]
    if tests and not found:
        return ""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", workers, "--dist", "worksteal", *tier(root), *found]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=root, env=os.environ | quiet, capture_output=True, text=True, check=False)
    if ended.returncode in (0, 5):  # 5: no test is left to run
        return ""
    named = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", ended.stdout, re.MULTILINE)
    if ended.returncode not in (1, 2) or not named:  # 2: xdist was interrupted by more failures than one
        raise SystemExit(f"pytest can't run below {root}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return named[1]


def main() -> None:
    """Plant, test, mend, and print a line for each fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults with one of these in their names")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository whose program and tests are tried")
    parser.add_argument("--table", type=Path, default=ROOT / "tests" / "faults.toml", help="the faults")
    parser.add_argument("--workers", default="auto", help="processes, as for pytest -n")
    asked = parser.parse_args()
    faults = [Fault(**fault) for fault in tomllib.loads(asked.table.read_text())["fault"]]
    faults = [fault for fault in faults if not asked.words or any(word in fault.name for word in asked.words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=asked.root, capture_output=True, text=True, check=True).stdout  # noqa: S607
        for name in filter(None, listed.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(asked.root / name, copy / name)
        for fault in faults:
            sound = (copy / fault.file).read_bytes() if (copy / fault.file).is_file() else b""
            fault.plant(copy)  # all of them once, before any test runs
            (copy / fault.file).write_bytes(sound)
        for fault in faults:
            sound = (copy / fault.file).read_bytes()
            fault.plant(copy)
            caught = next((test for folder in fault.tests if (test := failed(copy, [folder], asked.workers))), "") or failed(
                copy, [], asked.workers
            )
            (copy / fault.file).write_bytes(sound)
            if caught and failed(copy, [caught], "0"):
                raise SystemExit(f"{caught} fails without the fault, too")
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {fault.name}\n        {caught}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} faults are caught")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
