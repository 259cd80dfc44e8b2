"""One selection, watched from outside: ``python -m benchmarks.watched_selection REQUEST`` with a JSON object (see `Request`).

Nothing of this is in the program: its functions are wrapped here (`PLACES`) before the command line, or the Prefect flow, is called as a
user calls it.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Literal

from benchmarks.ledger import Ledger
from benchmarks.measuring import hand_over

PLACES: dict[str, tuple[str, ...]] = {
    "train": ("pelt_automl.training.loop:Trainer.train", "pelt_automl.training.loop:Trainer.stream"),
    "evaluate": ("pelt_automl.training.evaluation:evaluate",),
    "score on report": ("pelt_automl.selection.report_scoring:score_finalists",),
    "collate": ("pelt_automl.training.tokens:collate",),
    "tokenize": ("pelt_automl.training.tokens:tokenize",),
    "load model": ("pelt_automl.backbones.loading:load_backbone", "pelt_automl.backbones.loading:load_outline"),
    "load data": ("pelt_automl.tasks.loading:load_task",),
    "measure speed": (
        "pelt_automl.selection.speed:choose_threads",
        "pelt_automl.selection.probe:probe_packs",
        "pelt_automl.selection.speed:measure_speed",
    ),
    "optuna": (
        "pelt_automl.search.studies:open_storage",
        *(
            f"pelt_automl.search.studies:MethodStudy.{name}"
            for name in ("__init__", "ask", "unfinished", "tell_completed", "tell_stopped", "tell_failed")
        ),
    ),
    "mlflow": ("pelt_automl.recorders.sending:MlflowRecorder.publish",),
    "records": ("pelt_automl.recorders.jsonl:JsonlRecorder.record",),
    "checkpoints": tuple(
        f"pelt_automl.training.checkpoints:{name}" for name in ("save_progress", "save_tensors", "load_tensors", "save_trained")
    ),
    "statistics, report": (
        *(f"pelt_automl.recommendation.decision:{name}" for name in ("decide", "outlook_of")),
        "pelt_automl.recommendation.report:write_report",
    ),
    "selection": (
        *(f"pelt_automl.selection.selection:Selection.{name}" for name in ("open", "prepare", "confirm", "explain", "recommend", "close")),
        *(f"pelt_automl.selection.finalist_phase:_Finalists.{name}" for name in ("next", "ended")),
    ),
    "search": (
        "pelt_automl.selection.selection:Selection.search",
        *(f"pelt_automl.selection.search_phase:_Search.{name}" for name in ("next", "judge", "ended")),
    ),
}
"""Which functions' time goes under which name. ``selection`` and ``search`` are what is left of the phases: bookkeeping of our own."""

PROBE = "measure speed"
"""Whatever happens inside of it belongs to it: throwaway steps are no training."""

SCORING = "score on report"
"""Evaluations inside of it belong to it: they come once a finalist's training, on as many examples as report has, whatever K is."""


@dataclass(frozen=True)
class Request:
    """What is run."""

    path: Literal["cli", "prefect"]
    options: dict[str, Any]
    output: str
    """Folder of the selection; Prefect's flow takes its home's."""
    started: float
    """When the process was asked for, by the machine's monotonic clock."""


@dataclass
class _Tokens:
    """Tokens computed, and how many of them are padding."""

    computed: int = 0
    real: int = 0


@dataclass
class Watch:
    """What is seen of a selection while it runs."""

    ledger: Ledger
    started: float
    first_trial: float | None = None
    """Seconds from the request to the first step of the search's first trial."""
    tokens: dict[str, _Tokens] = field(default_factory=lambda: {"train": _Tokens(), "evaluate": _Tokens()})
    not_found: list[str] = field(default_factory=list)

    def install(self) -> None:
        """Wrap everything in `PLACES`."""
        for name, places in PLACES.items():
            for place in places:
                look = self._look_at_batch if name == "collate" else lambda _: None
                if not self.ledger.watch(place, partial(self._name, name), look):
                    self.not_found.append(place)

    def _name(self, name: str) -> str:
        if self.ledger.within(PROBE):
            return PROBE
        if name in ("evaluate", "collate") and self.ledger.within(SCORING):
            return SCORING
        if name == "collate":
            return "collate, evaluation" if self.ledger.within("evaluate") else "collate, training"
        return name

    def _look_at_batch(self, batch: Any) -> None:
        if self.ledger.within(PROBE):
            return
        if self.first_trial is None and self.ledger.within("search"):
            self.first_trial = time.monotonic() - self.started
        kind = self.tokens["evaluate" if self.ledger.within("evaluate") or self.ledger.within(SCORING) else "train"]
        mask = batch.inputs["attention_mask"]
        real = mask.sum(-1) * (batch.weights > 0)  # a missing example is padding through and through
        kind.computed += mask.numel()
        kind.real += int(real.sum())


def main(arguments: Sequence[str]) -> None:
    """Run the request and hand over what was seen."""
    request = Request(**json.loads(arguments[0]))
    name = "prefect" if request.path == "prefect" else "command line"
    run = _by_prefect if request.path == "prefect" else _by_command_line
    call = run(request)  # its imports are a user's too: they come before the watch, and count as start
    ledger = Ledger(rest=name)
    watch = Watch(ledger, request.started)
    watch.install()
    start = time.monotonic() - request.started
    call()
    ledger.close()
    hand_over(
        {
            "seconds": time.monotonic() - request.started,
            "start_seconds": start,
            "first_trial_seconds": watch.first_trial,
            "entries": {key: asdict(entry) for key, entry in ledger.entries.items()},
            "beside": {key: asdict(entry) for key, entry in ledger.beside.items()},
            "tokens": {key: asdict(counted) for key, counted in watch.tokens.items()},
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "not_found": watch.not_found,
        }
    )


def _by_command_line(request: Request) -> Any:
    from pelt_automl.cli import app

    import_module("pelt_automl.selection")  # the command imports it when it needs it
    typed = ["select", "--output", request.output]
    typed += [part for name, value in request.options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return lambda: app(typed, standalone_mode=False)


def _by_prefect(request: Request) -> Any:
    from flows.select_pelt import select_pelt

    lists = {"methods", "text_columns"}
    given = {name: value.split(",") if name in lists else value for name, value in request.options.items()}
    if "k" in given and str(given["k"]).isdigit():
        given["k"] = int(given["k"])
    return lambda: select_pelt(**given)


if __name__ == "__main__":
    main(sys.argv[1:])
