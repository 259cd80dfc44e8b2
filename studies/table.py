"""The table of trainings: every later question about start, search and finals is answered by looking trainings up in it.

``record`` trains what is missing, at any time of the day; ``write`` puts what is recorded into the Parquet files of the repository;
``status`` says how much is done.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pelt_automl import BEHAVIOUR
from pelt_automl.durable import write_text
from pelt_automl.errors import PeltError, SelectionError, SettingsError
from pelt_automl.home import home
from pelt_automl.log.folder import exclusive
from studies.harness import commit, machine, names, versions
from studies.table_grid import ROUNDS, K, Training, committed_configurations, trainings

if TYPE_CHECKING:
    from studies.sources import SourceTask
    from studies.table_training import TableTrainings

NICE = 10
WORKER = "worker"
"""The command that `start` runs in each process."""
Tasks = Mapping[str, "SourceTask"]
Record = dict[str, Any]


# -------------------------------------------------------------------- the working folder


@dataclass(frozen=True)
class TableFolder:
    """A file a finished training, and a lock for each that is under way; shared by any number of processes.

    A lock is released by the system when its holder dies, so that a killed process loses the training under way and nothing else.
    """

    path: Path

    def make(self) -> "TableFolder":
        """Raises `SettingsError` when it can't be made."""
        try:
            for name in ("trainings", "locks"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"the folder {self.path} can't be made ({error.strerror}); choose another --folder") from error
        return self

    def file(self, key: str) -> Path:
        """Of a finished training."""
        return self.path / "trainings" / f"{key}.json"

    def keys(self) -> set[str]:
        """Of the finished trainings."""
        return {path.stem for path in self.file("").parent.glob("*.json") if not path.name.startswith(".")}

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether it is this process's to train, as long as the block lasts: nobody else's, and not finished."""
        with exclusive(self.path / "locks" / f"{key}.lock") as mine:
            yield mine and not self.file(key).is_file()

    def add(self, key: str, record: Record) -> None:
        """A finished training; it is on disk when this returns."""
        write_text(self.file(key), json.dumps(record) + "\n")

    def records(self) -> dict[str, Record]:
        """All of them by key. Raises `SelectionError` for a file that can't be read."""
        found = {}
        for key in sorted(self.keys()):
            try:
                found[key] = json.loads(self.file(key).read_text(encoding="utf-8"))
                fine = isinstance(found[key], dict) and found[key].get("key") == key
                wrong: object = "" if fine else "it isn't the record of that training"
            except (OSError, ValueError) as error:
                wrong = error
            if wrong:
                raise SelectionError(f"{self.file(key)} can't be read: {wrong}; move it away and record that training again")
        return found


# -------------------------------------------------------------------- recording


def name_of(model: str) -> str:
    """As it stands in keys and in the table: a folder by its name."""
    return Path(model).name


def chosen_tasks(tasks: Tasks, sources: Sequence[str] = ()) -> dict[str, "SourceTask"]:
    """Those of these sources (or tasks); nothing: all. Raises `SettingsError`, which lists the sources."""
    known = {name for task in tasks.values() for name in (task.source, task.task)}
    if unknown := [name for name in sources if name not in known]:
        listed = ", ".join(dict.fromkeys(task.source for task in tasks.values()))
        raise SettingsError(f"there is no source {', '.join(unknown)}; the sources are {listed}")
    return {name: task for name, task in tasks.items() if not sources or task.source in sources or name in sources}


def record_missing(
    wanted: Sequence[Training],
    tasks: Tasks,
    folder: TableFolder,
    load: Callable[["SourceTask", int], "TableTrainings"],
    model: str,
    *,
    done: Collection[str] = (),
    expired: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
    about: Mapping[str, Any] | None = None,
) -> tuple[int, set[str]]:
    """Record what nobody else has of `wanted`, in its order; how many were recorded, and the tasks that can't be loaded.

    `load`: a task at a K, ready for its trainings; raises `PeltError` where its data can't be had. `done`: keys that are in the table
    already. `about` stands in every record. Scores aren't told: some sources are sealed.
    """
    recorded, refused, loaded = 0, set[str](), dict[tuple[str, int], "TableTrainings"]()
    for training in wanted:
        if expired():
            break
        key, task, at = training.key(model), tasks[training.task], (training.task, training.k)
        if key in done or training.task in refused or folder.file(key).is_file():
            continue
        with folder.claimed(key) as mine:
            if not mine:
                continue
            try:
                loaded[at] = loaded.get(at) or load(task, training.k)
            except PeltError as error:
                refused.add(training.task)
                say(f"{training.task} is left out: {error}")
                continue
            begun, found = time.monotonic(), loaded[at].record(training)
            own = {"key": key, "model": model, "source": task.source, "recorded": time.strftime("%Y-%m-%d", time.gmtime())}
            folder.add(key, own | dict(about or {}) | found)
            failed = f": failed ({found['failure']})" if found["failure"] else ""
            say(f"{training}{failed}, {time.monotonic() - begun:.1f} s")
            recorded += 1
    return recorded, refused


def work(asked: argparse.Namespace) -> int:
    """A process's part. The exit code: 2 where the data of a task can't be had."""
    tasks, folder = _tasks(asked), _folder(asked).make()
    os.nice(max(0, NICE - os.nice(0)))
    import torch

    from pelt_automl.backbones.loading import load_backbone
    from studies.sources import usual_places
    from studies.table_files import done_keys
    from studies.table_training import SETTINGS, TableTrainings

    torch.set_num_threads(1)
    places, backbone, parent = usual_places(), load_backbone(asked.model, precision=asked.precision), os.getppid()
    settings = replace(SETTINGS, precision=asked.precision)
    deadline = time.monotonic() + 3600 * (math.inf if asked.hours is None else asked.hours)
    _, refused = record_missing(
        _wanted(tasks), tasks, folder, lambda task, k: TableTrainings(task.load(places, k), backbone, settings), name_of(asked.model),
        done=done_keys(), expired=lambda: time.monotonic() >= deadline or os.getppid() != parent,  # nobody is left to tell
        about={"machine": machine(), "device": backbone.device.type, "versions": versions(), "commit": commit(), "behaviour": BEHAVIOUR},
    )  # fmt: skip
    return 2 if refused else 0


def start(processes: int, arguments: Sequence[str]) -> int:
    """Run so many workers, wait for them, end them with this process; the worst exit code."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-u", "-m", "studies.table", WORKER, *arguments]
    running = [subprocess.Popen(command, env=environment) for _ in range(processes)]

    def end(*_: object) -> None:
        for process in running:
            process.terminate()

    before = signal.signal(signal.SIGTERM, end)
    try:
        return max(abs(process.wait()) for process in running)
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
        end()
        for process in running:
            process.wait()


# -------------------------------------------------------------------- how much is done


def expected_seconds(rows: pd.DataFrame, training: Training) -> float:
    """Processor seconds of one that isn't recorded, from rows that are: their mean, times what its method, task and K make of it.

    Of a K that nobody has seen, in proportion to the steps.
    """
    seconds = rows["processor_seconds"] + rows["report_processor_seconds"]
    parts = (rows["method"] == training.configuration.method, rows["task"] == training.task)
    shares = [seconds[own].mean() / seconds.mean() for own in parts if own.any()]
    return float(seconds.mean() * math.prod(shares) * (1.0 if (rows["k"] == training.k).any() else training.k / K))


def status_text(wanted: Sequence[Training], done: Collection[str], model: str, sources: Mapping[str, str], rows: pd.DataFrame) -> str:
    """A table by round, one by source, and the hours left by the `rows` seen. `sources`: by task."""
    missing = [own for own in wanted if own.key(model) not in done]
    lines = [f"{len(wanted) - len(missing):,} of {len(wanted):,} trainings are recorded"]
    by: tuple[tuple[str, list[str], Callable[[Training], str]], ...] = (
        ("round", list(ROUNDS), lambda own: own.round), ("source", [*dict.fromkeys(sources.values())], lambda own: sources[own.task]),
    )  # fmt: skip
    for title, order, of in by:
        every, left = Counter(map(of, wanted)), Counter(map(of, missing))
        counted = [(name, f"{every[name] - left[name]:,}", f"{every[name]:,}") for name in order if every[name]]
        widths = [max(map(len, column)) for column in zip((title, "recorded", "of"), *counted, strict=True)]
        lines += ["", *(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in [(title, "recorded", "of"), *counted])]
    if missing and rows.empty:
        lines += ["", "How long the rest takes isn't known yet."]
    elif missing:
        cells = Counter((own.configuration.method, own.task, own.k) for own in missing)
        one = {(own.configuration.method, own.task, own.k): own for own in missing}
        hours = sum(count * expected_seconds(rows, one[cell]) for cell, count in cells.items()) / 3600
        lines += ["", f"The rest takes about {hours:.1f} processor hours, by {len(rows):,} trainings seen."]
    return "\n".join(lines)


# -------------------------------------------------------------------- the commands


def _tasks(asked: argparse.Namespace) -> Tasks:
    from studies.sources import SOURCES

    return chosen_tasks(SOURCES, names(asked.sources))


def _folder(asked: argparse.Namespace) -> TableFolder:
    return TableFolder(asked.folder or home() / "table")


def _wanted(tasks: Tasks) -> list[Training]:
    return list(trainings(list(tasks), committed_configurations()))


def _record(asked: argparse.Namespace) -> int:
    if not _tasks(asked):
        raise SettingsError("there is no source to record; see python -m studies.sources")
    own = ["--folder", str(_folder(asked).make().path), "--sources", asked.sources, "--model", asked.model, "--precision", asked.precision]
    return start(asked.processes, own if asked.hours is None else [*own, "--hours", str(asked.hours)])


def _status(asked: argparse.Namespace) -> int:
    from studies.table_files import TABLE, seconds_seen

    tasks, model = _tasks(asked), name_of(asked.model)
    wanted = {training.key(model): training for training in _wanted(tasks)}
    written = {row["key"]: row for row in seconds_seen(asked.table or TABLE)}
    seen = {key: row for key, row in (_folder(asked).records() | written).items() if key in wanted}
    print(
        status_text(
            list(wanted.values()), seen.keys(), model, {name: task.source for name, task in tasks.items()}, pd.DataFrame(seen.values())
        )
    )
    print(f"{len(seen.keys() - written.keys()):,} of them are in the working folder alone; write puts them into the table.")
    return 0


def _write(asked: argparse.Namespace) -> int:
    from studies.table_files import TABLE, write_table

    tasks, folder, records = _tasks(asked), asked.table or TABLE, _folder(asked).records()
    wanted = {training.key(name_of(asked.model)) for training in _wanted(tasks)}
    sealed = {task.source for task in tasks.values() if task.sealed}
    for source, new in write_table([record for key, record in records.items() if key in wanted], sealed, folder).items():
        path = folder / f"{source}.parquet"
        print(f"{path}: {new:,} new trainings, {path.stat().st_size / 1e6:.2f} MB")
    if not records:
        print(f"nothing is recorded in {_folder(asked).path}")
    if others := len(records.keys() - wanted):
        print(f"{others:,} files of the working folder aren't in the grid of these sources and this model, and were left out")
    return 0


def _costs(asked: argparse.Namespace) -> int:
    import torch

    from pelt_automl.backbones.loading import load_backbone
    from studies.table_costs import COSTS, measure

    torch.set_num_threads(1)  # as the trainings are recorded
    configurations = [own for by_name in committed_configurations().values() for own in by_name.values()]
    measure(load_backbone(asked.model, precision="fp32"), configurations, asked.seconds, COSTS, print)
    print(f"written: {COSTS}")
    return 0


def _grid(_: argparse.Namespace) -> int:
    from studies.table_grid import GRID, write_configurations

    write_configurations()
    print(f"written: {GRID}")
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} isn't a number above 0")
    return value


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    return _programs()[0]


def commands() -> Mapping[str, argparse.ArgumentParser]:
    """By name."""
    return _programs()[1]


def _programs() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    found = argparse.ArgumentParser(prog="python -m studies.table", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made = found.add_subparsers(required=True, metavar="COMMAND")
    common, timed, table, model, kept = (argparse.ArgumentParser(add_help=False) for _ in range(5))
    common.add_argument("--folder", type=Path, default=None, help="working folder (default: pelt-home/table)")
    common.add_argument("--sources", default="", help="only these sources, separated by commas (default: all)")
    model.add_argument("--model", default="minilm", help="alias, folder or Hub name of the encoder (default: minilm)")
    timed.add_argument("--hours", type=_positive, default=None, help="begin no training after so many hours (default: no limit)")
    kept.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="of the frozen weights; bf16 where the processor is faster by it"
    )
    table.add_argument("--table", type=Path, default=None, help="folder with the Parquet files (default: studies/table)")
    for name, command, parents, what in (
        ("record", _record, [common, model, timed, kept], "train what is missing"),
        (WORKER, work, [common, model, timed, kept], "one process of `record`, on its own"),
        ("status", _status, [common, model, table], "say how much is recorded, and how long the rest takes"),
        ("write", _write, [common, model, table], "put what is recorded into the Parquet files of the repository"),
        ("costs", _costs, [model], "measure what a training costs, on a quiet machine"),
        ("grid", _grid, [], "make table_grid.json from the search spaces"),
    ):
        made.add_parser(name, parents=parents, help=what).set_defaults(command=command)
    made.choices["record"].add_argument(
        "--processes", type=int, choices=range(1, 65), metavar="N", default=2, help="of one thread (default: 2)"
    )
    made.choices["costs"].add_argument("--seconds", type=_positive, default=180.0, help="for about so long (default: 180)")
    return found, made.choices


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for what can't be done as it was asked."""
    asked = parser().parse_args(arguments)
    try:
        return int(asked.command(asked))
    except PeltError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or 'a file'} can't be written or read ({error.strerror or error}); choose another folder", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
