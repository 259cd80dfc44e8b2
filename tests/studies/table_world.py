"""A made-up source in a tiny world, for the recorder's tests; also a program: a process that records (see `main`)."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pelt_automl.backbones.loading import load_backbone
from pelt_automl.settings import TaskSettings, TrainingSettings
from pelt_automl.tasks import TaskData, load_task
from studies.table import TableFolder, record_missing
from studies.table_grid import Configuration, Training
from studies.table_training import TableTrainings

QUICK = TrainingSettings(batch_size=8, epochs=4, min_steps=8, patience=1_000_000, precision="fp32", pack_size=1, threads=1)


@dataclass(frozen=True)
class MadeUp:
    """As `studies.sources.SourceTask`."""

    folder: Path
    task: str = "reviews"
    source: str = "made-up"
    kind: str = "classification"
    metric: str = "accuracy"
    sealed: bool = False

    def load(self, places: object = None, k: int = 100) -> TaskData:
        return load_task(
            TaskSettings(
                train=self.folder / "reviews.csv", test=self.folder / "test.csv", text_columns=("text",), label_column="label", k=k
            )
        )


def record_here(world: Path, table: Path, wanted: list[Training], **more) -> int:
    """How many were recorded."""
    backbone, folder = load_backbone(str(world / "model"), precision="fp32"), TableFolder(table).make()
    own = {"load": lambda task, k: TableTrainings(task.load(None, k), backbone, QUICK)} | more
    return record_missing(wanted, {"reviews": MadeUp(world)}, folder, model="model", **own)[0]


def few(count: int = 6) -> list[Training]:
    """Trainings of the probe, LoRA and BitFit."""
    methods = {"probe": {}, "lora": {"learning_rate": 1e-3, "rank": 2}, "bitfit": {"learning_rate": 1e-3}}
    made = [Configuration(name, "default", values) for name, values in methods.items()]
    return [
        Training("reviews", 60, own, "none" if own.method == "probe" else "probe", seed, "first") for seed in range(count) for own in made
    ][:count]


def main() -> None:
    """Arguments: the world's folder, the table's, how many trainings. Says when it is loaded, and begins when it is told to."""
    world, table, count = sys.argv[1:]
    print("loaded", flush=True)
    sys.stdin.readline()
    record_here(Path(world), Path(table), few(int(count)))


if __name__ == "__main__":
    main()
