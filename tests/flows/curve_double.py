"""Stands in for `pelt_automl.curve`, as `selection_double` does for `pelt_automl.selection`."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pelt_automl.home import home
from pelt_automl.options import settings_from
from pelt_automl.settings import SelectionSettings


@dataclass(frozen=True)
class CurveSettings:
    whole: SelectionSettings
    ks: tuple

    def at(self, k, seconds):
        return replace(self.whole, task=replace(self.whole.task, k=k))


def curve_settings(k, **options):
    return CurveSettings(settings_from(**options), tuple(None if one == "full" else one for one in k))


def curve_text(curve):
    return curve.statement


@dataclass
class Result:
    task: str
    statement: str
    folder: Path


class AtK:
    key = "abc123"

    def __init__(self, folder, k):
        self.folder, self.k = folder, k

    def run(self):
        with (self.folder / "steps.txt").open("a") as file:
            file.write(f"k {self.k}\n")


class CurveRun:
    def __init__(self, settings, folder):
        self.settings, self.folder, self.ks = settings, folder, settings.ks

    @staticmethod
    def open(settings, folder=None, display=None, *, provider=None):
        folder = home() / "selections" / f"{settings.whole.task.task}-curve"
        folder.mkdir(parents=True, exist_ok=True)
        return CurveRun(settings, folder)

    @contextmanager
    def at(self, k):
        yield AtK(self.folder, k)

    def result(self):
        (self.folder / "k-curve.md").write_text("# LoRA from 50 on\n")
        return Result(self.settings.whole.task.task, "LoRA from 50 on.", self.folder)
