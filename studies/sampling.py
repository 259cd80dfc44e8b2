"""Where a selection's time goes: a thread looks 100 times a second which part of the program the main thread is in.

Nothing of the program is wrapped or patched. A look belongs to the innermost function that is in one of `PARTS`, by its module's name; all
that happens inside of `MEASURING` belongs to it, since throwaway steps are no training. Each look counts the wall time since the one
before, and the processor time that the main thread has used in it: what is missing to the wall it has waited.
"""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

EVERY = 0.01
"""Seconds between two looks."""

TRAINING, EVALUATION, MEASURING = "training", "evaluation", "measuring speed"
PARTS: Mapping[str, tuple[str, ...]] = {
    MEASURING: ("pelt_automl.timing", "pelt_automl.selection.measuring", "pelt_automl.selection.threads"),
    EVALUATION: ("pelt_automl.training.evaluation", "pelt_automl.selection.finalist_phase"),
    "tokens": ("pelt_automl.training.tokens",),
    "checkpoints": ("pelt_automl.training.checkpoints", "pelt_automl.log.files"),
    TRAINING: ("pelt_automl.training", "pelt_automl.execution"),
    "optuna": ("optuna", "pelt_automl.search"),
    "mlflow": ("mlflow", "pelt_automl.recorders"),
    "prefect": ("prefect", "flows"),
    "load model": ("pelt_automl.backbones",),
    "load data": ("pelt_automl.tasks",),
    "baselines": ("pelt_automl.baselines",),
    "statistics, report": ("pelt_automl.verdict", "pelt_automl.report"),
    "records": ("pelt_automl.log",),
    "selection": ("pelt_automl.selection", "pelt_automl.scheduling"),
    "command line": ("pelt_automl.cli", "pelt_automl.display"),
}
"""Which modules' time goes under which name; of two the more exact one. Parts of the program are named by its packages."""
OVERHEADS = ("tokens", "checkpoints", "optuna", "mlflow", "prefect", "load model", "load data", "records", "command line")
"""Orchestration, tracking, tokenizing, loading."""

_PREFIXES = sorted(((prefix, part) for part, own in PARTS.items() for prefix in own), key=lambda pair: -len(pair[0]))


def part_of(frame: FrameType | None) -> str:
    """Where a thread is."""
    inside = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        found = next((part for prefix, part in _PREFIXES if module == prefix or module.startswith(prefix + ".")), "")
        if found == MEASURING:
            return MEASURING
        inside, frame = inside or found, frame.f_back
    return inside or "everything else"


class Sampler(threading.Thread):
    """Looks at the main thread until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.parts: dict[str, list[float]] = {}
        """Seconds of wall and of the main thread's processor time, by part."""
        self.first_trial: float | None = None
        """Seconds from the start until the first look at a training."""
        self.began, self._done = time.perf_counter(), threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        main = threading.main_thread().ident or 0
        clock = time.pthread_getcpuclockid(main)
        wall, cpu = time.perf_counter(), time.clock_gettime(clock)
        while not self._done.wait(EVERY):
            part, now, used = part_of(sys._current_frames().get(main)), time.perf_counter(), time.clock_gettime(clock)
            own = self.parts.setdefault(part, [0.0, 0.0])
            own[0], own[1], wall, cpu = own[0] + now - wall, own[1] + used - cpu, now, used
            if part == TRAINING and self.first_trial is None:
                self.first_trial = now - self.began

    def stop(self) -> dict[str, Any]:
        """What was seen."""
        self._done.set()
        self.join()
        return {"seconds": time.perf_counter() - self.began, "parts": self.parts, "first_trial": self.first_trial}


def watched(path: str, folder: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A selection by the command line or the Prefect flow (`path`) in this process, as a user makes it, and what was seen of it."""
    run = _by_prefect if path == "prefect" else _by_command_line
    call = run(Path(folder), options)  # its imports are a user's, too: they come before the sampler, and count as start
    sampler = Sampler()
    sampler.start()
    call()
    seen = sampler.stop()
    from pelt_automl.verdict.savings import padding_share
    from studies.answers import history_of

    return seen | {"padding": padding_share(history_of(folder).ended())}


def _by_command_line(folder: Path, options: Mapping[str, Any]) -> Any:
    import pelt_automl.selection  # noqa: F401 the command imports it when it needs it
    from pelt_automl.cli import app

    typed = ["select", "--output", str(folder / "selection")]
    typed += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return lambda: app(typed, standalone_mode=False)


def _by_prefect(folder: Path, options: Mapping[str, Any]) -> Any:
    import os

    named = [Path(str(options[name])) for name in ("data_dir", "train", "validation", "test", "model") if name in options]
    roots = [path if path.is_dir() else path.parent for path in named if path.is_absolute()]
    os.environ["PELT_AUTOML_DATA_ROOTS"] = os.pathsep.join(map(str, roots))
    if "PREFECT_API_URL" not in os.environ:  # a server of its own, whose start counts
        os.environ |= {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
                       "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # fmt: skip
    from flows.select_pelt import select_pelt

    given = {name: value.split(",") if name in ("methods", "text_columns") else value for name, value in options.items()}
    return lambda: select_pelt(**given | ({"k": int(given["k"])} if str(given.get("k", "")).isdigit() else {}))
