"""Stands in for `pelt_automl.selection`: the same steps, each leaving a line in ``steps.txt`` instead of a training."""

from pelt_automl.config import SearchSettings, SelectionSettings, TaskSettings, home
from pelt_automl.errors import SelectionError
from pelt_automl.records import Decision, SelectionStarted, Standing, VerdictReached, to_json

TASK_FIELDS = set(TaskSettings.__dataclass_fields__)
SEARCH_FIELDS = {"methods", "trials", "seconds", "equivalence", "prefer", "seed"}


def settings_from(**options):
    options["k"] = None if options.get("k") == "full" else options.get("k")
    task = {name: options[name] for name in TASK_FIELDS & set(options)}
    search = {name: options[name] for name in SEARCH_FIELDS & set(options)}
    search["methods"] = tuple(search.get("methods", ()))
    task["text_columns"] = tuple(task.get("text_columns", ()))
    return SelectionSettings(TaskSettings(**task), options.get("model", "minilm"), search=SearchSettings(**search))


class Recommended:
    method, report_score, report_metric, statement = "lora", 0.8125, "accuracy", "LoRA is best."

    def __init__(self, folder):
        self.folder = folder


class Selection:
    def __init__(self, settings, folder, display):
        self.settings, self.folder, self.display = settings, folder, display
        self.name, self.key = folder.name, "abc123"

    @staticmethod
    def open(settings, folder=None, display=None):
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

    def confirm(self):
        self._step("confirm")
        self.display.record(Decision("finalist", "lora-0000", "the best of its method"))

    def explain(self):
        self._step("explain")

    def recommend(self):
        self._step("recommend")
        (self.folder / "report.md").write_text("# LoRA it is\n")
        (self.folder / "records.jsonl").write_text(to_json(verdict()) + "\n")
        return Recommended(self.folder)

    def close(self):
        self._step("close")


def verdict():
    row = {"is_default": True, "hyper_parameters": {}, "parameters": 102912, "training_seconds": 12.34, "report_interval": (0.75, 0.875)}
    row |= {"seed_scores": [0.8125], "select_score": 0.8, "p_best": 0.625, "difference": 0.0, "difference_interval": (0.0, 0.0)}
    row |= {"tied": True, "distinguishable": False}
    best = Standing(candidate="lora-0000", method="lora", report_score=0.8125, **row)
    return VerdictReached("lora", "lora-0000", [best], "accuracy", 0.8125, 0.625, "LoRA is best.", {})
