"""Stands in for `pelt_automl.selection`: the same steps, each leaving a line in ``steps.txt`` instead of a training."""

import time
from dataclasses import dataclass

from pelt_automl.errors import SelectionError
from pelt_automl.home import home
from pelt_automl.log.codec import to_json
from pelt_automl.log.events import (
    CurvePoint,
    DataDescribed,
    Decision,
    Seeds,
    SelectionEnded,
    SelectionStarted,
    Standing,
    TrialEnded,
    VerdictReached,
)
from pelt_automl.settings import SelectionSettings
from pelt_automl.tasks import name_and_hash


@dataclass(frozen=True)
class Asked:
    settings: SelectionSettings
    task: str
    data_hash: str
    effort: str = "effort"

    @property
    def question(self):
        return self.question_on(self.data_hash)

    def question_on(self, data_hash):
        return f"{self.task}-{self.settings.task.k}-{data_hash}"


def asked_of(settings):
    return Asked(settings, *name_and_hash(settings.task))


STATEMENT = "Recommended: LoRA, 81.2 accuracy. It is the only one."


class Recommended:
    method, report_score, report_metric, statement, outcome = "lora", 0.8125, "accuracy", STATEMENT, "recommended"

    def __init__(self, folder):
        self.folder = folder


class Selection:
    def __init__(self, settings, folder, display):
        self.settings, self.folder, self.display = settings, folder, display
        self.name, self.key = folder.name, "abc123"

    @staticmethod
    def open(settings, folder=None, display=None, *, provider=None):
        folder = folder or home() / "selections" / f"{settings.task.task or settings.task.train.stem}-abc123"
        folder.mkdir(parents=True, exist_ok=True)
        return Selection(settings, folder, display)

    def __enter__(self):
        self._step("open")
        return self

    def __exit__(self, *exception):
        self._step("close")

    def _step(self, line):
        with (self.folder / "steps.txt").open("a") as file:
            file.write(line + "\n")

    def prepare(self):
        if self.settings.task.task == "locked":
            raise SelectionError("another process is working on this selection; wait for it")
        self._step("prepare")
        task = self.settings.task.task or "own"
        self.display.record(SelectionStarted(self.name, self.key, task, self.settings.model, ["lora"], {}, {}))

    def search(self):
        self._step("search")
        while self.folder.name.startswith("long") and not (self.folder / "go").exists():
            time.sleep(0.1)  # until a test lets it go on

    def confirm(self):
        self._step("confirm")
        self.display.record(Decision("finalist", "lora-0000", "the best of its method"))

    def explain(self):
        self._step("explain")

    def recommend(self):
        self._step("recommend")
        (self.folder / "report.md").write_text("# LoRA it is\n")
        (self.folder / "records.jsonl").write_text("".join(to_json(event) + "\n" for event in events(self.name)))
        return Recommended(self.folder)

    def close(self):
        self._step("close")


def events(name="toy-task-abc123"):
    """What a selection's records hold at the least."""
    counts, curve = {"pelt": 1, "kept": 1}, [CurvePoint(1, 0.5, 0.8, 1e-3, 1.0)]
    trial = TrialEnded(
        "lora-0000", "lora-0000", "lora", "search", 0, "completed", True, {}, Seeds(1, 2, 3), counts, curve, 0.8, 1, 1.0
    )  # fmt: skip
    return [
        SelectionStarted(name, "abc123", "toy-task", "minilm", ["lora"], {}, {}),
        DataDescribed("toy-task", "classification", "accuracy", True, ["no", "yes"], 100, "strict", {"report": 10}, {"data": "d"}),
        trial,
        verdict(),
        SelectionEnded("done", 1.0, {}),
    ]


def verdict():
    row = {"is_default": True, "hyper_parameters": {}, "parameters": 102912, "training_seconds": 12.34, "report_interval": (0.75, 0.875)}
    row |= {"seed_scores": [0.8125], "select_score": 0.8, "p_best": 0.625, "difference": 0.0, "difference_interval": (0.0, 0.0)}
    row |= {"tied": True, "distinguishable": False}
    best = Standing(candidate="lora-0000", method="lora", report_score=0.8125, **row)
    return VerdictReached("lora", "lora-0000", [best], "accuracy", 0.8125, 0.625, STATEMENT, {})
